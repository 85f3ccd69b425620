"""Preemption: who keeps a place for how long, and which node it is."""

from __future__ import annotations

from typing import Any

from sampan.scheduler import config
from tests.unit.test_scheduler import classes, node, pod, settle, world
from tests.virtual import virtually

Obj = dict[str, Any]


def test_a_place_is_kept_no_longer_than_the_pod_is_there_that_it_is_kept_for() -> None:
    async def test() -> None:
        async with world() as w:
            await classes(w, low=1, mid=5, high=10)
            await w.nodes(node("a"))
            await w.pods(pod("l", "4", priorityClassName="low"))
            await w.pods(pod("h", "4", priorityClassName="high"))
            await w.pods(pod("m", "4", priorityClassName="mid"))
            start = "0/1 nodes are available: 1 Insufficient cpu. preemption: "
            assert await w.message("m") == f"{start}0/1 nodes are available: 1 Insufficient cpu."
            await w.client.delete("pods", "h", "default", grace_seconds=0)
            await w.client.delete("pods", "l", "default", grace_seconds=0)
            await settle(3)
            assert await w.where("m") == "a"
            assert not len(w.scheduler.nominator)

    virtually(test)


def test_a_pod_that_has_come_to_its_place_is_counted_once() -> None:
    async def test() -> None:
        async with world() as w:
            await classes(w, low=1, high=10)
            await w.nodes(node("a"))
            await w.pods(pod("l", "3", priorityClassName="low"))
            await w.pods(pod("h", "2", priorityClassName="high"))
            await w.client.delete("pods", "l", "default", grace_seconds=0)
            await settle(3)
            assert await w.where("h") == "a"
            await w.pods(pod("n", "2"))
            await w.pods(pod("o", "2"))
            assert [await w.where(name) for name in ("n", "o")] == ["a", ""]
            await w.client.delete("pods", "h", "default", grace_seconds=0)
            await settle(3)
            assert await w.where("o") == "a"

    virtually(test)


def test_it_is_looked_on_until_no_disruption_budget_is_violated() -> None:
    async def test() -> None:
        args = {"minCandidateNodesPercentage": 0, "minCandidateNodesAbsolute": 1}
        chosen = config.Configuration((config.ProfileConfig(args={"DefaultPreemption": args}),))
        async with world(configuration=chosen) as w:
            await classes(w, high=10)
            await w.nodes(*(node(name) for name in "abcdef"))
            await w.pods(pod("y", "3", {"app": "y"}), *(pod(f"x{number}", "3", {"app": "x"}) for number in range(5)))
            budget = {"minAvailable": 5, "selector": {"matchLabels": {"app": "x"}}}
            meta = {"name": "x", "namespace": "default"}
            await w.client.create("poddisruptionbudgets.policy", {"metadata": meta, "spec": budget})
            await settle()
            await w.pods(pod("h", "3", priorityClassName="high"))
            gone = [
                p for p in (await w.client.list("pods", "default"))["items"] if "deletionTimestamp" in p["metadata"]
            ]
            assert [p["metadata"]["name"] for p in gone] == ["y"]

    virtually(test)


def test_who_waited_for_a_place_that_is_not_kept_any_more_is_tried_again() -> None:
    async def test() -> None:
        async with world() as w:
            await classes(w, high=10)
            await w.nodes(node("a"))
            await w.pods(pod("h", "4", priorityClassName="high", schedulingGates=[{"name": "example.com/g"}]))
            await w.client.patch("pods", "h", {"status": {"nominatedNodeName": "a"}}, "default", subresource="status")
            await settle()
            await w.pods(pod("l", "2"))
            assert (await w.message("l")).startswith("0/1 nodes are available: 1 Insufficient cpu.")
            await w.client.patch("pods", "h", {"status": {"nominatedNodeName": None}}, "default", subresource="status")
            await settle(2)
            assert await w.where("l") == "a"

    virtually(test)
