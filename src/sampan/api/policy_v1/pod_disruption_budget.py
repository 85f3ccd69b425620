"""PodDisruptionBudget.

Source: kubernetes/pkg/registry/policy/poddisruptionbudget/strategy.go; ValidatePodDisruptionBudget
"""

from __future__ import annotations

from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age
from sampan.api.validation.meta import validate_label_selector
from sampan.api.validation.workload import int_or_percent, not_over_hundred

SPEC = Path("spec")


class PodDisruptionBudget(Kind):
    has_status = True
    unconditional_update = False
    columns = (NAME, Column("Min Available"), Column("Max Unavailable"), Column("Allowed Disruptions", "integer"), AGE)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj.get("spec") or {}
        if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
            detail = "minAvailable and maxUnavailable cannot be both set"
            out.invalid(SPEC, spec, detail)
        for name in ("minAvailable", "maxUnavailable"):
            int_or_percent(spec.get(name), SPEC / name, out)
            not_over_hundred(spec.get(name), SPEC / name, out)
        policy = spec.get("unhealthyPodEvictionPolicy")
        if policy not in (None, "IfHealthyBudget", "AlwaysAllow"):
            out.not_supported(SPEC / "unhealthyPodEvictionPolicy", policy, ("AlwaysAllow", "IfHealthyBudget"))
        out.extend(validate_label_selector(spec.get("selector"), SPEC / "selector"))
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec = obj["metadata"], obj.get("spec") or {}

        def shown(name: str) -> str:
            return "N/A" if spec.get(name) is None else str(spec[name])

        allowed = (obj.get("status") or {}).get("disruptionsAllowed", 0)
        return [
            meta["name"],
            shown("minAvailable"),
            shown("maxUnavailable"),
            allowed,
            age(meta.get("creationTimestamp"), now),
        ]
