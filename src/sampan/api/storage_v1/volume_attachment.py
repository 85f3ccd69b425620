"""VolumeAttachment.

Source: kubernetes/pkg/printers/internalversion/printers.go (printVolumeAttachment)
"""

from __future__ import annotations

from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age


class VolumeAttachment(Kind):
    has_status = True
    has_generation = False
    columns = (NAME, Column("Attacher"), Column("PV"), Column("Node"), Column("Attached", "boolean"), AGE)

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
