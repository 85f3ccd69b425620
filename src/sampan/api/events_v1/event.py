"""Event of `events.k8s.io`: the core Event under newer names, stored as that one.

Source: kubernetes/pkg/apis/events/v1/conversion.go
"""

from __future__ import annotations

from sampan.api.core_v1.event import REFERENCE, event_row
from sampan.api.core_v1.event import Event as CoreEvent
from sampan.api.field import ErrorList
from sampan.api.kind import Cell, Kind, Obj
from sampan.api.validation.events import event, event_update

#: this version's name, and the core one's
RENAMED = (
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
)


class Event(Kind):
    has_generation = False
    create_on_update = True
    columns = CoreEvent.columns

    def to_storage(self, obj: Obj) -> Obj:
        out = {**obj, "kind": "Event", "apiVersion": "v1"}
        for ours, core in RENAMED:
            if ours in out:
                out[core] = out.pop(ours)
        out.setdefault("involvedObject", {})
        out.setdefault("source", {})
        return out

    def from_storage(self, obj: Obj) -> Obj:
        out = {**obj, "apiVersion": "events.k8s.io/v1"}
        for ours, core in RENAMED:
            if core in out:
                out[ours] = out.pop(core)
        return out

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        event(self.to_storage(obj), True, out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        event_update(self.to_storage(obj), self.to_storage(old), True, out)
        return out

    def field_labels(self) -> dict[str, str]:
        out = {f"regarding.{name}": f"involvedObject.{name}" for name in REFERENCE}
        return {**out, "reason": "reason", "reportingController": "reportingComponent", "type": "type"}

    def row(self, obj: Obj, now: float) -> list[Cell]:
        return event_row(self.to_storage(obj), now)
