"""PriorityClass.

Source: kubernetes/pkg/apis/scheduling/{v1/defaults,validation/validation}.go; printPriorityClass
"""

from __future__ import annotations

from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.table import age
from sampan.api.validation.meta import validate_immutable

HIGHEST = 1_000_000_000
SYSTEM = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


class PriorityClass(Kind):
    has_generation = False
    columns = (NAME, Column("Value", "integer"), Column("Global-Default", "boolean"), AGE, Column("PreemptionPolicy"))

    def default(self, obj: Obj) -> None:
        if not obj.get("preemptionPolicy"):
            obj["preemptionPolicy"] = "PreemptLowerPriority"

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        # it is never counted up
        obj["metadata"]["generation"] = 1

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        name, value = obj["metadata"].get("name", ""), obj.get("value", 0)
        if name.startswith("system-"):
            if SYSTEM.get(name) != value:
                detail = "priority class names with 'system-' prefix are reserved for system use only. error: " + (
                    f"{name} is not a known system priority class"
                    if name not in SYSTEM
                    else f"value of {name} PriorityClass must be {SYSTEM[name]}"
                )
                out.forbidden(Path("metadata", "name"), detail)
        elif value > HIGHEST:
            detail = f"maximum allowed value of a user defined priority is {HIGHEST}"
            out.forbidden(Path("value"), detail)
        if obj.get("preemptionPolicy") not in ("PreemptLowerPriority", "Never"):
            out.not_supported(
                Path("preemptionPolicy"), obj.get("preemptionPolicy", ""), ("Never", "PreemptLowerPriority")
            )
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        if obj.get("value", 0) != old.get("value", 0):
            out.forbidden(Path("value"), "may not be changed in an update.")
        out.extend(
            validate_immutable(obj.get("preemptionPolicy"), old.get("preemptionPolicy"), Path("preemptionPolicy"))
        )
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        return [meta["name"], obj.get("value", 0), bool(obj.get("globalDefault")), old, obj.get("preemptionPolicy", "")]
