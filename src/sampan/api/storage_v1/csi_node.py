"""CSINode.

Source: kubernetes/pkg/printers/internalversion/printers.go (printCSINode)
"""

from __future__ import annotations

from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age
from sampan.api.validation.meta import IMMUTABLE
from sampan.api.validation.storage import node_drivers
from sampan.api.validation.workload import SPEC


class CSINode(Kind):
    unconditional_update = False
    has_generation = False
    columns = (NAME, Column("Drivers", "integer"), AGE)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        node_drivers((obj.get("spec") or {}).get("drivers") or (), out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        new, was = ((item.get("spec") or {}).get("drivers") or [] for item in (obj, old))
        by_name = {driver.get("name", ""): driver for driver in new}
        for driver in was:
            now = by_name.get(driver.get("name", ""))
            if now is not None:
                # how many volumes fit may change
                same = {k: v for k, v in now.items() if k != "allocatable"}
                if same != {k: v for k, v in driver.items() if k != "allocatable"}:
                    out.invalid(SPEC / "drivers", now, IMMUTABLE)
        out.extend(self.validate(obj))
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        return [meta["name"], len((obj.get("spec") or {}).get("drivers") or ()), old]
