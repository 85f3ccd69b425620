"""ResourceSlice.

Source: kubernetes/pkg/printers/internalversion/printers.go (printResourceSlice)
"""

from __future__ import annotations

from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age


class ResourceSlice(Kind):
    not_enforced = True
    columns = (NAME, Column("Node"), Column("Driver"), Column("Pool"), AGE)

    def selectable_fields(self, obj: Obj) -> dict[str, str]:
        spec = obj.get("spec") or {}
        return {"spec.nodeName": spec.get("nodeName") or "", "spec.driver": spec.get("driver", "")}

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        spec = obj.get("spec") or {}
        return [
            meta["name"],
            spec.get("nodeName") or "",
            spec.get("driver", ""),
            (spec.get("pool") or {}).get("name", ""),
            old,
        ]
