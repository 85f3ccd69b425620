"""Routes to the pods of other nodes, kept as the Nodes say: in a node, and on the host that has nodes of its own.

A Node's pod range is reached through its InternalIP. The host reaches Services through one node as well, the first that is
ready, whose proxy does the rest.

Source: kubernetes-sigs/kind images/kindnetd/cmd/kindnetd/routes.go
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from sampan.client import Informers
from sampan.network.namespaces import inside
from sampan.network.netlink import Routing
from sampan.network.nodes import EVERYWHERE, set_routes

log = logging.getLogger("sampan.network.routes")
Obj = dict[str, Any]
Ways = Mapping[IPv4Network, IPv4Address]
RETRY_SECONDS = 1.0


class Routes:
    """`apply(ways)` sets them, and blocks; `skip`: the node that this is; `services`: ranges that lead through one node
    (on a host)."""

    def __init__(
        self, informers: Informers, apply: Callable[[Ways], None], *, skip: str = "",
        services: Collection[IPv4Network] = (),
    ) -> None:  # fmt: skip
        self._nodes = informers.get("nodes")
        self._apply = apply
        self._skip = skip
        self._services = services
        self._changed = asyncio.Event()
        self._nodes.add_handler(self._wake, self._updated, self._wake)

    def _wake(self, _: Obj) -> None:
        self._changed.set()

    def _updated(self, old: Obj, new: Obj) -> None:
        if _facts(old) != _facts(new):  # and not for every heartbeat
            self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        await self._nodes.wait_synced()
        applied: Ways | None = None
        while True:
            self._changed.clear()
            wanted = ways(self._nodes.cache.list(), skip=self._skip, services=self._services)
            if wanted != applied:
                try:
                    await asyncio.to_thread(self._apply, wanted)
                    applied = wanted
                except OSError as error:
                    log.error("cannot set routes: %s", error)
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
            await self._changed.wait()


def in_node(cluster: IPv4Network, namespace: Path | None = None) -> Callable[[Ways], None]:
    """What sets the routes of a node, over its way out; `cluster`: range of all pods. None: of the one we are in."""

    def apply(wanted: Ways) -> None:
        with inside(namespace), Routing() as routing:
            index = next((each.index for each in routing.routes() if each.to == EVERYWHERE and each.index), 0)
            if index:
                set_routes(routing, index, wanted, (cluster,))

    return apply


def ways(
    nodes: Iterable[Obj], *, skip: str = "", services: Collection[IPv4Network] = ()
) -> dict[IPv4Network, IPv4Address]:
    """Destinations and the nodes' addresses that lead there."""
    out: dict[IPv4Network, IPv4Address] = {}
    known = sorted((_facts(node) for node in nodes), key=lambda each: (not each[3], each[0]))
    for name, address, cidr, _ in known:
        if name != skip and address and cidr:
            out[IPv4Network(cidr)] = IPv4Address(address)
    through = next((address for _, address, _, _ in known if address), "")
    if through:
        out.update(dict.fromkeys(services, IPv4Address(through)))
    return out


def _facts(node: Obj) -> tuple[str, str, str, bool]:
    """Name, address, pod range (the IPv4 one), whether it is ready."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    cidrs = spec.get("podCIDRs") or [spec.get("podCIDR") or ""]
    address = next((each["address"] for each in status.get("addresses") or ()
                    if each["type"] == "InternalIP" and ":" not in each["address"]), "")  # fmt: skip
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ())
    return node["metadata"]["name"], address, next((each for each in cidrs if ":" not in each), ""), ready
