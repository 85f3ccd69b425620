"""ResourceClaim.

Source: kubernetes/pkg/printers/internalversion/printers.go (printResourceClaim)
"""

from __future__ import annotations

from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age


class ResourceClaim(Kind):
    not_enforced = True
    has_status = True
    columns = (NAME, Column("State"), AGE)

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        status = obj.get("status") or {}
        states = [
            name
            for name, on in (("allocated", status.get("allocation")), ("reserved", status.get("reservedFor")))
            if on
        ]
        return [meta["name"], ",".join(states) or "pending", old]
