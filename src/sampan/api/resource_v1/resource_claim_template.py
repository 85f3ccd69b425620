"""ResourceClaimTemplate.

Source: kubernetes/pkg/printers/internalversion/printers.go (printResourceClaimTemplate)
"""

from __future__ import annotations

from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Kind, Obj
from sampan.api.resource_v1.defaults import default_claim
from sampan.api.table import age
from sampan.api.validation.claims import template_meta
from sampan.api.validation.devices import claim_spec
from sampan.api.validation.meta import validate_immutable
from sampan.api.validation.workload import SPEC


class ResourceClaimTemplate(Kind):
    has_generation = False
    not_enforced = True
    columns = (NAME, AGE)

    def default(self, obj: Obj) -> None:
        default_claim((obj.get("spec") or {}).get("spec") or {})

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj.get("spec") or {}
        template_meta(spec.get("metadata") or {}, SPEC / "metadata", out)
        claim_spec(spec.get("spec") or {}, SPEC / "spec", out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        return validate_immutable(obj.get("spec"), old.get("spec"), SPEC)

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        return [meta["name"], old]
