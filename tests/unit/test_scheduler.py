"""The scheduler over a real server, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sampan.client import Client, Informers
from sampan.scheduler.scheduler import Scheduler
from tests.virtual import admin, clock, server, virtually

Obj = dict[str, Any]


def node(name: str, cpu: str = "4", pods: str = "110", **labels: str) -> Obj:
    labels = {"kubernetes.io/hostname": name, **labels}
    amounts = {"cpu": cpu, "memory": "16Gi", "pods": pods, "ephemeral-storage": "100Gi"}
    return {
        "metadata": {"name": name, "labels": labels},
        "status": {"allocatable": amounts, "capacity": amounts},
    }


def pod(name: str, cpu: str = "100m", labels: Obj | None = None, **spec: Any) -> Obj:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    meta = {"name": name, "namespace": "default", "labels": labels or {}}
    return {"metadata": meta, "spec": {"containers": [container], **spec}}


async def settle(seconds: float = 0.001) -> None:
    await asyncio.sleep(seconds)


@dataclass
class World:
    client: Client
    scheduler: Scheduler

    async def nodes(self, *nodes: Obj) -> None:
        """Nodes that are ready: without the taint that every new node is given."""
        for item in nodes:
            await self.client.create("nodes", item)
            name, taints = item["metadata"]["name"], (item.get("spec") or {}).get("taints")
            await self.client.patch("nodes", name, {"spec": {"taints": taints}})
            await self.client.patch("nodes", name, {"status": item["status"]}, subresource="status")
        await settle()

    async def pods(self, *pods: Obj) -> None:
        for item in pods:
            await self.client.create("pods", item)
        await settle()

    async def where(self, name: str) -> str:
        found = await self.client.get("pods", name, "default")
        return str(found["spec"].get("nodeName", ""))


@asynccontextmanager
async def world(**options: Any) -> AsyncIterator[World]:
    api = await server()
    client = admin(api)
    async with Informers(client, rng=random.Random(1)) as informers:
        scheduler = Scheduler(admin(api, "kube-scheduler"), informers, clock=clock, rng=random.Random(2), **options)
        running = asyncio.create_task(scheduler.run())
        await settle()
        try:
            yield World(client, scheduler)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    await api.stop(0)


def test_a_pod_gets_a_node_and_an_event_says_so() -> None:
    async def test() -> None:
        async with world() as w:
            await w.nodes(node("a"))
            await w.pods(pod("p"), pod("other", schedulerName="someone"))
            found = await w.client.get("pods", "p", "default")
            assert found["spec"]["nodeName"] == "a"
            assert found["status"]["conditions"][0]["type"] == "PodScheduled"
            assert await w.where("other") == ""
            (event,) = (await w.client.list("events.events.k8s.io", "default"))["items"]
            assert event["note"] == "Successfully assigned default/p to a"
            assert (event["reason"], event["action"], event["type"]) == ("Scheduled", "Binding", "Normal")
            assert event["reportingController"] == "default-scheduler"

    virtually(test)
