"""CSIStorageCapacity.

Source: kubernetes/pkg/printers/internalversion/printers.go (printCSIStorageCapacity)
"""

from __future__ import annotations

from sampan.api.kind import NAME, Cell, Column, Kind, Obj
from sampan.api.table import UNSET


class CSIStorageCapacity(Kind):
    has_generation = False
    columns = (NAME, Column("StorageClassName"), Column("Capacity"))

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        return [meta["name"], obj.get("storageClassName", ""), obj.get("capacity") or UNSET]
