"""PodCertificateRequest.

Source: kubernetes/pkg/printers/internalversion/printers.go (printPodCertificateRequest)
"""

from __future__ import annotations

from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age


class PodCertificateRequest(Kind):
    not_enforced = True
    has_status = True
    columns = (NAME, Column("PodName"), Column("ServiceAccountName"), Column("NodeName"), Column("SignerName"), AGE)

    def selectable_fields(self, obj: Obj) -> dict[str, str]:
        spec = obj.get("spec") or {}
        return {f"spec.{name}": spec.get(name, "") for name in ("signerName", "podName", "nodeName")}

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        spec = obj.get("spec") or {}
        return [
            meta["name"],
            spec.get("podName", ""),
            spec.get("serviceAccountName", ""),
            spec.get("nodeName", ""),
            spec.get("signerName", ""),
            old,
        ]
