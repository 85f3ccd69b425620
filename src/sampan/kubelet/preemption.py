"""Room for a critical pod: as few others as can be go, and of the least worth first.

A pod that is critical is not refused for want of resources while there are others that are not. The set that goes frees what is
missing, with fewest Guaranteed pods, then fewest Burstable, then fewest BestEffort; of one class always the pod that comes nearest to
what is still missing.

Source: kubernetes pkg/kubelet/preemption/preemption.go, pkg/kubelet/types/pod_update.go (Preemptable)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sampan.api import quantity
from sampan.api.core_v1 import pod_resources
from sampan.kubelet import admission, resources
from sampan.kubelet.conditions import DISRUPTED

Obj = dict[str, Any]
Short = dict[str, int]
#: of a pod that goes
CONDITION = {
    "type": DISRUPTED,
    "status": "True",
    "reason": "TerminationByKubelet",
    "message": "Pod was preempted by Kubelet to accommodate a critical pod.",
}
REASON, MESSAGE = "Preempting", "Preempted in order to admit critical pod"


class NoneFound(Exception):
    """Nobody may go whose going would be enough."""


def short_of(pod: Obj, others: Iterable[Obj], allocatable: Mapping[str, str]) -> Short:
    """What is missing, by resource: cpu in thousandths."""
    there = list(others)
    wanted = {**pod_resources.requests(pod), "pods": "1"}
    out = {}
    for name in wanted:
        if name == "pods" or name in allocatable:
            most = _amount(name, allocatable.get(name, "110"))
            missing = _asked(pod, name) + sum(_asked(each, name) for each in there) - most
            if missing > 0 and _asked(pod, name) > 0:
                out[name] = missing
    return out


def chosen(pod: Obj, others: Iterable[Obj], short: Short) -> list[Obj]:
    """Who goes. Raises NoneFound."""
    tiers: dict[str, list[Obj]] = {"BestEffort": [], "Burstable": [], "Guaranteed": []}
    for each in others:
        if preemptable(pod, each):
            tiers[resources.qos(each)].append(each)
    least, burstable, guaranteed = tiers.values()
    if missing := _left(short, [*least, *burstable, *guaranteed]):
        raise NoneFound(_none(missing))
    most_worth = _nearest(guaranteed, _left(short, [*least, *burstable]))
    worth = _nearest(burstable, _left(short, [*least, *most_worth]))
    return [*_nearest(least, _left(short, [*worth, *most_worth])), *worth, *most_worth]


def preemptable(pod: Obj, other: Obj) -> bool:
    if admission.critical(pod) and not admission.critical(other):
        return True
    mine, theirs = pod["spec"].get("priority"), other["spec"].get("priority")
    return mine is not None and theirs is not None and mine > theirs


def _nearest(pods: Sequence[Obj], short: Short) -> list[Obj]:
    """Raises NoneFound."""
    left, out = list(pods), []
    while short:
        if not left:
            raise NoneFound(_none(short))
        best = min(left, key=lambda each: (_distance(each, short), _asked(each, "memory"), _asked(each, "cpu")))
        short = _left(short, [best])
        left.remove(best)
        out.append(best)
    return out


def _distance(pod: Obj, short: Short) -> float:
    """Of what a pod would free from what is missing; each resource counts the same."""
    return sum(max(0, missing - _asked(pod, name)) ** 2 / missing**2 for name, missing in short.items())


def _left(short: Short, gone: Iterable[Obj]) -> Short:
    pods = list(gone)
    found = {name: missing - sum(_asked(each, name) for each in pods) for name, missing in short.items()}
    return {name: missing for name, missing in found.items() if missing > 0}


def _asked(pod: Obj, name: str) -> int:
    return 1 if name == "pods" else _amount(name, pod_resources.requests(pod).get(name, "0"))


def _amount(name: str, text: str) -> int:
    return int(quantity.parse(text) * (1000 if name == "cpu" else 1))


def _none(short: Short) -> str:
    listed = "".join(f"(res: {name}, q: {missing}), " for name, missing in short.items())
    return f"preemption: error finding a set of pods to preempt: no set of running pods found to reclaim resources: [{listed}]"
