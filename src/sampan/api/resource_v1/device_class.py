"""DeviceClass.

Source: kubernetes/pkg/printers/internalversion/printers.go (printDeviceClass)
"""

from __future__ import annotations

from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Kind, Obj
from sampan.api.table import age
from sampan.api.validation.devices import class_spec
from sampan.api.validation.workload import SPEC


class DeviceClass(Kind):
    not_enforced = True
    columns = (NAME, AGE)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        class_spec(obj.get("spec") or {}, SPEC, out)
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        return [meta["name"], old]
