"""What a Deployment says of itself: counts, whether enough is available, whether it gets on.

Source: kubernetes/pkg/controller/deployment/{sync,progress}.go, util/deployment_util.go
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sampan.api.times import format_time, parse_time
from sampan.controllers.deployment_sets import NEVER, bounds, counted, replicas, total

Obj = dict[str, Any]
#: fields that are not written when they are 0
COUNTS = (
    "replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas", "observedGeneration",
)  # fmt: skip
PROGRESSING, AVAILABLE, FAILURE = "Progressing", "Available", "ReplicaFailure"
COMPLETE, TIMED_OUT = "NewReplicaSetAvailable", "ProgressDeadlineExceeded"
PAUSED, RESUMED = "DeploymentPaused", "DeploymentResumed"


class Conditions:
    """A copy of an object's conditions, changed as upstream does: a new reason keeps the time of an old status."""

    def __init__(self, conditions: Sequence[Obj], now: float) -> None:
        self.now = format_time(now)
        self._by_type = {condition["type"]: condition for condition in conditions}

    def get(self, kind: str) -> Obj | None:
        return self._by_type.get(kind)

    def reason(self, kind: str) -> str:
        return str(self._by_type.get(kind, {}).get("reason", ""))

    def set(self, kind: str, status: str, reason: str, message: str, *, since: str = "", renew: bool = False) -> None:
        """Nothing changes where status and reason stay, unless it is to `renew`."""
        old = self._by_type.get(kind)
        same = old is not None and old["status"] == status
        if old is not None and same and old.get("reason") == reason and not renew:
            return
        moment = since or self.now
        self._by_type.pop(kind, None)
        self._by_type[kind] = {
            "type": kind, "status": status, "lastUpdateTime": moment,
            "lastTransitionTime": old["lastTransitionTime"] if same and old is not None else moment,
            "reason": reason, "message": message,
        }  # fmt: skip

    def remove(self, kind: str) -> None:
        self._by_type.pop(kind, None)

    def list(self) -> list[Obj]:
        return list(self._by_type.values())


def has_deadline(deployment: Obj) -> bool:
    return bool(deployment["spec"].get("progressDeadlineSeconds", NEVER) != NEVER)


def counts(deployment: Obj, sets: Sequence[Obj], new: Obj | None) -> Obj:
    """The status, without conditions."""
    available = sum(counted(set_, "availableReplicas") for set_ in sets)
    out = {
        "observedGeneration": deployment["metadata"].get("generation", 0),
        "replicas": sum(counted(set_, "replicas") for set_ in sets),
        "updatedReplicas": counted(new, "replicas") if new is not None else 0,
        "readyReplicas": sum(counted(set_, "readyReplicas") for set_ in sets),
        "availableReplicas": available,
        "unavailableReplicas": max(0, total(sets) - available),
    }
    out = {name: count for name, count in out.items() if count}
    leaving = [(set_.get("status") or {}).get("terminatingReplicas") for set_ in sets]
    if None not in leaving:
        out["terminatingReplicas"] = sum(leaving)
    return out


def availability(deployment: Obj, status: Obj, conditions: Conditions) -> None:
    _, unavailable = bounds(deployment)
    if status.get("availableReplicas", 0) >= replicas(deployment) - unavailable:
        conditions.set(AVAILABLE, "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        conditions.set(
            AVAILABLE, "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
        )


def pausing(deployment: Obj, conditions: Conditions) -> None:
    """Time does not count against a Deployment while it is paused, nor what passed before it is resumed."""
    reason = conditions.reason(PROGRESSING)
    if not has_deadline(deployment) or reason == TIMED_OUT:
        return
    paused = deployment["spec"].get("paused", False)
    if paused and reason != PAUSED:
        conditions.set(PROGRESSING, "Unknown", PAUSED, "Deployment is paused")
    elif not paused and reason == PAUSED:
        conditions.set(PROGRESSING, "Unknown", RESUMED, "Deployment is resumed")


def is_complete(deployment: Obj, status: Obj) -> bool:
    """All pods are new, available, and no others are left."""
    wanted = replicas(deployment)
    if any(status.get(field, 0) != wanted for field in ("updatedReplicas", "replicas", "availableReplicas")):
        return False
    return int(status.get("observedGeneration", 0)) >= int(deployment["metadata"].get("generation", 0))


def progress(deployment: Obj, status: Obj, new: Obj | None, conditions: Conditions, now: float) -> None:
    """The Progressing condition of a rollout that is not paused."""
    if not has_deadline(deployment):
        conditions.remove(PROGRESSING)
        return
    over = status.get("replicas", 0) == status.get("updatedReplicas", 0)
    if over and conditions.reason(PROGRESSING) == COMPLETE:
        return  # no rollout: that pods come and go says nothing about one
    who = "Deployment" if new is None else "ReplicaSet"
    who = f'{who} "{(new or deployment)["metadata"]["name"]}"'
    if is_complete(deployment, status):
        conditions.set(PROGRESSING, "True", COMPLETE, f"{who} has successfully progressed.")
    elif _got_on(deployment, status):
        conditions.set(PROGRESSING, "True", "ReplicaSetUpdated", f"{who} is progressing.", renew=True)
    elif _timed_out(deployment, conditions, now):
        conditions.set(PROGRESSING, "False", TIMED_OUT, f"{who} has timed out progressing.")


def _got_on(deployment: Obj, status: Obj) -> bool:
    def old(field: str) -> int:
        return counted(deployment, field)

    def new(field: str) -> int:
        return int(status.get(field, 0))

    return (
        new("updatedReplicas") > old("updatedReplicas")
        or new("replicas") - new("updatedReplicas") < old("replicas") - old("updatedReplicas")
        or new("readyReplicas") > old("readyReplicas")
        or new("availableReplicas") > old("availableReplicas")
    )


def _timed_out(deployment: Obj, conditions: Conditions, now: float) -> bool:
    condition = conditions.get(PROGRESSING)
    if condition is None or condition.get("reason") == COMPLETE:
        return False
    return condition.get("reason") == TIMED_OUT or _deadline(deployment, condition) < now


def until_deadline(deployment: Obj, status: Obj, conditions: Conditions, now: float) -> float | None:
    """Seconds after which to look whether anything has happened since; None: nothing needs to."""
    condition = conditions.get(PROGRESSING)
    if condition is None or not has_deadline(deployment) or is_complete(deployment, status):
        return None
    if condition.get("reason") in (TIMED_OUT, COMPLETE):
        return None
    return max(0.0, _deadline(deployment, condition) - now) + 1.0


def _deadline(deployment: Obj, condition: Obj) -> float:
    return parse_time(condition["lastUpdateTime"]) + int(deployment["spec"]["progressDeadlineSeconds"])


def failures(sets: Sequence[Obj], new: Obj | None, conditions: Conditions) -> None:
    """What a replica set says it cannot do, the new one's word first."""
    for set_ in ((new,) if new is not None else ()) + tuple(sets):
        for condition in (set_.get("status") or {}).get("conditions") or ():
            if condition["type"] == FAILURE:
                since = condition.get("lastTransitionTime") or ""
                reason, message = condition.get("reason", ""), condition.get("message", "")
                conditions.set(FAILURE, condition["status"], reason, message, since=since)
                return
    conditions.remove(FAILURE)
