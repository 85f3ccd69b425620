"""Addresses for Services of type LoadBalancer, from a range that leads to the cluster's nodes.

What a cloud's controller does, without a cloud: the address is in the Service's status and nowhere else, and every node's
proxy answers for it.

Source: k8s.io/cloud-provider/controllers/service/controller.go, service/helpers/helper.go (events, finalizer)
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from sampan.client import Client, Controller, EventRecorder, Informers, StatusError, key_of
from sampan.client.errors import is_not_found

Obj = dict[str, Any]
FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
NAME = "service-lb-controller"
RETRY_SECONDS = 30.0


class NoAddress(Exception):
    """None is left, or the one that was asked for is not to be had."""


class LoadBalancers:
    """`client` acts as `system:serviceaccount:kube-system:service-controller`."""

    def __init__(self, client: Client, informers: Informers, recorder: EventRecorder, pool: IPv4Network) -> None:
        self._client = client
        self._recorder = recorder
        self._pool = pool
        self._services = informers.get("services")
        # one worker: two Services must not be given the same address
        self._controller = Controller(NAME, self.reconcile, synced=(self._services,))
        self._given: dict[str, IPv4Address] = {}
        enqueue = self._controller.enqueue
        self._services.add_handler(enqueue, lambda old, new: enqueue(new), enqueue)

    async def run(self) -> None:
        """Until cancelled."""
        await self._controller.run()

    async def reconcile(self, key: str) -> float | None:
        service = self._services.cache.by_key(key)
        if service is None:
            self._given.pop(key, None)
            return None
        try:
            if is_ours(service) and "deletionTimestamp" not in service["metadata"]:
                return await self._ensure(key, service)
            elif FINALIZER in (service["metadata"].get("finalizers") or ()):
                await self._release(key, service)
        except StatusError as error:
            if not is_not_found(error):
                raise
        return None

    async def _ensure(self, key: str, service: Obj) -> float | None:
        shown = address_of(service)
        others = {
            address for each in self._services.cache.list() if key_of(each) != key and (address := address_of(each))
        }
        others |= {address for other, address in self._given.items() if other != key}
        try:
            wanted = choose(self._pool, service, shown, others)
        except NoAddress as error:
            self._recorder.event(
                service,
                "Warning",
                "SyncLoadBalancerFailed",
                f"Error syncing load balancer: failed to ensure load balancer: {error}",
            )
            return RETRY_SECONDS
        self._given[key] = wanted
        finalizers = service["metadata"].get("finalizers") or []
        if wanted == shown and FINALIZER in finalizers:
            return None
        self._recorder.event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
        await self._patch(service, [*finalizers, *([] if FINALIZER in finalizers else [FINALIZER])],
                          {"ingress": [{"ip": str(wanted), "ipMode": "VIP"}]})  # fmt: skip
        self._recorder.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")
        return None

    async def _release(self, key: str, service: Obj) -> None:
        self._recorder.event(service, "Normal", "DeletingLoadBalancer", "Deleting load balancer")
        rest = [each for each in service["metadata"]["finalizers"] if each != FINALIZER]
        await self._patch(service, rest, None)
        self._given.pop(key, None)
        self._recorder.event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")

    async def _patch(self, service: Obj, finalizers: list[str], balancer: Obj | None) -> None:
        meta = service["metadata"]
        patch = {
            "metadata": {"finalizers": finalizers or None, "resourceVersion": meta["resourceVersion"]},
            "status": {"loadBalancer": balancer},
        }
        await self._client.patch("services", meta["name"], patch, meta["namespace"], type="merge", subresource="status")


def is_ours(service: Obj) -> bool:
    spec = service["spec"]
    return spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass")


def address_of(service: Obj) -> IPv4Address | None:
    """That it has been given."""
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return next((IPv4Address(each["ip"]) for each in ingress if ":" not in each.get("ip", ":")), None)


def choose(pool: IPv4Network, service: Obj, shown: IPv4Address | None, others: Iterable[IPv4Address]) -> IPv4Address:
    """What it has, if it may keep it; what it asks for (`loadBalancerIP`); or the first that is free. Raises NoAddress."""
    taken = set(others)
    asked = service["spec"].get("loadBalancerIP")
    if asked and ":" not in asked:
        address = IPv4Address(asked)
        if address not in pool or address in taken:
            raise NoAddress(f"{asked} is not free in {pool}")
        return address
    if shown is not None and shown in pool and shown not in taken:
        return shown
    for address in pool.hosts():
        if address not in taken:
            return address
    raise NoAddress(f"no address is left in {pool}")
