"""PodDisruptionBudget.

Source: kubernetes/pkg/registry/policy/poddisruptionbudget/strategy.go; ValidatePodDisruptionBudget
"""

from __future__ import annotations

from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age
from sampan.api.validation.meta import validate_conditions, validate_label_selector
from sampan.api.validation.workload import SPEC, STATUS, int_or_percent, nonnegative, not_over_hundred

POLICIES = ("AlwaysAllow", "IfHealthyBudget")
COUNTS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


class PodDisruptionBudget(Kind):
    has_status = True
    unconditional_update = False
    columns = (NAME, Column("Min Available"), Column("Max Unavailable"), Column("Allowed Disruptions", "integer"), AGE)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj.get("spec") or {}
        if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
            out.invalid(SPEC, spec, "minAvailable and maxUnavailable cannot be both set")
        for name in ("minAvailable", "maxUnavailable"):
            int_or_percent(spec.get(name), SPEC / name, out)
            not_over_hundred(spec.get(name), SPEC / name, out)
        out.extend(validate_label_selector(spec.get("selector"), SPEC / "selector"))
        policy = spec.get("unhealthyPodEvictionPolicy")
        if policy is not None and policy not in POLICIES:
            out.not_supported(SPEC / "unhealthyPodEvictionPolicy", policy, POLICIES)
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        out.extend(validate_conditions((obj.get("status") or {}).get("conditions"), STATUS / "conditions"))
        nonnegative(obj.get("status") or {}, out, *COUNTS, path=STATUS)
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
