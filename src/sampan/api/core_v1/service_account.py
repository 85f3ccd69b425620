"""ServiceAccount.

Source: kubernetes/pkg/registry/core/serviceaccount/strategy.go; printServiceAccount
"""

from __future__ import annotations

from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age


class ServiceAccount(Kind):
    has_generation = False
    columns = (NAME, Column("Secrets", "integer"), AGE)

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        return [meta["name"], len(obj.get("secrets") or ()), age(meta.get("creationTimestamp"), now)]
