"""ControllerRevision.

Source: kubernetes/pkg/registry/apps/controllerrevision/strategy.go; printControllerRevision
"""

from __future__ import annotations

from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import NONE, age
from sampan.api.validation.meta import validate_immutable, validate_nonnegative


class ControllerRevision(Kind):
    has_generation = False
    columns = (NAME, Column("Controller"), Column("Revision", "integer"), AGE)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        if obj.get("data") is None:
            out.required(Path("data"), "data is mandatory")
        out.extend(validate_nonnegative(obj.get("revision", 0), Path("revision")))
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = self.validate(obj)
        out.extend(validate_immutable(obj.get("data"), old.get("data"), Path("data")))
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        owner = next((o for o in meta.get("ownerReferences") or () if o.get("controller")), None)
        shown = NONE
        if owner is not None:
            group = owner["apiVersion"].rpartition("/")[0]
            shown = (
                f"{owner['kind'].lower()}.{group}/{owner['name']}"
                if group
                else f"{owner['kind'].lower()}/{owner['name']}"
            )
        return [meta["name"], shown, obj.get("revision", 0), age(meta.get("creationTimestamp"), now)]
