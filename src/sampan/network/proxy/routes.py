"""Routes to the pods of other nodes, kept as the Nodes say: in a node, and on the host that has nodes of its own.

A Node's pod range is reached through its InternalIP: by a route where that is on our wire, else by VXLAN. The host reaches Services through one node as well, the first that is
ready, whose proxy does the rest; a load balancer whose traffic stays on the node (`externalTrafficPolicy: Local`) through
one that has an endpoint, as a cloud's would find by its health checks.

Source: kubernetes-sigs/kind images/kindnetd/cmd/kindnetd/routes.go; flannel-io/flannel pkg/backend/vxlan (DirectRouting)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from sampan.api.hollow import is_hollow
from sampan.api.selectors import selector_from_map
from sampan.client import Informer, Informers
from sampan.network.namespaces import inside
from sampan.network.netlink import Routing
from sampan.network.nodes import EVERYWHERE, set_routes
from sampan.network.overlay import set_overlay
from sampan.network.proxy.model import SERVICE_NAME

log = logging.getLogger("sampan.network.routes")
Obj = dict[str, Any]
Ways = Mapping[IPv4Network, IPv4Address]
ETHERNET = 1500
RETRY_SECONDS = 1.0
#: between two looks whether all is still there
LOOK_SECONDS = 30.0
#: what a simulated node is labelled with: its address leads nowhere
SLICES, SERVICE = "endpointslices.discovery.k8s.io", "service"


def by_service(slice_: Obj) -> Iterable[str]:
    """The key of the Service that a slice is of."""
    meta = slice_["metadata"]
    name = (meta.get("labels") or {}).get(SERVICE_NAME)
    return (f"{meta['namespace']}/{name}",) if name else ()


class Routes:
    """`apply(ways)` sets them, again and again, and blocks. On a host, `services`: ranges that lead through one node; `on`:
    where its nodes are, since there can be others."""

    def __init__(
        self, informers: Informers, apply: Callable[[Ways], None], *, services: Collection[IPv4Network] = (),
        on: IPv4Network | None = None,
    ) -> None:  # fmt: skip
        self._nodes = informers.get("nodes")
        self._objects: Informer | None = None
        self._slices: Informer | None = None
        self._apply = apply
        self._services = services
        self._on = on
        self._changed = asyncio.Event()
        self._nodes.add_handler(self._wake, self._updated, self._wake)
        if services:
            self._objects = informers.get("services")
            self._slices = informers.get(SLICES)  # which others look at too: no index of ours
            self._objects.add_handler(self._service, self._service_changed, self._service)
            self._slices.add_handler(self._slice, lambda _, new: self._slice(new), self._slice)

    def _wake(self, _: Obj) -> None:
        self._changed.set()

    def _updated(self, old: Obj, new: Obj) -> None:
        if _facts(old) != _facts(new):  # and not for every heartbeat
            self._changed.set()

    def _service(self, service: Obj) -> None:
        if _stays_local(service):
            self._changed.set()

    def _service_changed(self, old: Obj, new: Obj) -> None:
        self._service(old)
        self._service(new)

    def _slice(self, slice_: Obj) -> None:
        for key in by_service(slice_):
            service = self._objects.cache.by_key(key) if self._objects else None
            if service is not None and _stays_local(service):
                self._changed.set()

    def _wanted(self) -> Ways:
        real = [node for node in self._nodes.cache.list() if not is_hollow(node["metadata"].get("labels"))]
        nodes = [node for node in real if self._on is None or _is_on(node, self._on)]
        out = ways(nodes, services=self._services)
        if self._objects is not None and self._slices is not None:
            for service in self._objects.cache.list():
                if _stays_local(service):
                    meta = service["metadata"]
                    slices = self._slices.cache.list(meta["namespace"], selector_from_map({SERVICE_NAME: meta["name"]}))
                    out = {**out, **balancer_ways(service, slices, nodes)}
        return out

    async def run(self) -> None:
        """Until cancelled."""
        for informer in (self._nodes, self._objects, self._slices):
            if informer is not None:
                await informer.wait_synced()
        applied: Ways | None = None
        while True:
            self._changed.clear()
            wanted = self._wanted()
            if wanted != applied:
                try:
                    await asyncio.to_thread(self._apply, wanted)
                    applied = wanted
                except OSError as error:
                    log.error("cannot set routes: %s", error)
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                applied = None


def in_node(
    cluster: IPv4Network, namespace: Path | None = None, overlay: str = "auto"
) -> Callable[[Ways], None]:  # fmt: skip
    """What sets the routes of a node; it is the one whose address is here. `cluster`: range of all pods; `namespace` None:
    the one we are in; `overlay`: `routes` (to those on our wire and to no others), `vxlan` (to all) or `auto`."""

    def apply(wanted: Ways) -> None:
        with inside(namespace), Routing() as routing:
            addresses = routing.addresses()
            at = {each.interface.ip: each.index for each in addresses}
            own = next((to for to, by in wanted.items() if by in at), None)
            outside = next((each.index for each in routing.routes() if each.to == EVERYWHERE and each.index), 0)
            index = outside if own is None else at[wanted[own]]
            near = [each.interface.network for each in addresses if each.index == index]
            others = {to: by for to, by in wanted.items() if by not in at}
            direct = {to: by for to, by in others.items() if overlay != "vxlan" and any(by in each for each in near)}
            if index:
                set_routes(routing, index, direct, (cluster,))
            far = {to: by for to, by in others.items() if to not in direct} if overlay != "routes" else {}
            takes = next((each.mtu for each in routing.links() if each.index == index), ETHERNET) if far else ETHERNET
            set_overlay(routing, own, far, takes=takes)

    return apply


def ways(nodes: Iterable[Obj], *, services: Collection[IPv4Network] = ()) -> dict[IPv4Network, IPv4Address]:
    """Destinations and the nodes' addresses that lead there."""
    out: dict[IPv4Network, IPv4Address] = {}
    known = sorted((_facts(node) for node in nodes), key=lambda each: (not each[3], each[0]))
    for _, address, cidr, _ in known:
        if address and cidr:
            out[IPv4Network(cidr)] = IPv4Address(address)
    through = next((address for _, address, _, _ in known if address), "")
    if through:
        out.update(dict.fromkeys(services, IPv4Address(through)))
    return out


def _is_on(node: Obj, network: IPv4Network) -> bool:
    address = _facts(node)[1]
    return bool(address) and IPv4Address(address) in network


def _stays_local(service: Obj) -> bool:
    spec = service["spec"]
    return bool(spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local")


def balancer_ways(service: Obj, slices: Iterable[Obj], nodes: Iterable[Obj]) -> dict[IPv4Network, IPv4Address]:
    """Its addresses, through the first node that has an endpoint; nothing if none has."""
    here = {
        endpoint.get("nodeName")
        for slice_ in slices
        for endpoint in slice_.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False
    }
    found = sorted((name, address) for name, address, _, _ in map(_facts, nodes) if name in here and address)
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    ips = [each["ip"] for each in ingress if ":" not in each.get("ip", ":")]
    return {IPv4Network(ip): IPv4Address(found[0][1]) for ip in ips} if found else {}


def _facts(node: Obj) -> tuple[str, str, str, bool]:
    """Name, address, pod range (the IPv4 ones), whether it is ready. What is none is empty."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    cidrs = spec.get("podCIDRs") or [spec.get("podCIDR") or ""]
    addresses = [each["address"] for each in status.get("addresses") or () if each["type"] == "InternalIP"]
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ())
    address = next((each for each in addresses if _is(IPv4Address, each)), "")
    return node["metadata"]["name"], address, next((each for each in cidrs if _is(IPv4Network, each)), ""), ready


def _is(kind: Callable[[str], object], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True
