"""The arrays decide as the plain way does: thousands of random clusters, every reason and every score compared."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sampan.scheduler.cluster import Cluster
from sampan.scheduler.framework import Cycle
from sampan.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from sampan.scheduler.plugins.node_affinity import NodeAffinity
from sampan.scheduler.plugins.node_ports import NodePorts
from sampan.scheduler.plugins.node_unschedulable import NodeUnschedulable
from sampan.scheduler.plugins.pod_topology_spread import PodTopologySpread
from sampan.scheduler.plugins.resources_balanced import NodeResourcesBalancedAllocation
from sampan.scheduler.plugins.resources_fit import NodeResourcesFit
from sampan.scheduler.plugins.taint_toleration import TaintToleration
from sampan.scheduler.profile import Profile
from sampan.scheduler.shape import pod_info
from tests import scheduler_reference as plain

Obj = dict[str, Any]
KEYS = (plain.HOST, plain.ZONE, "disk")
VALUES = ("a", "b", "3")
filters = [
    NodeUnschedulable(), TaintToleration(), NodeAffinity(), NodePorts(), NodeResourcesFit(), PodTopologySpread(),
    InterPodAffinity(),
]  # fmt: skip
scoring = [*filters[1:3], *filters[4:], NodeResourcesBalancedAllocation()]
PROFILE = Profile("default-scheduler", filters, [(plugin, plugin.weight) for plugin in scoring])

labels = st.dictionaries(st.sampled_from(("app", "tier")), st.sampled_from(("x", "y")), max_size=2)
selectors = st.one_of(
    labels.map(lambda found: {"matchLabels": found}),
    st.just({"matchExpressions": [{"key": "app", "operator": "Exists"}]}),
)
taints = st.fixed_dictionaries(
    {
        "key": st.sampled_from(("t", "u")),
        "value": st.sampled_from(("", "v")),
        "effect": st.sampled_from(("NoSchedule", "PreferNoSchedule", "NoExecute")),
    }
)
tolerations = st.fixed_dictionaries(
    {"operator": st.sampled_from(("Exists", "Equal"))},
    optional={
        "key": st.sampled_from(("t", "u")),
        "value": st.sampled_from(("", "v")),
        "effect": st.sampled_from(("NoSchedule", "PreferNoSchedule")),
    },
).filter(lambda item: item["operator"] == "Exists" or "key" in item)
expressions = st.one_of(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from(KEYS),
            "operator": st.sampled_from(("In", "NotIn")),
            "values": st.lists(st.sampled_from(VALUES), min_size=1, max_size=2),
        }
    ),
    st.fixed_dictionaries({"key": st.sampled_from(KEYS), "operator": st.sampled_from(("Exists", "DoesNotExist"))}),
    st.just({"key": "disk", "operator": "Gt", "values": ["2"]}),
)
node_terms = st.fixed_dictionaries({"matchExpressions": st.lists(expressions, max_size=2)})
pod_terms = st.fixed_dictionaries(
    {"topologyKey": st.sampled_from(KEYS), "labelSelector": selectors},
    optional={"namespaces": st.just(["m"]), "namespaceSelector": st.sampled_from(({}, {"matchLabels": {"n": "1"}}))},
)
weighted = st.fixed_dictionaries({"weight": st.integers(1, 100), "podAffinityTerm": pod_terms})
pod_rules = st.fixed_dictionaries(
    {},
    optional={
        plain.REQUIRED: st.lists(pod_terms, min_size=1, max_size=2),
        plain.PREFERRED: st.lists(weighted, min_size=1, max_size=2),
    },
)
affinities = st.fixed_dictionaries(
    {},
    optional={
        "podAffinity": pod_rules,
        "podAntiAffinity": pod_rules,
        "nodeAffinity": st.fixed_dictionaries(
            {},
            optional={
                plain.REQUIRED: st.fixed_dictionaries(
                    {"nodeSelectorTerms": st.lists(node_terms, min_size=1, max_size=2)}
                ),
                plain.PREFERRED: st.lists(
                    st.fixed_dictionaries({"weight": st.integers(1, 100), "preference": node_terms}),
                    min_size=1,
                    max_size=2,
                ),
            },
        ),
    },
)
spreads = st.fixed_dictionaries(
    {
        "maxSkew": st.integers(1, 3),
        "topologyKey": st.sampled_from(KEYS),
        "whenUnsatisfiable": st.sampled_from(("DoNotSchedule", "ScheduleAnyway")),
        "labelSelector": selectors,
    },
    optional={
        "nodeAffinityPolicy": st.sampled_from(("Honor", "Ignore")),
        "nodeTaintsPolicy": st.sampled_from(("Honor", "Ignore")),
        "minDomains": st.integers(1, 3),
    },
)
containers = st.fixed_dictionaries(
    {"name": st.just("c"), "image": st.just("i")},
    optional={
        "resources": st.fixed_dictionaries(
            {
                "requests": st.dictionaries(
                    st.sampled_from(("cpu", "memory", "example.com/gpu")), st.sampled_from(("0", "1", "2")), max_size=3
                )
            }
        ),
        "ports": st.just([{"hostPort": 80, "containerPort": 80}]),
    },
)
specs = st.fixed_dictionaries(
    {"containers": st.lists(containers, min_size=1, max_size=2)},
    optional={
        "tolerations": st.lists(tolerations, max_size=2),
        "nodeSelector": st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=1),
        "affinity": affinities,
        "topologySpreadConstraints": st.lists(spreads, max_size=2),
    },
)
pods = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"namespace": st.sampled_from(("m", "n")), "labels": labels}, optional={"deletionTimestamp": st.just("now")}
        ),
        "spec": specs,
    }
)
nodes = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"labels": st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=3)}
        ),
        "spec": st.fixed_dictionaries(
            {}, optional={"taints": st.lists(taints, max_size=2), "unschedulable": st.booleans()}
        ),
        "status": st.fixed_dictionaries(
            {
                "allocatable": st.fixed_dictionaries(
                    {
                        "pods": st.sampled_from(("1", "3", "9")),
                        "cpu": st.sampled_from(("2", "4")),
                        "memory": st.just("8Gi"),
                    },
                    optional={"example.com/gpu": st.just("2")},
                )
            }
        ),
    }
)


def named(obj: Obj, name: str) -> Obj:
    return {**obj, "metadata": {**obj["metadata"], "name": name, "uid": name}}


@settings(max_examples=120, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink))
@given(
    st.lists(nodes, min_size=1, max_size=5), st.lists(st.tuples(st.integers(0, 4), pods), max_size=6), pods, st.data()
)
def test_arrays_and_the_plain_way_agree(
    some: list[Obj], there: list[tuple[int, Obj]], wanted: Obj, data: st.DataObject
) -> None:
    world = plain.World({}, {}, {"m": {"n": "1"}, "n": {}})
    cluster = Cluster()
    for name, found in world.namespaces.items():
        cluster.set_namespace(name, found)
    for index, node in enumerate(some):
        world.nodes[f"n{index}"] = named(node, f"n{index}")
    # pods may be known before their node is
    early = data.draw(st.booleans())
    if not early:
        for node in world.nodes.values():
            cluster.set_node(node)
    infos = []
    for index, (at, pod) in enumerate(there):
        pod = named(pod, f"p{index}")
        world.pods.setdefault(f"n{at}", []).append(pod)
        infos.append(pod_info(pod, f"n{at}"))
        cluster.add_pod(infos[-1])
    if early:
        for node in world.nodes.values():
            cluster.set_node(node)
    compare(world, cluster, named(wanted, "wanted"))
    # and again after something has gone, which finds what is not kept up to date
    if infos:
        gone = data.draw(st.integers(0, len(infos) - 1))
        cluster.remove_pod(infos[gone])
        for listed in world.pods.values():
            listed[:] = [pod for pod in listed if pod["metadata"]["name"] != f"p{gone}"]
    if len(world.nodes) > 1:
        cluster.remove_node("n0")
        del world.nodes["n0"]
    compare(world, cluster, named(wanted, "wanted"))
    # one that takes the place of another has nothing of its pods; who comes back has its own again
    for name in data.draw(st.permutations(("n0", "new"))):
        world.nodes[name] = named(some[0], name)
        cluster.set_node(world.nodes[name])
        compare(world, cluster, named(wanted, "wanted"))


def compare(world: plain.World, cluster: Cluster, pod: Obj) -> None:
    cycle = Cycle(pod_info(pod), cluster)
    feasible, diagnosis = PROFILE.feasible(cycle)
    expected = {name: plain.refusals(world, pod, name) for name in world.nodes}
    said = {
        info.name: tuple(sorted(diagnosis.reasons(cycle, info.slot))) if not feasible[info.slot] else ()
        for info in cluster.nodes.values()
    }
    assert said == expected
    histogram = Counter(reason for reasons in expected.values() for reason in reasons)
    assert diagnosis.histogram(cycle) == dict(histogram)
    slots = np.flatnonzero(feasible)
    if len(slots):
        names = [cluster.by_slot[slot].name for slot in slots]  # type: ignore[union-attr]
        totals = dict(zip(names, map(int, PROFILE.scores(cycle, slots)), strict=True))
        assert totals == plain.total_scores(world, pod, names)
