"""CSINode.

Source: kubernetes/pkg/printers/internalversion/printers.go (printCSINode)
"""

from __future__ import annotations

from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age


class CSINode(Kind):
    has_generation = False
    columns = (NAME, Column("Drivers", "integer"), AGE)

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        return [meta["name"], len((obj.get("spec") or {}).get("drivers") or ()), old]
