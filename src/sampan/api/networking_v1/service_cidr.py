"""ServiceCIDR.

Source: kubernetes/pkg/registry/networking/servicecidr/strategy.go; printServiceCIDR
"""

from __future__ import annotations

from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age
from sampan.api.validation import ips
from sampan.api.validation.meta import validate_immutable
from sampan.api.validation.workload import SPEC


class ServiceCIDR(Kind):
    has_generation = False
    status_alone = True
    # it has one, but who writes the rest may write that too
    has_status = False
    columns = (NAME, Column("CIDRs"), AGE)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj.get("spec") or {}
        cidrs, here = spec.get("cidrs") or [], SPEC / "cidrs"
        if not cidrs:
            out.required(here, "at least one CIDR required")
            return out
        if len(cidrs) > 2:
            out.invalid(here, spec, "may only hold up to 2 values")
            return out
        for index, cidr in enumerate(cidrs):
            out.each(here @ index, cidr, ips.strict_cidr(cidr))
        if len(cidrs) == 2 and not out and not ips.is_dual_stack(cidrs):
            detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
            out.invalid(here, spec, detail)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        new, was = ((item.get("spec") or {}).get("cidrs") or [] for item in (obj, old))
        # a second family may come, nothing may go
        if len(was) == 1 and len(new) == 2:
            out.extend(validate_immutable(new[0], was[0], SPEC / "cidrs" @ 0))
            out.extend(self.validate(obj))
        else:
            out.extend(validate_immutable(new, was, SPEC / "cidrs"))
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        return [meta["name"], ",".join((obj.get("spec") or {}).get("cidrs") or ()), old]
