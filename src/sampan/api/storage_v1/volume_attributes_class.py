"""VolumeAttributesClass.

Source: kubernetes/pkg/printers/internalversion/printers.go (printVolumeAttributesClass)
"""

from __future__ import annotations

from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age


class VolumeAttributesClass(Kind):
    not_enforced = True
    has_generation = False
    columns = (NAME, Column("DriverName"), AGE)

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        return [meta["name"], obj.get("driverName", ""), old]
