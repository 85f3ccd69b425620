"""ValidatingAdmissionPolicy.

Source: kubernetes/pkg/apis/admissionregistration/{v1/defaults,validation/validation}.go; printValidatingAdmissionPolicy
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sampan.api import names
from sampan.api.admissionregistration_v1.policies import (
    default_match_resources,
    old_spec,
    validate_expressions,
    validate_match_resources,
    validate_param_kind,
)
from sampan.api.admissionregistration_v1.rules import FAILURE_POLICIES, AdmissionKind
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Obj
from sampan.api.table import UNSET, age

if TYPE_CHECKING:
    from sampan.api import cel

SPEC = Path("spec")
REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
MAX_ANNOTATIONS, MAX_VALUE_EXPRESSION = 20, 5 * 1024
ONE_OF = "validations or auditAnnotations must contain at least one item"


class ValidatingAdmissionPolicy(AdmissionKind):
    status_alone = True
    slow_checks = True
    has_status = True
    columns = (NAME, Column("Validations", "integer"), Column("ParamKind"), AGE)

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("failurePolicy", "Fail")
        default_match_resources(spec.get("matchConstraints"))

    def validate(self, obj: Obj) -> ErrorList:
        return self._check(obj, None)

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        return self._check(obj, old)

    def _check(self, obj: Obj, old: Obj | None) -> ErrorList:
        out = ErrorList()
        spec = obj.get("spec") or {}
        policy, match = spec.get("failurePolicy"), spec.get("matchConstraints")
        if policy is None:
            out.required(SPEC / "failurePolicy", "")
        elif policy not in FAILURE_POLICIES:
            out.not_supported(SPEC / "failurePolicy", policy, FAILURE_POLICIES)
        if spec.get("paramKind") is not None:
            validate_param_kind(spec["paramKind"], SPEC / "paramKind", out)
        if match is None:
            out.required(SPEC / "matchConstraints", "")
        else:
            validate_match_resources(match, SPEC / "matchConstraints", out)
            if not match.get("resourceRules"):
                out.required(SPEC / "matchConstraints" / "resourceRules", "")
        _expressions(obj, old_spec(old), out)
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        path = Path("status", "typeChecking", "expressionWarnings")
        checking = (obj.get("status") or {}).get("typeChecking") or {}
        for index, warning in enumerate(checking.get("expressionWarnings") or ()):
            if not warning.get("warning"):
                out.required(path @ index / "warning", "")
            if not warning.get("fieldRef", "").strip():
                out.required(path @ index / "fieldRef", "")
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        spec = obj.get("spec") or {}
        kind = spec.get("paramKind")
        shown = f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else UNSET
        return [meta["name"], len(spec.get("validations") or ()), shown, old]


def _expressions(obj: Obj, old: Obj | None, out: ErrorList) -> None:
    """Everything in CEL."""
    spec = obj.get("spec") or {}
    found = validate_expressions(spec, old, out)
    from sampan.api.admissionregistration_v1 import expressions

    params = spec.get("paramKind") is not None
    plain = expressions.environment(params=params)
    silent = expressions.environment(params=params, authorizer=False)
    if spec.get("variables"):
        plain, silent = expressions.with_variables(plain, found), expressions.with_variables(silent, found)
    validations, annotations = spec.get("validations") or [], spec.get("auditAnnotations") or []
    if not validations and not annotations:
        out.required(SPEC / "validations", ONE_OF)
        out.required(SPEC / "auditAnnotations", ONE_OF)
    for index, validation in enumerate(validations):
        _validation(validation, plain, silent, SPEC / "validations" @ index, out)
    _annotations(obj["metadata"].get("name", ""), annotations, plain, out)


def _validation(validation: Obj, plain: cel.Environment, silent: cel.Environment, path: Path, out: ErrorList) -> None:
    from sampan.api import cel
    from sampan.api.admissionregistration_v1.expressions import check

    expression, said = validation.get("expression", ""), validation.get("messageExpression", "")
    if not expression.strip():
        out.required(path / "expression", "expression is not specified")
    else:
        check(plain, expression, path / "expression", out, cel.types.Bool)
    if said and not said.strip():
        out.invalid(path / "messageExpression", said, "must be non-empty if specified")
    elif said:
        check(silent, said, path / "messageExpression", out, cel.types.String)
    message = validation.get("message", "")
    if message and not message.strip():
        out.invalid(path / "message", message, "must be non-empty if specified")
    elif re.search(r"[\n\r]", message.strip()):
        out.invalid(path / "message", message, "must not contain line breaks")
    reason = validation.get("reason")
    if reason is not None and reason not in REASONS:
        out.not_supported(path / "reason", reason, REASONS)


def _annotations(policy: str, annotations: list[Obj], plain: cel.Environment, out: ErrorList) -> None:
    from sampan.api import cel
    from sampan.api.admissionregistration_v1.expressions import check

    path = SPEC / "auditAnnotations"
    if len(annotations) > MAX_ANNOTATIONS:
        out.invalid(path, annotations, f"must not have more than {MAX_ANNOTATIONS} auditAnnotations")
    seen: set[str] = set()
    for index, annotation in enumerate(annotations):
        here, key, value = path @ index, annotation.get("key", ""), annotation.get("valueExpression", "")
        if not policy:
            out.invalid(here / "key", key, "requires metadata.name be non-empty")
        else:
            for problem in names.is_qualified_name(f"{policy}/{key}"):
                out.invalid(here / "key", f"{policy}/{key}", problem)
        if not value.strip():
            out.required(here / "valueExpression", "valueExpression is not specified")
        elif len(value.strip().encode()) > MAX_VALUE_EXPRESSION:
            out.required(here / "valueExpression", f"must not exceed {MAX_VALUE_EXPRESSION} bytes in length")
        else:
            check(plain, value.strip(), here / "valueExpression", out, cel.types.String, cel.types.Null)
        if key in seen:
            out.duplicate(here / "key", key)
        seen.add(key)
