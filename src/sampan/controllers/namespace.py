"""namespace-controller: a namespace that is deleted is emptied, and then let go.

Pods go first, the rest when none is left; what remains, and why, stands in the namespace's conditions. Nothing is asked
again and again: the controller hears when what remains has gone.

Source: kubernetes/pkg/controller/namespace/namespace_controller.go, deletion/namespaced_resources_deleter.go
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from sampan.api.errors import StatusError
from sampan.api.times import parse_time
from sampan.client import Controller, Exponential, HttpError, Resource, resource
from sampan.client.errors import is_not_found
from sampan.controllers.context import Context
from sampan.controllers.kinds import Kinds
from sampan.controllers.namespace_conditions import Remaining, with_conditions
from sampan.controllers.namespace_watch import Leftovers

log = logging.getLogger("sampan.controller")
Obj = dict[str, Any]
FINALIZER = "kubernetes"
PODS = resource("pods")
#: DEVIATION: upstream waits 5 s, until every API server has seen that the namespace takes nothing new
GRACE_SECONDS = 0.5
#: kinds emptied at the same time
TOGETHER = 8


class NamespaceController:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.client = context.clients("namespace-controller")
        self.namespaces = context.informers.get("namespaces")
        self.controller = Controller("namespace-controller", self.reconcile, workers=10, synced=(self.namespaces,))
        self.kinds = Kinds(context, self.client, lambda: None)
        self.leftovers = Leftovers(context.informers, self.controller.queue.add)
        self._grace: dict[str, str] = {}
        self._retries = Exponential(0.1)
        self.namespaces.add_handler(self._changed, lambda old, new: self._changed(new), self._gone)

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.kinds.run())
                group.create_task(self.controller.run())
        finally:
            self.leftovers.close()

    def _changed(self, namespace: Obj) -> None:
        """Its deletion counts once: our own writes about it are nothing new."""
        meta = namespace["metadata"]
        if "deletionTimestamp" in meta and self._grace.get(meta["name"]) != meta["uid"]:
            self._grace[meta["name"]] = meta["uid"]
            self.controller.enqueue_after(namespace, GRACE_SECONDS)

    def _gone(self, namespace: Obj) -> None:
        name = namespace["metadata"]["name"]
        self._grace.pop(name, None)
        self.leftovers.forget(name)

    async def reconcile(self, key: str) -> float | None:
        """Raises StatusError, HttpError."""
        try:
            namespace = await self.client.get("namespaces", key)
        except StatusError as error:
            if is_not_found(error):
                return None
            raise
        if "deletionTimestamp" not in namespace["metadata"]:
            return None
        if (namespace.get("status") or {}).get("phase") != "Terminating":
            namespace["status"] = {**(namespace.get("status") or {}), "phase": "Terminating"}
            namespace = await self.client.update_status("namespaces", namespace)
        finalizers = (namespace.get("spec") or {}).get("finalizers") or []
        if not finalizers:
            return None
        await self.kinds.wait()
        remaining = await self._empty(key, parse_time(namespace["metadata"]["deletionTimestamp"]))
        namespace = await self._tell(namespace, remaining)
        again = await self.leftovers.wait_for(key, remaining)
        if remaining.failed:
            log.warning("failed to delete all content of namespace %s: %s", key, remaining.failures)
            return self._retries.when(key)
        self._retries.forget(key)
        if remaining.counts:
            return again
        namespace["spec"]["finalizers"] = sorted(set(finalizers) - {FINALIZER})
        try:
            await self.client.update("namespaces", namespace, subresource="finalize")
        except StatusError as error:
            if not is_not_found(error):
                raise
        return None

    async def _tell(self, namespace: Obj, remaining: Remaining) -> Obj:
        status = with_conditions(namespace.get("status") or {}, remaining, self.context.clock())
        if status is None:
            return namespace
        return await self.client.update_status("namespaces", {**namespace, "status": status})

    # -- content -------------------------------------------------------------------------------------------------------

    async def _empty(self, namespace: str, deleted: float) -> Remaining:
        remaining = Remaining()
        if self.kinds.error is not None:
            remaining.discovery = self.kinds.error
        await self._try(PODS, namespace, deleted, remaining)
        if PODS in remaining.counts:
            return remaining
        gate = asyncio.Semaphore(TOGETHER)

        async def one(kind: Resource) -> None:
            async with gate:
                await self._try(kind, namespace, deleted, remaining)

        kinds = [found for found in self.kinds.resources if found.resource.namespaced and "delete" in found.verbs]
        await asyncio.gather(*(one(found.resource) for found in kinds if found.resource != PODS))
        return remaining

    async def _try(self, kind: Resource, namespace: str, deleted: float, remaining: Remaining) -> None:
        try:
            await self._empty_of(kind, namespace, deleted, remaining)
        except (StatusError, HttpError) as error:
            remaining.fail(str(error))

    async def _empty_of(self, kind: Resource, namespace: str, deleted: float, remaining: Remaining) -> None:
        """Delete all objects of one kind, and note what stays."""
        verbs = next((found.verbs for found in self.kinds.resources if found.resource == kind), ())
        listable = "list" in verbs
        if listable and not (found := await self._list(kind, namespace)):
            return
        grace = 0.0
        if kind == PODS:
            grace = max(0.0, deleted + _grace_of(found) - self.context.clock())
        if "deletecollection" in verbs:
            await self.client.delete_collection(kind, namespace, propagation="Background")
        else:
            for item in found if listable else ():
                try:
                    await self.client.delete(kind, item["metadata"]["name"], namespace)
                except StatusError as error:
                    if not is_not_found(error):
                        raise
        if listable and (left := await self._list(kind, namespace)):
            remaining.add(kind, namespace, left, grace)

    async def _list(self, kind: Resource, namespace: str) -> list[Obj]:
        """Objects; of all but pods, no more than their metadata. None, where the kind has just ceased to be."""
        try:
            return await self.client.items(kind, namespace, metadata_only=kind != PODS)
        except StatusError as error:
            if is_not_found(error) or error.code == 405:
                return []
            raise


def _grace_of(pods: list[Obj]) -> float:
    """The longest that one of them may take to end."""
    running = (pod for pod in pods if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"))
    return max((float(pod["spec"].get("terminationGracePeriodSeconds") or 0) for pod in running), default=0.0)
