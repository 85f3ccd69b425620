"""Services of type LoadBalancer get an address, keep it, and give it back."""

from __future__ import annotations

import asyncio
import time
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from sampan.api.user import User
from sampan.client import Client, EventRecorder, Informers
from sampan.network.proxy.balancers import FINALIZER, LoadBalancers, NoAddress, choose
from sampan.testing.inprocess import InProcessTransport
from tests.conftest import Local

Obj = dict[str, Any]
ADMIN = User("admin", ("system:masters", "system:authenticated"))
ACCOUNT = User("system:serviceaccount:kube-system:service-controller",
               ("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"))  # fmt: skip
POOL = IPv4Network("203.0.113.0/29")


def body(name: str, **spec: Any) -> Obj:
    return {"metadata": {"name": name}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], **spec}}


def test_which_address() -> None:
    first, second = IPv4Address("203.0.113.1"), IPv4Address("203.0.113.2")
    assert choose(POOL, body("x"), None, []) == first
    assert choose(POOL, body("x"), None, [first]) == second
    assert choose(POOL, body("x"), second, []) == second
    assert choose(POOL, body("x"), IPv4Address("9.9.9.9"), []) == first
    assert choose(POOL, body("x", loadBalancerIP="203.0.113.5"), second, []) == IPv4Address("203.0.113.5")
    for wrong in (body("x", loadBalancerIP="9.9.9.9"), body("x", loadBalancerIP="203.0.113.1")):
        with pytest.raises(NoAddress, match=r"is not free in 203.0.113.0/29"):
            choose(POOL, wrong, None, [first])
    with pytest.raises(NoAddress, match="no address is left"):
        choose(POOL, body("x"), None, POOL.hosts())


@pytest.mark.slow
async def test_the_life_of_a_load_balancer(api: Local) -> None:
    admin = Client(InProcessTransport(api.server.handler, ADMIN), user_agent="test")
    client = Client(InProcessTransport(api.server.handler, ACCOUNT), user_agent="service-controller")
    recorder = EventRecorder(client, "service-controller", clock=time.time)
    recorder.start()
    async with Informers(client) as informers, asyncio.timeout(10), await admin.watch("services", "default") as watch:
        balancers = LoadBalancers(client, informers, recorder, POOL)
        informers.start()
        running = asyncio.create_task(balancers.run())

        async def shown(name: str, true: Any) -> Obj:
            async for event in watch:
                if event.object["metadata"]["name"] == name and true(event):
                    return event.object
            raise AssertionError("the watch ended")

        for name in ("one", "two"):
            await admin.create("services", body(name), "default")
        await admin.create("services", body("theirs", loadBalancerClass="example.com/other"), "default")
        for name, ip in (("one", "203.0.113.1"), ("two", "203.0.113.2")):
            made = await shown(name, lambda event: event.object["status"]["loadBalancer"].get("ingress"))
            assert made["status"]["loadBalancer"]["ingress"] == [{"ip": ip, "ipMode": "VIP"}]
            assert made["metadata"]["finalizers"] == [FINALIZER]
        await admin.delete("services", "one", "default")
        await shown("one", lambda event: event.type == "DELETED")
        await admin.patch("services", "two", {"spec": {"type": "ClusterIP"}}, "default", type="merge")
        plain = await shown("two", lambda event: "finalizers" not in event.object["metadata"])
        assert plain["status"]["loadBalancer"] == {}
        await admin.create("services", body("three"), "default")
        await shown("three", lambda event: event.object["status"]["loadBalancer"].get("ingress"))
        assert (await admin.get("services", "theirs", "default"))["status"] == {"loadBalancer": {}}
        running.cancel()
        await recorder.aclose()
        found = (await admin.list("events", "default"))["items"]
        about = [each["reason"] for each in found if each["involvedObject"]["name"] == "one"]
        assert about == ["EnsuringLoadBalancer", "EnsuredLoadBalancer", "DeletingLoadBalancer", "DeletedLoadBalancer"]
