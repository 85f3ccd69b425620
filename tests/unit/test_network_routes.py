"""The host's routes, as Nodes, Services and their endpoints come and go."""

from __future__ import annotations

import asyncio
import queue
from ipaddress import IPv4Network
from typing import Any

import pytest

from sampan.api.user import User
from sampan.client import Client, Informers
from sampan.network.proxy.model import SERVICE_NAME
from sampan.network.proxy.routes import SLICES, Routes, Ways
from sampan.testing.inprocess import InProcessTransport
from tests.conftest import Local

ADMIN = User("admin", ("system:masters", "system:authenticated"))
SERVICES = IPv4Network("10.96.0.0/16")


@pytest.mark.slow
async def test_routes_follow_nodes_and_local_balancers(api: Local) -> None:
    client = Client(InProcessTransport(api.server.handler, ADMIN), user_agent="test")
    applied: queue.SimpleQueue[Ways] = queue.SimpleQueue()
    fail = [OSError("busy")]

    def apply(ways: Ways) -> None:
        if fail:
            raise fail.pop()
        applied.put(ways)

    async def node(name: str, ip: str, cidr: str) -> None:
        await client.create("nodes", {"metadata": {"name": name}, "spec": {"podCIDR": cidr, "podCIDRs": [cidr]}})
        await status(name, ip, "True")

    async def status(name: str, ip: str, ready: str) -> None:
        body = {
            "addresses": [{"type": "InternalIP", "address": ip}],
            "conditions": [{"type": "Ready", "status": ready}],
        }
        await client.patch("nodes", name, {"status": body}, type="merge", subresource="status")

    async def routes(*wanted: tuple[str, str]) -> None:
        while {str(to): str(by) for to, by in (await asyncio.to_thread(applied.get, timeout=10)).items()} != dict(
            wanted
        ):
            pass

    async with Informers(client) as informers:
        running = asyncio.create_task(
            Routes(informers, apply, services=[SERVICES], on=IPv4Network("10.0.0.0/24")).run()
        )
        await asyncio.sleep(0)
        informers.start()
        await node("0-simulated", "10.128.0.1", "10.244.9.0/24")
        await node("a", "10.0.0.2", "10.244.0.0/24")
        await node("b", "10.0.0.3", "10.244.1.0/24")
        pods = [("10.244.0.0/24", "10.0.0.2"), ("10.244.1.0/24", "10.0.0.3")]
        await routes(*pods, (str(SERVICES), "10.0.0.2"))
        await status("a", "10.0.0.2", "Unknown")
        await routes(*pods, (str(SERVICES), "10.0.0.3"))
        service: Any = {
            "metadata": {"name": "web"},
            "spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]},
        }
        await client.create("services", service, "default")
        balancer = {"status": {"loadBalancer": {"ingress": [{"ip": "10.9.0.1"}]}}}
        await client.patch("services", "web", balancer, "default", type="merge", subresource="status")
        endpoint = {"addresses": ["10.244.0.5"], "nodeName": "a", "conditions": {"ready": True}}
        slice_ = {
            "metadata": {"name": "web-1", "labels": {SERVICE_NAME: "web"}},
            "addressType": "IPv4",
            "endpoints": [endpoint],
        }
        await client.create(SLICES, slice_, "default")
        await routes(*pods, (str(SERVICES), "10.0.0.3"), ("10.9.0.1/32", "10.0.0.2"))
        await client.delete("services", "web", "default")
        await client.delete("nodes", "a")
        await routes(pods[1], (str(SERVICES), "10.0.0.3"))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
