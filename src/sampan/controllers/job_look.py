"""What one look at a Job and its pods finds: how many ended how, and whether the Job is over by that.

Source: kubernetes/pkg/controller/job/job_controller.go (syncJob), indexed_job_utils.go
"""

from __future__ import annotations

from typing import Any

from sampan.api.times import format_time, parse_time
from sampan.client.cache import copied
from sampan.controllers.job_backoff import Failures
from sampan.controllers.job_indexes import Indexes, parse
from sampan.controllers.job_pods import to_be_replaced
from sampan.controllers.job_policies import judge, success
from sampan.controllers.job_state import (
    Look,
    condition,
    counts_per_index,
    failures_of,
    has_failed,
    has_succeeded,
    index_of,
    is_indexed,
    is_suspended,
    is_tracked,
    true_condition,
)
from sampan.controllers.pods import is_active, is_ready, is_terminating, phase_of

Obj = dict[str, Any]


def look_at(key: str, job: Obj, pods: list[Obj], releasing: set[str], failures: Failures | None, now: float) -> Look:
    """What can be counted."""
    status = copied(job.get("status") or {})
    status.setdefault("uncountedTerminatedPods", {})
    active = [pod for pod in pods if is_active(pod)]
    look = Look(key, job, status, pods, active, releasing, Failures())
    look.active = len(active)
    look.ready = sum(is_ready(pod) for pod in active)
    look.terminating = sum(is_terminating(pod) for pod in pods)
    succeeded, failed = set(look.uncounted("succeeded")), set(look.uncounted("failed"))
    valid = [pod for pod in pods if look.is_valid(pod)]
    new_succeeded = [pod for pod in valid if has_succeeded(pod) and pod["metadata"]["uid"] not in succeeded]
    new_failed = [pod for pod in valid if has_failed(pod, job) and pod["metadata"]["uid"] not in failed]
    policy = job["spec"].get("podFailurePolicy")
    counted = sum(judge(policy, pod).counts for pod in new_failed)
    look.succeeded = status.get("succeeded", 0) + len(new_succeeded) + len(succeeded)
    look.failed = status.get("failed", 0) + counted + len(failed)
    if failures is None:
        # a fresh start: what there is tells how it went
        ended = [pod for pod in pods if has_failed(pod, job)]
        look.failures = Failures().and_then([pod for pod in pods if has_succeeded(pod)], ended)
    else:
        look.failures = failures.and_then(new_succeeded, new_failed)
    resumed = true_condition(status, "Suspended") is not None
    if not is_suspended(job) and (resumed or not status.get("startTime")):
        # the time that it was suspended does not count towards its deadline
        status["startTime"] = format_time(now)
    if is_indexed(job):
        _look_at_indexes(look)
    return look


def _look_at_indexes(look: Look) -> None:
    job, status = look.job, look.status
    look.done_before = parse(status.get("completedIndexes", ""), look.completions)
    tracked = [pod for pod in look.pods if is_tracked(pod) and 0 <= index_of(pod) < look.completions]
    look.done = look.done_before.plus(sorted({index_of(pod) for pod in tracked if has_succeeded(pod)}))
    look.succeeded = look.done.total
    if counts_per_index(job):
        before = parse(status.get("failedIndexes") or "", look.completions)
        look.failed_indexes = before.plus(sorted({index_of(pod) for pod in tracked if _fails_index(pod, job)}))
        look.replaced = to_be_replaced(look)


def judge_all(look: Look, now: float) -> None:
    """Whether it is over, and why."""
    job, status = look.job, look.status
    spec = job["spec"]
    look.finish = true_condition(status, "SuccessCriteriaMet") or true_condition(status, "FailureTarget")
    if look.finish is None and spec.get("podFailurePolicy"):
        verdicts = (judge(spec["podFailurePolicy"], pod) for pod in look.pods if has_failed(pod, job))
        if said := next((verdict.message for verdict in verdicts if verdict.action == "FailJob"), ""):
            look.finish = condition("FailureTarget", "PodFailurePolicy", said, now)
    if look.finish is None and (reason := _limit(look, now)):
        look.finish = condition("FailureTarget", *reason, now)
    if look.finish is None and (said := success(spec.get("successPolicy"), spec.get("completions"), look.done)):
        look.finish = condition("SuccessCriteriaMet", "SuccessPolicy", said, now)


def _limit(look: Look, now: float) -> tuple[str, str] | None:
    """Reason and message of the limit that is passed."""
    job, spec = look.job, look.job["spec"]
    if look.failed > spec["backoffLimit"] or _restarts_too_often(job, look.pods):
        return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not is_suspended(job):
        left = parse_time(look.status["startTime"]) + deadline - now
        if left <= 0:
            return "DeadlineExceeded", "Job was active longer than specified deadline"
        look.look_again(left + 0.001)
    failed = look.failed_indexes or Indexes()
    most = spec.get("maxFailedIndexes")
    if most is not None and failed.total > most:
        return "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"
    if failed and failed.total + look.done.total >= spec["completions"]:
        return "FailedIndexes", "Job has failed indexes"
    return None


def restarts_of(pod: Obj) -> int:
    status = pod.get("status") or {}
    items = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    return sum(item.get("restartCount", 0) for item in items)


def _restarts_too_often(job: Obj, pods: list[Obj]) -> bool:
    """Containers that are restarted in place count together."""
    if job["spec"]["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    count = sum(restarts_of(pod) for pod in pods if phase_of(pod) in ("Running", "Pending"))
    limit = job["spec"]["backoffLimit"]
    return count >= limit if limit else count > 0


def _fails_index(pod: Obj, job: Obj) -> bool:
    if not has_failed(pod, job):
        return False
    verdict = judge(job["spec"].get("podFailurePolicy"), pod)
    if verdict.action == "FailIndex":
        return True
    return verdict.counts and failures_of(pod) >= job["spec"]["backoffLimitPerIndex"]
