"""PersistentVolume.

Source: kubernetes/pkg/registry/core/persistentvolume/strategy.go, pkg/apis/core/v1/defaults.go; printPersistentVolume
"""

from __future__ import annotations

from sampan.api.core_v1.persistent_volume_claim import modes_text
from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.table import UNSET, age
from sampan.api.validation.persistent_volumes import volume_spec, volume_update, volume_warnings


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
        obj["status"] = {"phase": "Pending", "lastPhaseTransitionTime": ctx.now}

    def prepare_for_status_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        new, was = obj.get("status") or {}, old.get("status") or {}
        since = new.get("lastPhaseTransitionTime")
        if new.get("phase") != was.get("phase") and since in (None, was.get("lastPhaseTransitionTime")):
            obj["status"] = {**new, "lastPhaseTransitionTime": ctx.now}
        elif since is None and was.get("lastPhaseTransitionTime") and new.get("phase") == was.get("phase"):
            obj["status"] = {**new, "lastPhaseTransitionTime": was["lastPhaseTransitionTime"]}

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        volume_spec(obj["spec"], out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = self.validate(obj)
        volume_update(obj["spec"], old["spec"], out)
        return out

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        return volume_warnings(obj)

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
