"""Job.

Source: kubernetes/pkg/registry/batch/job/strategy.go, pkg/apis/batch/{v1/defaults,validation/validation}.go; printJob
"""

from __future__ import annotations

from typing import Any

from sampan.api.core_v1.pod_spec import default_pod_template
from sampan.api.core_v1.pod_validation import validate_pod_template
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.table import age, containers_cells, human_duration, selector_text
from sampan.api.times import parse_time
from sampan.api.validation.meta import IMMUTABLE, validate_label_selector
from sampan.api.validation.workload import SPEC

UID, NAME_LABEL = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"
OLD_UID, OLD_NAME = "controller-uid", "job-name"


def default_job_spec(spec: Obj) -> None:
    """Fill a JobSpec in place."""
    default_pod_template(spec.setdefault("template", {}))
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
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            if not pattern.get("status"):
                pattern["status"] = "True"


def validate_job_spec(spec: Obj, path: Path) -> ErrorList:
    """Errors of a JobSpec, its selector excepted."""
    out = ErrorList()
    for field in (
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "maxFailedIndexes",
    ):
        value = spec.get(field)
        if value is not None and value < 0:
            out.invalid(path / field, value, "must be greater than or equal to 0")
    mode = spec.get("completionMode")
    if mode not in ("NonIndexed", "Indexed"):
        out.not_supported(path / "completionMode", mode or "", ("Indexed", "NonIndexed"))
    if mode == "Indexed" and spec.get("completions") is None:
        out.required(path / "completions", "when completion mode is Indexed")
    template = spec.get("template") or {}
    out.extend(validate_pod_template(template, path / "template"))
    restart = (template.get("spec") or {}).get("restartPolicy")
    here = path / "template" / "spec" / "restartPolicy"
    if restart == "Always" or not restart:
        out.required(here, 'valid values: "OnFailure", "Never"')
    elif restart not in ("OnFailure", "Never"):
        out.not_supported(here, restart, ("Never", "OnFailure"))
    elif spec.get("podFailurePolicy") and restart != "Never":
        out.invalid(here, restart, 'only "Never" is supported when podFailurePolicy is specified')
    return out


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
        meta["labels"] = {**(meta.get("labels") or {}), **added}
        selector = spec["selector"] = {**(spec.get("selector") or {})}
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), UID: uid}

    def validate(self, obj: Obj) -> ErrorList:
        spec = obj["spec"]
        out = validate_job_spec(spec, SPEC)
        if spec.get("selector") is None:
            out.required(SPEC / "selector", "")
        out.extend(validate_label_selector(spec.get("selector"), SPEC / "selector"))
        labels = (spec["template"].get("metadata") or {}).get("labels") or {}
        wanted = (spec.get("selector") or {}).get("matchLabels") or {}
        if any(labels.get(key) != value for key, value in wanted.items()):
            detail = "`selector` does not match template `labels`"
            out.invalid(SPEC / "template" / "metadata" / "labels", labels, detail)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = self.validate(obj)
        new, was = obj["spec"], old["spec"]
        fixed = ["selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"]
        if not was.get("suspend") or (old.get("status") or {}).get("startTime"):
            fixed.append("template")
        indexed = new.get("completionMode") == "Indexed" and new.get("completions") == new.get("parallelism")
        if not indexed:
            fixed.append("completions")
        for field in fixed:
            if new.get(field) != was.get(field):
                out.invalid(SPEC / field, new.get(field), IMMUTABLE)
        return out

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
