"""service-cidr-controller: ranges of addresses of services are ready, and stay, although deleted, while addresses need them.

Source: kubernetes/pkg/controller/servicecidrs/servicecidrs_controller.go, pkg/util/..servicecidr (ContainsPrefix)
"""

from __future__ import annotations

import ipaddress
from typing import Any

from sampan.api.times import format_time, parse_time
from sampan.client import Controller, StatusError
from sampan.client.errors import is_not_found
from sampan.controllers.context import Context
from sampan.controllers.pods import condition_of

Obj = dict[str, Any]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
RANGES, ADDRESSES = "servicecidrs.networking.k8s.io", "ipaddresses.networking.k8s.io"
FINALIZER = "networking.k8s.io/service-cidr-finalizer"
READY = "Kubernetes Service CIDR is ready"
BLOCKED = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"
MANAGED_BY, ALLOCATOR = "ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io"
#: until all who give out addresses know that it is on its way out
GRACE_SECONDS = 10.0


class ServiceCidrs:
    def __init__(self, context: Context) -> None:
        self.clock = context.clock
        self.client = context.clients("service-cidrs-controller")
        self.recorder = context.recorders("service-cidr-controller", self.client)
        self.ranges = context.informers.get(RANGES)
        self.addresses = context.informers.get(ADDRESSES)
        self.controller = Controller(
            "service-cidr-controller", self.reconcile, workers=5, synced=(self.ranges, self.addresses)
        )
        self.ranges.add_handler(self._range, lambda old, new: self._range(new), self._range)
        self.addresses.add_handler(None, None, self._address)

    async def run(self) -> None:
        await self.controller.run()

    def _range(self, range_: Obj) -> None:
        """And those that overlap it, which may take its place or no longer."""
        mine = networks(range_)
        for other in (range_, *self.ranges.cache.list()):
            if other is range_ or any(a.version == b.version and a.overlaps(b) for a in mine for b in networks(other)):
                self.controller.enqueue(other)

    def _address(self, address: Obj) -> None:
        ip = ipaddress.ip_address(address["metadata"]["name"])
        for range_ in self._containing(ip):
            self.controller.enqueue(range_)

    def _containing(self, ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[Obj]:
        return [range_ for range_ in self.ranges.cache.list() if any(ip in network for network in networks(range_))]

    async def reconcile(self, key: str) -> float | None:
        range_ = self.ranges.cache.by_key(key)
        if range_ is None:
            return None
        meta = range_["metadata"]
        there = meta.get("finalizers") or []
        if "deletionTimestamp" in meta:
            if not self._may_go(range_):
                await self._say(range_, "False", "Terminating", BLOCKED)
                return None
            left = parse_time(meta["deletionTimestamp"]) + GRACE_SECONDS - self.clock()
            if left > 0:
                return left
            if FINALIZER in there:
                await self._finalizers(key, {"$deleteFromPrimitiveList/finalizers": [FINALIZER]})
            return None
        if FINALIZER not in there:
            await self._finalizers(key, {"finalizers": [FINALIZER]})
        try:
            await self._say(range_, "True", "", READY)
        except StatusError:
            message = "The ServiceCIDR Status can not be set to Ready=True"
            self.recorder.event(range_, "Warning", "KubernetesServiceCIDRError", message)
            raise
        return None

    async def _finalizers(self, name: str, meta: Obj) -> None:
        try:
            await self.client.patch(RANGES, name, {"metadata": meta}, type="strategic")
        except StatusError as error:
            if not is_not_found(error):
                raise

    async def _say(self, range_: Obj, status: str, reason: str, message: str) -> None:
        known = condition_of(range_, "Ready")
        if known is not None and known["status"] == status:
            return
        condition = {
            "type": "Ready", "status": status, "reason": reason, "message": message,
            "lastTransitionTime": format_time(self.clock()),
        }  # fmt: skip
        body = {"status": {"conditions": [condition]}}
        await self.client.patch(RANGES, range_["metadata"]["name"], body, type="strategic", subresource="status")

    def _may_go(self, range_: Obj) -> bool:
        """Another range has all of it, or no address is in it alone."""
        name = range_["metadata"]["name"]
        others = [item for item in self.ranges.cache.list() if item["metadata"]["name"] != name]
        if all(any(_contains(other, network) for other in others) for network in networks(range_)):
            return True
        for address in self.addresses.cache.list():
            if (address["metadata"].get("labels") or {}).get(MANAGED_BY) == ALLOCATOR:
                ip = ipaddress.ip_address(address["metadata"]["name"])
                if [item["metadata"]["name"] for item in self._containing(ip)] == [name]:
                    return False
        return True


def networks(range_: Obj) -> list[Network]:
    return [ipaddress.ip_network(text) for text in range_["spec"].get("cidrs") or ()]


def _contains(range_: Obj, network: Network) -> bool:
    return any(
        mine.version == network.version and mine.prefixlen <= network.prefixlen and network.network_address in mine
        for mine in networks(range_)
    )
