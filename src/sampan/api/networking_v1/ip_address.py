"""IPAddress.

Source: kubernetes/pkg/printers/internalversion/printers.go (printIPAddress)
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import NONE, age
from sampan.api.validation import ips
from sampan.api.validation.meta import validate_immutable
from sampan.api.validation.workload import SPEC


class IPAddress(Kind):
    has_generation = False
    columns = (NAME, Column("ParentRef"), AGE)

    def validate_name(self, name: str, generate: bool) -> list[str]:
        return ips.strict_ip(name)

    def generated_name(self, prefix: str, suffix: str) -> str:
        # no address would be one any more
        return prefix

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        parent, here = (obj.get("spec") or {}).get("parentRef"), SPEC / "parentRef"
        if parent is None:
            out.required(here, "")
            return out
        group = parent.get("group", "")
        if group:
            out.each(here / "group", group, names.is_dns1123_subdomain(group))
        for field in ("resource", "name"):
            value = parent.get(field, "")
            if not value:
                out.required(here / field, "")
            else:
                out.each(here / field, value, names.path_segment_name(value))
        if parent.get("namespace"):
            out.each(here / "namespace", parent["namespace"], names.path_segment_name(parent["namespace"]))
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        new, was = ((item.get("spec") or {}).get("parentRef") for item in (obj, old))
        return validate_immutable(new, was, SPEC / "parentRef")

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        parent = (obj.get("spec") or {}).get("parentRef") or {}
        shown = "/".join(part for part in (parent.get("resource"), parent.get("namespace"), parent.get("name")) if part)
        return [meta["name"], shown or NONE, old]
