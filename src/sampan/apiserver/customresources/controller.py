"""What an API server itself does about definitions: names accepted, established, approved; instances removed at the end.

One task takes names of definitions from a set, one at a time, so that two definitions never claim the same name at once.
Every step reads the world anew and writes by compare-and-swap; running it twice does no harm.

Source: apiextensions-apiserver/pkg/controller/{status,establish,finalizer,apiapproval,nonstructuralschema}
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from sampan.api import errors
from sampan.api.customresource.approval import approval, is_protected
from sampan.api.kind import Obj
from sampan.api.times import format_time
from sampan.apiserver.cache import encode
from sampan.apiserver.customresources.api_services import ApiServices
from sampan.apiserver.customresources.cleanup import Cleanup
from sampan.apiserver.customresources.conditions import CLEANUP, is_true, set_condition
from sampan.apiserver.patch.managed import update_managed_fields
from sampan.store.contract import Compare, Delete, Op, Put, StoreError

if TYPE_CHECKING:
    from sampan.apiserver.api import Api
    from sampan.apiserver.customresources.serving import CustomResources

log = logging.getLogger("sampan.apiserver")
FIRST_DELAY, LAST_DELAY = 0.05, 30.0
NAMES = ("plural", "singular", "shortNames", "kind", "listKind")


class Controller:
    """`add` says that a definition may need work."""

    def __init__(self, api: Api, served: CustomResources) -> None:
        self.api = api
        self.served = served
        self.cleanup = Cleanup(api, served)
        self.api_services = ApiServices(api, served)
        #: names that wait for their turn, each once
        self._waiting: dict[str, None] = {}
        self._work = asyncio.Event()
        #: definitions not all of whose names were accepted
        self._refused: set[str] = set()
        self._delays: dict[str, float] = {}
        self._cleaning: dict[str, asyncio.Task[None]] = {}

    def add(self, name: str) -> None:
        self._waiting[name] = None
        self._work.set()

    async def run(self) -> None:
        try:
            await self._sweep()
            while True:
                await self._work.wait()
                self._work.clear()
                while self._waiting:
                    name = next(iter(self._waiting))
                    del self._waiting[name]
                    await self._try(name)
        finally:
            for task in self._cleaning.values():
                task.cancel()

    async def _sweep(self) -> None:
        try:
            await self.api_services.sweep()
        except StoreError as error:
            log.warning("APIServices of definitions: %s", error)

    async def _try(self, name: str) -> None:
        try:
            await self.reconcile(name)
        except (errors.StatusError, StoreError) as error:
            delay = self._delays.get(name, FIRST_DELAY)
            self._delays[name] = min(delay * 2, LAST_DELAY)
            log.warning("definition %s: %s; trying again in %.2f s", name, error, delay)
            asyncio.get_running_loop().call_later(delay, self.add, name)
        else:
            self._delays.pop(name, None)

    async def reconcile(self, name: str) -> None:
        record = self.api.definitions.get(name)
        group = name.partition(".")[2]
        await self.api_services.reconcile(group)
        if record is None:
            self._refused.discard(name)
            self._ask_others(name, group)
            return
        crd = record.obj()
        if crd["metadata"].get("deletionTimestamp"):
            if CLEANUP in (crd["metadata"].get("finalizers") or ()) and name not in self._cleaning:
                # it may take long, and others shall not wait for it
                task = self._cleaning[name] = asyncio.get_running_loop().create_task(self._clean(name))
                task.add_done_callback(lambda done: self._cleaning.pop(name, None))
            return
        if await self.write(name, self._judge):
            self._ask_others(name, group)

    def _ask_others(self, name: str, group: str) -> None:
        """Names may have become free for those that wait for one."""
        for other in self._refused:
            if other != name and other.partition(".")[2] == group:
                self.add(other)

    async def _clean(self, name: str) -> None:
        delay = FIRST_DELAY
        while True:
            try:
                await self.cleanup.run(name, self.write)
                return
            except (errors.StatusError, StoreError) as error:
                log.warning("clean-up of %s: %s; trying again in %.2f s", name, error, delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, LAST_DELAY)

    # -- names -----------------------------------------------------------------------------------------------------------

    def _judge(self, crd: Obj) -> None:
        """Names, Established and approval, as they should be now."""
        now = format_time(self.api.clock())
        status, wanted = crd["status"], crd["spec"]["names"]
        accepted = dict(status.get("acceptedNames") or {})
        if any(accepted.get(field) != wanted.get(field) for field in (*NAMES, "categories")):
            reason, message = self._accept(crd, wanted, accepted)
            status["acceptedNames"] = accepted
            good = reason == "NoConflicts"
            (self._refused.discard if good else self._refused.add)(crd["metadata"]["name"])
            set_condition(crd, "NamesAccepted", "True" if good else "False", reason, message, now)
            if not is_true(crd, "Established"):
                established = ("True", "InitialNamesAccepted", "the initial names have been accepted")
                refused = ("False", "NotAccepted", "not all names are accepted")
                set_condition(crd, "Established", *(established if good else refused), now)
        if is_protected(crd["spec"]["group"]):
            verdict, reason, message = approval(crd["metadata"].get("annotations") or {})
            set_condition(crd, "KubernetesAPIApprovalPolicyConformant", verdict, reason, message, now)

    def _accept(self, crd: Obj, wanted: Obj, accepted: Obj) -> tuple[str, str]:
        """Take over into `accepted` what nobody else has; the last conflict is the one that is told."""
        resources, kinds = self._taken(crd)
        own = {accepted.get("plural"), accepted.get("singular")}
        reason, message = "NoConflicts", "no conflicts found"
        for field, used in (("plural", resources), ("singular", resources)):
            name = wanted.get(field, "")
            if name != accepted.get(field, "") and name in used:
                reason, message = f"{field.capitalize()}Conflict", f'"{name}" is already in use'
            else:
                accepted[field] = name
        short = wanted.get("shortNames") or []
        mine = {*(accepted.get("shortNames") or ()), *own}
        clashes = [f'"{name}" is already in use' for name in short if name not in mine and name in resources]
        if clashes:
            reason = "ShortNamesConflict"
            message = clashes[0] if len(clashes) == 1 else "[" + ", ".join(clashes) + "]"
        elif short:
            accepted["shortNames"] = short
        else:
            accepted.pop("shortNames", None)
        for field, word in (("kind", "Kind"), ("listKind", "ListKind")):
            name = wanted.get(field, "")
            if name != accepted.get(field, "") and name in kinds:
                reason, message = f"{word}Conflict", f'"{name}" is already in use'
            else:
                accepted[field] = name
        if wanted.get("categories"):
            accepted["categories"] = wanted["categories"]
        else:
            accepted.pop("categories", None)
        return reason, message

    def _taken(self, crd: Obj) -> tuple[set[str], set[str]]:
        """Names in use in the group: by definitions, this one included, and by kinds that are built in."""
        group = crd["spec"]["group"]
        resources: set[str] = set()
        kinds: set[str] = set()
        for name, record in self.api.definitions.records.items():
            if name.partition(".")[2] != group:
                continue
            served = self.served.served.get(name)
            if served is not None:
                # what is established need not be decoded for its names
                kind = served.kinds[0]
                resources |= {kind.names.resource, kind.names.singular, *kind.names.short}
                kinds |= {kind.names.kind, kind.list_kind}
                continue
            names = (record.obj().get("status") or {}).get("acceptedNames") or {}
            resources |= {names.get("plural", ""), names.get("singular", ""), *(names.get("shortNames") or ())}
            kinds |= {names.get("kind", ""), names.get("listKind", "")}
        resources.discard("")
        kinds.discard("")
        return resources, kinds

    # -- writing ---------------------------------------------------------------------------------------------------------

    async def write(self, name: str, change: Callable[[Obj], None]) -> bool:
        """Let `change` change the definition in place and store it, as a write of this server to its status. False:
        nothing changed. A definition without finalizers that is being deleted goes. Raises StoreError, 409."""
        api = self.api
        for _ in range(5):
            record = api.definitions.get(name)
            if record is None:
                return False
            old, new = record.obj(), record.obj()
            change(new)
            if new == old:
                return False
            new["metadata"].pop("managedFields", None)
            managed = update_managed_fields(
                api.definitions.kind.schema,
                old,
                {**new, "metadata": {**new["metadata"], "managedFields": old["metadata"].get("managedFields")}},
                manager="kube-apiserver",
                api_version="apiextensions.k8s.io/v1",
                subresource="status",
                time=format_time(api.clock()),
                reset_fields=("metadata", "spec"),
            )
            if managed:
                new["metadata"]["managedFields"] = managed
            key = (api.definitions.prefix + name).encode()
            meta = new["metadata"]
            gone = bool(meta.get("deletionTimestamp")) and not meta.get("finalizers")
            op: Op = Delete(key) if gone else Put(key, encode(new), record.lease)
            result = await api.store.txn([Compare(key, "mod", "=", record.revision)], [op])
            await api.cache.reach(result.revision)
            if result.succeeded:
                return True
        raise errors.conflict("apiextensions.k8s.io", "customresourcedefinitions", name)
