"""Facts of single plugins that the comparison with the plain way does not cover."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sampan.scheduler.cluster import Cluster
from sampan.scheduler.framework import Cycle, Plugin
from sampan.scheduler.plugins.image_locality import ImageLocality
from sampan.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from sampan.scheduler.plugins.node_ports import NodePorts
from sampan.scheduler.plugins.resources_balanced import NodeResourcesBalancedAllocation
from sampan.scheduler.plugins.resources_fit import NodeResourcesFit
from sampan.scheduler.profile import Profile
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


def images(name: str, **sizes: int) -> Obj:
    out = node(name)
    out["status"]["images"] = [{"names": [f"{image}:latest"], "sizeBytes": size << 20} for image, size in sizes.items()]
    return out


def test_images_that_are_mounted_count_as_those_of_containers() -> None:
    wanted = pod("p", volumes=[{"name": "v", "image": {"reference": "model"}}])
    # two images, up to 1000 MiB each, are what there may be; each is weighed by how many of the nodes have it
    assert scores(ImageLocality(), wanted, [images("a", i=1024), images("b", model=2048)]) == [24, 50]
    assert scores(ImageLocality(), pod("p"), [images("a", i=1024), images("b", model=2048)]) == [50, 0]


def preferring(name: str, **labels: str) -> Obj:
    term = {"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": "kubernetes.io/hostname"}
    wish = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 10, "podAffinityTerm": term}]}
    return pod(name, labels=labels, affinity={"podAffinity": wish})


def test_wishes_of_others_are_ignored_only_for_pods_without_any() -> None:
    nodes = [node("a"), node("b"), node("c")]
    there = {"a": [preferring("other")], "b": [pod("app", labels={"app": "x"})]}
    careless = InterPodAffinity(ignore_preferred_of_existing=True)
    assert scores(InterPodAffinity(), pod("p", labels={"app": "x"}), nodes, there) == [100, 0, 0]
    assert scores(careless, pod("p", labels={"app": "x"}), nodes, there) == []
    assert scores(careless, preferring("p", app="x"), nodes, there) == [100, 100, 0]


def test_only_extended_resources_are_ignored() -> None:
    plugin = NodeResourcesFit(ignored=frozenset(("cpu", "example.com/a")), groups=frozenset(("memory", "example.org")))
    more = {"example.com/a": "1", "example.com/b": "1", "example.org/c": "1", "hugepages-2Mi": "2Mi"}
    wanted = pod_info(named(asking("p", cpu="1", memory="1Gi", **more)))
    assert [name for name, _ in plugin.wanted(wanted.shape)] == ["cpu", "memory", "example.com/b", "hugepages-2Mi"]


def test_what_a_sidecar_still_has_counts_while_it_shrinks() -> None:
    shrinking = pod("p", "1")
    resources = {"requests": {"cpu": "1"}}
    shrinking["spec"]["initContainers"] = [
        {"name": "s", "image": "i", "resources": resources, "restartPolicy": "Always"}
    ]
    assert pod_info(named(shrinking)).shape.requests["cpu"] == 2000
    has = {"name": "s", "allocatedResources": {"cpu": "2"}, "resources": {"requests": {"cpu": "2"}}}
    shrinking["status"] = {"initContainerStatuses": [has]}
    assert pod_info(named(shrinking)).shape.requests["cpu"] == 3000


def resizing(*cpus: tuple[str, str, str], **status: object) -> Obj:
    """Of each container what it asks for, what it was given and what it has."""
    names = [f"c{index}" for index in range(len(cpus))]
    containers = [
        {"name": name, "image": "i", "resources": {"requests": {"cpu": asked}}}
        for name, (asked, _, _) in zip(names, cpus, strict=True)
    ]
    statuses = [
        {"name": name, "allocatedResources": {"cpu": given}, "resources": {"requests": {"cpu": has}}}
        for name, (_, given, has) in zip(names, cpus, strict=True)
    ]
    out = pod("p")
    return {**out, "spec": {"containers": containers}, "status": {"containerStatuses": statuses, **status}}


INFEASIBLE = [{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}]


@pytest.mark.parametrize(
    ("wanted", "whole", "cpu"),
    [
        # it grows, or shrinks; one does, and another the other way: the most of the three sums
        (resizing(("2", "1", "1")), {}, 2000),
        (resizing(("1", "1", "3")), {}, 3000),
        (resizing(("1", "3", "3"), ("3", "1", "1")), {}, 4000),
        (resizing(("1", "3", "3"), ("2", "1", "1")), {}, 4000),
        # it would grow, and cannot
        (resizing(("4", "1", "2"), conditions=INFEASIBLE), {}, 2000),
        # what is said for the pod as a whole takes the place of that, and is resized itself
        (resizing(("1", "1", "1")), {"cpu": "2"}, 2000),
        (resizing(("1", "1", "1"), resources={"requests": {"cpu": "5"}}), {"cpu": "2"}, 5000),
        (resizing(("1", "1", "1"), resources={}, allocatedResources={"cpu": "6"}), {"cpu": "2"}, 6000),
        (resizing(("1", "1", "1"), resources={"requests": {"cpu": "2"}}, conditions=INFEASIBLE), {"cpu": "9"}, 2000),
    ],
)
def test_a_pod_that_is_being_resized_takes_the_most_of_it(wanted: Obj, whole: Obj, cpu: int) -> None:
    if whole:
        wanted["spec"]["resources"] = {"requests": whole}
    assert pod_info(named(wanted)).shape.requests["cpu"] == cpu


def test_a_node_that_takes_the_place_of_another_has_nothing_of_its_pods() -> None:
    term = {"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": "kubernetes.io/hostname"}
    alone = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    claims = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]

    def one(name: str) -> Obj:
        out = pod(name, "3", {"app": "x"}, affinity=alone, volumes=claims)
        out["spec"]["containers"][0]["ports"] = [{"containerPort": 80, "hostPort": 80}]
        return out

    cluster = Cluster()
    profile = Profile("p", [NodePorts(), NodeResourcesFit(), InterPodAffinity()], [])

    def feasible() -> list[bool]:
        return [bool(value) for value in profile.feasible(Cycle(pod_info(named(one("new"))), cluster))[0]]

    cluster.set_node(node("a"))
    assert feasible() == [True]
    there = pod_info(named(one("there")), "a")
    cluster.add_pod(there)
    assert feasible() == [False] and cluster.claims
    cluster.remove_node("a")
    cluster.set_node(node("b"))
    assert feasible() == [True] and not cluster.claims
    # who comes back has its pods again
    cluster.set_node(node("a"))
    assert feasible() == [True, False]
    cluster.remove_pod(there)
    assert feasible() == [True, True]
