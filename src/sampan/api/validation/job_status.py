"""What a Job's status may say, and what may become of it.

Others than the job controller write it too (`spec.managedBy`), and clients rely on it: a job that has ended does not
start again, and nothing of it is active.

Most rules hold only where what they are about changes. So a status that breaks one already can be written all the same,
and one that a change of the spec made wrong can be put right.

Source: kubernetes/pkg/registry/batch/job/strategy.go (getStatusValidationOptions), pkg/apis/batch/validation/validation.go
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from sampan.api.field import OMIT, Bare, ErrorList
from sampan.api.kind import Obj
from sampan.api.validation.jobs import count_indexes, index_interval
from sampan.api.validation.meta import IMMUTABLE
from sampan.api.validation.workload import STATUS, nonnegative

CONDITIONS = STATUS / "conditions"


class Said:
    """A status, as the rules read it."""

    def __init__(self, job: Obj) -> None:
        self.status: Obj = job.get("status") or {}
        self.true: set[str] = {
            item["type"] for item in self.status.get("conditions") or () if item.get("status") == "True"
        }

    def get(self, field: str, default: Any = None) -> Any:
        return self.status.get(field, default)

    def count(self, field: str) -> int:
        return int(self.status.get(field) or 0)

    @cached_property
    def finished(self) -> bool:
        return not self.true.isdisjoint(("Complete", "Failed"))


def job_status(obj: Obj, old: Obj, out: ErrorList) -> None:
    new, was, spec = Said(obj), Said(old), obj["spec"]
    nonnegative(new.status, out, "active", "succeeded", "failed", "ready", "terminating", path=STATUS)
    _uncounted(new, out)
    _exclusive(new, was, out)
    _completion_time(new, was, out)
    _announced(new, was, out)
    _finished(new, was, spec, out)
    _indexes(new, was, spec, out)
    _pods(new, was, out)
    _success(new, spec, out)
    _goes_on(new, was, spec, out)


def _changed(new: Said, was: Said, *fields: str) -> bool:
    return any(new.get(field) != was.get(field) for field in fields)


def _turned(new: Said, was: Said, *conditions: str) -> bool:
    return any((name in new.true) != (name in was.true) for name in conditions)


def _uncounted(new: Said, out: ErrorList) -> None:
    uncounted, seen = new.get("uncountedTerminatedPods") or {}, set()
    for field in ("succeeded", "failed"):
        for index, uid in enumerate(uncounted.get(field) or ()):
            here = STATUS / "uncountedTerminatedPods" / field @ index
            if not uid:
                out.invalid(here, uid, "must not be empty")
            elif uid in seen:
                out.duplicate(here, uid)
            seen.add(uid)


def _exclusive(new: Said, was: Said, out: ErrorList) -> None:
    if "Complete" not in new.true:
        return
    for name, shown in (("Failed", "Failed=true"), ("FailureTarget", "FailureTarget=true")):
        if name in new.true and _turned(new, was, "Complete", name):
            out.invalid(CONDITIONS, OMIT, f"cannot set Complete=True and {shown} conditions")


def _completion_time(new: Said, was: Said, out: ErrorList) -> None:
    start, end, complete = new.get("startTime"), new.get("completionTime"), "Complete" in new.true
    if _turned(new, was, "Complete") or _changed(new, was, "completionTime"):
        if end is not None and not complete:
            detail = "cannot set completionTime when there is no Complete=True condition"
            out.invalid(STATUS / "completionTime", _time(end), detail)
        if end is None and complete:
            out.required(STATUS / "completionTime", "completionTime is required for Complete jobs")
    # decoded times can be compared as text
    if start and end and end < start and _changed(new, was, "startTime", "completionTime"):
        out.invalid(STATUS / "completionTime", _time(end), "must be equal to or after `startTime`")


def _announced(new: Said, was: Said, out: ErrorList) -> None:
    """What is to become of it is said before it does."""
    # upstream looks at the failed indexes here, too
    turned = _turned(new, was, "Failed") or _changed(new, was, "failedIndexes")
    if "Failed" in new.true and "FailureTarget" not in new.true and turned:
        out.invalid(CONDITIONS, OMIT, "cannot set Failed=True condition without the FailureTarget=true condition")
    turned = _turned(new, was, "Complete", "SuccessCriteriaMet")
    if "Complete" in new.true and "SuccessCriteriaMet" not in new.true and turned:
        detail = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition"
        out.invalid(CONDITIONS, OMIT, detail)


def _finished(new: Said, was: Said, spec: Obj, out: ErrorList) -> None:
    if not new.finished:
        return
    ended, active = not was.finished, new.count("active")
    if active > 0 and (ended or _changed(new, was, "active")):
        out.invalid(STATUS / "active", active, "active>0 is invalid for finished job")
    # where there is nothing to do, nothing need have started
    idle = spec.get("suspend") and spec.get("completions") == 0
    if new.get("startTime") is None and not idle and (ended or _changed(new, was, "startTime")):
        out.required(STATUS / "startTime", "startTime is required for finished job")
    uncounted = new.get("uncountedTerminatedPods") or {}
    if any(uncounted.values()) and (ended or _changed(new, was, "uncountedTerminatedPods")):
        out.invalid(STATUS / "uncountedTerminatedPods", uncounted, "must be empty for finished job")


def _indexes(new: Said, was: Said, spec: Obj, out: ErrorList) -> None:
    completed, failed = new.get("completedIndexes") or "", new.get("failedIndexes")
    completions, per_index = spec.get("completions"), spec.get("backoffLimitPerIndex") is not None
    moved = completed != (was.get("completedIndexes") or "")
    if moved:
        if completions is not None:
            _readable("completedIndexes", completed, completions, out)
        if completed and spec.get("completionMode") != "Indexed":
            detail = "cannot set non-empty completedIndexes when non-indexed completion mode"
            out.invalid(STATUS / "completedIndexes", completed, detail)
    if failed is None:
        return
    if _changed(new, was, "failedIndexes"):
        moved = True
        if not per_index:
            detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
            out.invalid(STATUS / "failedIndexes", failed, detail)
        elif completions is not None:
            _readable("failedIndexes", failed, completions, out)
    if moved and completions is not None and (shared := _overlap(completed, failed, completions)) is not None:
        out.invalid(STATUS / "failedIndexes", failed, f"failedIndexes and completedIndexes overlap at index: {shared}")


def _readable(field: str, text: str, completions: int, out: ErrorList) -> None:
    try:
        count_indexes(text, completions)
    except ValueError as error:
        out.invalid(STATUS / field, text, f"error parsing {field}: {error}")


def _overlap(completed: str, failed: str, completions: int) -> int | None:
    """The first index in both; what cannot be read is passed over."""
    ones, others = _intervals(completed, completions), _intervals(failed, completions)
    one, other = next(ones, None), next(others, None)
    while one and other:
        if one[0] <= other[1] and other[0] <= one[1]:
            return max(one[0], other[0])
        if one[0] <= other[0]:
            one = next(ones, None)
        else:
            other = next(others, None)
    return None


def _intervals(text: str, completions: int) -> Iterator[tuple[int, int]]:
    for part in text.split(",") if text else ():
        try:
            yield index_interval(part, completions)
        except ValueError:
            continue


def _pods(new: Said, was: Said, out: ErrorList) -> None:
    active, ready, terminating = new.count("active"), new.count("ready"), new.count("terminating")
    if terminating > 0 and new.finished and (not was.finished or _changed(new, was, "terminating")):
        out.invalid(STATUS / "terminating", terminating, "terminating>0 is invalid for finished job")
    if ready > active and _changed(new, was, "ready", "active"):
        out.invalid(STATUS / "ready", ready, "cannot set more ready pods than active")


def _success(new: Said, spec: Obj, out: ErrorList) -> None:
    if "SuccessCriteriaMet" in new.true:
        for name, shown in (("Failed", "Failed=true"), ("FailureTarget", "FailureTarget=true")):
            if name in new.true:
                out.invalid(CONDITIONS, OMIT, f"cannot set SuccessCriteriaMet=True and {shown} conditions")
    elif spec.get("successPolicy") is not None and "Complete" in new.true:
        detail = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"
        out.invalid(CONDITIONS, OMIT, detail)


def _goes_on(new: Said, was: Said, spec: Obj, out: ErrorList) -> None:
    """What does not go back."""
    for name in ("Failed", "Complete", "FailureTarget"):
        if name in was.true and name not in new.true:
            out.invalid(CONDITIONS, OMIT, f"cannot disable the terminal {name}=True condition")
    # those of an elastic job are scaled down with it
    elastic = spec.get("completionMode") == "Indexed" and spec.get("completions") == spec.get("parallelism")
    for field in ("failed",) if elastic else ("failed", "succeeded"):
        if new.count(field) < was.count(field):
            out.invalid(STATUS / field, new.count(field), f"cannot decrease the {field} counter")
    end, start = new.get("completionTime"), new.get("startTime")
    if end is not None and was.get("completionTime") not in (None, end):
        out.invalid(STATUS / "completionTime", _time(end), IMMUTABLE)
    resumed = "Suspended" in was.true and any(
        item["type"] == "Suspended" and item.get("status") == "False" for item in new.get("conditions") or ()
    )
    if was.get("startTime") not in (None, start) and not spec.get("suspend") and not resumed:
        out.invalid(STATUS / "startTime", _time(start), "field is immutable for unsuspended job once set")
    if "SuccessCriteriaMet" in was.true and "SuccessCriteriaMet" not in new.true:
        out.invalid(CONDITIONS, OMIT, "cannot disable the SuccessCriteriaMet=True condition")
    if "Complete" in was.true and "SuccessCriteriaMet" in new.true - was.true:
        detail = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"
        out.invalid(CONDITIONS, OMIT, detail)


def _time(text: str | None) -> Bare | None:
    """As Go prints it."""
    return None if text is None else Bare(f"{text[:10]} {text[11:19]} +0000 UTC")
