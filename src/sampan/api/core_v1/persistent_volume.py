"""PersistentVolume.

Source: kubernetes/pkg/registry/core/persistentvolume/strategy.go; ValidatePersistentVolume
"""

from __future__ import annotations

from sampan.api.core_v1.persistent_volume_claim import MODES, SPEC, modes_text
from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.table import UNSET, age

NO_SOURCE = {
    "capacity", "accessModes", "claimRef", "persistentVolumeReclaimPolicy", "storageClassName", "mountOptions",
    "volumeMode", "nodeAffinity", "volumeAttributesClassName",
}  # fmt: skip


class PersistentVolume(Kind):
    has_status = True
    has_generation = False
    columns = (
        NAME,
        Column("Capacity"),
        Column("Access Modes"),
        Column("Reclaim Policy"),
        Column("Status"),
        Column("Claim"),
        Column("StorageClass"),
        Column("VolumeAttributesClass"),
        Column("Reason"),
        AGE,
        Column("VolumeMode", priority=1),
    )

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("persistentVolumeReclaimPolicy"):
            spec["persistentVolumeReclaimPolicy"] = "Retain"
        spec.setdefault("volumeMode", "Filesystem")
        host_path = spec.get("hostPath")
        if host_path is not None and host_path.get("type") is None:
            host_path["type"] = ""

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        obj["status"] = {"phase": "Pending"}

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj["spec"]
        modes = spec.get("accessModes") or []
        if not modes:
            out.required(SPEC / "accessModes", "")
        for mode in modes:
            if mode not in MODES:
                out.not_supported(SPEC / "accessModes", mode, MODES)
        if "storage" not in (spec.get("capacity") or {}):
            out.required(SPEC / "capacity", "")
        policy = spec.get("persistentVolumeReclaimPolicy")
        if policy not in ("Recycle", "Delete", "Retain"):
            out.not_supported(SPEC / "persistentVolumeReclaimPolicy", policy or "", ("Delete", "Recycle", "Retain"))
        sources = [name for name in spec if name not in NO_SOURCE]
        if not sources:
            out.required(SPEC, "must specify a volume type")
        for extra in sources[1:]:
            out.forbidden(SPEC / extra, "may not specify more than 1 volume type")
        if "hostPath" in spec and not spec["hostPath"].get("path"):
            out.required(SPEC / "hostPath" / "path", "")
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = self.validate(obj)
        new, was = ({k: v for k, v in o["spec"].items() if k not in NO_SOURCE} for o in (obj, old))
        if new != was:
            out.forbidden(SPEC / "persistentvolumesource", "spec.persistentvolumesource is immutable after creation")
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
        claim = spec.get("claimRef")
        return [
            meta["name"],
            (spec.get("capacity") or {}).get("storage", "0"),
            modes_text(spec.get("accessModes")),
            spec.get("persistentVolumeReclaimPolicy", ""),
            "Terminating" if meta.get("deletionTimestamp") else status.get("phase", ""),
            f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
            spec.get("storageClassName", ""),
            spec.get("volumeAttributesClassName") or UNSET,
            status.get("reason", ""),
            age(meta.get("creationTimestamp"), now),
            spec.get("volumeMode") or UNSET,
        ]
