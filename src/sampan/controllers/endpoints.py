"""endpoints-controller: the legacy Endpoints of each service that has a selector, of at most 1,000 addresses.

Source: kubernetes/pkg/controller/endpoint/endpoints_controller.go, pkg/api/v1/endpoints/util.go (RepackSubsets)
"""

from __future__ import annotations

import ipaddress
import math
from typing import Any

from sampan.client import Controller, StatusError, key_of, split_key
from sampan.client.errors import is_forbidden, is_namespace_terminating, is_not_found
from sampan.controllers import service_pods
from sampan.controllers.context import Context
from sampan.controllers.echoes import Echoes
from sampan.controllers.pods import is_ready
from sampan.controllers.service_pods import HEADLESS, TRIGGER_TIME, Members, TriggerTimes

Obj = dict[str, Any]
MAX_ADDRESSES = 1000
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MANAGED_BY, MANAGER = "endpoints.kubernetes.io/managed-by", "endpoint-controller"
LEADER = "control-plane.alpha.kubernetes.io/leader"
_READY, _UNREADY = "addresses", "notReadyAddresses"


class Endpoints:
    def __init__(self, context: Context) -> None:
        self.client = context.clients("endpoint-controller")
        self.recorder = context.recorders("endpoint-controller", self.client)
        self.services = context.informers.get("services")
        self.pods = context.informers.get("pods")
        self.endpoints = context.informers.get("endpoints")
        self.controller = Controller(
            "endpoints-controller",
            self.reconcile,
            workers=context.options.concurrent_syncs,
            synced=(self.services, self.pods, self.endpoints),
            limiter=service_pods.limiter(),
            max_retries=service_pods.MAX_RETRIES,
        )
        self.echoes = Echoes()
        self.times = TriggerTimes()
        self._sizes: dict[str, int] = {}
        #: made and not yet seen; is it waited for?
        self._made: dict[str, bool] = {}
        enqueue = self.controller.enqueue
        self.services.add_handler(enqueue, lambda old, new: enqueue(new), enqueue)
        self.endpoints.add_handler(self._added, self._updated, self._deleted)
        self.members = Members(self.services, self.pods, self._wake)

    async def run(self) -> None:
        """Endpoints whose service went while nobody looked go too."""
        await self.endpoints.wait_synced()
        for found in self.endpoints.cache.list():
            if LEADER not in (found["metadata"].get("annotations") or {}):
                self.controller.enqueue(found)
        await self.controller.run()

    def _wake(self, key: str) -> None:
        self.controller.queue.add_after(key, service_pods.gathering(self._sizes.get(key, 0)))

    def _added(self, endpoints: Obj) -> None:
        if self._made.pop(key_of(endpoints), False):
            self.controller.enqueue(endpoints)

    def _updated(self, old: Obj, new: Obj) -> None:
        # those of no service are whoever's who made them
        if not self.echoes.is_own(new) and self.services.cache.by_key(key_of(new)) is not None:
            self.controller.enqueue(new)

    def _deleted(self, endpoints: Obj) -> None:
        self.echoes.forget(endpoints)
        self._made.pop(key_of(endpoints), None)
        self.controller.enqueue(endpoints)

    async def reconcile(self, key: str) -> float | None:
        service = self.services.cache.by_key(key)
        current = self.endpoints.cache.by_key(key)
        if service is None:
            self.times.forget(key)
            self._sizes.pop(key, None)
            if self._made.pop(key, None) is not None or current is not None:
                await self._delete(key)
            return None
        if not service_pods.is_managed(service):
            return None
        pods = self.members.of(service)
        self._sizes[key] = len(pods)
        if current is None and key in self._made:
            self._made[key] = True
            return None
        if current is not None and self.echoes.behind(current):
            return None
        triggered = self.times.next(service, pods)
        wanted = subsets(service, pods)
        if current is not None and _is_right(current, service, wanted):
            return None
        await self._write(service, current, wanted, triggered)
        return None

    async def _delete(self, key: str) -> None:
        namespace, name = split_key(key)
        try:
            await self.client.delete("endpoints", name, namespace)
        except StatusError as error:
            if not is_not_found(error):
                raise

    async def _write(self, service: Obj, current: Obj | None, wanted: list[Obj], triggered: str) -> None:
        meta = service["metadata"]
        base: Obj = current["metadata"] if current is not None else {k: meta[k] for k in ("name", "namespace")}
        annotations = {**(base.get("annotations") or {})}
        for name in (TRIGGER_TIME, OVER_CAPACITY):
            annotations.pop(name, None)
        if triggered:
            annotations[TRIGGER_TIME] = triggered
        kept = truncated(wanted)
        if kept is not wanted:
            annotations[OVER_CAPACITY] = "truncated"
        headless = {HEADLESS: ""} if service_pods.is_headless(service) else {}
        labels = {k: v for k, v in (meta.get("labels") or {}).items() if k != HEADLESS}
        new = {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {**base, "labels": {**labels, **headless, MANAGED_BY: MANAGER}, "annotations": annotations},
            "subsets": kept,
        }
        try:
            if current is None:
                # noted before it is made, since it may be seen before the answer comes
                self._made[key_of(service)] = False
                await self.client.create("endpoints", new)
            else:
                self.echoes.wrote(await self.client.update("endpoints", new))
        except StatusError as error:
            self._made.pop(key_of(service), None)
            if current is None and is_forbidden(error) and is_namespace_terminating(error):
                return
            where = f"{meta['namespace']}/{meta['name']}"
            if current is None:
                message = f"Failed to create endpoint for service {where}: {error}"
                self.recorder.event(new, "Warning", "FailedToCreateEndpoint", message)
            else:
                message = f"Failed to update endpoint {where}: {error}"
                self.recorder.event(new, "Warning", "FailedToUpdateEndpoint", message)
            raise


def _is_right(current: Obj, service: Obj, wanted: list[Obj]) -> bool:
    meta = current["metadata"]
    labels = {k: v for k, v in (meta.get("labels") or {}).items() if k not in (HEADLESS, MANAGED_BY)}
    theirs = {k: v for k, v in (service["metadata"].get("labels") or {}).items() if k not in (HEADLESS, MANAGED_BY)}
    managed = (meta.get("labels") or {}).get(MANAGED_BY) == MANAGER
    there = current.get("subsets") or []
    kept = truncated(wanted)
    marked = OVER_CAPACITY in (meta.get("annotations") or {})
    return managed and labels == theirs and marked == (kept is not wanted) and there == kept


def subsets(service: Obj, pods: list[Obj]) -> list[Obj]:
    """Addresses that have the same ports together, in an order of their own so that the same is equal.

    DEVIATION: subsets of Endpoints are ordered by their ports, upstream by a hash of their Go representation.
    """
    family = (service["spec"].get("ipFamilies") or ["IPv4"])[0]
    unready = service["spec"].get("publishNotReadyAddresses", False)
    no_ports = not service["spec"].get("ports")
    found: dict[tuple[Any, ...], Obj] = {}
    for pod in pods:
        if not service_pods.has_endpoint(pod, terminating=unready):
            continue
        addresses = service_pods.addresses_of(pod, family)
        ports = service_pods.ports_of(pod, service)
        if not addresses or not (ports or (no_ports and service_pods.is_headless(service))):
            continue
        ports.sort(key=_port_order)
        subset = found.setdefault(tuple(map(_port_order, ports)), {"ports": ports} if ports else {})
        kind = _READY if unready or is_ready(pod) else _UNREADY
        subset.setdefault(kind, []).append(_address(pod, service, addresses[0]))
    for subset in found.values():
        for kind in (_READY, _UNREADY):
            if kind in subset:
                subset[kind].sort(key=_address_order)
    return [found[key] for key in sorted(found)]


def _address(pod: Obj, service: Obj, address: str) -> Obj:
    out: Obj = {"ip": address, "targetRef": service_pods.target_of(pod)}
    if pod["spec"].get("nodeName"):
        out["nodeName"] = pod["spec"]["nodeName"]
    if hostname := service_pods.hostname_of(pod, service):
        out["hostname"] = hostname
    return out


def _port_order(port: Obj) -> tuple[Any, ...]:
    return port["name"], port["port"], port["protocol"], port.get("appProtocol", "")


def _address_order(address: Obj) -> tuple[Any, ...]:
    return ipaddress.ip_address(address["ip"]).packed, address["targetRef"]["uid"]


def truncated(wanted: list[Obj]) -> list[Obj]:
    """At most 1,000 addresses, ready ones first, of each subset in proportion; `wanted` itself where it is not more."""
    counts = {kind: sum(len(subset.get(kind, ())) for subset in wanted) for kind in (_READY, _UNREADY)}
    if sum(counts.values()) <= MAX_ADDRESSES:
        return wanted
    kind = _READY if counts[_READY] > MAX_ADDRESSES else _UNREADY
    most = MAX_ADDRESSES if kind == _READY else MAX_ADDRESSES - counts[_READY]
    left, out = most, []
    for subset in wanted:
        share = min(left, math.ceil(len(subset.get(kind, ())) / counts[kind] * most))
        cut = {**subset, kind: subset.get(kind, [])[:share]}
        left -= len(cut[kind])
        dropped = (_UNREADY,) if kind == _READY else ()
        out.append({name: value for name, value in cut.items() if name not in dropped and value})
    return [subset for subset in out if _READY in subset or _UNREADY in subset]
