"""ValidatingAdmissionPolicyBinding.

Source: kubernetes/pkg/apis/admissionregistration/{v1/defaults,validation/validation}.go;
printValidatingAdmissionPolicyBinding
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.admissionregistration_v1.policies import (
    default_match_resources,
    validate_match_resources,
    validate_param_ref,
)
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import UNSET, age

ACTIONS = ("Audit", "Deny", "Warn")
SPEC = Path("spec")
DENY_AND_WARN = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"


class ValidatingAdmissionPolicyBinding(Kind):
    columns = (NAME, Column("PolicyName"), Column("ParamRef"), AGE)

    def default(self, obj: Obj) -> None:
        default_match_resources((obj.get("spec") or {}).get("matchResources"))

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj.get("spec") or {}
        policy = spec.get("policyName", "")
        if not policy:
            out.required(SPEC / "policyName", "")
        else:
            for problem in names.is_dns1123_subdomain(policy):
                out.invalid(SPEC / "policyName", policy, problem)
        if spec.get("paramRef") is not None:
            validate_param_ref(spec["paramRef"], SPEC / "paramRef", out)
        if spec.get("matchResources") is not None:
            # upstream's spelling of the path
            validate_match_resources(spec["matchResources"], SPEC / "matchResouces", out)
        _actions(spec.get("validationActions") or [], SPEC / "validationActions", out)
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        spec = obj.get("spec") or {}
        ref = spec.get("paramRef")
        shown = f"{ref.get('namespace') or '*'}/{ref.get('name') or '*'}" if ref else UNSET
        return [meta["name"], spec.get("policyName", ""), shown, old]


def _actions(actions: list[str], path: Path, out: ErrorList) -> None:
    seen: set[str] = set()
    for index, action in enumerate(actions):
        if action not in ACTIONS:
            out.not_supported(path @ index, action, ACTIONS)
        if action in seen:
            out.duplicate(path @ index, action)
        seen.add(action)
    if {"Deny", "Warn"} <= seen:
        out.invalid(path, actions, DENY_AND_WARN)
    if not actions:
        out.required(path, "at least one validation action is required")
