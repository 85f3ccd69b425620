"""ValidatingAdmissionPolicyBinding.

Source: kubernetes/pkg/printers/internalversion/printers.go (printValidatingAdmissionPolicyBinding)
"""

from __future__ import annotations

from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import UNSET, age


class ValidatingAdmissionPolicyBinding(Kind):
    not_enforced = True
    columns = (NAME, Column("PolicyName"), Column("ParamRef"), AGE)

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        spec = obj.get("spec") or {}
        ref = spec.get("paramRef")
        shown = f"{ref.get('namespace') or '*'}/{ref.get('name') or '*'}" if ref else UNSET
        return [meta["name"], spec.get("policyName", ""), shown, old]
