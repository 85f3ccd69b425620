"""ClusterTrustBundle.

Source: kubernetes/pkg/apis/certificates/validation/validation.go (ValidateClusterTrustBundleName);
printClusterTrustBundle
"""

from __future__ import annotations

from sampan.api.field import ErrorList
from sampan.api.kind import NAME, Cell, Column, Kind, Obj
from sampan.api.table import NONE
from sampan.api.validation.certificates import trust_bundle
from sampan.api.validation.meta import validate_immutable
from sampan.api.validation.workload import SPEC


class ClusterTrustBundle(Kind):
    unconditional_update = False
    has_generation = False
    columns = (NAME, Column("SignerName"))

    def selectable_fields(self, obj: Obj) -> dict[str, str]:
        return {"spec.signerName": (obj.get("spec") or {}).get("signerName", "")}

    def validate_name(self, name: str, generate: bool) -> list[str]:
        # it depends on the signer
        return []

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        trust_bundle(obj, out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = self.validate(obj)
        new, was = ((item.get("spec") or {}).get("signerName", "") for item in (obj, old))
        out.extend(validate_immutable(new, was, SPEC / "signerName"))
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        return [meta["name"], (obj.get("spec") or {}).get("signerName") or NONE]
