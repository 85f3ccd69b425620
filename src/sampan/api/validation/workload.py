"""What the kinds that run pods have in common.

Source: kubernetes/pkg/apis/apps/validation/validation.go, pkg/apis/core/validation/validation.go
(ValidateReplicationControllerStatus)
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.selectors import label_selector_from
from sampan.api.validation.meta import IMMUTABLE, validate_label_selector, validate_nonnegative
from sampan.api.validation.pods import pod_template

SPEC, STATUS = Path("spec"), Path("status")
NO_MATCH = "`selector` does not match template `labels`"


def selector(spec: Obj, kind: str, out: ErrorList) -> bool:
    """A selector that selects something. Whether it can be read."""
    given, before = spec.get("selector"), len(out)
    if given is None:
        out.required(SPEC / "selector", "")
        return True
    out.extend(validate_label_selector(given, SPEC / "selector"))
    readable = len(out) == before
    if not given.get("matchLabels") and not given.get("matchExpressions"):
        out.invalid(SPEC / "selector", given, f"empty selector is invalid for {kind}")
    return readable


def matches_template(given: Obj | None, template: Obj, path: Path, out: ErrorList) -> None:
    if not given or not (given.get("matchLabels") or given.get("matchExpressions")):
        return
    labels = (template.get("metadata") or {}).get("labels")
    try:
        matches = label_selector_from(given).matches(labels)
    except ValueError:
        return
    if not matches:
        out.invalid(path / "metadata" / "labels", labels or {}, NO_MATCH)


def runs_forever(template: Obj, kind: str, out: ErrorList) -> None:
    """What a template may not say where its pods are replaced for good."""
    spec, path = template.get("spec") or {}, SPEC / "template" / "spec"
    if spec.get("restartPolicy") != "Always":
        out.not_supported(path / "restartPolicy", spec.get("restartPolicy", ""), ("Always",))
    if spec.get("activeDeadlineSeconds") is not None:
        out.forbidden(path / "activeDeadlineSeconds", f"activeDeadlineSeconds in {kind} is not Supported")


def selector_and_template(spec: Obj, out: ErrorList) -> None:
    """Of ReplicaSets and Deployments, which upstream checks with the same words."""
    template = spec.get("template") or {}
    if not selector(spec, "deployment", out):
        out.invalid(SPEC / "selector", spec["selector"], "invalid label selector")
        return
    matches_template(spec.get("selector"), template, SPEC / "template", out)
    pod_template(template, SPEC / "template", out)
    runs_forever(template, "ReplicaSet", out)


def nonnegative(values: Obj, out: ErrorList, *fields: str, path: Path = SPEC) -> None:
    for field in fields:
        value = values.get(field)
        if value is not None and value < 0:
            out.extend(validate_nonnegative(value, path / field))


def selector_unchanged(obj: Obj, old: Obj, out: ErrorList) -> None:
    new, was = obj["spec"].get("selector"), old["spec"].get("selector")
    if new != was:
        out.invalid(SPEC / "selector", new, IMMUTABLE)


def int_or_percent(value: int | str | None, path: Path, out: ErrorList) -> None:
    """A count that is not negative, or a percentage."""
    if isinstance(value, str):
        out.each(path, value, names.is_percent(value))
    elif value is not None:
        out.extend(validate_nonnegative(value, path))


def not_over_hundred(value: int | str | None, path: Path, out: ErrorList) -> None:
    if isinstance(value, str) and not names.is_percent(value) and percent(value) > 100:
        out.invalid(path, value, "must not be greater than 100%")


def percent(value: str) -> int:
    # longer ones are over a hundred whatever they say
    return int(value[:-1].lstrip("0")[:9] or "0")


def is_zero(value: int | str | None) -> bool:
    """As Go reads an IntOrString: what is no number counts as none."""
    if isinstance(value, str):
        return names.is_percent(value) != [] or percent(value) == 0
    return not value


# -- status ------------------------------------------------------------------------------------------------------------


def status_counts(
    status: Obj, out: ErrorList, *fields: str, within: tuple[str, ...], ready: str = "readyReplicas"
) -> None:
    """Counts that are not negative, and of which `within` cannot be more than there are replicas."""
    nonnegative(status, out, *fields, path=STATUS)
    total = status.get("replicas", 0)
    for field in within:
        if status.get(field, 0) > total:
            out.invalid(STATUS / field, status.get(field, 0), "cannot be greater than status.replicas")
    available = status.get("availableReplicas", 0)
    if available > status.get("readyReplicas", 0):
        out.invalid(STATUS / "availableReplicas", available, f"cannot be greater than {ready}")


def not_decremented(obj: Obj, old: Obj, field: str, out: ErrorList) -> None:
    now, was = ((item.get("status") or {}).get(field) for item in (obj, old))
    if was is not None and (now is None or now < was):
        out.invalid(STATUS / field, now or 0, "cannot be decremented")
