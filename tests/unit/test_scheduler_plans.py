"""Plans and sums are short cuts: they must decide as the long way does, pod by pod, on random clusters."""

from __future__ import annotations

import asyncio
import random
import types
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.scheduler import quick
from sampan.scheduler.cluster import Cluster
from sampan.scheduler.framework import Cycle
from sampan.scheduler.nominated import Nominator
from sampan.scheduler.plugins.image_locality import ImageLocality
from sampan.scheduler.plugins.resources_balanced import NodeResourcesBalancedAllocation
from sampan.scheduler.plugins.resources_fit import NodeResourcesFit, Strategy
from sampan.scheduler.preemption import Candidate, DefaultPreemption, by_budget, pick
from sampan.scheduler.profile import Profile
from sampan.scheduler.shape import PodInfo, pod_info
from tests.unit.test_scheduler_arrays import filters, named, nodes, pods

Obj = dict[str, Any]
STRATEGIES = (
    Strategy(),
    Strategy("MostAllocated", (("cpu", 3), ("example.com/gpu", 1))),
    Strategy("RequestedToCapacityRatio", (("cpu", 1), ("memory", 2)), ((0, 10), (50, 3), (100, 0))),
)


def profile(planned: bool, strategy: Strategy, balanced: tuple[tuple[str, int], ...]) -> Profile:
    fit = NodeResourcesFit(strategy)
    own = [fit if type(plugin) is NodeResourcesFit else plugin for plugin in filters]
    scoring = [*own[1:3], *own[4:], NodeResourcesBalancedAllocation(balanced), ImageLocality()]
    return Profile("p", own, [(plugin, plugin.weight) for plugin in scoring], planned=planned)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(nodes, min_size=1, max_size=7),
    st.lists(pods, min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=4, max_size=16),
    st.sampled_from(STRATEGIES),
    st.sampled_from(((("cpu", 1), ("memory", 1)), (("cpu", 1), ("memory", 1), ("example.com/gpu", 1)))),
    st.integers(0, 99),
)
def test_a_batch_is_placed_as_one_by_one(
    some: list[Obj],
    kinds: list[Obj],
    order: list[tuple[int, bool]],
    strategy: Strategy,
    balanced: tuple[tuple[str, int], ...],
    seed: int,
) -> None:
    cluster = Cluster()
    for index, node in enumerate(some):
        cluster.set_node(named(node, f"n{index}"))
    planned, plain = profile(True, strategy, balanced), profile(False, strategy, balanced)
    rngs = random.Random(seed), random.Random(seed)
    there: list[PodInfo] = []
    for number, (kind, goes) in enumerate(order):
        if goes and there:
            cluster.remove_pod(there.pop(number % len(there)))
        cycle = Cycle(pod_info(named(kinds[kind % len(kinds)], f"p{number}")), cluster)
        # the plain answer first: a plan must not lean on what asking it has left behind
        feasible, why = plain.feasible(cycle)
        wanted = (feasible.copy(), why.by.copy(), why.codes.copy())
        slot = plain.choose(cycle, feasible, rngs[1]) if feasible.any() else -1
        left, diagnosis = planned.feasible(cycle)
        for found, expected in zip((left, diagnosis.by, diagnosis.codes), wanted, strict=True):
            assert np.array_equal(found, expected)
        if slot < 0:
            continue
        slots = np.flatnonzero(feasible)
        assert np.array_equal(planned.scores(cycle, slots), plain.scores(cycle, slots))
        assert planned.choose(cycle, left, rngs[0]) == slot
        info = cluster.by_slot[slot]
        assert info is not None
        there.append(pod_info(named(kinds[kind % len(kinds)], f"p{number}"), info.name))
        cluster.add_pod(there[-1])
        if number % 5 == 4:
            cluster.set_node(named(some[0], f"n{number}"))


def simple(name: str, cpu: int, priority: int, started: int, labels: Obj | None = None) -> Obj:
    requests = {"cpu": f"{cpu}m", **({"example.com/gpu": "1"} if cpu % 2 else {})}
    container = {"name": "c", "image": "i", "resources": {"requests": requests}}
    meta = {"name": name, "namespace": "m", "uid": name, "labels": labels or {"app": name[:2]}}
    status = {"startTime": f"2026-01-01T00:00:{started:02}Z"}
    return {"metadata": meta, "spec": {"containers": [container], "priority": priority}, "status": status}


running = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(0, 3), st.integers(0, 9)), max_size=14)


@settings(max_examples=200, deadline=None)
@given(
    running,
    st.integers(1, 20),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(0, 4)), max_size=2),
    st.lists(st.integers(0, 2), max_size=3),
)
def test_sums_find_the_victims_that_the_filters_find(
    there: list[tuple[int, int, int, int]], asked: int, ahead: list[tuple[int, int, int]], allowed: list[int]
) -> None:
    cluster, nominator = Cluster(), Nominator()
    for number in range(4):
        amounts = {"cpu": f"{10 + number}m", "pods": str(3 + number), "example.com/gpu": "2"}
        cluster.set_node({"metadata": {"name": f"n{number}"}, "status": {"allocatable": amounts}})
    for number, (at, cpu, priority, started) in enumerate(there):
        cluster.add_pod(pod_info(simple(f"p{number}", cpu, priority, started), f"n{at}"))
    for number, (at, cpu, priority) in enumerate(ahead):
        nominator.put(pod_info(simple(f"a{number}", cpu, priority, 0)), f"n{at}")
    budgets = [
        {
            "metadata": {"namespace": "m", "name": f"b{number}"},
            "spec": {"selector": {"matchLabels": {"app": f"p{number}"}}},
            "status": {"disruptionsAllowed": count},
        }
        for number, count in enumerate(allowed)
    ]
    made = Profile("p", filters, [])
    cycle = Cycle(pod_info(simple("wanted", asked, 2, 0)), cluster)
    _, diagnosis = made.feasible(cycle)
    sums = quick.checker(made, cycle, nominator)
    assert isinstance(sums, quick.Sums)
    preemption = preempting(made, nominator)
    for info in cluster.nodes.values():
        if not diagnosis.resolvable(cycle)[info.slot]:
            continue
        before = cluster.requested.copy()
        general = quick.General(made, cycle, nominator)
        assert preemption.victims(cycle, info.name, budgets, sums) == preemption.victims(
            cycle, info.name, budgets, general
        )
        assert np.array_equal(before, cluster.requested)


def preempting(made: Profile, nominator: Nominator) -> DefaultPreemption:
    out = DefaultPreemption.__new__(DefaultPreemption)
    out.handle = types.SimpleNamespace(profile=made, nominator=nominator, rng=random.Random(1))  # type: ignore[assignment]
    out.percentage, out.absolute = 10, 100
    return out


def candidate(node: str, *victims: tuple[int, int], violations: int = 0) -> Candidate:
    infos = [
        pod_info(simple(f"{node}{i}", 1, priority, started), node) for i, (priority, started) in enumerate(victims)
    ]
    return Candidate(node, tuple(sorted(infos, key=lambda info: -info.priority)), violations)


def test_the_node_where_least_is_lost() -> None:
    a = candidate("a", (1, 0), violations=1)
    b = candidate("b", (3, 0), (1, 0))
    assert pick([a, b]).node == "b"
    c = candidate("c", (2, 0), (2, 0))
    assert pick([a, b, c]).node == "c"
    d = candidate("d", (2, 0), (1, 0))
    assert pick([b, c, d]).node == "d"
    e, f = candidate("e", (-5, 0), (-5, 0)), candidate("f", (-5, 0))
    assert pick([e, f]).node == "f"
    # of equals the one whose most important victims have run shortest, then the first
    g, h = candidate("g", (2, 5), (1, 1)), candidate("h", (2, 4), (1, 9))
    assert pick([h, g, d]).node == "g"
    assert pick([candidate("i", (2, 4), (1, 0)), h]).node == "i"


def test_budgets_split_those_whose_going_would_violate_one() -> None:
    infos = [pod_info(simple(f"p{number}", 1, 0, 0, {"app": "x"}), "n") for number in range(4)]
    budget = {
        "metadata": {"namespace": "m", "name": "b"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}},
        "status": {"disruptionsAllowed": 1, "disruptedPods": {"p1": "2026-01-01T00:00:00Z"}},
    }
    everything = {**budget, "spec": {"selector": {}}, "status": {"disruptionsAllowed": 0}}
    violating, others = by_budget(infos, [budget, everything])
    assert [pod.name for pod in violating] == ["p2", "p3"]
    assert [pod.name for pod in others] == ["p0", "p1"]


def test_what_took_part_in_no_loop_is_not_left_open() -> None:
    """A checker puts back what it took away, also when it is left by an error."""
    cluster = Cluster()
    cluster.set_node({"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "1", "pods": "9"}}})
    info = pod_info(simple("p0", 100, 0, 0), "n")
    cluster.add_pod(info)
    general = quick.General(Profile("p", filters, []), Cycle(pod_info(simple("w", 1, 1, 0)), cluster), Nominator())
    try:
        with general.without(cluster.nodes["n"], [info]):
            assert cluster.requested[0, 0] == 0
            raise asyncio.CancelledError
    except asyncio.CancelledError:
        assert cluster.requested[0, 0] == 100
