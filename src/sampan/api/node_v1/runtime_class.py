"""RuntimeClass.

Source: kubernetes/pkg/printers/internalversion/printers.go (printRuntimeClass)
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age
from sampan.api.validation.meta import validate_immutable


class RuntimeClass(Kind):
    not_enforced = True
    columns = (NAME, Column("Handler"), AGE)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        for problem in names.is_dns1123_label(obj.get("handler", "")):
            out.invalid(Path("handler"), obj.get("handler", ""), problem)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = validate_immutable(obj.get("handler"), old.get("handler"), Path("handler"))
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        return [meta["name"], obj.get("handler", ""), old]
