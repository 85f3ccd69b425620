"""Selectors of a SubjectAccessReview: what is asked is whether somebody may list just those objects.

What cannot be read is left out, which asks for more than was meant, never for less; the answer says so.

Source: kubernetes/pkg/registry/authorization/util/helpers.go, pkg/apis/authorization/validation/validation.go
"""

from __future__ import annotations

from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.names import is_qualified_name
from sampan.api.selectors import (
    FieldSelector,
    FieldTerm,
    LabelSelector,
    Requirement,
    label_selector_from,
    parse_field_selector,
    parse_label_selector,
)

IGNORED = "spec.resourceAttributes.%s%s ignored due to parse error"


def fields(selector: Obj | None, problems: list[str]) -> FieldSelector | None:
    selector = selector or {}
    required = selector.get("requirements")
    if not required:
        try:
            return parse_field_selector(selector["rawSelector"]) if selector.get("rawSelector") else None
        except ValueError:
            problems.append(IGNORED % ("fieldSelector", ""))
            return None
    known = [
        item for item in required if item.get("operator") in ("In", "NotIn") and len(item.get("values") or ()) == 1
    ]
    if len(known) < len(required):
        problems.append(IGNORED % ("fieldSelector", " partially" if known else ""))
    return FieldSelector(tuple(FieldTerm(i["key"], i["values"][0], i["operator"] == "In") for i in known))


def labels(selector: Obj | None, problems: list[str]) -> LabelSelector | None:
    selector = selector or {}
    required = selector.get("requirements")
    if not required:
        try:
            return parse_label_selector(selector["rawSelector"]) if selector.get("rawSelector") else None
        except ValueError:
            problems.append(IGNORED % ("labelSelector", ""))
            return None
    known: list[Requirement] = []
    for item in required:
        try:
            known.extend(label_selector_from({"matchExpressions": [item]}).requirements)
        except ValueError:
            continue
    if len(known) < len(required):
        problems.append(IGNORED % ("labelSelector", " partially" if known else ""))
    return LabelSelector(tuple(known))


def validate(asked: Obj, out: ErrorList) -> None:
    for kind in ("fieldSelector", "labelSelector"):
        selector = asked.get(kind)
        if selector is None:
            continue
        path = Path("spec.resourceAttributes", kind)
        raw, required = selector.get("rawSelector"), selector.get("requirements") or ()
        if raw and required:
            out.invalid(path / "rawSelector", raw, "may not specified at the same time as requirements")
        if not raw and not required:
            detail = f"when {path} is specified, requirements or rawSelector is required"
            out.required(path / "requirements", detail)
        for index, item in enumerate(required):
            _requirement(item, path / "requirements" @ index, out, label=kind == "labelSelector")


def _requirement(item: Obj, path: Path, out: ErrorList, *, label: bool) -> None:
    key, operator, values = item.get("key", ""), item.get("operator", ""), item.get("values")
    if not label and not key:
        out.required(path / "key", "must be specified")
    if operator in ("In", "NotIn") and not values:
        out.required(path / "values", "must be specified when `operator` is 'In' or 'NotIn'")
    if operator in ("Exists", "DoesNotExist") and values:
        out.forbidden(path / "values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    if label:
        for problem in is_qualified_name(key):
            out.invalid(path / "key", key, problem)
