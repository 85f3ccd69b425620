"""ResourceQuota.

Source: kubernetes/pkg/registry/core/resourcequota/strategy.go; printResourceQuota
"""

from __future__ import annotations

from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age
from sampan.api.validation.quotas import amounts, quota_spec, quota_update
from sampan.api.validation.workload import SPEC, STATUS


class ResourceQuota(Kind):
    has_status = True
    has_generation = False
    columns = (NAME, Column("Request"), Column("Limit"), AGE)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        quota_spec(obj.get("spec") or {}, SPEC, out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = self.validate(obj)
        quota_update(obj, old, out)
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        for field in ("hard", "used"):
            amounts((obj.get("status") or {}).get(field), STATUS / field, out)
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, status = obj["metadata"], obj.get("status") or {}
        hard, used = status.get("hard") or (obj.get("spec") or {}).get("hard") or {}, status.get("used") or {}
        requests: list[str] = []
        limits: list[str] = []
        for name in sorted(hard):
            text = f"{name}: {used.get(name, '0')}/{hard[name]}"
            (limits if name.startswith("limits.") else requests).append(text)
        return [meta["name"], ", ".join(requests), ", ".join(limits), age(meta.get("creationTimestamp"), now)]
