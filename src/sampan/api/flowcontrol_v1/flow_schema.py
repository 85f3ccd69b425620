"""FlowSchema.

Source: kubernetes/pkg/apis/flowcontrol/v1/defaults.go; printFlowSchema
"""

from __future__ import annotations

from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import NONE, age
from sampan.api.validation.flows import conditions, flow_schema


class FlowSchema(Kind):
    status_alone = True
    has_status = True
    not_enforced = True
    columns = (
        NAME,
        Column("PriorityLevel"),
        Column("MatchingPrecedence"),
        Column("DistinguisherMethod"),
        AGE,
        Column("MissingPL"),
    )

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("matchingPrecedence"):
            spec["matchingPrecedence"] = 1000

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        flow_schema(obj, out)
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        conditions(obj, out)
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
        dangling = next((c.get("status") for c in status.get("conditions") or () if c.get("type") == "Dangling"), "?")
        return [
            meta["name"],
            (spec.get("priorityLevelConfiguration") or {}).get("name", ""),
            str(spec.get("matchingPrecedence", 0)),
            (spec.get("distinguisherMethod") or {}).get("type") or NONE,
            age(meta.get("creationTimestamp"), now),
            dangling,
        ]
