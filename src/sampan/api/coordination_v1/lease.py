"""Lease.

Source: kubernetes/pkg/printers/internalversion/printers.go (printLease)
"""

from __future__ import annotations

from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age


class Lease(Kind):
    has_generation = False
    create_on_update = True
    unconditional_update = False
    columns = (NAME, Column("Holder"), AGE)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj.get("spec") or {}
        seconds, moved = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
        if seconds is not None and seconds <= 0:
            out.invalid(Path("spec", "leaseDurationSeconds"), seconds, "must be greater than 0")
        if moved is not None and moved < 0:
            out.invalid(Path("spec", "leaseTransitions"), moved, "must be greater than or equal to 0")
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        return [meta["name"], (obj.get("spec") or {}).get("holderIdentity") or "", old]
