"""The scheduler over a real server, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from sampan.apiserver.server import ApiServer
from sampan.client import Client, HttpError, Informers
from sampan.http import Reply
from sampan.scheduler import config
from sampan.scheduler.changes import Hint
from sampan.scheduler.framework import Cycle, Plugin, Refused
from sampan.scheduler.handle import Handle
from sampan.scheduler.registry import FACTORIES
from sampan.scheduler.scheduler import Scheduler
from sampan.scheduler.shape import PodInfo
from sampan.scheduler.status import StatusWriter
from sampan.testing.inprocess import InProcessTransport
from tests.virtual import ADMIN, admin, clock, server, virtually

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
    api: ApiServer
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

    async def message(self, name: str) -> str:
        """Of the PodScheduled condition."""
        found = await self.client.get("pods", name, "default")
        return str(next(c["message"] for c in found["status"]["conditions"] if c["type"] == "PodScheduled"))

    async def events(self, reason: str) -> list[str]:
        found = await self.client.list("events.events.k8s.io", "default")
        return [event["note"] for event in found["items"] if event["reason"] == reason]

    async def where(self, name: str) -> str:
        found = await self.client.get("pods", name, "default")
        return str(found["spec"].get("nodeName", ""))


@asynccontextmanager
async def world(**options: Any) -> AsyncIterator[World]:
    api = await server()
    client = admin(api)
    async with running(api, **options) as scheduler:
        yield World(api, client, scheduler)
    await api.stop(0)


@asynccontextmanager
async def running(api: ApiServer, transport: Any = None, **options: Any) -> AsyncIterator[Scheduler]:
    client = Client(transport or InProcessTransport(api.handler, ADMIN), user_agent="kube-scheduler")
    async with Informers(client, rng=random.Random(1)) as informers:
        scheduler = Scheduler(client, informers, clock=clock, rng=random.Random(2), **options)
        task = asyncio.create_task(scheduler.run())
        await settle()
        try:
            yield scheduler
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


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


def test_who_fits_nowhere_is_told_why_and_comes_again_when_that_has_changed() -> None:
    async def test() -> None:
        async with world() as w:
            tainted = node("t")
            tainted["spec"] = {"taints": [{"key": "k", "effect": "NoSchedule"}]}
            await w.nodes(node("a"), node("b"), tainted)
            await w.pods(pod("p", "5"))
            why = (
                "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. preemption: 0/3 nodes"
                " are available: 3 Preemption is not helpful for scheduling."
            )
            assert await w.message("p") == why
            assert await w.events("FailedScheduling") == [why]
            assert w.scheduler.queue.pending()["unschedulable"] == 1
            # a label helps nobody, a larger node does
            await w.client.patch("nodes", "a", {"metadata": {"labels": {"x": "y"}}})
            await settle(2)
            assert w.scheduler.queue.statistics.popped == 1
            await w.client.patch("nodes", "b", {"status": {"allocatable": {"cpu": "8"}}}, subresource="status")
            await settle()
            assert await w.where("p") == "b"

    virtually(test)


def test_without_nodes_pods_wait_for_one() -> None:
    async def test() -> None:
        async with world() as w:
            await w.pods(pod("p"))
            assert await w.message("p") == "no nodes available to schedule pods"
            await w.nodes(node("a"))
            assert await w.where("p") == "a"

    virtually(test)


def test_a_deleted_pod_makes_room() -> None:
    async def test() -> None:
        async with world() as w:
            await w.nodes(node("a", pods="1"))
            await w.pods(pod("p"))
            await w.pods(pod("q"))
            assert "1 Too many pods" in await w.message("q")
            await w.client.delete("pods", "p", "default", grace_seconds=0)
            await settle(2)
            assert await w.where("q") == "a"

    virtually(test)


def test_gates_hold_a_pod_until_the_last_is_gone() -> None:
    async def test() -> None:
        async with world() as w:
            await w.nodes(node("a"))
            await w.pods(pod("p", schedulingGates=[{"name": "x/1"}, {"name": "x/2"}]))
            assert w.scheduler.queue.pending()["gated"] == 1
            assert await w.message("p") == "Scheduling is blocked due to non-empty scheduling gates"
            await w.client.patch("pods", "p", {"spec": {"schedulingGates": [{"name": "x/2"}]}}, "default")
            await settle()
            assert await w.where("p") == "" and w.scheduler.queue.statistics.popped == 0
            await w.client.patch("pods", "p", {"spec": {"schedulingGates": None}}, "default")
            await settle()
            assert await w.where("p") == "a"

    virtually(test)


def test_the_more_important_come_first() -> None:
    async def test() -> None:
        async with world() as w:
            for name, value in (("low", 10), ("high", 20)):
                await w.client.create("priorityclasses.scheduling.k8s.io", {"metadata": {"name": name}, "value": value})
            await w.pods(pod("l", priorityClassName="low"), pod("h", priorityClassName="high"))
            await w.nodes(node("a", pods="1"))
            await settle(3)
            assert (await w.where("l"), await w.where("h")) == ("", "a")

    virtually(test)


async def classes(w: World, **values: int) -> None:
    for name, value in values.items():
        await w.client.create("priorityclasses.scheduling.k8s.io", {"metadata": {"name": name}, "value": value})


def test_preemption_takes_the_least_and_says_so() -> None:
    async def test() -> None:
        async with world() as w:
            await classes(w, low=1, mid=2, high=3)
            await w.nodes(node("a"), node("b"))
            await w.pods(pod("m", "3", priorityClassName="mid"))
            await w.pods(pod("l", "3", priorityClassName="low"))
            places = {await w.where("m"), await w.where("l")}
            assert places == {"a", "b"}
            victim_at = await w.where("l")
            await w.pods(pod("h", "2", priorityClassName="high"))
            found = await w.client.get("pods", "h", "default")
            assert found["status"]["nominatedNodeName"] == victim_at
            assert await w.message("h") == "0/2 nodes are available: 2 Insufficient cpu."
            victim = await w.client.get("pods", "l", "default")
            assert victim["metadata"]["deletionTimestamp"]
            told = victim["status"]["conditions"][-1]
            assert told["type"] == "DisruptionTarget"
            assert told["reason"] == "PreemptionByScheduler"
            assert told["message"] == "default-scheduler: preempting to accommodate a higher priority pod"
            uid = found["metadata"]["uid"]
            assert await w.events("Preempted") == [f"Preempted by pod {uid} on node {victim_at}"]
            # while the victim goes, its place is kept, and no more are taken
            await w.pods(pod("n", "2", priorityClassName="mid"))
            assert await w.where("n") == ""
            await w.client.delete("pods", "l", "default", grace_seconds=0)
            await settle(2)
            assert await w.where("h") == victim_at
            assert await w.where("m") != ""

    virtually(test)


def test_what_is_not_wanted_any_more_is_not_written() -> None:
    async def test() -> None:
        api = await server()
        found = await admin(api).create("pods", pod("p"))
        writer = StatusWriter(admin(api), clock)
        writer.unscheduled(found, "Unschedulable", "no", "a")
        # it was read meanwhile that all is as it is to be
        writer.want(found, None, None)
        (task,) = writer._tasks
        await task
        assert "conditions" not in (await admin(api).get("pods", "p", "default"))["status"]
        writer.unscheduled(found, "Unschedulable", "no", "a")
        await asyncio.gather(*writer._tasks)
        assert (await admin(api).get("pods", "p", "default"))["status"]["nominatedNodeName"] == "a"
        await api.stop(0)

    virtually(test)


def test_preemption_that_is_not_wanted_or_no_use() -> None:
    async def test() -> None:
        async with world() as w:
            await classes(w, low=1, high=3)
            never = {"metadata": {"name": "never"}, "value": 5, "preemptionPolicy": "Never"}
            await w.client.create("priorityclasses.scheduling.k8s.io", never)
            await w.nodes(node("a"))
            await w.pods(pod("h", "3", priorityClassName="high"))
            await w.pods(pod("n", "3", priorityClassName="never"), pod("l", "3", priorityClassName="low"))
            start = "0/1 nodes are available: 1 Insufficient cpu. preemption: "
            assert await w.message("n") == start + "not eligible due to preemptionPolicy=Never."
            why = "0/1 nodes are available: 1 No preemption victims found for incoming pod."
            assert await w.message("l") == start + why

    virtually(test)


def test_disruption_budgets_are_spared_if_possible() -> None:
    async def test() -> None:
        async with world() as w:
            await classes(w, high=3)
            await w.nodes(node("a"), node("b"))
            await w.pods(pod("x", "3", {"app": "x"}), pod("y", "3", {"app": "y"}))
            budget = {
                "metadata": {"name": "x", "namespace": "default"},
                "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}},
            }
            await w.client.create("poddisruptionbudgets.policy", budget)
            await settle()
            await w.pods(pod("h", "2", priorityClassName="high"))
            assert "deletionTimestamp" in (await w.client.get("pods", "y", "default"))["metadata"]
            assert "deletionTimestamp" not in (await w.client.get("pods", "x", "default"))["metadata"]

    virtually(test)


class Failing(InProcessTransport):
    """Bindings fail so many times."""

    left = 0

    async def request(self, method: str, path: str, **more: Any) -> Reply:
        if path.endswith("/binding") and self.left:
            self.left -= 1
            raise HttpError("connection refused")
        return await super().request(method, path, **more)


def test_a_binding_that_fails_is_tried_again_after_a_while() -> None:
    async def test() -> None:
        api = await server()
        client, transport = admin(api), Failing(api.handler, ADMIN)
        transport.left = 2
        async with running(api, transport) as scheduler:
            w = World(api, client, scheduler)
            await w.nodes(node("a"))
            await w.pods(pod("p"))
            assert await w.where("p") == ""
            found = await client.get("pods", "p", "default")
            told = found["status"]["conditions"][0]
            why = 'running Bind plugin "DefaultBinder": connection refused'
            assert (told["reason"], told["message"]) == ("SchedulerError", why)
            assert await w.events("FailedScheduling") == [why]
            assert scheduler.queue.pending()["backoff"] == 1
            assert int(scheduler.cluster.requested[0].sum()) == 0
            await settle(0.9)
            assert transport.left == 1
            await settle(0.2)
            assert transport.left == 0 and await w.where("p") == ""
            await settle(2)
            assert await w.where("p") == "a"
            assert int(scheduler.cluster.requested[0].sum()) == 100
        await api.stop(0)

    virtually(test)


@pytest.mark.parametrize("steps", range(0, 60, 7))
def test_one_that_was_stopped_in_the_middle_is_followed_by_another(steps: int) -> None:
    async def test() -> None:
        api = await server()
        client = admin(api)
        async with running(api) as scheduler:
            w = World(api, client, scheduler)
            await w.nodes(node("a", pods="4"), node("b", pods="4"))
            for number in range(10):
                await client.create("pods", pod(f"p{number}"))
            for _ in range(steps):
                await asyncio.sleep(0)
        async with running(api) as scheduler:
            await settle(3)
            pods = (await client.list("pods", "default"))["items"]
            nodes = sorted(item["spec"].get("nodeName", "") for item in pods)
            assert nodes == ["", "", *"aaaa", *"bbbb"]
            assert scheduler.queue.pending()["unschedulable"] == 2
            assert int(scheduler.cluster.requested[0].sum()) == 800
        await api.stop(0)

    virtually(test)


def test_pods_of_a_deployment_are_spread_over_zones_by_themselves() -> None:
    async def test() -> None:
        async with world() as w:
            zone = "topology.kubernetes.io/zone"
            await w.nodes(*(node(f"n{i}", cpu=str(4 + 20 * (i < 2)), **{zone: "xy"[i // 2]}) for i in range(4)))
            service = {"metadata": {"name": "s", "namespace": "default"}, "spec": {
                "selector": {"app": "a"}, "ports": [{"port": 80}]}}  # fmt: skip
            await w.client.create("services", service)
            await settle()
            for number in range(8):
                await w.pods(pod(f"p{number}", labels={"app": "a"}))
            there = [await w.where(f"p{number}") for number in range(8)]
            assert sorted(there) == ["n0", "n0", "n1", "n1", "n2", "n2", "n3", "n3"]

    virtually(test)


class EvenNodes(Plugin):
    """What a user may write: only nodes with an even number, and a pod at a time."""

    name = "EvenNodes"
    local_filter = True

    def __init__(self, args: Obj, handle: Handle) -> None:
        self.limit = args.get("limit", 1)
        self.reserved: set[str] = set()

    def filter_at(self, cycle: Cycle, at: Any) -> Any:
        odd = [info is None or int(info.name[1:]) % 2 for info in cycle.cluster.by_slot]
        return np.array(odd, np.int32)[at]

    def reasons(self, cycle: Cycle, code: int) -> tuple[str, ...]:
        return ("node(s) are odd",)

    def reserve(self, cycle: Cycle, node: str) -> None:
        if len(self.reserved) >= self.limit:
            raise Refused(self.name, "no more than so many")
        self.reserved.add(cycle.pod.uid)

    def unreserve(self, cycle: Cycle, node: str) -> None:
        self.reserved.discard(cycle.pod.uid)

    def pre_enqueue(self, pod: PodInfo) -> str | None:
        return "held" if pod.name == "held" else None


def test_a_plugin_of_ones_own() -> None:
    async def test() -> None:
        configuration = config.read(
            {
                "apiVersion": config.API_VERSION,
                "kind": config.KIND,
                "profiles": [
                    {
                        "schedulerName": "default-scheduler",
                        "plugins": {"multiPoint": {"enabled": [{"name": "EvenNodes"}]}},
                        "pluginConfig": [{"name": "EvenNodes", "args": {"limit": 2}}],
                    },
                    {"schedulerName": "plain"},
                ],
            },
            {**FACTORIES, "EvenNodes": EvenNodes},
        )
        async with world(configuration=configuration, plugins={"EvenNodes": EvenNodes}) as w:
            await w.nodes(node("n1"), node("n2"))
            await w.pods(pod("p"), pod("q"), pod("held"), pod("r", schedulerName="plain", nodeSelector={
                "kubernetes.io/hostname": "n1"}))  # fmt: skip
            assert [await w.where(name) for name in ("p", "q", "held", "r")] == ["n2", "n2", "", "n1"]
            assert w.scheduler.queue.pending()["gated"] == 1
            await w.pods(pod("s"))
            assert await w.message("s") == "0/1 nodes are available: 1 no more than so many."
            assert int(w.scheduler.cluster.pods_here.sum()) == 3

    virtually(test)


class Asks(Plugin):
    """Permits after a while, or not."""

    name = "Asks"

    def hints(self) -> list[Hint]:
        return []

    async def permit(self, cycle: Cycle, node: str) -> None:
        await asyncio.sleep(5)
        if cycle.pod.name == "no":
            raise Refused(self.name, "not permitted")


def test_permit_makes_a_pod_wait_while_others_go_on() -> None:
    async def test() -> None:
        head = {"apiVersion": config.API_VERSION, "kind": config.KIND}
        asking = {"schedulerName": "default-scheduler", "plugins": {"permit": {"enabled": [{"name": "Asks"}]}}}
        profiles = [asking, {"schedulerName": "plain"}]
        known = {**FACTORIES, "Asks": lambda args, handle: Asks()}
        configuration = config.read({**head, "profiles": profiles}, known)
        async with world(configuration=configuration, plugins=known) as w:
            await w.nodes(node("a", pods="2"))
            await w.pods(pod("yes"), pod("no"), pod("late", schedulerName="plain"))
            # their places are taken while they wait
            assert "1 Too many pods" in await w.message("late")
            await settle(5)
            assert (await w.where("yes"), await w.where("no")) == ("a", "")
            assert await w.message("no") == "0/1 nodes are available: 1 not permitted."
            # what was refused has given its place back
            await settle(1)
            assert await w.where("late") == "a"

    virtually(test)
