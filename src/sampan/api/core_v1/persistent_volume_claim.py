"""PersistentVolumeClaim.

Source: kubernetes/pkg/registry/core/persistentvolumeclaim/strategy.go; printPersistentVolumeClaim
"""

from __future__ import annotations

from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.table import UNSET, age
from sampan.api.validation.claims import claim_spec, claim_status, claim_update
from sampan.api.validation.pod_warnings import claim_warnings
from sampan.api.validation.workload import SPEC

SHORT = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def modes_text(modes: list[str] | None) -> str:
    """`RWO,ROX` in upstream's order."""
    return ",".join(short for mode, short in SHORT.items() if mode in (modes or ()))


class PersistentVolumeClaim(Kind):
    has_status = True
    has_generation = False
    columns = (
        NAME,
        Column("Status"),
        Column("Volume"),
        Column("Capacity"),
        Column("Access Modes"),
        Column("StorageClass"),
        Column("VolumeAttributesClass"),
        AGE,
        Column("VolumeMode", priority=1),
    )

    def default(self, obj: Obj) -> None:
        obj.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
        status = obj.setdefault("status", {})
        if not status.get("phase"):
            status["phase"] = "Pending"

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        obj["status"] = {"phase": "Pending"}

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        claim_spec(obj["spec"], SPEC, out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = self.validate(obj)
        claim_update(obj, old, out)
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        claim_status(obj, out)
        return out

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        return claim_warnings(obj["spec"], SPEC)

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
        bound = bool(spec.get("volumeName"))
        shown = "Terminating" if meta.get("deletionTimestamp") else status.get("phase", "")
        return [
            meta["name"],
            shown,
            spec.get("volumeName", ""),
            (status.get("capacity") or {}).get("storage", "0") if bound else "",
            modes_text(status.get("accessModes")) if bound else "",
            spec.get("storageClassName")
            or (meta.get("annotations") or {}).get("volume.beta.kubernetes.io/storage-class", ""),
            spec.get("volumeAttributesClassName") or UNSET,
            age(meta.get("creationTimestamp"), now),
            spec.get("volumeMode") or UNSET,
        ]
