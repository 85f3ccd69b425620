"""garbage-collector-controller: what nobody owns any more is deleted.

`graph.py` knows who owns whom, `monitors.py` tells it, `actions.py` is what is done; here is what decides. An object whose
owners are all gone is deleted; nothing is deleted because the graph says so alone: that an owner is gone is asked of the
server (by uid), and that the object has not got another owner meanwhile is a condition of its deletion. Objects that are
deleted in the foreground wait for the dependents that block them; those that orphan set their dependents free first.

Source: kubernetes/pkg/controller/garbagecollector/garbagecollector.go
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from sampan.client import Controller, Exponential, Resource
from sampan.client.client import Propagation
from sampan.controllers.context import Context
from sampan.controllers.garbage_collector.actions import Actions
from sampan.controllers.garbage_collector.graph import FOREGROUND, ORPHAN, Graph, Identity, Node, Owner
from sampan.controllers.garbage_collector.monitors import Monitors
from sampan.controllers.kinds import Kinds

log = logging.getLogger("sampan.controller")
Obj = dict[str, Any]
WORKERS = 20
SYNC_SECONDS = 30.0


class UnknownKind(Exception):
    """A kind that the server does not serve (yet)."""


class NoNamespace(Exception):
    """An object that is in no namespace names an owner that is in one: not valid, and no use to try again."""


class GarbageCollector:
    def __init__(self, context: Context) -> None:
        self.client = context.clients("generic-garbage-collector")
        self.recorder = context.recorders("garbage-collector-controller", self.client)
        self.actions = Actions(self.client)
        self.deleting = Controller("garbage-collector-controller", self.reconcile, workers=WORKERS)
        self.orphaning = Controller("garbage-collector-controller orphans", self.orphan, workers=WORKERS)
        self.graph = Graph(self.deleting.queue.add, self.orphaning.queue.add, self._warn)
        self.monitors = Monitors(context, self.graph)
        self.kinds = Kinds(context, self.client, self._kinds_changed)
        #: owners that nobody has seen yet are looked for again, each time later
        self._unseen = Exponential()

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.kinds.run())
                await self.kinds.wait()
                await self.monitors.wait_synced(SYNC_SECONDS)
                group.create_task(self.deleting.run())
                group.create_task(self.orphaning.run())
        finally:
            self.monitors.close()

    def _kinds_changed(self) -> None:
        self.monitors.follow(self.kinds.supporting("delete", "list", "watch"))

    def _warn(self, about: Identity, message: str) -> None:
        regarding = {**about._asdict(), "apiVersion": about.api_version}
        del regarding["api_version"]
        self.recorder.event(regarding, "Warning", "OwnerRefInvalidNamespace", message)

    def _resource(self, api_version: str, kind: str) -> Resource:
        found = self.kinds.resource_of(api_version, kind)
        if found is None:
            raise UnknownKind(f'no matches for kind "{kind}" in version "{api_version}"')
        return found

    # -- to be deleted? ------------------------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> float | None:
        node = self.graph.nodes.get(key)
        if node is None:
            return None
        try:
            await self._attempt(node)
        except NoNamespace:
            return None
        except UnknownKind as error:
            # it may be served some day
            log.debug("%s", error)
            return self._unseen.when(key)
        if node.virtual and self.graph.nodes.get(key) is node:
            return self._unseen.when(key)
        self._unseen.forget(key)
        return None

    async def _attempt(self, node: Node) -> None:
        """Delete it if all its owners are gone. Raises StatusError, HttpError, UnknownKind, NoNamespace."""
        if node.deleting and not node.deleting_dependents:
            return
        at = node.identity
        resource = self._resource(at.api_version, at.kind)
        meta = await self._latest(node, resource)
        if meta is None:
            self.graph.gone_virtually(at)
            return
        if node.deleting_dependents:
            await self._wait_for_dependents(node, resource)
            return
        references = meta.get("ownerReferences") or ()
        if not references:
            return
        solid, dangling, waiting = await self._classify(node, references)
        if solid:
            if dangling or waiting:
                # those that wait must be let go too: they would wait for what is not to be deleted
                await self.actions.remove_owners(resource, at, [*dangling, *waiting])
            return
        if waiting and node.dependents:
            if any(dependent.deleting_dependents for dependent in node.of()):
                # it waits for a dependent that may wait for it
                await self.actions.unblock_owners(resource, at, meta)
                meta = await self.actions.get(resource, at.namespace, at.name) or meta
            policy: Propagation = "Foreground"
        else:
            finalizers = meta.get("finalizers") or ()
            policy = "Orphan" if ORPHAN in finalizers else "Foreground" if FOREGROUND in finalizers else "Background"
        if not await self.actions.delete(resource, at, meta, policy):
            self.graph.gone_virtually(at)

    async def _latest(self, node: Node, resource: Resource) -> Obj | None:
        """The mirror's, if it has it: deletion is conditional on that being current. Else the server's."""
        at = node.identity
        if resource.namespaced and not at.namespace:
            raise NoNamespace(str(at))
        monitor = None if node.virtual else self.monitors.of(resource)
        meta = monitor.latest(at) if monitor is not None else None
        if meta is None:
            meta = await self.actions.get(resource, at.namespace, at.name)
        return meta if meta is not None and meta["uid"] == at.uid else None

    async def _classify(self, node: Node, references: list[Obj]) -> tuple[list[str], list[str], list[str]]:
        """The uids of owners that are there, that are not, and that wait for their dependents to go."""
        solid: list[str] = []
        dangling: list[str] = []
        waiting: list[str] = []
        for item in references:
            owner = Owner(item["apiVersion"], item["kind"], item["name"], item["uid"], False)
            meta = await self._owner(node, owner)
            if meta is None:
                dangling.append(owner.uid)
            elif "deletionTimestamp" in meta and FOREGROUND in (meta.get("finalizers") or ()):
                waiting.append(owner.uid)
            else:
                solid.append(owner.uid)
        return solid, dangling, waiting

    async def _owner(self, node: Node, owner: Owner) -> Obj | None:
        """Its metadata as the server has it now; None: it is not there."""
        absent = self.graph.absent
        namespace = node.identity.namespace
        if owner.at("") in absent or owner.at(namespace) in absent:
            return None
        resource = self._resource(owner.api_version, owner.kind)
        if resource.namespaced and not namespace:
            raise NoNamespace(str(owner))
        meta = await self.actions.get(resource, namespace, owner.name)
        if meta is not None and meta["uid"] == owner.uid:
            return meta
        absent.add(owner.at(namespace if resource.namespaced else ""))
        return None

    async def _wait_for_dependents(self, node: Node, resource: Resource) -> None:
        blocking = node.blocking()
        if not blocking:
            await self.actions.remove_finalizer(resource, node.identity, FOREGROUND)
            return
        for dependent in blocking:
            if not dependent.deleting_dependents:
                self.deleting.queue.add(dependent.identity.uid)

    # -- to be orphaned ------------------------------------------------------------------------------------------------

    async def orphan(self, key: str) -> None:
        """Raises StatusError, HttpError, UnknownKind."""
        node = self.graph.nodes.get(key)
        if node is None:
            return
        gate = asyncio.Semaphore(WORKERS)

        async def free(dependent: Node) -> None:
            at = dependent.identity
            async with gate:
                await self.actions.orphan(self._resource(at.api_version, at.kind), at, key)

        results = await asyncio.gather(*(free(dependent) for dependent in node.of()), return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            raise failures[0]
        at = node.identity
        await self.actions.remove_finalizer(self._resource(at.api_version, at.kind), at, ORPHAN)
