"""VolumeAttachment.

Source: kubernetes/pkg/printers/internalversion/printers.go (printVolumeAttachment)
"""

from __future__ import annotations

from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age
from sampan.api.validation.meta import IMMUTABLE
from sampan.api.validation.storage import attachment
from sampan.api.validation.workload import SPEC


class VolumeAttachment(Kind):
    unconditional_update = False
    status_alone = True
    has_status = True
    has_generation = False
    columns = (NAME, Column("Attacher"), Column("PV"), Column("Node"), Column("Attached", "boolean"), AGE)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        attachment(obj, out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        attachment(obj, out, new=False)
        if obj.get("spec") != old.get("spec"):
            out.invalid(SPEC, obj.get("spec"), IMMUTABLE)
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        return self.validate_update(obj, old)

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        spec = obj.get("spec") or {}
        attached = bool((obj.get("status") or {}).get("attached"))
        volume = (spec.get("source") or {}).get("persistentVolumeName") or ""
        return [
            meta["name"],
            spec.get("attacher", ""),
            volume,
            spec.get("nodeName", ""),
            "true" if attached else "false",
            old,
        ]
