"""APIService.

Source: kube-aggregator/pkg/registry/apiservice/etcd (ConvertToTable)
"""

from __future__ import annotations

from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age


class APIService(Kind):
    not_enforced = True
    has_status = True
    has_generation = False
    columns = (NAME, Column("Service"), Column("Available"), AGE)

    def default(self, obj: Obj) -> None:
        service = (obj.get("spec") or {}).get("service")
        if service is not None:
            service.setdefault("port", 443)

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        service = (obj.get("spec") or {}).get("service")
        shown = f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"
        condition: Obj = next(
            (c for c in (obj.get("status") or {}).get("conditions") or () if c.get("type") == "Available"), {}
        )
        available = condition.get("status", "Unknown")
        if available != "True" and condition.get("reason"):
            available += f" ({condition['reason']})"
        return [meta["name"], shown, available, old]
