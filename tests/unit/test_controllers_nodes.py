"""Nodes that live, fall silent and come back; what becomes of their pods."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.controllers_world import World

Obj = dict[str, Any]
LIFECYCLE = ("node-lifecycle-controller", "taint-eviction-controller")
DOWN = {"metadata": {"annotations": {"hollow.sampan.io/down": "true"}}}
UP = {"metadata": {"annotations": {"hollow.sampan.io/down": None}}}


def keys(world: World, node: str) -> set[tuple[str, str]]:
    found = world.get("nodes", node, "")
    return {(t["key"].rpartition("/")[2], t["effect"]) for t in (found or {}).get("spec", {}).get("taints") or ()}


def ready(world: World, node: str) -> str:
    found = world.get("nodes", node, "") or {}
    return next((c["status"] for c in found["status"].get("conditions") or () if c["type"] == "Ready"), "")


def pod(name: str, node: str = "n1", **spec: Any) -> Obj:
    return {"metadata": {"name": name}, "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}], **spec}}


async def running(world: World, *pods: Obj) -> None:
    for item in pods:
        await world.admin.create("pods", item, namespace="default")
    await world.until(lambda: all(p["status"]["phase"] == "Running" for p in world.pods()), "pods running")


async def test_a_new_node_loses_the_taint_of_its_first_moment(world: World) -> None:
    await world.start(*LIFECYCLE)
    await world.hollow()
    await world.until(lambda: not keys(world, "n1"), "no taints")
    assert [e["message"] for e in await world.until(lambda: world.events("RegisteredNode"))] == [
        "Node n1 event: Registered Node n1 in Controller"
    ]


async def test_silence_is_noticed_after_the_grace_period_and_pods_go_when_their_time_is_up(world: World) -> None:
    await world.start(*LIFECYCLE)
    await world.hollow(2)
    await running(world, pod("stays", "n2"), pod("goes"), pod("tolerates", tolerations=[{"operator": "Exists"}]))
    await world.admin.patch("nodes", "n1", DOWN)
    began = world.clock()
    await world.until(lambda: ready(world, "n1") == "Unknown", "n1 unknown")
    assert 40 <= world.clock() - began <= 62
    away = {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")}
    await world.until(lambda: keys(world, "n1") == away, "both taints")
    assert ready(world, "n2") == "True" and not keys(world, "n2")
    found = world.get("nodes", "n1", "")
    assert found is not None
    reasons = {c["reason"] for c in found["status"]["conditions"]}
    assert reasons == {"NodeStatusUnknown"}
    marked = await world.until(
        lambda: (world.get("pods", "goes") or {})["metadata"].get("deletionTimestamp"), "eviction"
    )
    assert marked and 300 <= world.clock() - began <= 375
    target = next(
        c for c in (world.get("pods", "goes") or {})["status"]["conditions"] if c["type"] == "DisruptionTarget"
    )
    assert target["reason"] == "DeletionByTaintManager"
    assert "deletionTimestamp" not in (world.get("pods", "tolerates") or {})["metadata"]
    assert "deletionTimestamp" not in (world.get("pods", "stays") or {})["metadata"]


async def test_a_node_that_comes_back_in_time_keeps_its_pods(world: World) -> None:
    await world.start(*LIFECYCLE)
    await world.hollow(2)
    await running(world, pod("p"))
    await world.admin.patch("nodes", "n1", DOWN)
    await world.until(lambda: ("unreachable", "NoExecute") in keys(world, "n1"), "taints")
    await world.admin.patch("nodes", "n1", UP)
    await world.until(lambda: ready(world, "n1") == "True" and not keys(world, "n1"), "ready again")
    await world.loop.advance(600)
    assert "deletionTimestamp" not in (world.get("pods", "p") or {})["metadata"]


async def test_where_all_nodes_are_silent_nobody_is_evicted(world: World) -> None:
    await world.start(*LIFECYCLE)
    await world.hollow(2)
    await running(world, pod("p"))
    for node in ("n1", "n2"):
        await world.admin.patch("nodes", node, DOWN)
    await world.until(lambda: ready(world, "n1") == ready(world, "n2") == "Unknown", "both unknown")
    await world.loop.advance(1200)
    assert keys(world, "n1") == keys(world, "n2") == {("unreachable", "NoSchedule")}
    assert "deletionTimestamp" not in (world.get("pods", "p") or {})["metadata"]


async def test_evicting_taints_of_a_users_own(world: World) -> None:
    await world.start(*LIFECYCLE)
    await world.hollow()
    for_a_while = [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}]
    await running(world, pod("now"), pod("later", tolerations=for_a_while))
    began = world.clock()
    taint = {"key": "k", "effect": "NoExecute"}
    await world.admin.patch("nodes", "n1", {"spec": {"taints": [taint]}})
    await world.until(lambda: world.get("pods", "now") is None, "the end of `now`")
    assert world.clock() - began < 5
    await world.until(lambda: world.get("pods", "later") is None, "the end of `later`")
    assert 60 <= world.clock() - began < 65


async def test_every_node_has_a_range_of_its_own(world: World) -> None:
    await world.start("node-ipam-controller")
    await world.hollow(3)

    def ranges() -> list[str]:
        return [node["spec"]["podCIDR"] for node in world.all("nodes") if node["spec"].get("podCIDR")]

    await world.until(lambda: len(ranges()) == 3, "ranges")
    assert sorted(ranges()) == ["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24"]


async def test_when_all_ranges_are_given_one_is_waited_for(world: World) -> None:
    world.options = replace(world.options, cluster_cidr="10.244.0.0/23")
    await world.start("node-ipam-controller")
    await world.hollow(3)
    (said,) = await world.until(lambda: world.events("CIDRNotAvailable"))
    lacking = said["involvedObject"]["name"]
    has = next(node["metadata"]["name"] for node in world.all("nodes") if node["metadata"]["name"] != lacking)
    await world.admin.delete("nodes", has)

    def given() -> bool:
        return bool(
            next(each for each in world.all("nodes") if each["metadata"]["name"] == lacking)["spec"].get("podCIDR")
        )

    await world.until(given, "the range of the one that is gone")


async def test_pods_of_a_node_that_is_gone_are_collected(world: World) -> None:
    await world.start("pod-garbage-collector-controller")
    await world.hollow()
    await running(world, pod("p"))
    await world.stop("hollow")
    began = world.clock()
    await world.admin.delete("nodes", "n1")
    await world.until(lambda: world.get("pods", "p") is None, "the end of the pod")
    assert 40 <= world.clock() - began < 45
