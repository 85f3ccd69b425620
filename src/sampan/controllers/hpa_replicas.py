"""How many replicas a metric asks for. Pure: pods and samples in, a number out. All amounts are in thousandths.

Pods that are not ready yet, or of which nothing is known, are counted so that they damp the change: as idle when it would
grow, as fully used when it would shrink.

Source: kubernetes/pkg/controller/podautoscaler/{replica_calculator,metrics/utilization}.go
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from sampan.api import quantity
from sampan.api.core_v1 import pod_resources
from sampan.api.times import parse_time

Obj = dict[str, Any]
NO_SAMPLES = "did not receive metrics for targeted pods (pods might be unready)"


class CannotCompute(Exception):
    """Why not, as upstream words it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a pod used, at the end of `window` seconds."""

    value: int
    timestamp: float
    window: float


Samples = dict[str, Sample]


@dataclass(frozen=True, slots=True)
class Rules:
    """Tolerances, and how long a pod is young."""

    up: float
    down: float
    cpu_initialization: float
    readiness_delay: float
    now: float

    def ignores(self, ratio: float) -> bool:
        """Too small a change."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


def milli(amount: str) -> int:
    return ceil(quantity.parse(amount) * 1000)


@dataclass(slots=True)
class _Groups:
    ready: int
    unready: set[str]
    missing: set[str]


def _group(pods: Sequence[Obj], samples: Samples, resource: str, rules: Rules) -> _Groups:
    """Takes the samples of those that do not count out of `samples`."""
    out = _Groups(0, set(), set())
    for pod in pods:
        name, status = pod["metadata"]["name"], pod.get("status") or {}
        if pod["metadata"].get("deletionTimestamp") or status.get("phase") == "Failed":
            samples.pop(name, None)
        elif status.get("phase") == "Pending":
            out.unready.add(name)
        elif name not in samples:
            out.missing.add(name)
        elif resource == "cpu" and _is_young(status, samples[name], rules):
            out.unready.add(name)
        else:
            out.ready += 1
    for name in out.unready:
        samples.pop(name, None)
    return out


def _is_young(status: Obj, sample: Sample, rules: Rules) -> bool:
    """Its CPU says nothing yet about the load it will take."""
    ready = next((item for item in status.get("conditions") or () if item["type"] == "Ready"), None)
    if ready is None or not status.get("startTime"):
        return True
    started, since = parse_time(status["startTime"]), parse_time(ready["lastTransitionTime"])
    if started + rules.cpu_initialization > rules.now:
        return ready["status"] == "False" or sample.timestamp < since + sample.window
    return ready["status"] == "False" and started + rules.readiness_delay > since


def _requests(pods: Sequence[Obj], resource: str, container: str) -> dict[str, int]:
    out = {}
    for pod in pods:
        name, spec = pod["metadata"]["name"], pod["spec"]
        if not container and pod_resources.requests_for_the_whole(spec):
            amount = pod_resources.requests(pod).get(resource)
            if amount is None:
                raise CannotCompute(f"missing pod-level request for {resource} in Pod {name}")
            out[name] = milli(amount)
            continue
        sidecars = [item for item in spec.get("initContainers") or () if item.get("restartPolicy") == "Always"]
        asked = [item for item in (*spec["containers"], *sidecars) if container in ("", item["name"])]
        if not asked:
            raise CannotCompute(f"container {container} not found in Pod {name}")
        out[name] = sum(_request(item, resource, name) for item in asked)
    return out


def _request(container: Obj, resource: str, pod: str) -> int:
    amount = ((container.get("resources") or {}).get("requests") or {}).get(resource)
    if amount is None:
        raise CannotCompute(f"missing request for {resource} in container {container['name']} of Pod {pod}")
    return milli(amount)


def _utilization(samples: Samples, requests: dict[str, int], target: int) -> tuple[float, int, int]:
    """Ratio to the target; percent of what is requested; average."""
    known = [name for name in samples if name in requests]
    used = sum(samples[name].value for name in known)
    requested = sum(requests[name] for name in known)
    if not requested:
        raise CannotCompute("no metrics returned matched known pods")
    percent = used * 100 // requested
    return percent / target, percent, used // len(known)


def by_utilization(
    current: int, target: int, resource: str, container: str, pods: Sequence[Obj], samples: Samples, rules: Rules
) -> tuple[int, int, int]:
    """Replicas, percent, average. `target`: percent of the requests. Raises CannotCompute."""
    if not pods:
        raise CannotCompute("no pods returned by selector while calculating replica count")
    samples = dict(samples)
    groups = _group(pods, samples, resource, rules)
    if not samples:
        raise CannotCompute(NO_SAMPLES)
    requests = _requests(pods, resource, container)
    ratio, percent, average = _utilization(samples, requests, target)
    with_unready = bool(groups.unready) and ratio > 1.0
    if not with_unready and not groups.missing:
        wanted = current if rules.ignores(ratio) else ceil(ratio * groups.ready)
        return wanted, percent, average
    if ratio < 1.0:
        fallback = max(100, target)
        for name in groups.missing:
            samples[name] = Sample(requests[name] * fallback // 100, 0.0, 0.0)
    elif ratio > 1.0:
        samples |= {name: Sample(0, 0.0, 0.0) for name in groups.missing}
    if with_unready:
        samples |= {name: Sample(0, 0.0, 0.0) for name in groups.unready}
    again, _, _ = _utilization(samples, requests, target)
    return _damped(current, ratio, again, len(samples), rules), percent, average


def by_value(
    current: int, target: int, resource: str, pods: Sequence[Obj], samples: Samples, rules: Rules
) -> tuple[int, int]:
    """Replicas, average. `target`: so much for each pod. Raises CannotCompute."""
    if not pods:
        raise CannotCompute("no pods returned by selector while calculating replica count")
    samples = dict(samples)
    groups = _group(pods, samples, resource, rules)
    if not samples:
        raise CannotCompute(NO_SAMPLES)
    average = _average(samples)
    ratio = average / target
    with_unready = bool(groups.unready) and ratio > 1.0
    if not with_unready and not groups.missing:
        return current if rules.ignores(ratio) else ceil(ratio * groups.ready), average
    assumed = target if ratio < 1.0 else 0
    samples |= {name: Sample(assumed, 0.0, 0.0) for name in groups.missing}
    if with_unready:
        samples |= {name: Sample(0, 0.0, 0.0) for name in groups.unready}
    return _damped(current, ratio, _average(samples) / target, len(samples), rules), average


def _average(samples: Samples) -> int:
    return sum(sample.value for sample in samples.values()) // len(samples)


def _damped(current: int, before: float, after: float, count: int, rules: Rules) -> int:
    """With the pods in doubt counted in: no change where they undo it, or turn it round."""
    if rules.ignores(after) or (before < 1.0 < after) or (after < 1.0 < before):
        return current
    wanted = ceil(after * count)
    if (after < 1.0 and wanted > current) or (after > 1.0 and wanted < current):
        return current
    return wanted


def by_ratio(current: int, ratio: float, pods: Sequence[Obj], rules: Rules) -> int:
    """For a metric of something else than the pods. Raises CannotCompute."""
    if current == 0:
        return ceil(ratio)
    if rules.ignores(ratio):
        return current
    if not pods:
        why = "no pods returned by selector while calculating replica count"
        raise CannotCompute(f"unable to calculate ready pods: {why}")
    return ceil(ratio * sum(1 for pod in pods if _is_ready(pod)))


def per_pod(status_replicas: int, target: int, value: int, rules: Rules) -> tuple[int, int]:
    """Replicas, average, for a value that all pods share."""
    wanted = status_replicas
    if not status_replicas or not rules.ignores(value / (target * status_replicas)):
        wanted = ceil(value / target)
    return wanted, ceil(value / status_replicas) if status_replicas else value


def _is_ready(pod: Obj) -> bool:
    status = pod.get("status") or {}
    conditions = status.get("conditions") or ()
    return status.get("phase") == "Running" and any(
        item["type"] == "Ready" and item["status"] == "True" for item in conditions
    )
