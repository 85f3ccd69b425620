"""CertificateSigningRequest.

Source: kubernetes/pkg/registry/certificates/certificates/strategy.go; validation.go; printCertificateSigningRequest
"""

from __future__ import annotations

from sampan.api.certificates_v1 import conditions
from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.table import NONE, age, human_duration
from sampan.api.validation.certificates import signing_request, signing_request_update


class CertificateSigningRequest(Kind):
    has_status = True
    has_generation = False
    columns = (
        NAME,
        AGE,
        Column("SignerName"),
        Column("Requestor"),
        Column("RequestedDuration"),
        Column("Condition"),
    )

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("usages"):
            spec["usages"] = ["digital signature", "key encipherment"]

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        spec = obj["spec"]
        for name in ("username", "uid", "groups", "extra"):
            spec.pop(name, None)
        given = {"username": ctx.user, "uid": ctx.uid, "groups": list(ctx.groups), "extra": dict(ctx.extra)}
        for name, value in given.items():
            if value:
                spec[name] = {k: list(v) for k, v in value.items()} if isinstance(value, dict) else value

    def prepare_for_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        obj["spec"] = old["spec"]

    def prepare_for_status_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        conditions.preserve(obj, old, ("Approved", "Denied"))
        conditions.date(obj, old, ctx.now)

    def reset_fields(self, subresource: str) -> tuple[str, ...]:
        # but when it is made, nobody writes the spec
        own = {"status": "status.conditions", "approval": "status.certificate"}
        return ("spec", own.get(subresource, "status"))

    def validate_name(self, name: str, generate: bool) -> list[str]:
        # any will do that a URL can have
        return []

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        signing_request(obj, out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        return _changed(obj, old, "")

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        return _changed(obj, old, "status")

    def validate_approval_update(self, obj: Obj, old: Obj) -> ErrorList:
        """A decision stays, and there is one."""
        return _changed(obj, old, "approval")

    def selectable_fields(self, obj: Obj) -> dict[str, str]:
        return {"spec.signerName": (obj.get("spec") or {}).get("signerName", "")}

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
        types = {c.get("type") for c in status.get("conditions") or ()}
        shown = [name for name in ("Denied", "Approved") if name in types][:1] or ["Pending"]
        if "Failed" in types:
            shown.append("Failed")
        if status.get("certificate"):
            shown.append("Issued")
        seconds = spec.get("expirationSeconds")
        duration = human_duration(seconds) if seconds is not None else NONE
        old = age(meta.get("creationTimestamp"), now)
        return [meta["name"], old, spec.get("signerName") or NONE, spec.get("username", ""), duration, ",".join(shown)]


def _changed(obj: Obj, old: Obj, subresource: str) -> ErrorList:
    out = ErrorList()
    signing_request_update(obj, old, subresource, out)
    return out
