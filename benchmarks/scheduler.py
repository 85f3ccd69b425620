"""The scheduler: one cycle with 5,000 nodes, and pods a second over the API.

    python -m benchmarks.scheduler

Upstream's peer is scheduler_perf's SchedulingBasic (5,000 nodes, 10,000 pods, threshold 270 to 680 pods/s there, with
protobuf and 16 or more cores). Over the API the server is a process of its own with the durable store, over HTTPS.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

from sampan.scheduler.cluster import Cluster
from sampan.scheduler.framework import Cycle
from sampan.scheduler.plugins.image_locality import ImageLocality
from sampan.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from sampan.scheduler.plugins.node_affinity import NodeAffinity
from sampan.scheduler.plugins.node_name import NodeName
from sampan.scheduler.plugins.node_ports import NodePorts
from sampan.scheduler.plugins.node_unschedulable import NodeUnschedulable
from sampan.scheduler.plugins.pod_topology_spread import PodTopologySpread
from sampan.scheduler.plugins.resources_balanced import NodeResourcesBalancedAllocation
from sampan.scheduler.plugins.resources_fit import NodeResourcesFit
from sampan.scheduler.plugins.taint_toleration import TaintToleration
from sampan.scheduler.profile import Profile
from sampan.scheduler.shape import pod_info

Obj = dict[str, Any]
Figure = tuple[str, float, str, str]
NODES, PODS = 5000, 10_000
HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"


def node(number: int) -> Obj:
    amounts = {"cpu": "4", "memory": "32Gi", "pods": "110", "ephemeral-storage": "100Gi"}
    labels = {HOST: f"node-{number}", ZONE: f"zone-{number % 3}"}
    return {
        "metadata": {"name": f"node-{number}", "labels": labels},
        "status": {"capacity": amounts, "allocatable": amounts},
    }


def pod(number: int, **spec: Any) -> Obj:
    container = {"name": "pause", "image": "registry.k8s.io/pause:3.10", "ports": [{"containerPort": 80}]}
    container["resources"] = {"requests": {"cpu": "100m", "memory": "500Mi"}}
    meta = {"name": f"pod-{number}", "namespace": "default", "uid": f"{number}", "labels": {"app": "bench"}}
    return {"metadata": meta, "spec": {"containers": [container], **spec}}


SELECTOR = {"matchLabels": {"app": "bench"}}
SPREAD = {
    "topologySpreadConstraints": [
        {"maxSkew": 5, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": SELECTOR}
    ]
}
ANTI = {
    "affinity": {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": HOST, "labelSelector": SELECTOR}]
        }
    }
}
CASES: list[tuple[str, Obj, int, int]] = [
    ("basic", {}, PODS, 700),
    ("topology spreading", SPREAD, PODS, 400),
    ("required anti-affinity", ANTI, 2000, 200),
]


def profile() -> Profile:
    filters = [
        NodeUnschedulable(), NodeName(), TaintToleration(), NodeAffinity(), NodePorts(), NodeResourcesFit(),
        PodTopologySpread(), InterPodAffinity(),
    ]  # fmt: skip
    scorers = [*filters[2:4], *filters[5:], NodeResourcesBalancedAllocation(), ImageLocality()]
    return Profile("default-scheduler", filters, [(plugin, plugin.weight) for plugin in scorers])


def cycles(spec: Obj, pods: int) -> float:
    """Microseconds from a pod to the node it is taken to be on."""
    cluster, made, rng = Cluster(), profile(), random.Random(1)
    for number in range(NODES):
        cluster.set_node(node(number))
    waiting = [pod_info(pod(number, **spec)) for number in range(pods)]
    start = time.process_time()
    for info in waiting:
        cycle = Cycle(info, cluster)
        feasible, _ = made.feasible(cycle)
        chosen = cluster.by_slot[made.choose(cycle, feasible, rng)]
        assert chosen is not None
        info.node = chosen.name
        cluster.add_pod(info)
    return (time.process_time() - start) / pods * 1e6


def in_process() -> list[Figure]:
    budgets = {"basic": "<= 150"}
    return [
        (f"cycle, {NODES:,} nodes, {name}", cycles(spec, pods), "us", budgets.get(name, "-"))
        for name, spec, pods, _ in CASES
    ]


async def measure() -> list[Figure]:
    return in_process()


if __name__ == "__main__":
    for what, figure, unit, budget in asyncio.run(measure()):
        print(f"{what:64} {figure:12,.1f} {unit:4} budget {budget}")
