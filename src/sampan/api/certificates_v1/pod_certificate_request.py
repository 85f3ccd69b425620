"""PodCertificateRequest.

Source: kubernetes/pkg/registry/certificates/podcertificaterequest/strategy.go; printPodCertificateRequest
"""

from __future__ import annotations

from sampan.api.certificates_v1 import conditions
from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.table import age
from sampan.api.validation.certificates import pod_request
from sampan.api.validation.meta import validate_immutable
from sampan.api.validation.pod_certificates import OUTCOMES, pod_request_status
from sampan.api.validation.workload import SPEC


class PodCertificateRequest(Kind):
    unconditional_update = False
    has_generation = False
    status_alone = True
    not_enforced = True
    has_status = True
    columns = (NAME, Column("PodName"), Column("ServiceAccountName"), Column("NodeName"), Column("SignerName"), AGE)

    def selectable_fields(self, obj: Obj) -> dict[str, str]:
        spec = obj.get("spec") or {}
        return {f"spec.{name}": spec.get(name, "") for name in ("signerName", "podName", "nodeName")}

    def reset_fields(self, subresource: str) -> tuple[str, ...]:
        # of v1alpha1 alone upstream
        return ("spec",) if subresource == "status" else super().reset_fields(subresource)

    def prepare_for_status_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        conditions.preserve(obj, old, OUTCOMES)
        conditions.date(obj, old, ctx.now, updates=False)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        pod_request(obj, out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        return validate_immutable(obj.get("spec"), old.get("spec"), SPEC)

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        return pod_request_status(obj, old)

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
