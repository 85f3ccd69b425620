"""node-ipam-controller: every node gets a range of pod addresses, each its own.

Source: kubernetes/pkg/controller/nodeipam/ipam/range_allocator.go
"""

from __future__ import annotations

import ipaddress
from typing import Any

from sampan.client import Controller
from sampan.controllers.context import Context
from sampan.controllers.nodes import reference_to

Obj = dict[str, Any]


class NodeIpam:
    def __init__(self, context: Context) -> None:
        options = context.options
        self.client = context.clients("node-controller")
        self.recorder = context.recorders("cidrAllocator", self.client)
        self.nodes = context.informers.get("nodes")
        network = ipaddress.ip_network(options.cluster_cidr)
        self.size = max(options.node_cidr_mask_size, network.prefixlen)
        self.network = network
        #: what is given to services is not given to nodes
        self.services = [ipaddress.ip_network(text) for text in options.service_cluster_ip_range.split(",") if text]
        #: range to the node that has it
        self.taken: dict[str, str] = {}
        #: how many of the ranges to give are in `taken`
        self.given = 0
        self.next = 0
        self.controller = Controller("node-ipam-controller", self.reconcile, synced=(self.nodes,))
        self.nodes.add_handler(self._seen, lambda old, new: self._seen(new), self._gone)

    async def run(self) -> None:
        await self.nodes.wait_synced()
        await self.controller.run()

    def _seen(self, node: Obj) -> None:
        for cidr in _ranges(node):
            self._take(cidr, node["metadata"]["name"])
        if not _ranges(node):
            self.controller.enqueue(node)

    def _gone(self, node: Obj) -> None:
        for cidr in _ranges(node):
            if self.taken.get(cidr) == node["metadata"]["name"]:
                self._give_back(cidr)

    def _take(self, cidr: str, name: str) -> None:
        self.given += cidr not in self.taken and self._ours(cidr)
        self.taken[cidr] = name

    def _give_back(self, cidr: str) -> None:
        if self.taken.pop(cidr, None) is not None:
            self.given -= self._ours(cidr)

    def _ours(self, cidr: str) -> bool:
        """Is it one of those that are given here? Nodes may come with others."""
        try:
            found = ipaddress.ip_network(cidr)
        except ValueError:
            return False
        same = found.version == self.network.version and found.prefixlen == self.size
        return same and found.network_address in self.network

    async def reconcile(self, name: str) -> float | None:
        node = self.nodes.cache.get(name)
        if node is None or _ranges(node) or node["metadata"].get("deletionTimestamp"):
            return None
        cidr = self._free()
        if cidr is None:
            about, message = reference_to(name, node["metadata"]["uid"]), f"Node {name} status is now: CIDRNotAvailable"
            self.recorder.event(about, "Normal", "CIDRNotAvailable", message)
            return 60.0
        self._take(cidr, name)
        try:
            await self.client.patch("nodes", name, {"spec": {"podCIDR": cidr, "podCIDRs": [cidr]}}, type="strategic")
        except BaseException:
            # whether it was written we shall see
            self._give_back(cidr)
            raise
        return None

    def _free(self) -> str | None:
        """The next range that nobody has, round and round."""
        count = 1 << (self.size - self.network.prefixlen)
        if self.given >= count:
            return None
        step = 1 << (self.network.max_prefixlen - self.size)
        for offset in range(count):
            index = (self.next + offset) % count
            cidr = f"{self.network.network_address + index * step}/{self.size}"
            if cidr not in self.taken and not self._overlaps(cidr):
                self.next = (index + 1) % count
                return cidr
        return None

    def _overlaps(self, cidr: str) -> bool:
        """With what services have, or with a range of another size than ours that somebody else chose."""
        ours = ipaddress.ip_network(cidr)
        chosen = (
            ipaddress.ip_network(taken, strict=False) for taken in self.taken if not taken.endswith(f"/{self.size}")
        )
        return any(ours.version == other.version and ours.overlaps(other) for other in (*self.services, *chosen))


def _ranges(node: Obj) -> list[str]:
    spec = node.get("spec") or {}
    one = [spec["podCIDR"]] if spec.get("podCIDR") else []
    return spec.get("podCIDRs") or one
