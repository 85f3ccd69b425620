"""RuntimeClass.

Source: kubernetes/pkg/printers/internalversion/printers.go (printRuntimeClass)
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age
from sampan.api.validation.meta import validate_immutable, validate_labels
from sampan.api.validation.node_labels import DEPRECATED
from sampan.api.validation.resources import resource_requirements
from sampan.api.validation.scheduling import tolerations


class RuntimeClass(Kind):
    unconditional_update = False
    create_on_update = True
    has_generation = False
    not_enforced = True
    columns = (NAME, Column("Handler"), AGE)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        handler = obj.get("handler", "")
        out.each(Path("handler"), handler, names.is_dns1123_label(handler))
        overhead = obj.get("overhead")
        if overhead is not None:
            # as of a container with only limits
            resource_requirements({"limits": overhead.get("podFixed") or {}}, Path("overhead"), out)
        scheduling, here = obj.get("scheduling"), Path("scheduling")
        if scheduling is not None:
            out.extend(validate_labels(scheduling.get("nodeSelector"), here / "nodeSelector"))
            _tolerations(scheduling.get("tolerations") or [], here / "tolerations", out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        return validate_immutable(obj.get("handler"), old.get("handler"), Path("handler"))

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        selector = (obj.get("scheduling") or {}).get("nodeSelector") or {}
        here = Path("scheduling", "nodeSelector")
        return [f"{here}: {key} is {DEPRECATED[key]}" for key in sorted(selector) if key in DEPRECATED]

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        return [meta["name"], obj.get("handler", ""), old]


def _tolerations(items: list[Obj], path: Path, out: ErrorList) -> None:
    seen: list[Obj] = []
    for index, item in enumerate(items):
        if item in seen:
            out.duplicate(path @ index, item)
        seen.append(item)
    tolerations(items, path, out)
