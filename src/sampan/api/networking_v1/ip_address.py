"""IPAddress.

Source: kubernetes/pkg/printers/internalversion/printers.go (printIPAddress)
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import NONE, age


class IPAddress(Kind):
    has_generation = False
    columns = (NAME, Column("ParentRef"), AGE)

    def validate_name(self, name: str, generate: bool) -> list[str]:
        return names.is_ip(name)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        if not (obj.get("spec") or {}).get("parentRef"):
            out.required(Path("spec", "parentRef"), "")
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        parent = (obj.get("spec") or {}).get("parentRef") or {}
        shown = "/".join(part for part in (parent.get("resource"), parent.get("namespace"), parent.get("name")) if part)
        return [meta["name"], shown or NONE, old]
