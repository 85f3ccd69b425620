"""What the kinds that run pods have in common.

Source: kubernetes/pkg/apis/apps/validation/validation.go
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.core_v1.pod_validation import validate_pod_template
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.selectors import label_selector_from
from sampan.api.validation.meta import IMMUTABLE, validate_label_selector, validate_nonnegative

SPEC = Path("spec")


def selector_and_template(spec: Obj, out: ErrorList, *, restart: tuple[str, ...] = ("Always",)) -> None:
    """A selector that selects something, and a template that it selects."""
    selector, template = spec.get("selector"), spec.get("template") or {}
    if selector is None:
        out.required(SPEC / "selector", "")
    else:
        out.extend(validate_label_selector(selector, SPEC / "selector"))
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            out.invalid(SPEC / "selector", selector, "empty selector is invalid for deployment")
    labels = (template.get("metadata") or {}).get("labels")
    if selector:
        try:
            matches = label_selector_from(selector).matches(labels)
        except ValueError:
            matches = True
        if not matches:
            detail = "`selector` does not match template `labels`"
            out.invalid(SPEC / "template" / "metadata" / "labels", labels or {}, detail)
    out.extend(validate_pod_template(template, SPEC / "template"))
    policy = (template.get("spec") or {}).get("restartPolicy")
    if policy not in restart:
        out.not_supported(SPEC / "template" / "spec" / "restartPolicy", policy or "", restart)
    if (template.get("spec") or {}).get("activeDeadlineSeconds") is not None:
        out.forbidden(
            SPEC / "template" / "spec" / "activeDeadlineSeconds", "activeDeadlineSeconds in ReplicaSet is not Supported"
        )


def nonnegative(spec: Obj, out: ErrorList, *fields: str) -> None:
    for field in fields:
        if spec.get(field) is not None:
            out.extend(validate_nonnegative(spec[field], SPEC / field))


def selector_unchanged(obj: Obj, old: Obj, out: ErrorList) -> None:
    new, was = obj["spec"].get("selector"), old["spec"].get("selector")
    if new != was:
        out.invalid(SPEC / "selector", new, IMMUTABLE)


def int_or_percent(value: int | str | None, path: Path, out: ErrorList) -> None:
    """A count that is not negative, or a percentage."""
    if isinstance(value, str):
        for problem in names.is_percent(value):
            out.invalid(path, value, problem)
    elif value is not None:
        out.extend(validate_nonnegative(value, path))


def not_over_hundred(value: int | str | None, path: Path, out: ErrorList) -> None:
    if isinstance(value, str) and value[:-1].isdigit() and int(value[:-1]) > 100:
        out.invalid(path, value, "must not be greater than 100%")


def is_zero(value: int | str | None) -> bool:
    return value in (0, "0%", None)
