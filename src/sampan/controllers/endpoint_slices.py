"""endpointslice-controller: the pods that a service selects, in slices of at most 100, one set for each address family and
each set of ports.

Source: kubernetes/pkg/controller/endpointslice/endpointslice_controller.go, k8s.io/endpointslice/reconciler.go
"""

from __future__ import annotations

from functools import partial
from typing import Any

from sampan.client import Controller, StatusError, key_of
from sampan.client.errors import is_namespace_terminating, is_not_found
from sampan.controllers import service_pods
from sampan.controllers.context import Context
from sampan.controllers.nodes import ZONE, condition
from sampan.controllers.pods import is_ready
from sampan.controllers.service_pods import HEADLESS, TRIGGER_TIME, Members, TriggerTimes
from sampan.controllers.slice_packing import Changes, endpoint_key, hint, new_slice, pack, port_key
from sampan.controllers.slice_tracker import (
    MANAGED_BY,
    SERVICE,
    SERVICE_NAME,
    TIMEOUT,
    SliceTracker,
    SliceWatch,
    by_service,
    manager_of,
)
from sampan.controllers.topology_hints import Event, TopologyHints, is_asked_for

Obj = dict[str, Any]
SLICES = "endpointslices.discovery.k8s.io"
MANAGER = "endpointslice-controller.k8s.io"
RESERVED = (SERVICE_NAME, MANAGED_BY, HEADLESS)
#: this key: zones have changed, and services may have to
ZONES = "zones"
#: a slice that somebody else touched is looked at after so many seconds
LATER = 1.0


class NodeMissing(Exception):
    """A pod is on a node that is not there, or not yet: it is left out and looked for again."""


class EndpointSlices:
    def __init__(self, context: Context) -> None:
        self.client = context.clients("endpointslice-controller")
        self.recorder = context.recorders("endpoint-slice-controller", self.client)
        self.services = context.informers.get("services")
        self.pods = context.informers.get("pods")
        self.nodes = context.informers.get("nodes")
        self.slices = context.informers.get(SLICES, indexers={SERVICE: by_service})
        self.controller = Controller(
            "endpointslice-controller",
            self.reconcile,
            workers=context.options.concurrent_syncs,
            synced=(self.services, self.pods, self.nodes, self.slices),
            limiter=service_pods.limiter(),
            max_retries=service_pods.MAX_RETRIES,
        )
        self.tracker = SliceTracker()
        self.hints = TopologyHints(self.nodes.cache)
        self.times = TriggerTimes()
        self._sizes: dict[str, int] = {}
        enqueue = self.controller.enqueue
        self.controller.listen(self.services, enqueue, lambda old, new: enqueue(new), enqueue)
        watch = SliceWatch(self.tracker, MANAGER, self.controller.queue.add_after, LATER)
        self.controller.listen(self.slices, watch.shown, watch.changed, watch.gone)
        self.controller.listen(self.nodes, self._node, self._node_changed, self._node)
        self.members = Members(self.services, self.pods, self._wake)

    async def run(self) -> None:
        await self.controller.run()

    # -- what wakes it -------------------------------------------------------------------------------------------------

    def _wake(self, key: str) -> None:
        self.controller.queue.add_after(key, service_pods.gathering(self._sizes.get(key, 0)))

    def _node(self, node: Obj) -> None:
        """Services that were told where to go may have to be told otherwise."""
        self.hints.nodes_changed()
        self.controller.queue.add(ZONES)

    def _node_changed(self, old: Obj, new: Obj) -> None:
        if _place(old) != _place(new):
            self._node(new)

    # -- what it does --------------------------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> float | None:
        if key == ZONES:
            for overloaded in self.hints.overloaded():
                self.controller.queue.add(overloaded)
            return None
        service = self.services.cache.by_key(key)
        if service is None:
            self.times.forget(key)
            self.tracker.forget(key)
            self.hints.forget(key)
            self._sizes.pop(key, None)
            return None
        if not service_pods.is_managed(service):
            return None
        pods = self.members.of(service)
        self._sizes[key] = len(pods)
        shown = self.slices.cache.by_index(SERVICE, key)
        if self.tracker.stale(key, shown):
            return TIMEOUT
        existing = [
            slice_
            for slice_ in shown
            if manager_of(slice_) == MANAGER and "deletionTimestamp" not in slice_["metadata"]
        ]
        triggered = self.times.next(service, pods)
        try:
            await self._reconcile(service, pods, existing, triggered)
        except Exception as error:
            name = f"{service['metadata']['namespace']}/{service['metadata']['name']}"
            message = f"Error updating Endpoint Slices for Service {name}: {error}"
            self.recorder.event(service, "Warning", "FailedToUpdateEndpointSlices", message)
            raise
        return None

    async def _reconcile(self, service: Obj, pods: list[Obj], existing: list[Obj], triggered: str) -> None:
        families = service["spec"].get("ipFamilies") or ["IPv4"]
        problem: NodeMissing | None = None
        for family in families:
            mine = [slice_ for slice_ in existing if slice_["addressType"] == family]
            changes, missing = self._of_family(service, pods, mine, family)
            problem = problem or missing
            events = self._hint(service, changes, mine, family)
            try:
                await self._write(service, changes, triggered)
            finally:
                for event in events:
                    self.recorder.event(service, *event)
        others = [slice_ for slice_ in existing if slice_["addressType"] not in families]
        for slice_ in others:
            self.hints.forget(key_of(service), slice_["addressType"])
        await self._write(service, Changes(delete=others), "")
        if problem is not None:
            raise problem

    def _of_family(
        self, service: Obj, pods: list[Obj], existing: list[Obj], family: str
    ) -> tuple[Changes, NodeMissing | None]:
        changes = Changes(delete=[slice_ for slice_ in existing if not _owned(slice_, service)])
        by_ports: dict[Any, list[Obj]] = {}
        for slice_ in existing:
            if _owned(slice_, service):
                by_ports.setdefault(port_key(slice_.get("ports")), []).append(slice_)
        desired: dict[Any, tuple[list[Obj], dict[Any, Obj]]] = {}
        problem: NodeMissing | None = None
        unready = service["spec"].get("publishNotReadyAddresses", False)
        for pod in pods:
            if not service_pods.has_endpoint(pod, terminating=True):
                continue
            ports = service_pods.ports_of(pod, service)
            _, endpoints = desired.setdefault(port_key(ports), (ports, {}))
            node = self.nodes.cache.get(pod["spec"].get("nodeName", ""))
            if node is None and not unready:
                problem = NodeMissing(_skipping(pod, service))
                continue
            endpoint = _endpoint(pod, node, service, family)
            if endpoint["addresses"]:
                endpoints[endpoint_key(endpoint)] = endpoint
        labels = _labels(service)

        def outdated(slice_: Obj) -> bool:
            return _others(slice_["metadata"].get("labels")) != _others(labels)

        new = partial(new_slice, service, family, labels=labels)
        for key, (ports, endpoints) in desired.items():
            changes.add(pack(by_ports.pop(key, []), endpoints, labels, outdated, partial(new, ports)))
        for slices in by_ports.values():
            changes.delete += slices
        if len(changes.delete) == len(existing) and not changes.create:
            # a service without endpoints has one empty slice
            if len(changes.delete) == 1 and _is_placeholder(changes.delete[0], labels, service):
                changes.delete.clear()
            else:
                changes.create.append(new([]))
        return changes, problem

    def _hint(self, service: Obj, changes: Changes, existing: list[Obj], family: str) -> list[Event]:
        """From where each endpoint should be used; what is to be told of it."""
        if is_asked_for(service):
            return self.hints.assign(key_of(service), family, changes, existing)
        events = self.hints.end(key_of(service), family)
        hint(changes, existing, service["spec"].get("trafficDistribution"))
        return events

    async def _write(self, service: Obj, changes: Changes, triggered: str) -> None:
        changes.recycle(lambda slice_: _owned(slice_, service))
        meta, key = service["metadata"], key_of(service)
        if "deletionTimestamp" not in meta:
            for slice_ in changes.create:
                try:
                    made = await self.client.create(SLICES, _stamped(slice_, triggered))
                except StatusError as error:
                    if is_namespace_terminating(error):
                        return
                    raise
                self.tracker.wrote(key, made)
        for slice_ in changes.update:
            self.tracker.wrote(key, await self.client.update(SLICES, _stamped(slice_, triggered)))
        for slice_ in changes.delete:
            try:
                await self.client.delete(SLICES, slice_["metadata"]["name"], meta["namespace"])
            except StatusError as error:
                if not is_not_found(error):
                    raise
            self.tracker.deleted(key, slice_)


def _place(node: Obj) -> tuple[Any, ...]:
    """What of a node says where endpoints should be used."""
    return (condition(node, "Ready") or {}).get("status"), (node["metadata"].get("labels") or {}).get(ZONE)


def _owned(slice_: Obj, service: Obj) -> bool:
    return any(
        owner["uid"] == service["metadata"]["uid"] and owner["kind"] == "Service" and owner["apiVersion"] == "v1"
        for owner in slice_["metadata"].get("ownerReferences") or ()
    )


def _skipping(pod: Obj, service: Obj) -> str:
    name = f"{service['metadata']['namespace']}/{service['metadata']['name']}"
    node = pod["spec"].get("nodeName", "")
    return f"skipping Pod {pod['metadata']['name']} for Service {name}: Node {node} Not Found"


def _endpoint(pod: Obj, node: Obj | None, service: Obj, family: str) -> Obj:
    serving, terminating = is_ready(pod), "deletionTimestamp" in pod["metadata"]
    unready = service["spec"].get("publishNotReadyAddresses", False)
    out: Obj = {
        "addresses": service_pods.addresses_of(pod, family),
        "conditions": {
            "ready": unready or (serving and not terminating), "serving": serving, "terminating": terminating,
        },
        "targetRef": service_pods.target_of(pod),
    }  # fmt: skip
    if pod["spec"].get("nodeName"):
        out["nodeName"] = pod["spec"]["nodeName"]
    zone = ((node or {}).get("metadata", {}).get("labels") or {}).get(ZONE)
    if zone:
        out["zone"] = zone
    if hostname := service_pods.hostname_of(pod, service):
        out["hostname"] = hostname
    return out


def _others(labels: dict[str, str] | None) -> dict[str, str]:
    return {name: value for name, value in (labels or {}).items() if name not in RESERVED}


def _labels(service: Obj) -> dict[str, str]:
    headless = {HEADLESS: ""} if service_pods.is_headless(service) else {}
    mine = {**headless, SERVICE_NAME: service["metadata"]["name"], MANAGED_BY: MANAGER}
    return {**_others(service["metadata"].get("labels")), **mine}


def _is_placeholder(slice_: Obj, labels: dict[str, str], service: Obj) -> bool:
    same = slice_["metadata"].get("labels") == labels and _owned(slice_, service)
    return same and not slice_.get("endpoints") and not slice_.get("ports")


def _stamped(slice_: Obj, triggered: str) -> Obj:
    meta = slice_["metadata"]
    annotations = {k: v for k, v in (meta.get("annotations") or {}).items() if k != TRIGGER_TIME}
    if triggered:
        annotations[TRIGGER_TIME] = triggered
    rest = {name: value for name, value in meta.items() if name != "annotations"}
    return {**slice_, "metadata": {**rest, "annotations": annotations} if annotations else rest}
