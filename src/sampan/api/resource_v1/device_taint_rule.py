"""DeviceTaintRule.

Source: kubernetes/pkg/printers/internalversion/printers.go (printDeviceTaintRule)
"""

from __future__ import annotations

from sampan.api.kind import AGE, NAME, Cell, Kind, Obj
from sampan.api.table import age


class DeviceTaintRule(Kind):
    not_enforced = True
    has_status = True
    columns = (NAME, AGE)

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        return [meta["name"], old]
