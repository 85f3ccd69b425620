"""What a Job and its pods say, and what one look at a Job finds out.

Source: kubernetes/pkg/controller/job/{job_controller,indexed_job_utils,tracking_utils}.go
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sampan.api.times import format_time
from sampan.controllers.job_backoff import Failures
from sampan.controllers.job_indexes import NO_INDEXES, Indexes

Obj = dict[str, Any]
CONTROLLER = "kubernetes.io/job-controller"
TRACKING = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"
_MAX_INT32 = 2**31


def is_indexed(job: Obj) -> bool:
    return bool(job["spec"].get("completionMode") == "Indexed")


def is_suspended(job: Obj) -> bool:
    return bool(job["spec"].get("suspend"))


def counts_per_index(job: Obj) -> bool:
    return job["spec"].get("backoffLimitPerIndex") is not None


def replaces_only_failed(job: Obj) -> bool:
    """A pod that is on its way out is replaced only when it has ended."""
    spec = job["spec"]
    return spec.get("podReplacementPolicy") == "Failed" or spec.get("podFailurePolicy") is not None


def managed_elsewhere(job: Obj) -> bool:
    return job["spec"].get("managedBy") not in (None, CONTROLLER)


def true_condition(status: Obj, kind: str) -> Obj | None:
    for condition in status.get("conditions") or ():
        if condition["type"] == kind and condition["status"] == "True":
            found: Obj = condition
            return found
    return None


def finished(job: Obj) -> Obj | None:
    """The condition that says so."""
    status = job.get("status") or {}
    return true_condition(status, "Complete") or true_condition(status, "Failed")


def condition(kind: str, reason: str, message: str, now: float, status: str = "True") -> Obj:
    stamp = format_time(now)
    out = {"type": kind, "status": status, "lastProbeTime": stamp, "lastTransitionTime": stamp}
    return out | {name: text for name, text in (("reason", reason), ("message", message)) if text}


def ensure(status: Obj, new: Obj) -> bool:
    """Make a condition so; one that is not there need not be made false. Whether anything changed."""
    conditions = status.get("conditions") or []
    for position, old in enumerate(conditions):
        if old["type"] == new["type"]:
            if all(old.get(name) == new.get(name) for name in ("status", "reason", "message")):
                return False
            status["conditions"] = [*conditions[:position], new, *conditions[position + 1 :]]
            return True
    if new["status"] == "False":
        return False
    status["conditions"] = [*conditions, new]
    return True


# -- pods --------------------------------------------------------------------------------------------------------------


def is_tracked(pod: Obj) -> bool:
    """It has not been counted for good yet."""
    return TRACKING in (pod["metadata"].get("finalizers") or ())


def index_of(pod: Obj) -> int:
    """Its completion index, or -1."""
    text = (pod["metadata"].get("annotations") or {}).get(INDEX, "")
    return int(text) if text.isascii() and text.isdigit() else -1


def failures_of(pod: Obj, annotation: str = FAILURES) -> int:
    """How often its index failed before it."""
    text = (pod["metadata"].get("annotations") or {}).get(annotation, "")
    count = int(text) if text.isascii() and text.isdigit() else 0
    return count if count < _MAX_INT32 else 0


def all_failures_of(pod: Obj) -> int:
    return failures_of(pod) + failures_of(pod, IGNORED)


def has_failed(pod: Obj, job: Obj) -> bool:
    phase = (pod.get("status") or {}).get("phase")
    if phase == "Failed":
        return True
    # pods that are deleted count too, since an orphan may never come to an end of its own
    return not replaces_only_failed(job) and "deletionTimestamp" in pod["metadata"] and phase != "Succeeded"


def has_succeeded(pod: Obj) -> bool:
    return (pod.get("status") or {}).get("phase") == "Succeeded"


@dataclass(slots=True)
class Look:
    """`job` is the cache's, `status` what it is to become. `releasing`: uids of pods whose finalizer was taken off,
    which the cache has not seen yet. `finish`: the condition that ends the job."""

    key: str
    job: Obj
    status: Obj
    pods: list[Obj]
    active_pods: list[Obj]
    releasing: set[str]
    failures: Failures
    active: int = 0
    ready: int = 0
    terminating: int = 0
    succeeded: int = 0
    failed: int = 0
    finish: Obj | None = None
    done_before: Indexes = NO_INDEXES
    done: Indexes = NO_INDEXES
    failed_indexes: Indexes | None = None
    #: by index: the failed pod that is kept until its replacement has taken over its count of failures
    replaced: dict[int, Obj] = field(default_factory=dict)
    again: float | None = None

    def look_again(self, seconds: float) -> None:
        self.again = seconds if self.again is None else min(self.again, seconds)

    @property
    def completions(self) -> int:
        """Of an indexed job."""
        return int(self.job["spec"]["completions"])

    def uncounted(self, what: str) -> list[str]:
        uids: list[str] = self.status["uncountedTerminatedPods"].get(what) or []
        return uids

    def is_valid(self, pod: Obj) -> bool:
        """Not yet counted for good, and of an index that the job has."""
        if not is_tracked(pod) or pod["metadata"]["uid"] in self.releasing:
            return False
        return not is_indexed(self.job) or 0 <= index_of(pod) < self.completions
