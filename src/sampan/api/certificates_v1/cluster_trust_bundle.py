"""ClusterTrustBundle.

Source: kubernetes/pkg/apis/certificates/validation/validation.go (ValidateClusterTrustBundleName);
printClusterTrustBundle
"""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api.field import ErrorList, Path
from sampan.api.kind import NAME, Cell, Column, Kind, Obj
from sampan.api.table import NONE


class ClusterTrustBundle(Kind):
    not_enforced = True
    has_generation = False
    columns = (NAME, Column("SignerName"))

    def validate_name(self, name: str, generate: bool) -> Sequence[str]:
        """What stands after the signer's name, which `validate` looks at."""
        return super().validate_name(name.rpartition(":")[2], generate)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        name, signer = obj["metadata"].get("name", ""), (obj.get("spec") or {}).get("signerName", "")
        prefix = signer.replace("/", ":") + ":" if signer else ""
        path = Path("metadata", "name")
        if prefix and not name.startswith(prefix):
            out.invalid(path, name, f"ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}")
        elif ":" in name.removeprefix(prefix):
            who = f"for signerName {signer}" if signer else "without signer name"
            out.invalid(path, name, f'ClusterTrustBundle {who} must not have ":" in its name')
        return out

    def selectable_fields(self, obj: Obj) -> dict[str, str]:
        return {"spec.signerName": (obj.get("spec") or {}).get("signerName", "")}

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        return [meta["name"], (obj.get("spec") or {}).get("signerName") or NONE]
