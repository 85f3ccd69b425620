"""Job.

Source: kubernetes/pkg/registry/batch/job/strategy.go, pkg/apis/batch/{v1/defaults,validation/validation}.go; printJob
"""

from __future__ import annotations

from typing import Any

from sampan.api.core_v1.pod_spec import default_pod_template
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.table import age, containers_cells, human_duration, selector_text
from sampan.api.times import parse_time
from sampan.api.validation import pod_warnings
from sampan.api.validation.job_status import job_status
from sampan.api.validation.jobs import FEW, MANY, NAME_LABEL, OLD_NAME, OLD_UID, UID, job, job_update
from sampan.api.validation.workload import SPEC


def default_job_spec(spec: Obj) -> None:
    """Fill a Job's spec in place."""
    default_template(spec)
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    spec.setdefault("parallelism", 1)
    if spec.get("backoffLimit") is None:
        spec["backoffLimit"] = 2147483647 if spec.get("backoffLimitPerIndex") is not None else 6
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    if spec.get("podReplacementPolicy") is None:
        spec["podReplacementPolicy"] = "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"
    spec.setdefault("manualSelector", False)


def default_template(spec: Obj) -> None:
    """What is filled of a template for Jobs too: all else waits until there is a Job."""
    default_pod_template(spec.setdefault("template", {}))
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            if not pattern.get("status"):
                pattern["status"] = "True"


def job_warnings(spec: Obj, path: Path) -> list[str]:
    """Of a JobSpec: of more indexes than can be kept track of, and of its pods."""
    many = (spec.get("completions") or 0) > MANY and (spec.get("parallelism") or 0) > FEW
    out = list[str]()
    if spec.get("completionMode") == "Indexed" and many:
        out.append(
            f"{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, "
            "Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        )
    return out + pod_warnings.template(spec.get("template"), path / "template")


class Job(Kind):
    has_status = True
    columns = (
        NAME,
        Column("Status"),
        Column("Completions"),
        Column("Duration"),
        AGE,
        Column("Containers", priority=1),
        Column("Images", priority=1),
        Column("Selector", priority=1),
    )

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        default_job_spec(spec)
        labels = (spec["template"].get("metadata") or {}).get("labels")
        if labels and not obj["metadata"].get("labels"):
            obj["metadata"]["labels"] = dict(labels)

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        obj["status"] = {}
        spec = obj["spec"]
        if spec.get("manualSelector"):
            return
        uid, name = obj["metadata"]["uid"], obj["metadata"]["name"]
        template = spec["template"] = {**spec["template"]}
        meta = template["metadata"] = {**(template.get("metadata") or {})}
        added = {UID: uid, OLD_UID: uid, NAME_LABEL: name, OLD_NAME: name}
        # what is there already and does not fit is refused
        meta["labels"] = {**added, **(meta.get("labels") or {})}
        selector = spec["selector"] = {**(spec.get("selector") or {})}
        selector["matchLabels"] = {UID: uid, **(selector.get("matchLabels") or {})}

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        job(obj, out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        job_update(obj, old, out)
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        job_status(obj, old, out)
        return out

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        out = pod_warnings.name(obj) if old is None else []
        return out + job_warnings(obj["spec"], SPEC) if pod_warnings.due(obj, old) else out

    def selectable_fields(self, obj: Obj) -> dict[str, str]:
        return {"status.successful": str((obj.get("status") or {}).get("succeeded", 0))}

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
        containers, images = containers_cells(spec["template"]["spec"])
        done = status.get("succeeded", 0)
        wanted = spec.get("completions")
        if wanted is not None:
            completions = f"{done}/{wanted}"
        else:
            parallel = spec.get("parallelism", 0)
            completions = f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"
        duration = ""
        if status.get("startTime"):
            end = parse_time(status["completionTime"]) if status.get("completionTime") else now
            duration = human_duration(end - parse_time(status["startTime"]))
        return [
            meta["name"],
            _state(obj),
            completions,
            duration,
            age(meta.get("creationTimestamp"), now),
            containers,
            images,
            selector_text(spec.get("selector")),
        ]


def _state(obj: Obj) -> str:
    true: set[Any] = {c["type"] for c in (obj.get("status") or {}).get("conditions") or () if c.get("status") == "True"}
    for condition, shown in (("Complete", "Complete"), ("Failed", "Failed")):
        if condition in true:
            return shown
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for condition, shown in (
        ("Suspended", "Suspended"),
        ("FailureTarget", "FailureTarget"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet"),
    ):
        if condition in true:
            return shown
    return "Running"
