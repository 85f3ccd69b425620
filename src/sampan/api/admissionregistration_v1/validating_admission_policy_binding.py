"""ValidatingAdmissionPolicyBinding.

Source: kubernetes/pkg/apis/admissionregistration/{v1/defaults,validation/validation}.go;
printValidatingAdmissionPolicyBinding
"""

from __future__ import annotations

from sampan.api.admissionregistration_v1.policies import PolicyBinding
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation.workload import SPEC

ACTIONS = ("Audit", "Deny", "Warn")
DENY_AND_WARN = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"


class ValidatingAdmissionPolicyBinding(PolicyBinding):
    def validate(self, obj: Obj) -> ErrorList:
        out = super().validate(obj)
        _actions((obj.get("spec") or {}).get("validationActions") or [], SPEC / "validationActions", out)
        return out


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
