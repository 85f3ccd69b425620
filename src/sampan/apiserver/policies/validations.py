"""ValidatingAdmissionPolicies, compiled.

Source: k8s.io/apiserver/pkg/admission/plugin/policy/validating/plugin.go (compilePolicy)
"""

from __future__ import annotations

from dataclasses import dataclass

from sampan.api import cel
from sampan.api.admissionregistration_v1.expressions import environment, with_variables
from sampan.api.kind import Obj
from sampan.apiserver.policies.compiled import Policy, in_common
from sampan.apiserver.policies.variables import Expression, compiled


@dataclass(frozen=True, slots=True)
class Validation:
    expression: Expression
    message: str
    message_expression: Expression | None
    reason: str


@dataclass(frozen=True, slots=True)
class ValidatingPolicy(Policy):
    """`annotations`: audit annotations by key."""

    validations: tuple[Validation, ...]
    annotations: tuple[tuple[str, Expression], ...]


def validating_policy(raw: Obj) -> ValidatingPolicy:
    spec = raw.get("spec") or {}
    policy, plain, found = in_common(raw, always=False)
    silent = environment(params=policy.param_kind is not None, authorizer=False)
    if policy.variables:
        silent = with_variables(silent, found)
    text = (cel.types.String, cel.types.Null)
    return ValidatingPolicy(
        **policy.parts(),
        validations=tuple(_validation(plain, silent, item) for item in spec.get("validations") or ()),
        annotations=tuple(
            (item["key"], compiled(plain, item["valueExpression"], *text))
            for item in spec.get("auditAnnotations") or ()
        ),
    )


def _validation(plain: cel.Environment, silent: cel.Environment, raw: Obj) -> Validation:
    """Messages are made without the authorizer."""
    message = raw.get("messageExpression", "")
    return Validation(
        compiled(plain, raw["expression"], cel.types.Bool),
        raw.get("message", "").strip(),
        compiled(silent, message, cel.types.String) if message else None,
        raw.get("reason") or "Invalid",
    )
