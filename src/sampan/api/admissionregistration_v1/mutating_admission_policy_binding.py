"""MutatingAdmissionPolicyBinding.

Source: kubernetes/pkg/apis/admissionregistration/validation/validation.go; pkg/printers/internalversion/printers.go
(printMutatingAdmissionPolicyBinding)
"""

from __future__ import annotations

from sampan.api.admissionregistration_v1.policies import PolicyBinding, validate_mutable_operations
from sampan.api.field import ErrorList
from sampan.api.kind import Obj
from sampan.api.validation.workload import SPEC


class MutatingAdmissionPolicyBinding(PolicyBinding):
    def validate(self, obj: Obj) -> ErrorList:
        out = super().validate(obj)
        validate_mutable_operations((obj.get("spec") or {}).get("matchResources") or {}, SPEC / "matchResources", out)
        return out
