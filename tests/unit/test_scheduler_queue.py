"""The queue by itself, in virtual time: order, back-off, hints, and that no change is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.scheduler import changes
from sampan.scheduler.changes import ADD, ASSIGNED_POD, DELETE, NODE, Change, NodeView
from sampan.scheduler.framework import Plugin
from sampan.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from sampan.scheduler.plugins.node_affinity import NodeAffinity
from sampan.scheduler.plugins.node_ports import NodePorts
from sampan.scheduler.plugins.node_unschedulable import NodeUnschedulable
from sampan.scheduler.plugins.pod_topology_spread import PodTopologySpread
from sampan.scheduler.plugins.resources_fit import NodeResourcesFit
from sampan.scheduler.plugins.scheduling_gates import SchedulingGates
from sampan.scheduler.plugins.taint_toleration import TaintToleration
from sampan.scheduler.profile import Profile
from sampan.scheduler.queue import SchedulingQueue
from sampan.scheduler.shape import PodInfo, pod_info
from sampan.scheduler.terms import Taint
from tests.virtual import virtually

Obj = dict[str, Any]
NAME = "default-scheduler"
PLUGINS: list[Plugin] = [
    SchedulingGates(), NodeUnschedulable(), TaintToleration(), NodeAffinity(), NodePorts(), NodeResourcesFit(),
    PodTopologySpread(), InterPodAffinity(),
]  # fmt: skip


def pod(
    name: str, priority: int = 0, cpu: str = "1", labels: Obj | None = None, node: str = "", **spec: Any
) -> PodInfo:
    container: Obj = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    if ports := spec.pop("ports", None):
        container["ports"] = [{"hostPort": port, "containerPort": port} for port in ports]
    meta = {"name": name, "namespace": "default", "uid": name, "labels": labels or {}}
    return pod_info({"metadata": meta, "spec": {"containers": [container], "priority": priority, **spec}}, node)


def queue() -> SchedulingQueue:
    return SchedulingQueue({NAME: Profile(NAME, PLUGINS, [], PLUGINS)})


def node(
    name: str = "n", cpu: int = 4000, taints: tuple[Taint, ...] = (), cordoned: bool = False, **labels: str
) -> NodeView:
    return NodeView(name, labels, taints, cordoned, {"cpu": cpu, "pods": 10})


async def take(q: SchedulingQueue) -> str:
    async with asyncio.timeout(1000):
        return (await q.pop()).pod.name


def refused(q: SchedulingQueue, info: PodInfo, *plugins: str) -> None:
    """Tried once, and refused."""
    q.add(info, NAME)
    queued = q.pop_now()
    assert queued is not None and queued.pod is info
    q.put_back(queued, frozenset(plugins))


def test_by_priority_then_by_time() -> None:
    async def test() -> None:
        q = queue()
        for name, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5)):
            q.add(pod(name, priority), NAME)
        assert [await take(q) for _ in range(4)] == ["b", "d", "a", "c"]
        assert q.pop_now() is None

    virtually(test)


def test_errors_back_off_and_refusals_wait_for_a_change() -> None:
    async def test() -> None:
        q = queue()
        loop = asyncio.get_running_loop()
        q.add(pod("p"), NAME)
        waits = []
        for _ in range(6):
            start = loop.time()
            queued = await q.pop()
            waits.append(round(loop.time() - start, 3))
            q.put_back(queued, frozenset())
        assert waits == [0, 1, 2, 4, 8, 10]
        q.remove("p")
        refused(q, pod("r"), "NodeResourcesFit")
        assert q.pending() == {"active": 0, "backoff": 0, "unschedulable": 1, "gated": 0}
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(299):
                await q.pop()
        q.close()

    virtually(test)


def test_who_backs_off_is_taken_early_when_nobody_else_waits() -> None:
    async def test() -> None:
        q = queue()
        refused(q, pod("p"), "NodeResourcesFit")
        refused(q, pod("q", 7), "NodeResourcesFit")
        q.happened(Change(ASSIGNED_POD, DELETE, pod("x", node="n")))
        assert q.pending()["backoff"] == 2
        q.add(pod("new"), NAME)
        assert [await take(q) for _ in range(3)] == ["new", "q", "p"]
        q.close()

    virtually(test)


def test_a_back_off_that_is_over_makes_active() -> None:
    async def test() -> None:
        q = queue()
        refused(q, pod("p", 9), "NodeResourcesFit")
        q.happened(Change(ASSIGNED_POD, DELETE, pod("x", node="n")))
        await asyncio.sleep(1.1)
        assert q.pending()["active"] == 1
        # and after that time a change makes active at once
        queued = await q.pop()
        q.put_back(queued, frozenset(("NodeResourcesFit",)))
        await asyncio.sleep(5)
        q.happened(Change(ASSIGNED_POD, DELETE, pod("x", node="n")))
        assert q.pending()["active"] == 1

    virtually(test)


def test_changes_while_a_pod_is_tried_are_not_lost() -> None:
    async def test() -> None:
        q = queue()
        q.add(pod("first"), NAME)
        q.add(pod("second"), NAME)
        first = await q.pop()
        q.happened(Change(ASSIGNED_POD, DELETE, pod("x", node="n")))
        second = await q.pop()
        fit = frozenset(("NodeResourcesFit",))
        q.put_back(second, fit)
        assert second.place == "unschedulable"
        q.put_back(first, fit)
        assert first.place == "backoff"
        # and what nobody needs is not kept
        assert not q._changes and not q._in_flight
        again = await q.pop()
        q.activate(again.pod.uid)
        q.put_back(again, frozenset(("NodeAffinity",)))
        assert again.place == "backoff"
        q.close()

    virtually(test)


def test_who_waits_long_is_tried_again_all_the_same() -> None:
    async def test() -> None:
        q = queue()
        refused(q, pod("p"), "NodeAffinity")
        await asyncio.sleep(200)
        refused(q, pod("later"), "NodeAffinity")
        await asyncio.sleep(99)
        assert q.pending()["unschedulable"] == 2
        await asyncio.sleep(2)
        assert await take(q) == "p"
        assert q.statistics.incoming["active", "UnschedulableTimeout"] == 1
        start = asyncio.get_running_loop().time()
        assert await take(q) == "later"
        assert 198 < asyncio.get_running_loop().time() - start < 200

    virtually(test)


def test_a_pod_that_is_gone_or_changed() -> None:
    async def test() -> None:
        q = queue()
        q.add(pod("p"), NAME)
        q.add(pod("q"), NAME)
        q.remove("p")
        assert await take(q) == "q"
        # deleted while it was tried: it does not come back
        q.add(pod("r"), NAME)
        tried = await q.pop()
        q.remove("r")
        q.put_back(tried, frozenset())
        assert q.get("r") is None and q.pop_now() is None
        # more important now
        q.add(pod("a"), NAME)
        q.add(pod("b"), NAME)
        q.update(pod("b", 5), NAME)
        assert [await take(q), await take(q)] == ["b", "a"]
        # a label that changes is for those that look at labels
        refused(q, pod("s"), "NodeResourcesFit")
        q.update(pod("s", labels={"x": "y"}), NAME)
        assert q.pending()["unschedulable"] == 1
        refused(q, pod("t"), "InterPodAffinity")
        q.update(pod("t", labels={"x": "y"}), NAME)
        assert await take(q) == "t"
        q.close()

    virtually(test)


def test_gates() -> None:
    async def test() -> None:
        q = queue()
        q.add(pod("p", schedulingGates=[{"name": "a"}]), NAME)
        assert q.pending()["gated"] == 1 and q.pop_now() is None
        q.move_all()
        assert q.pending()["gated"] == 1
        q.update(pod("p"), NAME)
        assert await take(q) == "p"

    virtually(test)


HARD = (Taint("k", "v", "NoSchedule"),)
NEAR: Obj = {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
    {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "x"}}}]}}}  # fmt: skip
AWAY: Obj = {"affinity": {"podAntiAffinity": NEAR["affinity"]["podAffinity"]}}
SPREAD: Obj = {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
    "labelSelector": {"matchLabels": {"app": "x"}}}]}  # fmt: skip
WANTS: Obj = {"nodeSelector": {"disk": "ssd"}}
X = {"app": "x"}


@pytest.mark.parametrize(
    ("plugin", "waiting", "change", "helps"),
    [
        ("NodeResourcesFit", pod("p"), Change(NODE, ADD, None, node()), True),
        ("NodeResourcesFit", pod("p", cpu="5"), Change(NODE, ADD, None, node()), False),
        ("NodeResourcesFit", pod("p"), Change(NODE, changes.NODE_ALLOCATABLE, node(cpu=500), node()), True),
        ("NodeResourcesFit", pod("p"), Change(NODE, changes.NODE_ALLOCATABLE, node(cpu=5000), node()), False),
        ("NodeResourcesFit", pod("p"), Change(NODE, changes.NODE_LABEL, node(), node(x="y")), False),
        ("NodeResourcesFit", pod("p"), Change(ASSIGNED_POD, ADD, None, pod("x")), False),
        ("NodeUnschedulable", pod("p"), Change(NODE, changes.NODE_TAINT, node(cordoned=True), node()), True),
        ("NodeUnschedulable", pod("p"), Change(NODE, changes.NODE_TAINT, node(), node(cordoned=True)), False),
        ("TaintToleration", pod("p"), Change(NODE, changes.NODE_TAINT, node(taints=HARD), node()), True),
        ("TaintToleration", pod("p"), Change(NODE, changes.NODE_TAINT, node(), node(taints=HARD)), False),
        ("TaintToleration", pod("p"), Change(NODE, ADD, None, node(taints=HARD)), False),
        ("NodeAffinity", pod("p", **WANTS), Change(NODE, changes.NODE_LABEL, node(), node(disk="ssd")), True),
        ("NodeAffinity", pod("p", **WANTS), Change(NODE, changes.NODE_LABEL, node(), node(disk="hdd")), False),
        ("NodeAffinity", pod("p", **WANTS), Change(NODE, ADD, None, node(disk="ssd")), True),
        ("NodePorts", pod("p", ports=[80]), Change(ASSIGNED_POD, DELETE, pod("x", ports=[80])), True),
        ("NodePorts", pod("p", ports=[80]), Change(ASSIGNED_POD, DELETE, pod("x", ports=[81])), False),
        ("InterPodAffinity", pod("p", **NEAR), Change(ASSIGNED_POD, ADD, None, pod("x", labels=X)), True),
        ("InterPodAffinity", pod("p", **NEAR), Change(ASSIGNED_POD, ADD, None, pod("x")), False),
        ("InterPodAffinity", pod("p", **AWAY), Change(ASSIGNED_POD, DELETE, pod("x", labels=X)), True),
        ("InterPodAffinity", pod("p", **AWAY), Change(ASSIGNED_POD, ADD, None, pod("x", labels=X)), False),
        ("InterPodAffinity", pod("p", labels=X), Change(ASSIGNED_POD, DELETE, pod("x", **AWAY)), True),
        # pods that are there may keep it out of a domain
        ("InterPodAffinity", pod("p"), Change(NODE, changes.NODE_LABEL, node(zone="a"), node(zone="b")), True),
        ("InterPodAffinity", pod("p", **NEAR), Change(NODE, ADD, None, node()), False),
        ("PodTopologySpread", pod("p", **SPREAD), Change(ASSIGNED_POD, DELETE, pod("x", labels=X)), True),
        ("PodTopologySpread", pod("p", **SPREAD), Change(ASSIGNED_POD, DELETE, pod("x")), False),
        ("PodTopologySpread", pod("p", **SPREAD), Change(NODE, ADD, None, node(zone="z")), True),
        ("PodTopologySpread", pod("p", **SPREAD), Change(NODE, ADD, None, node()), False),
    ],
)
def test_hints(plugin: str, waiting: PodInfo, change: Change, helps: bool) -> None:
    async def test() -> None:
        q = queue()
        refused(q, waiting, plugin)
        q.happened(change)
        assert q.pending()["backoff"] == int(helps)
        q.close()

    virtually(test)
