"""What a Job's policies make of failed pods and of succeeded indexes.

Source: kubernetes/pkg/controller/job/{pod_failure_policy,success_policy}.go
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sampan.controllers.job_indexes import Indexes, parse

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of a pod's failure: the rule's action (empty: none matched), and with FailJob, why."""

    action: str = ""
    message: str = ""

    @property
    def counts(self) -> bool:
        """Towards the back-off limits."""
        return self.action != "Ignore"


UNMATCHED = Verdict()


def judge(policy: Obj | None, pod: Obj) -> Verdict:
    meta, status = pod["metadata"], pod.get("status") or {}
    for position, rule in enumerate((policy or {}).get("rules") or ()):
        action = rule["action"]
        if rule.get("onExitCodes"):
            container = _container(status, rule["onExitCodes"])
            if container is not None:
                code = container["state"]["terminated"]["exitCode"]
                who = f"Container {container['name']} for pod {meta['namespace']}/{meta['name']}"
                what = f"failed with exit code {code} matching {action} rule at index {position}"
                return Verdict(action, f"{who} {what}")
        elif rule.get("onPodConditions"):
            kind = _condition(status, rule["onPodConditions"])
            if kind is not None:
                who = f"Pod {meta['namespace']}/{meta['name']}"
                return Verdict(action, f"{who} has condition {kind} matching {action} rule at index {position}")
    return UNMATCHED


def _container(status: Obj, wanted: Obj) -> Obj | None:
    name, values = wanted.get("containerName"), wanted["values"]
    for found in (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())):
        code = ((found.get("state") or {}).get("terminated") or {}).get("exitCode", 0)
        if code and name in (None, found["name"]) and (code in values) is (wanted["operator"] == "In"):
            container: Obj = found
            return container
    return None


def _condition(status: Obj, patterns: list[Obj]) -> str | None:
    wanted = {(pattern["type"], pattern.get("status", "True")) for pattern in patterns}
    for condition in status.get("conditions") or ():
        if (condition["type"], condition["status"]) in wanted:
            return str(condition["type"])
    return None


def success(policy: Obj | None, completions: int | None, done: Indexes) -> str:
    """Which rule of a success policy is met, in words; empty: none."""
    if not policy or completions is None or not done:
        return ""
    for position, rule in enumerate(policy.get("rules") or ()):
        count = rule.get("succeededCount")
        if rule.get("succeededIndexes") is not None:
            wanted = parse(rule["succeededIndexes"], completions)
            have = wanted.common(done)
            met = bool(wanted) and (have == wanted.total or (count is not None and have >= count))
        else:
            met = count is not None and done.total >= count
        if met:
            return f"Matched rules at index {position}"
    return ""
