"""VolumeAttributesClass.

Source: kubernetes/pkg/printers/internalversion/printers.go (printVolumeAttributesClass)
"""

from __future__ import annotations

from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age
from sampan.api.validation.storage import parameters
from sampan.api.validation.volume_sources import csi_driver_name


class VolumeAttributesClass(Kind):
    not_enforced = True
    has_generation = False
    columns = (NAME, Column("DriverName"), AGE)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        csi_driver_name(obj.get("driverName", ""), Path("driverName"), out)
        parameters(obj.get("parameters") or {}, False, Path("parameters"), out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        for name in ("driverName", "parameters"):
            if obj.get(name) != old.get(name):
                out.forbidden(Path(name), f"updates to {name} are forbidden.")
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        return [meta["name"], obj.get("driverName", ""), old]
