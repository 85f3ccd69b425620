"""StorageClass.

Source: kubernetes/pkg/apis/storage/{v1/defaults,validation/validation}.go; printStorageClass
"""

from __future__ import annotations

from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age
from sampan.api.validation.meta import validate_immutable

DEFAULT = "storageclass.kubernetes.io/is-default-class"


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
        if not obj.get("provisioner"):
            out.required(Path("provisioner"), "")
        for name, allowed in (
            ("reclaimPolicy", ("Delete", "Retain")),
            ("volumeBindingMode", ("Immediate", "WaitForFirstConsumer")),
        ):
            if obj.get(name) not in allowed:
                out.not_supported(Path(name), obj.get(name, ""), allowed)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = self.validate(obj)
        if obj.get("parameters") != old.get("parameters"):
            out.forbidden(Path("parameters"), "updates to parameters are forbidden.")
        if obj.get("provisioner") != old.get("provisioner"):
            out.forbidden(Path("provisioner"), "updates to provisioner are forbidden.")
        if obj.get("reclaimPolicy") != old.get("reclaimPolicy"):
            out.forbidden(Path("reclaimPolicy"), "updates to reclaimPolicy are forbidden.")
        out.extend(
            validate_immutable(obj.get("volumeBindingMode"), old.get("volumeBindingMode"), Path("volumeBindingMode"))
        )
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        default = (meta.get("annotations") or {}).get(DEFAULT) == "true"
        return [
            meta["name"] + (" (default)" if default else ""),
            obj.get("provisioner", ""),
            obj.get("reclaimPolicy", "Delete"),
            obj.get("volumeBindingMode", "Immediate"),
            "true" if obj.get("allowVolumeExpansion") else "false",
            age(meta.get("creationTimestamp"), now),
        ]
