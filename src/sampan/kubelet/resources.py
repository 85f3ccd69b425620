"""What a pod's resources mean to the kernel: shares, quotas, limits, and who dies first when memory is out. Pure.

Source: kubernetes pkg/kubelet/cm/helpers_linux.go, pkg/kubelet/qos/policy.go, pkg/kubelet/kuberuntime/kuberuntime_container_linux.go
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sampan.api import quantity
from sampan.api.core_v1 import pod_resources
from sampan.api.core_v1.pod_spec import qos_class
from sampan.cri import pb

Obj = dict[str, Any]
MIN_SHARES, MAX_SHARES, SHARES = 2, 262144, 1024
PERIOD, MIN_QUOTA = 100_000, 1_000
GUARANTEED_OOM, BEST_EFFORT_OOM = -997, 1000


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a control group; None: not set. `quota`: microseconds in each `period`, -1 without an end."""

    shares: int | None = None
    quota: int | None = None
    period: int | None = None
    memory: int | None = None
    pids: int | None = None


def milli(amount: str | None) -> int:
    """Thousandths, rounded up."""
    return math.ceil(quantity.parse(amount or "0") * 1000)


def whole(amount: str | None) -> int:
    """Rounded up."""
    return math.ceil(quantity.parse(amount or "0"))


def shares(milli_cpu: int) -> int:
    return max(MIN_SHARES, min(MAX_SHARES, milli_cpu * SHARES // 1000))


def quota(milli_cpu: int) -> int:
    """Of each PERIOD; 0: no limit."""
    return max(MIN_QUOTA, milli_cpu * PERIOD // 1000) if milli_cpu else 0


def weight(of_shares: int) -> int:
    """Version 2's measure of the same: 1024 shares are 100. Source: github.com/opencontainers/cgroups utils.go"""
    if of_shares <= MIN_SHARES:
        return 1
    if of_shares >= MAX_SHARES:
        return 10_000
    log = math.log2(of_shares)
    return math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))


def qos(pod: Obj) -> str:
    """Guaranteed, Burstable or BestEffort; what the API server said stays true."""
    return str((pod.get("status") or {}).get("qosClass") or qos_class(pod["spec"]))


def of_pod(pod: Obj, *, cpu_quota: bool = True, pids: int = -1) -> Limits:
    """Of all its containers together. A limit holds for the pod if each container has one, or the pod itself."""
    limit = pids if pids > 0 else None
    which = qos(pod)
    if which == "BestEffort":
        return Limits(shares=MIN_SHARES, pids=limit)
    requests, limits = pod_resources.requests(pod), pod_resources.limits(pod)
    spec = pod["spec"]
    own = (spec.get("resources") or {}).get("limits") or {}
    every = [each for field in ("containers", "initContainers") for each in spec.get(field) or ()]

    def declared(name: str) -> bool:
        each = ((one.get("resources") or {}).get("limits") or {} for one in every)
        return which == "Guaranteed" or whole(own.get(name)) > 0 or all(milli(one.get(name)) > 0 for one in each)

    cpu = milli(limits.get("cpu"))
    bounded = declared("cpu") and cpu > 0
    return Limits(
        shares=shares(milli(requests.get("cpu"))),
        quota=(quota(cpu) if cpu_quota else -1) if bounded else None,
        period=PERIOD if bounded else None,
        memory=(whole(limits.get("memory")) or None) if declared("memory") else None,
        pids=limit,
    )


def of_tier(pods: Iterable[Obj]) -> Limits:
    """Of the Burstable pods as one: as much CPU in a crowd as they ask for together."""
    asked = sum(milli(pod_resources.requests(each).get("cpu")) for each in pods)
    return Limits(shares=shares(asked))


def of_node(allocatable: Mapping[str, str], pids: int) -> Limits:
    """Of all pods."""
    return Limits(shares=shares(milli(allocatable["cpu"])), memory=whole(allocatable["memory"]), pids=pids)


def of_container(
    pod: Obj, container: Obj, memory_capacity: int, *, cpu_quota: bool = True, unified: bool = False
) -> Any:
    """CRI's LinuxContainerResources. `unified`: control groups of version 2 alone."""
    spec = container.get("resources") or {}
    requests, limits = spec.get("requests") or {}, spec.get("limits") or {}
    together = (pod["spec"].get("resources") or {}).get("limits") or {}
    cpu = milli(limits.get("cpu")) or milli(together.get("cpu"))
    # a request that is not said is the limit; one that is nothing is nothing
    asked = milli(requests.get("cpu")) if "cpu" in requests else milli(limits.get("cpu"))
    memory = whole(limits.get("memory")) or whole(together.get("memory"))
    out = pb.LinuxContainerResources(
        cpu_shares=shares(asked), memory_limit_in_bytes=memory, oom_score_adj=oom_score(pod, container, memory_capacity)
    )
    if cpu_quota and cpu:
        out.cpu_quota, out.cpu_period = quota(cpu), PERIOD
    if unified:
        # all of a container dies, not whichever process was the largest; and it has no swap
        out.unified["memory.oom.group"] = "1"
        out.unified["memory.swap.max"] = "0"
    elif memory:
        out.memory_swap_limit_in_bytes = memory
    return out


def of_sandbox(pod: Obj, *, cpu_quota: bool = True) -> tuple[Any, Any]:
    """CRI's `overhead` and `resources` of a sandbox: what the pod costs beyond its containers, and what these sum up to."""
    overhead = pod["spec"].get("overhead") or {}
    return (
        _linux(milli(overhead.get("cpu")), milli(overhead.get("cpu")), whole(overhead.get("memory")), cpu_quota),
        _linux(
            milli(pod_resources.requests(pod, overhead=False).get("cpu")),
            milli(pod_resources.limits(pod, overhead=False).get("cpu")),
            whole(pod_resources.limits(pod, overhead=False).get("memory")),
            cpu_quota,
        ),
    )


def _linux(asked: int, limit: int, memory: int, cpu_quota: bool) -> Any:
    out = pb.LinuxContainerResources(cpu_shares=shares(asked), memory_limit_in_bytes=memory)
    if cpu_quota and limit:
        out.cpu_quota, out.cpu_period = quota(limit), PERIOD
    return out


def oom_score(pod: Obj, container: Obj, memory_capacity: int) -> int:
    """Burstable containers die the sooner the less of the machine's memory they asked for; sidecars not before the pod's others."""
    if pod["spec"].get("priorityClassName") == "system-node-critical":
        return GUARANTEED_OOM
    which = qos(pod)
    if which != "Burstable":
        return GUARANTEED_OOM if which == "Guaranteed" else BEST_EFFORT_OOM
    spec = pod["spec"]
    asked = _memory(container) + _remainder(spec)
    if container.get("restartPolicy") == "Always":
        asked = max(asked, min((_memory(each) + _remainder(spec) for each in spec["containers"]), default=0))
    score = 1000 - 1000 * asked // memory_capacity
    if score < 1000 + GUARANTEED_OOM:
        return 1000 + GUARANTEED_OOM
    return score - 1 if score == BEST_EFFORT_OOM else score


def _memory(container: Obj) -> int:
    return whole(((container.get("resources") or {}).get("requests") or {}).get("memory"))


def _remainder(spec: Obj) -> int:
    """What the pod asks for beyond its containers belongs to each of them alike."""
    own = (spec.get("resources") or {}).get("requests") or {}
    if "memory" not in own:
        return 0
    together = whole(own["memory"])
    lasting = [
        *spec["containers"],
        *(each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"),
    ]
    return max(0, together - sum(_memory(each) for each in lasting)) // len(lasting)
