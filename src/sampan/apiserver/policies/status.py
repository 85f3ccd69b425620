"""`status` of ValidatingAdmissionPolicies: each generation is type-checked once, by a task that starts with the first.

Source: kubernetes/pkg/controller/validatingadmissionpolicystatus/controller.go
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sampan.api import errors
from sampan.api.kind import Obj
from sampan.api.times import format_time
from sampan.apiserver.cache import Entry, Watcher
from sampan.apiserver.webhooks.match import GROUP
from sampan.store.contract import StoreError

if TYPE_CHECKING:
    from sampan.apiserver.api import Api

log = logging.getLogger("sampan.apiserver")
MANAGER = "validatingadmissionpolicy-status"
RETRY_SECONDS = 1.0


class PolicyStatus:
    """From `start` to `close` every policy gets its status, soon."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.cache = api.cached(GROUP, "validatingadmissionpolicies")
        self._watcher = Watcher("", "", None, self._changed)
        #: names that wait for their turn, each once
        self._waiting: dict[str, None] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.cache.watchers.add(self._watcher)
        for name in self.cache.records:
            self._add(name)

    async def close(self) -> None:
        self.cache.watchers.discard(self._watcher)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _changed(self, entry: Entry, kind: str) -> None:
        if kind != "DELETED":
            self._add(entry.record.name)

    def _add(self, name: str) -> None:
        self._waiting[name] = None
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._waiting:
            name = next(iter(self._waiting))
            del self._waiting[name]
            try:
                await self.reconcile(name)
            except (errors.StatusError, StoreError) as error:
                log.warning("status of policy %s: %s; trying again in %.0f s", name, error, RETRY_SECONDS)
                await asyncio.sleep(RETRY_SECONDS)
                self._waiting[name] = None

    async def reconcile(self, name: str) -> None:
        record = self.cache.get(name)
        if record is None:
            return
        policy = record.obj()
        generation = policy["metadata"].get("generation", 0)
        if generation <= (policy.get("status") or {}).get("observedGeneration", 0):
            return
        from sampan.apiserver.policies.typecheck import check

        warnings = await self.api.workers.run(check, self.api.registry, policy, user=self)
        checking = {"expressionWarnings": warnings} if warnings else {}
        await self._apply(name, {"observedGeneration": generation, "typeChecking": checking})

    async def _apply(self, name: str, status: Obj) -> None:
        """As the controller's server-side apply would."""
        from sampan.apiserver.customresources.system import system_call
        from sampan.apiserver.options import WriteOptions
        from sampan.apiserver.patch import apply
        from sampan.apiserver.write import Produced, change

        kind = self.cache.kind
        call = system_call(self.api, kind, "patch", "", name)
        call.info.subresource = "status"
        api_version = kind.names.api_version
        config = {"apiVersion": api_version, "kind": kind.names.kind, "metadata": {"name": name}, "status": status}

        def produce(old: Obj | None) -> Produced:
            obj, managed = apply.apply(
                kind.schema,
                old,
                config,
                manager=MANAGER,
                api_version=api_version,
                subresource="status",
                time=format_time(self.api.clock()),
                force=True,
                reset_fields=kind.reset_fields("status"),
            )
            return Produced(obj, managed)

        try:
            await change(call, name, produce, WriteOptions(manager=MANAGER, kind="PatchOptions"), subresource="status")
        except errors.StatusError as error:
            if error.code != 404:
                raise
