"""MutatingAdmissionPolicyBinding.

Source: kubernetes/pkg/printers/internalversion/printers.go (printMutatingAdmissionPolicyBinding)
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.admissionregistration_v1.policies import (
    default_match_resources,
    validate_match_resources,
    validate_param_ref,
)
from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import UNSET, age
from sampan.api.validation.workload import SPEC


class MutatingAdmissionPolicyBinding(Kind):
    not_enforced = True
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
            out.each(SPEC / "policyName", policy, names.is_dns1123_subdomain(policy))
        if spec.get("paramRef") is not None:
            validate_param_ref(spec["paramRef"], SPEC / "paramRef", out)
        if spec.get("matchResources") is not None:
            # upstream's spelling of the path
            validate_match_resources(spec["matchResources"], SPEC / "matchResouces", out)
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        spec = obj.get("spec") or {}
        ref = spec.get("paramRef")
        shown = f"{ref.get('namespace') or '*'}/{ref.get('name') or '*'}" if ref else UNSET
        return [meta["name"], spec.get("policyName", ""), shown, old]
