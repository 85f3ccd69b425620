"""DeviceTaintRule.

Source: kubernetes/pkg/printers/internalversion/printers.go (printDeviceTaintRule)
"""

from __future__ import annotations

from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Kind, Obj
from sampan.api.table import age
from sampan.api.validation.devices import taint_rule
from sampan.api.validation.workload import SPEC


class DeviceTaintRule(Kind):
    not_enforced = True
    has_status = True
    columns = (NAME, AGE)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        taint_rule(obj.get("spec") or {}, SPEC, out)
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        return [meta["name"], old]
