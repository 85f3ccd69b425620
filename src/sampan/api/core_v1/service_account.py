"""ServiceAccount.

Source: kubernetes/pkg/registry/core/serviceaccount/strategy.go; printServiceAccount
"""

from __future__ import annotations

from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.table import age


class ServiceAccount(Kind):
    has_generation = False
    columns = (NAME, Column("Secrets", "integer"), AGE)

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        _clean_references(obj)

    def prepare_for_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        _clean_references(obj)

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        return [meta["name"], len(obj.get("secrets") or ()), age(meta.get("creationTimestamp"), now)]


def _clean_references(obj: Obj) -> None:
    """Secrets are of the same namespace, and found by name alone."""
    if obj.get("secrets"):
        obj["secrets"] = [{"name": item["name"]} if item.get("name") else {} for item in obj["secrets"]]
