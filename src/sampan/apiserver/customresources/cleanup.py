"""The end of a definition: its instances are deleted, each by all rules, and only then does it go itself.

Source: apiextensions-apiserver/pkg/controller/finalizer/crd_finalizer.go
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from sampan.api import errors
from sampan.api.kind import Kind, Obj
from sampan.api.times import format_time
from sampan.apiserver.cache import ResourceCache, Watcher
from sampan.apiserver.customresources.conditions import CLEANUP, is_true, set_condition
from sampan.apiserver.customresources.system import system_call
from sampan.apiserver.options import delete_options
from sampan.apiserver.verbs.delete import remove

if TYPE_CHECKING:
    from sampan.apiserver.api import Api
    from sampan.apiserver.customresources.serving import CustomResources

WAIT_SECONDS = 60
Write = Callable[[str, Callable[[Obj], None]], Awaitable[bool]]


class Cleanup:
    def __init__(self, api: Api, served: CustomResources) -> None:
        self.api = api
        self.served = served

    async def run(self, name: str, write: Write) -> None:
        """Raises StatusError or StoreError when it must be tried again."""

        def told(status: str, reason: str, message: str) -> Callable[[Obj], None]:
            def change(crd: Obj) -> None:
                set_condition(crd, "Terminating", status, reason, message, format_time(self.api.clock()))

            return change

        record = self.api.definitions.get(name)
        if record is None:
            return
        await write(name, told("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress"))
        last = told("False", "NeverEstablished", "resource was never established")
        if is_true(record.obj(), "Established"):
            try:
                await self._delete_instances(name)
            except errors.StatusError as error:
                reason, text = "InstanceDeletionFailed", f"could not issue all deletes: {error.message}"
                if error.code == 504:
                    reason = "InstanceDeletionCheck"
                    text = "could not confirm zero CustomResources remaining: timed out waiting for the condition"
                await write(name, told("True", reason, text))
                raise
            last = told("False", "InstanceDeletionCompleted", "removed all instances")

        def finish(crd: Obj) -> None:
            last(crd)
            left = [item for item in crd["metadata"].get("finalizers") or () if item != CLEANUP]
            crd["metadata"]["finalizers"] = left
            if not left:
                del crd["metadata"]["finalizers"]

        await write(name, finish)

    async def _delete_instances(self, name: str) -> None:
        served = self.served.served.get(name)
        if served is None:
            return
        kind: Kind = next(item for item in served.kinds if item.names.version == item.version.storage)
        cache = self.api.resource(kind).cache
        options = delete_options({}, None)
        failed: list[str] = []
        for key in list(cache.records):
            namespace, _, instance = key.rpartition("/")
            call = system_call(self.api, kind, "delete", namespace, instance)
            try:
                await remove(call, key, options)
            except errors.StatusError as error:
                if error.code != 404:
                    failed.append(error.message)
        if failed:
            raise errors.internal("; ".join(failed[:10]))
        if not await _empty(cache):
            raise errors.timeout("instances are left")


async def _empty(cache: ResourceCache) -> bool:
    """Until finalizers have let the last object go; False after a minute."""
    gone = asyncio.Event()
    watcher = Watcher("", "", None, lambda entry, kind: gone.set())
    cache.watchers.add(watcher)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while cache.records:
                gone.clear()
                await gone.wait()
    except TimeoutError:
        return False
    finally:
        cache.watchers.discard(watcher)
    return True
