"""Event.

Source: kubernetes/pkg/registry/core/event/strategy.go; printEvent
"""

from __future__ import annotations

from sampan.api.field import ErrorList
from sampan.api.kind import Cell, Column, Kind, Obj
from sampan.api.table import age
from sampan.api.validation.events import event, event_update

REFERENCE = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


class Event(Kind):
    has_generation = False
    create_on_update = True
    columns = (
        Column("Last Seen"),
        Column("Type"),
        Column("Reason"),
        Column("Object"),
        Column("Subobject", priority=1),
        Column("Source", priority=1),
        Column("Message"),
        Column("First Seen", priority=1),
        Column("Count", priority=1),
        Column("Name", format="name", priority=1),
    )

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        event(obj, False, out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        event_update(obj, old, False, out)
        return out

    def selectable_fields(self, obj: Obj) -> dict[str, str]:
        about, source = obj.get("involvedObject") or {}, obj.get("source") or {}
        out = {f"involvedObject.{name}": about.get(name, "") for name in REFERENCE}
        component = source.get("component", "")
        return {
            **out,
            "reason": obj.get("reason", ""),
            "reportingComponent": obj.get("reportingComponent", ""),
            "source": component or obj.get("reportingComponent", ""),
            "type": obj.get("type", ""),
        }

    def row(self, obj: Obj, now: float) -> list[Cell]:
        return event_row(obj, now)


def event_row(obj: Obj, now: float) -> list[Cell]:
    """The cells of an event in its core form."""
    meta, about, source = obj["metadata"], obj.get("involvedObject") or {}, obj.get("source") or {}
    series = obj.get("series") or {}
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    last = series.get("lastObservedTime") or obj.get("lastTimestamp") or first
    kind, name = about.get("kind", "").lower(), about.get("name", "")
    said = source.get("component", "") or obj.get("reportingComponent", "")
    host = source.get("host", "") or obj.get("reportingInstance", "")
    return [
        age(last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{kind}/{name}" if name else kind,
        about.get("fieldPath", ""),
        f"{said}, {host}" if host and said else said or host,
        obj.get("message", "").strip(),
        age(first, now),
        str(series.get("count") or obj.get("count") or 1),
        meta["name"],
    ]
