"""DeviceClass.

Source: kubernetes/pkg/printers/internalversion/printers.go (printDeviceClass)
"""

from __future__ import annotations

from sampan.api.kind import AGE, NAME, Cell, Kind, Obj
from sampan.api.table import age


class DeviceClass(Kind):
    not_enforced = True
    columns = (NAME, AGE)

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        return [meta["name"], old]
