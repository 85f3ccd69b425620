"""PersistentVolumeClaim.

Source: kubernetes/pkg/registry/core/persistentvolumeclaim/strategy.go; ValidatePersistentVolumeClaim
"""

from __future__ import annotations

from sampan.api import quantity
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.table import UNSET, age
from sampan.api.validation.meta import validate_label_selector

SPEC = Path("spec")
MODES = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
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
        spec = obj["spec"]
        modes = spec.get("accessModes") or []
        if not modes:
            out.required(SPEC / "accessModes", "at least 1 access mode is required")
        for mode in modes:
            if mode not in MODES:
                out.not_supported(SPEC / "accessModes", mode, MODES)
        if "ReadWriteOncePod" in modes and len(modes) > 1:
            out.forbidden(SPEC / "accessModes", "may not use ReadWriteOncePod with other access modes")
        out.extend(validate_label_selector(spec.get("selector"), SPEC / "selector"))
        storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
        if storage is None:
            out.required(SPEC / "resources" @ "storage", "")
        elif quantity.parse(storage) <= 0:
            out.invalid(SPEC / "resources" @ "storage", storage, "must be greater than zero")
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = self.validate(obj)
        new, was = (
            {k: v for k, v in o["spec"].items() if k not in ("resources", "volumeAttributesClassName")}
            for o in (obj, old)
        )
        if not old["spec"].get("volumeName"):
            new.pop("volumeName", None)
        if new != was:
            detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
            out.forbidden(SPEC, detail)
        before = ((old["spec"].get("resources") or {}).get("requests") or {}).get("storage", "0")
        after = ((obj["spec"].get("resources") or {}).get("requests") or {}).get("storage", "0")
        if quantity.compare(after, before) < 0:
            here = SPEC / "resources" / "requests" / "storage"
            out.forbidden(here, "field can not be less than status.capacity")
        return out

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
