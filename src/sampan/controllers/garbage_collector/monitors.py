"""The informers behind the graph: one for every resource that can be listed, watched and deleted.

Where another controller mirrors a resource anyway, its informer serves; else one of metadata alone, which whoever needs
no more may share.

Source: kubernetes/pkg/controller/garbagecollector/graph_builder.go (syncMonitors, startMonitors)
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from sampan.client import Handler, Informer, Resource
from sampan.controllers.context import Context
from sampan.controllers.garbage_collector.graph import Graph, Identity

Obj = dict[str, Any]
log = logging.getLogger("sampan.controller")
IGNORED = {("", "events"), ("events.k8s.io", "events")}


class Monitor:
    """One informer, heard by the graph."""

    def __init__(self, resource: Resource, informer: Informer, graph: Graph) -> None:
        self.resource = resource
        self.informer = informer
        self.graph = graph
        self.handler: Handler = informer.add_handler(self._add, self._update, self._delete)

    def close(self) -> None:
        """Hear no more."""
        self.informer.remove_handler(self.handler)

    def forget(self) -> None:
        """What is still known of the resource counts as gone, which for each dependent is verified."""
        for obj in self.informer.cache.list():
            self._delete(obj)

    def latest(self, identity: Identity) -> Obj | None:
        """The metadata that the mirror has of it."""
        key = f"{identity.namespace}/{identity.name}" if identity.namespace else identity.name
        record = self.informer.cache.record(key)
        if record is None or record.uid != identity.uid:
            return None
        meta: Obj = self.informer.cache.decode(record)["metadata"]
        return meta

    def _identity(self, meta: Obj) -> Identity:
        resource = self.resource
        return Identity(resource.api_version, resource.kind, meta.get("namespace", ""), meta["name"], meta["uid"])

    def _add(self, obj: Obj) -> None:
        meta = obj["metadata"]
        self.graph.seen(self._identity(meta), meta, None)

    def _update(self, old: Obj, new: Obj) -> None:
        before, meta = old["metadata"], new["metadata"]
        if before.get("ownerReferences") != meta.get("ownerReferences") or "deletionTimestamp" in meta:
            self.graph.seen(self._identity(meta), meta, before)
            return
        node = self.graph.nodes.get(meta["uid"])
        if node is None or node.virtual:
            self.graph.seen(self._identity(meta), meta, before)

    def _delete(self, obj: Obj) -> None:
        self.graph.gone(self._identity(obj["metadata"]))


class Monitors:
    def __init__(self, context: Context, graph: Graph) -> None:
        self.informers = context.informers
        self.graph = graph
        self._monitors: dict[tuple[str, str], Monitor] = {}

    def follow(self, resources: list[Resource]) -> None:
        """Exactly these from now on."""
        wanted = {(found.group, found.name): found for found in resources}
        for key in self._monitors.keys() - wanted.keys():
            monitor = self._monitors.pop(key)
            monitor.close()
            monitor.forget()
            self.informers.release(monitor.informer)
        for key, resource in wanted.items():
            known = self._monitors.get(key)
            if key in IGNORED or (known is not None and known.resource == resource):
                continue
            # a new one before the old one goes, so that nothing counts as gone that is not
            informer = self.informers.mirror(resource)
            self._monitors[key] = Monitor(resource, informer, self.graph)
            if known is not None:
                known.close()
                self.informers.release(known.informer)

    def close(self) -> None:
        for monitor in self._monitors.values():
            monitor.close()
            self.informers.release(monitor.informer)
        self._monitors.clear()

    def of(self, resource: Resource) -> Monitor | None:
        return self._monitors.get((resource.group, resource.name))

    async def wait_synced(self, seconds: float) -> None:
        """Some may be late for ever: a conversion webhook that is away must not stop everything else."""
        try:
            async with asyncio.timeout(seconds):
                for monitor in tuple(self._monitors.values()):
                    await monitor.informer.wait_synced()
        except TimeoutError:
            late = [m.resource.qualified for m in self._monitors.values() if not m.informer.has_synced]
            log.warning("not all resource monitors could be synced, proceeding anyways: %s", ", ".join(late))
