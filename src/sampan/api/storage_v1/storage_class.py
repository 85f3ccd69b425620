"""StorageClass.

Source: kubernetes/pkg/apis/storage/{v1/defaults,validation/validation}.go; printStorageClass
"""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age
from sampan.api.validation.meta import validate_immutable
from sampan.api.validation.node_labels import DEPRECATED
from sampan.api.validation.scheduling import topology_selector_terms
from sampan.api.validation.storage import parameters

MODES = ("Immediate", "WaitForFirstConsumer")
DEFAULTS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")


class StorageClass(Kind):
    has_generation = False
    columns = (
        NAME,
        Column("Provisioner"),
        Column("ReclaimPolicy"),
        Column("VolumeBindingMode"),
        Column("AllowVolumeExpansion"),
        AGE,
    )

    def default(self, obj: Obj) -> None:
        if not obj.get("reclaimPolicy"):
            obj["reclaimPolicy"] = "Delete"
        if not obj.get("volumeBindingMode"):
            obj["volumeBindingMode"] = "Immediate"

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        provisioner = obj.get("provisioner", "")
        if not provisioner:
            out.required(Path("provisioner"), "")
        else:
            out.each(Path("provisioner"), provisioner, names.is_qualified_name(provisioner.lower()))
        parameters(obj.get("parameters") or {}, True, Path("parameters"), out)
        policy, mode = obj.get("reclaimPolicy", ""), obj.get("volumeBindingMode")
        if policy and policy not in ("Delete", "Retain"):
            out.not_supported(Path("reclaimPolicy"), policy, ("Delete", "Retain"))
        if mode is None:
            out.required(Path("volumeBindingMode"), "")
        elif mode not in MODES:
            out.not_supported(Path("volumeBindingMode"), mode, MODES)
        topology_selector_terms(obj.get("allowedTopologies") or (), Path("allowedTopologies"), out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        for name in ("parameters", "provisioner", "reclaimPolicy"):
            if obj.get(name) != old.get(name):
                out.forbidden(Path(name), f"updates to {name} are forbidden.")
        mode = obj.get("volumeBindingMode")
        out.extend(validate_immutable(mode, old.get("volumeBindingMode"), Path("volumeBindingMode")))
        return out

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        out: list[str] = []
        for index, term in enumerate(obj.get("allowedTopologies") or ()):
            for at, item in enumerate(term.get("matchLabelExpressions") or ()):
                here, key = Path("allowedTopologies") @ index / "matchLabelExpressions" @ at, item.get("key", "")
                if key in DEPRECATED:
                    out.append(f"{here / 'key'}: {key} is {DEPRECATED[key]}")
        return out

    def list_cells(self, objs: Sequence[Obj], now: float) -> dict[int, list[Cell]]:
        """Of several that say that they are the default the newest is, and of those the first by name."""
        marked = [(index, obj["metadata"]) for index, obj in enumerate(objs) if _is_default(obj)]
        marked.sort(key=lambda item: str(item[1]["name"]))
        newest = max((str(meta.get("creationTimestamp") or "") for _, meta in marked), default="")
        effective = next((index for index, meta in marked if (meta.get("creationTimestamp") or "") == newest), None)
        return {index: self._cells(objs[index], False, now) for index, _ in marked if index != effective}

    def row(self, obj: Obj, now: float) -> list[Cell]:
        return self._cells(obj, _is_default(obj), now)

    @staticmethod
    def _cells(obj: Obj, default: bool, now: float) -> list[Cell]:
        meta = obj["metadata"]
        return [
            meta["name"] + (" (default)" if default else ""),
            obj.get("provisioner", ""),
            obj.get("reclaimPolicy", "Delete"),
            obj.get("volumeBindingMode", "Immediate"),
            "true" if obj.get("allowVolumeExpansion") else "false",
            age(meta.get("creationTimestamp"), now),
        ]


def _is_default(obj: Obj) -> bool:
    notes = obj["metadata"].get("annotations") or {}
    return any(notes.get(name) == "true" for name in DEFAULTS)
