"""ComponentStatus: deprecated; the components tell of their health themselves.

Source: kubernetes/pkg/printers/internalversion/printers.go (printComponentStatus)
"""

from __future__ import annotations

from sampan.api.kind import NAME, Cell, Column, Kind, Obj


class ComponentStatus(Kind):
    has_generation = False
    deprecation = "v1 ComponentStatus is deprecated in v1.19+"
    columns = (NAME, Column("Status"), Column("Message"), Column("Error"))

    def row(self, obj: Obj, now: float) -> list[Cell]:
        condition: Obj = next(iter(obj.get("conditions") or ()), {})
        healthy = {"True": "Healthy", "False": "Unhealthy"}.get(condition.get("status", ""), "Unknown")
        return [obj["metadata"]["name"], healthy, condition.get("message", ""), condition.get("error", "")]
