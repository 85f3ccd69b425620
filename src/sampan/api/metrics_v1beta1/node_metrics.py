"""NodeMetrics."""

from __future__ import annotations

from sampan.api.kind import NAME, Cell, Column, Kind, Obj
from sampan.api.metrics_v1beta1 import shown


class NodeMetrics(Kind):
    columns = (NAME, Column("cpu"), Column("memory"), Column("Window", format="duration"))

    def row(self, obj: Obj, now: float) -> list[Cell]:
        return [obj["metadata"]["name"], *shown(obj["usage"]), obj["window"]]
