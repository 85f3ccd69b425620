"""ClusterTrustBundle.

Source: kubernetes/pkg/printers/internalversion/printers.go (printClusterTrustBundle)
"""

from __future__ import annotations

from sampan.api.kind import NAME, Cell, Column, Kind, Obj
from sampan.api.table import NONE


class ClusterTrustBundle(Kind):
    not_enforced = True
    has_generation = False
    columns = (NAME, Column("SignerName"))

    def selectable_fields(self, obj: Obj) -> dict[str, str]:
        return {"spec.signerName": (obj.get("spec") or {}).get("signerName", "")}

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        return [meta["name"], (obj.get("spec") or {}).get("signerName") or NONE]
