"""DeviceTaintRule.

Source: kubernetes/pkg/registry/resource/devicetaintrule/strategy.go; printDeviceTaintRule
"""

from __future__ import annotations

from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Context, Kind, Obj
from sampan.api.resource_v1.defaults import date_taints
from sampan.api.table import age
from sampan.api.validation.devices import taint_rule
from sampan.api.validation.meta import validate_conditions
from sampan.api.validation.workload import SPEC, STATUS


class DeviceTaintRule(Kind):
    unconditional_update = False
    status_alone = True
    not_enforced = True
    has_status = True
    columns = (NAME, AGE)

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        date_taints(((obj.get("spec") or {}).get("taint"),), ctx)

    def prepare_for_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        taint, was = ((item.get("spec") or {}).get("taint") or {} for item in (obj, old))
        if taint.get("effect") != was.get("effect") and taint.get("timeAdded") == was.get("timeAdded"):
            taint.pop("timeAdded", None)
        self.prepare_for_create(obj, ctx)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        taint_rule(obj.get("spec") or {}, SPEC, out)
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        return validate_conditions((obj.get("status") or {}).get("conditions"), STATUS / "conditions")

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        return [meta["name"], old]
