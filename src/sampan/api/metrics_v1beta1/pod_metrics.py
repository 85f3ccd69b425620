"""PodMetrics."""

from __future__ import annotations

from sampan.api import quantity
from sampan.api.kind import NAME, Cell, Column, Kind, Obj
from sampan.api.metrics_v1beta1 import shown


class PodMetrics(Kind):
    columns = (NAME, Column("cpu"), Column("memory"), Column("Window", format="duration"))

    def row(self, obj: Obj, now: float) -> list[Cell]:
        total: dict[str, str] = {}
        for container in obj["containers"]:
            for name, amount in container["usage"].items():
                total[name] = quantity.add(total.get(name, "0"), amount)
        return [obj["metadata"]["name"], *shown(total), obj["window"]]
