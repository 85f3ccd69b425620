"""How long a Job waits before it replaces a pod that failed: 10 s, twice that for each further failure, 10 min at most.

Failures count from the last success on. They are remembered in memory, and after a restart derived from the pods that
are still there.

Source: kubernetes/pkg/controller/job/backoff_utils.go
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sampan.api.times import parse_time
from sampan.controllers.pods import condition_of

Obj = dict[str, Any]
FIRST, MOST = 10.0, 600.0


@dataclass(frozen=True, slots=True)
class Failures:
    """Since the last success; `last`: when the latest was, in seconds since the epoch."""

    count: int = 0
    last: float = 0.0

    def and_then(self, succeeded: Iterable[Obj], failed: Iterable[Obj]) -> Failures:
        """With pods that ended since."""
        ends = sorted(finished_at(pod) for pod in failed)
        success = max((finished_at(pod) for pod in succeeded), default=None)
        if success is not None:
            ends = [end for end in ends if end > success]
            return Failures(len(ends), ends[-1]) if ends else Failures()
        return Failures(self.count + len(ends), ends[-1]) if ends else self

    def remaining(self, now: float) -> float:
        return remaining(self.count, self.last, now)


def remaining(count: int, last: float, now: float) -> float:
    """Seconds until the pod after the `count`-th failure may be made."""
    if not count:
        return 0.0
    delay = min(FIRST * 2.0 ** min(count - 1, 30), MOST)
    return max(0.0, delay - (now - last))


def finished_at(pod: Obj) -> float:
    """When it ended, by its containers, else by its readiness, else by its deletion; else when it was made."""
    states = [item.get("state") or {} for item in (pod.get("status") or {}).get("containerStatuses") or ()]
    ends: list[str] = [(state.get("terminated") or {}).get("finishedAt") or "" for state in states]
    if ends and all(ends):
        return max(parse_time(end) for end in ends)
    ready = condition_of(pod, "Ready")
    if ready is not None and ready["status"] == "False" and ready.get("lastTransitionTime"):
        return parse_time(ready["lastTransitionTime"])
    meta = pod["metadata"]
    if "deletionTimestamp" in meta:
        return parse_time(meta["deletionTimestamp"]) - float(meta.get("deletionGracePeriodSeconds", 0))
    return parse_time(meta["creationTimestamp"])
