"""ServiceCIDR.

Source: kubernetes/pkg/printers/internalversion/printers.go (printServiceCIDR)
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age


class ServiceCIDR(Kind):
    has_status = True
    columns = (NAME, Column("CIDRs"), AGE)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        cidrs = (obj.get("spec") or {}).get("cidrs") or []
        if not cidrs:
            out.required(Path("spec", "cidrs"), "at least one CIDR required")
        for index, cidr in enumerate(cidrs):
            for problem in names.is_cidr(cidr):
                out.invalid(Path("spec", "cidrs") @ index, cidr, problem)
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        return [meta["name"], ",".join((obj.get("spec") or {}).get("cidrs") or ()), old]
