"""Facts of single plugins that the comparison with the plain way does not cover."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sampan.scheduler.cluster import Cluster
from sampan.scheduler.framework import Cycle, Plugin
from sampan.scheduler.plugins.resources_balanced import NodeResourcesBalancedAllocation
from sampan.scheduler.shape import pod_info
from tests.unit.test_scheduler import node, pod

Obj = dict[str, Any]


def named(obj: Obj, uid: str = "") -> Obj:
    return {**obj, "metadata": {**obj["metadata"], "uid": uid or obj["metadata"]["name"]}}


def scores(plugin: Plugin, wanted: Obj, nodes: list[Obj], there: dict[str, list[Obj]] | None = None) -> list[int]:
    """Of all nodes, in the order given; twice asked: of all at once, and one by one."""
    cluster = Cluster()
    for item in nodes:
        cluster.set_node(item)
    for name, pods in (there or {}).items():
        for item in pods:
            cluster.add_pod(pod_info(named(item), name))
    cycle = Cycle(pod_info(named(wanted)), cluster)
    slots = np.arange(len(nodes))
    found = plugin.score(cycle, slots)
    if found is None:
        return []
    out = [found] * len(nodes) if isinstance(found, int) else [int(value) for value in found]
    if plugin.local_score:
        assert out == [plugin.score_one(cycle, int(slot)) for slot in slots]
    return out


def asking(name: str, **requests: str) -> Obj:
    out = pod(name)
    out["spec"]["containers"][0]["resources"] = {"requests": requests}
    return out


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        # from even to a half of one; from a half of the other to even; from 1/4 and 3/4 to 3/4 and 3/4
        (("cpu", "memory"), [62, 87, 87]),
        (("cpu", "memory", "ephemeral-storage"), [63, 75, 73]),
    ],
)
def test_what_counts_is_how_the_balance_changes(resources: tuple[str, ...], expected: list[int]) -> None:
    plugin = NodeResourcesBalancedAllocation(tuple((name, 1) for name in resources))
    there = {"b": [asking("x", memory="8Gi")], "c": [asking("y", cpu="1", memory="12Gi")]}
    assert scores(plugin, asking("p", cpu="2"), [node("a"), node("b"), node("c")], there) == expected
