"""ResourceQuota.

Source: kubernetes/pkg/registry/core/resourcequota/strategy.go; printResourceQuota
"""

from __future__ import annotations

from sampan.api import names, quantity
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age


class ResourceQuota(Kind):
    has_status = True
    has_generation = False
    columns = (NAME, Column("Request"), Column("Limit"), AGE)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        for name, amount in sorted(((obj.get("spec") or {}).get("hard") or {}).items()):
            here = Path("spec", "hard") @ name
            for problem in names.is_qualified_name(name):
                out.invalid(here, name, problem)
            if quantity.parse(amount) < 0:
                out.invalid(here, amount, "must be greater than or equal to 0")
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
