"""StorageVersionMigration.

Source: kubernetes/pkg/printers/internalversion/printers.go (printStorageVersionMigration)
"""

from __future__ import annotations

from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age


class StorageVersionMigration(Kind):
    not_enforced = True
    has_status = True
    columns = (NAME, Column("Resource"), AGE)

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        resource = (obj.get("spec") or {}).get("resource") or {}
        return [meta["name"], resource.get("resource", ""), old]
