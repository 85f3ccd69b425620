"""What controllers ask about a pod: is it ready, does it count, which one should go first.

Source: kubernetes/pkg/api/v1/pod/util.go, pkg/controller/controller_utils.go (ActivePodsWithRanks, Filter*)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sampan.api.times import parse_time

Obj = dict[str, Any]
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}
_MAX_INT32 = 2**31


def condition_of(obj: Obj, kind: str) -> Obj | None:
    """The condition of that type in the status of a pod, or of anything else that has conditions."""
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition["type"] == kind:
            found: Obj = condition
            return found
    return None


def phase_of(pod: Obj) -> str:
    return str((pod.get("status") or {}).get("phase", ""))


def is_ready(pod: Obj) -> bool:
    condition = condition_of(pod, "Ready")
    return condition is not None and condition["status"] == "True"


def is_terminal(pod: Obj) -> bool:
    """Its containers have ended and will not start again."""
    return phase_of(pod) in ("Succeeded", "Failed")


def is_active(pod: Obj) -> bool:
    """It counts: neither ended nor being deleted."""
    return "deletionTimestamp" not in pod["metadata"] and not is_terminal(pod)


def is_terminating(pod: Obj) -> bool:
    """It is being deleted and has not ended yet."""
    return "deletionTimestamp" in pod["metadata"] and not is_terminal(pod)


class PodNote(NamedTuple):
    """All that a set of many pods wants to know of each, where decoding them again and again would cost too much.
    `since`: the time that the Ready condition has."""

    active: bool
    terminating: bool
    ready: bool
    since: str

    def available_at(self, min_ready_seconds: int) -> float | None:
        """When a ready pod has been ready long enough, in seconds since the epoch. None: it is not ready."""
        if not self.ready:
            return None
        if not min_ready_seconds:
            return 0.0
        return parse_time(self.since) + min_ready_seconds if self.since else math.inf

    def is_available(self, min_ready_seconds: int, now: float) -> bool:
        due = self.available_at(min_ready_seconds)
        return due is not None and due <= now


def note_of(pod: Obj) -> PodNote:
    condition = condition_of(pod, "Ready")
    ready = condition is not None and condition["status"] == "True"
    since = (condition or {}).get("lastTransitionTime") or ""
    return PodNote(is_active(pod), is_terminating(pod), ready, since)


def available_at(pod: Obj, min_ready_seconds: int) -> float | None:
    """As PodNote's."""
    return note_of(pod).available_at(min_ready_seconds)


def is_available(pod: Obj, min_ready_seconds: int, now: float) -> bool:
    due = available_at(pod, min_ready_seconds)
    return due is not None and due <= now


def until_available(pods: Iterable[PodNote], min_ready_seconds: int, now: float) -> float | None:
    """Seconds until the next ready pod becomes available; None: none will by waiting alone."""
    if not min_ready_seconds:
        return None
    times = [due for pod in pods if (due := pod.available_at(min_ready_seconds)) is not None and now < due < math.inf]
    # a little late rather than a little early, which would be another turn
    return min(times) - now + 0.001 if times else None


def restarts(pod: Obj) -> tuple[int, int]:
    """The most of any container; of any sidecar."""
    status = pod.get("status") or {}
    regular = max((c.get("restartCount", 0) for c in status.get("containerStatuses") or ()), default=0)
    initial = status.get("initContainerStatuses") or ()
    if not any(c.get("restartCount") for c in initial):
        return regular, 0
    spec = pod["spec"].get("initContainers") or ()
    sidecars = {c["name"] for c in spec if c.get("restartPolicy") == "Always"}
    return regular, max((c.get("restartCount", 0) for c in initial if c["name"] in sidecars), default=0)


def deletion_cost(pod: Obj) -> int:
    """What its annotation says; 0 where that is not a number as Go writes it."""
    text = (pod["metadata"].get("annotations") or {}).get(DELETION_COST, "0")
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or (text[0] == "0" and text != "0"):
        return 0
    cost = int(text)
    return cost if -_MAX_INT32 <= cost < _MAX_INT32 else 0


def to_delete(pods: Sequence[Obj], related: Iterable[Obj], count: int, now: float) -> list[Obj]:
    """The `count` of `pods` that are missed least. `related`: all pods of the same owner, by which to tell which nodes
    have several of them."""
    if count >= len(pods):
        return list(pods)
    on_node: dict[str, int] = {}
    for pod in related:
        if is_active(pod):
            node = pod["spec"].get("nodeName", "")
            on_node[node] = on_node.get(node, 0) + 1
    ranked = [_Ranked(pod, on_node.get(pod["spec"].get("nodeName", ""), 0), now) for pod in pods]
    return [ranking.pod for ranking in sorted(ranked)[:count]]


def to_remove(pods: Iterable[Obj], count: int) -> list[Obj]:
    """As `to_delete`, of a Job: it does not look at costs and neighbours, and the younger of two always goes first."""

    def rank(pod: Obj) -> tuple[Any, ...]:
        condition, phase = condition_of(pod, "Ready"), _PHASES.get(phase_of(pod), 0)
        ready = condition is not None and condition["status"] == "True"
        since = _time(condition.get("lastTransitionTime")) if ready and condition is not None else None
        created = _time(pod["metadata"].get("creationTimestamp"))
        regular, sidecars = restarts(pod)
        return (
            bool(pod["spec"].get("nodeName")),
            phase,
            ready,
            -(since or math.inf),
            -regular,
            -sidecars,
            -(created or math.inf),
        )

    return sorted(pods, key=rank)[:count]


class _Ranked:
    """Less is deleted first: not yet on a node, not yet running, not ready, cheap, with many neighbours, young."""

    __slots__ = ("created", "first", "now", "pod", "ready", "restarts", "uid")

    def __init__(self, pod: Obj, neighbours: int, now: float) -> None:
        meta = pod["metadata"]
        condition = condition_of(pod, "Ready")
        ready = condition is not None and condition["status"] == "True"
        phase = _PHASES.get(phase_of(pod), 0)
        self.pod = pod
        self.first = (bool(pod["spec"].get("nodeName")), phase, ready, deletion_cost(pod), -neighbours)
        self.ready = _time(condition.get("lastTransitionTime")) if ready and condition is not None else None
        self.restarts = restarts(pod)
        self.created = _time(meta.get("creationTimestamp"))
        self.uid: str = meta.get("uid", "")
        self.now = now

    def __lt__(self, other: _Ranked) -> bool:
        if self.first != other.first:
            return self.first < other.first
        if self.ready != other.ready:
            return self._younger(self.ready, other.ready, other)
        if self.restarts != other.restarts:
            return self.restarts > other.restarts
        if self.created != other.created:
            return self._younger(self.created, other.created, other)
        return False

    def _younger(self, mine: float | None, its: float | None, other: _Ranked) -> bool:
        """By orders of magnitude, so that of pods nearly as old any may go, and not always those of one zone."""
        if mine is None or its is None:
            return mine is None
        mine, its = self._magnitude(mine), self._magnitude(its)
        return self.uid < other.uid if mine == its else mine < its

    def _magnitude(self, time: float) -> int:
        age = (self.now - time) * 1e9
        return int(math.log2(age)) if age > 0 else -1


def _time(text: str | None) -> float | None:
    return parse_time(text) if text else None
