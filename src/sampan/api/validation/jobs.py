"""Jobs: counts, indexes, what to do when pods fail, and which of it may change.

Source: kubernetes/pkg/apis/batch/validation/validation.go
"""

from __future__ import annotations

from typing import Any

from sampan.api import names
from sampan.api.field import OMIT, ErrorList, Path, go_quote
from sampan.api.kind import Obj
from sampan.api.selectors import label_selector_from
from sampan.api.validation.meta import IMMUTABLE, validate_label_selector
from sampan.api.validation.pods import pod_template
from sampan.api.validation.workload import NO_MATCH, SPEC, nonnegative

MANY, FEW = 100_000, 10_000
MAX_RULES, MAX_CONDITIONS, MAX_CODES = 20, 20, 255
ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
UID, NAME_LABEL = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"
OLD_UID, OLD_NAME = "controller-uid", "job-name"
_COUNTS = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
    "backoffLimitPerIndex", "maxFailedIndexes",
)  # fmt: skip
#: what a suspended job's pods may still change, node affinity and resources besides
_DIRECTIVES = ("nodeSelector", "tolerations", "schedulingGates")


def job_spec(spec: Obj, path: Path, out: ErrorList) -> None:
    """Errors of a JobSpec, its generated selector and labels excepted."""
    nonnegative(spec, out, *_COUNTS, path=path)
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        out.required(path / "backoffLimitPerIndex", "when maxFailedIndexes is specified")
    if spec.get("managedBy") is not None:
        manager = spec["managedBy"]
        out.each(path / "managedBy", manager, names.is_domain_prefixed_path(manager))
        if len(manager.encode()) > 63:
            out.too_long(path / "managedBy", 63)
    mode = spec.get("completionMode")
    if mode is not None:
        if mode not in ("NonIndexed", "Indexed"):
            out.not_supported(path / "completionMode", mode, ("NonIndexed", "Indexed"))
        if mode == "Indexed":
            _indexed(spec, path, out)
    if mode != "Indexed":
        for field in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(field) is not None:
                out.invalid(path / field, spec[field], "requires indexed completion mode")
    if spec.get("podFailurePolicy") is not None:
        _pod_failure_policy(spec, path / "podFailurePolicy", out)
    if spec.get("successPolicy") is not None:
        if mode != "Indexed":
            out.invalid(path / "successPolicy", spec["successPolicy"], "requires indexed completion mode")
        else:
            _success_policy(spec, path / "successPolicy", out)
    _replacement(spec, path / "podReplacementPolicy", out)
    template = spec.get("template") or {}
    pod_template(template, path / "template", out)
    _restart(spec, (template.get("spec") or {}).get("restartPolicy"), path / "template" / "spec" / "restartPolicy", out)


def _indexed(spec: Obj, path: Path, out: ErrorList) -> None:
    completions, parallelism, failed = (spec.get(name) for name in ("completions", "parallelism", "maxFailedIndexes"))
    if completions is None:
        out.required(path / "completions", "when completion mode is Indexed")
    if parallelism is not None and parallelism > MANY:
        detail = f"must be less than or equal to {MANY} when completion mode is Indexed"
        out.invalid(path / "parallelism", parallelism, detail)
    if completions is not None and failed is not None and failed > completions:
        out.invalid(path / "maxFailedIndexes", failed, "must be less than or equal to completions")
    if failed is not None and failed > MANY:
        out.invalid(path / "maxFailedIndexes", failed, f"must be less than or equal to {MANY}")
    if completions is None or completions <= MANY or spec.get("backoffLimitPerIndex") is None:
        return
    if failed is None:
        out.required(path / "maxFailedIndexes", f"must be specified when completions is above {MANY}")
    detail = (
        f"must be less than or equal to {FEW} when completions are above {MANY} and used with backoff limit per index"
    )
    for field, value in (("parallelism", parallelism), ("maxFailedIndexes", failed)):
        if value is not None and value > FEW:
            out.invalid(path / field, value, detail)


def _replacement(spec: Obj, path: Path, out: ErrorList) -> None:
    policy = spec.get("podReplacementPolicy")
    if policy is None:
        return
    allowed = ("Failed",) if spec.get("podFailurePolicy") is not None else ("Failed", "TerminatingOrFailed")
    if policy not in allowed:
        out.not_supported(path, policy, allowed)


def _restart(spec: Obj, policy: str | None, path: Path, out: ErrorList) -> None:
    if not policy or policy == "Always":
        out.required(path, 'valid values: "OnFailure", "Never"')
    elif policy not in ("OnFailure", "Never"):
        out.not_supported(path, policy, ("OnFailure", "Never"))
    elif spec.get("podFailurePolicy") is not None and policy != "Never":
        out.invalid(path, policy, 'only "Never" is supported when podFailurePolicy is specified')


# -- policies ----------------------------------------------------------------------------------------------------------


def _pod_failure_policy(spec: Obj, path: Path, out: ErrorList) -> None:
    rules, here = spec["podFailurePolicy"].get("rules") or [], path / "rules"
    if len(rules) > MAX_RULES:
        out.too_many(here, len(rules), MAX_RULES)
        return
    pod = (spec.get("template") or {}).get("spec") or {}
    containers = {
        container.get("name", "") for kind in ("initContainers", "containers") for container in pod.get(kind) or ()
    }
    for index, rule in enumerate(rules):
        _failure_rule(spec, rule, here @ index, containers, out)


def _listed(values: tuple[str, ...]) -> str:
    return "[" + " ".join(go_quote(value) for value in values) + "]"


def _failure_rule(spec: Obj, rule: Obj, path: Path, containers: set[str], out: ErrorList) -> None:
    action = rule.get("action", "")
    if not action:
        out.required(path / "action", f"valid values: {_listed(ACTIONS)}")
    elif action not in ACTIONS:
        out.not_supported(path / "action", action, ACTIONS)
    elif action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        out.invalid(path / "action", action, "requires the backoffLimitPerIndex to be set")
    codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or []
    if codes is not None:
        _exit_codes(codes, path / "onExitCodes", containers, out)
    if conditions:
        _pod_conditions(conditions, path / "onPodConditions", out)
    if codes is not None and conditions:
        out.invalid(path, OMIT, "specifying both OnExitCodes and OnPodConditions is not supported")
    elif codes is None and not conditions:
        out.invalid(path, OMIT, "specifying one of OnExitCodes and OnPodConditions is required")


def _exit_codes(codes: Obj, path: Path, containers: set[str], out: ErrorList) -> None:
    operator, values = codes.get("operator", ""), codes.get("values") or []
    if not operator:
        out.required(path / "operator", f"valid values: {_listed(('In', 'NotIn'))}")
    elif operator not in ("In", "NotIn"):
        out.not_supported(path / "operator", operator, ("In", "NotIn"))
    name = codes.get("containerName")
    if name is not None and name not in containers:
        detail = "must be one of the container or initContainer names in the pod template"
        out.invalid(path / "containerName", name, detail)
    here = path / "values"
    if not values:
        out.invalid(here, values, "at least one value is required")
    elif len(values) > MAX_CODES:
        out.too_many(here, len(values), MAX_CODES)
    seen: set[int] = set()
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            out.invalid(here @ index, value, "must not be 0 for the In operator")
        if value in seen:
            out.duplicate(here @ index, value)
        seen.add(value)
    if values != sorted(values):
        out.invalid(here, values, "must be ordered")


def _pod_conditions(conditions: list[Obj], path: Path, out: ErrorList) -> None:
    if len(conditions) > MAX_CONDITIONS:
        out.too_many(path, len(conditions), MAX_CONDITIONS)
        return
    allowed = ("False", "True", "Unknown")
    for index, pattern in enumerate(conditions):
        kind, status = pattern.get("type", ""), pattern.get("status", "")
        out.each(path @ index / "type", kind, names.is_qualified_name(kind))
        if not status:
            out.required(path @ index / "status", f"valid values: {_listed(allowed)}")
        elif status not in allowed:
            out.not_supported(path @ index / "status", status, allowed)


def _success_policy(spec: Obj, path: Path, out: ErrorList) -> None:
    rules, here = spec["successPolicy"].get("rules") or [], path / "rules"
    if not rules:
        out.required(here, "at least one rules must be specified when the successPolicy is specified")
    if len(rules) > MAX_RULES:
        out.too_many(here, len(rules), MAX_RULES)
    completions = spec.get("completions") or 0
    for index, rule in enumerate(rules):
        count, indexes, at = rule.get("succeededCount"), rule.get("succeededIndexes"), here @ index
        if count is None and indexes is None:
            out.required(at, "at least one of succeededCount or succeededIndexes must be specified")
        total, readable = 0, True
        if indexes is not None:
            if len(indexes.encode()) > 64 * 1024:
                out.too_long(at / "succeededIndexes", 64 * 1024)
            try:
                total = count_indexes(indexes, completions)
            except ValueError as error:
                readable = False
                out.invalid(at / "succeededIndexes", indexes, f"error parsing succeededIndexes: {error}")
        if count is None:
            continue
        nonnegative(rule, out, "succeededCount", path=at)
        if count > completions:
            detail = f"must be less than or equal to {completions} (the number of specified completions)"
            out.invalid(at / "succeededCount", count, detail)
        if indexes is not None and readable and count > total:
            detail = (
                f"must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
            )
            out.invalid(at / "succeededCount", count, detail)


def count_indexes(text: str, completions: int) -> int:
    """How many indexes `0,2-4` names. Raises ValueError for what no job with so many completions can have."""
    total, last = 0, -1
    for part in text.split(",") if text else ():
        low, high = index_interval(part, completions)
        if low <= last:
            raise ValueError(f"non-increasing order, previous: {last}, current: {low}")
        total, last = total + high - low + 1, high
    return total


def index_interval(text: str, completions: int) -> tuple[int, int]:
    """The first and the last of `2-4`, or of `2`. Raises ValueError."""
    ends = text.split("-")
    if len(ends) > 2:
        raise ValueError(f"the fragment {go_quote(text)} violates the requirement that an index interval can have at most two parts separated by '-'")  # fmt: skip
    numbers = []
    for end in ends:
        if not (end.isascii() and end.isdigit() and len(end) <= 10):
            raise ValueError(f"cannot convert string to integer for index: {go_quote(end)}")
        if int(end) >= completions:
            raise ValueError(f"too large index: {go_quote(end)}")
        numbers.append(int(end))
    low, high = numbers[0], numbers[-1]
    if len(numbers) == 2 and high <= low:
        raise ValueError(f"non-increasing order, previous: {low}, current: {high}")
    return low, high


# -- jobs --------------------------------------------------------------------------------------------------------------


def job(obj: Obj, out: ErrorList) -> None:
    generated_selector(obj, out)
    spec = obj["spec"]
    job_spec(spec, SPEC, out)
    given = spec.get("selector")
    if given is None:
        out.required(SPEC / "selector", "")
    else:
        out.extend(validate_label_selector(given, SPEC / "selector"))
    labels = (spec["template"].get("metadata") or {}).get("labels")
    try:
        matches = label_selector_from(given).matches(labels)
    except ValueError:
        matches = True
    if not matches:
        out.invalid(SPEC / "template" / "metadata" / "labels", labels or {}, NO_MATCH)
    _index_names(obj, out)


def generated_selector(obj: Obj, out: ErrorList) -> None:
    """The labels a job puts on its pods, and the selector for them, are its own."""
    spec, meta = obj["spec"], obj["metadata"]
    if spec.get("manualSelector"):
        return
    uid, name = meta.get("uid", ""), meta.get("name", "")
    if not uid:
        out.required(Path("metadata", "uid"), "")
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    here = SPEC / "template" / "metadata" / "labels"
    for key, wanted in ((OLD_UID, uid), (OLD_NAME, name), (UID, uid), (NAME_LABEL, name)):
        if key not in labels:
            out.required(here @ key, f"must be '{wanted}'")
        elif labels[key] != wanted:
            out.invalid(here @ key, labels, f"must be '{wanted}'")
    try:
        picked = label_selector_from(spec.get("selector")).matches(
            {OLD_UID: uid, OLD_NAME: name, UID: uid, NAME_LABEL: name}
        )
    except ValueError:
        return
    if not picked:
        out.invalid(SPEC / "selector", spec.get("selector"), "`selector` not auto-generated")


def _index_names(obj: Obj, out: ErrorList) -> None:
    spec = obj["spec"]
    if spec.get("completionMode") != "Indexed" or (spec.get("completions") or 0) <= 0:
        return
    name = f"{obj['metadata'].get('name', '')}-{spec['completions'] - 1}"
    if names.is_dns1123_label(name):
        detail = f"will not able to create pod with invalid DNS label: {name}"
        out.invalid(Path("metadata", "name"), obj["metadata"].get("name", ""), detail)


def job_update(obj: Obj, old: Obj, out: ErrorList) -> None:
    new, was = obj["spec"], old["spec"]
    job_spec(new, SPEC, out)
    _completions(new, was, out)
    _unchanged(new, was, "selector", out)
    _template(new, old, out)
    for field in ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"):
        _unchanged(new, was, field, out)


def _unchanged(new: Obj, was: Obj, field: str, out: ErrorList) -> None:
    if new.get(field) != was.get(field):
        out.invalid(SPEC / field, new.get(field), IMMUTABLE)


def _completions(new: Obj, was: Obj, out: ErrorList) -> None:
    now, before = new.get("completions"), was.get("completions")
    if now == before:
        return
    if now is None or before is None or new.get("completionMode") != "Indexed":
        out.invalid(SPEC / "completions", now, IMMUTABLE)
    elif now != new.get("parallelism"):
        out.invalid(SPEC / "completions", now, "can only be modified in tandem with spec.parallelism")


def _template(spec: Obj, old: Obj, out: ErrorList) -> None:
    template, was = spec.get("template") or {}, old["spec"].get("template") or {}
    if not _may_be_shaped(old):
        if template != was:
            out.invalid(SPEC / "template", spec.get("template"), IMMUTABLE)
        return
    pod: Obj = template.get("spec") or {}
    if pod != _reshaped(was.get("spec") or {}, pod):
        out.invalid(SPEC / "template" / "spec", pod, IMMUTABLE)


def _may_be_shaped(job: Obj) -> bool:
    """It is suspended, and no pod is left of the template as it is."""
    status = job.get("status") or {}
    if not job["spec"].get("suspend") or status.get("active"):
        return False
    # who suspends it must not wait for the controller to say so
    return not status.get("startTime") or any(
        condition.get("type") == "Suspended" and condition.get("status") == "True"
        for condition in status.get("conditions") or ()
    )


def _reshaped(old: Obj, new: Obj) -> Obj:
    """The old pod with what the new one may change: where it may run, and on what resources."""
    out = dict(old)
    _take(out, new, *_DIRECTIVES)
    affinity = dict(out.get("affinity") or {})
    _take(affinity, new.get("affinity") or {}, "nodeAffinity")
    if affinity or new.get("affinity") is not None:
        out["affinity"] = affinity
    else:
        out.pop("affinity", None)
    for field in ("containers", "initContainers"):
        before, after = old.get(field) or [], new.get(field) or []
        if before and len(before) == len(after):
            out[field] = [_resized(*pair) for pair in zip(before, after, strict=True)]
    return out


def _resized(old: Obj, new: Obj) -> Obj:
    if old.get("name") != new.get("name"):
        return old
    out = dict(old)
    _take(out, new, "resources")
    return out


def _take(target: Obj, source: Obj, *fields: str) -> None:
    for field in fields:
        value: Any = source.get(field)
        if value is None:
            target.pop(field, None)
        else:
            target[field] = value
