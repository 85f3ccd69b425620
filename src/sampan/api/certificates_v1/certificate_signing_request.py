"""CertificateSigningRequest.

Source: kubernetes/pkg/registry/certificates/certificates/strategy.go; validation.go; printCertificateSigningRequest
"""

from __future__ import annotations

import base64

from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.table import NONE, age, human_duration

SPEC = Path("spec")
MIN_SECONDS = 600


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

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj["spec"]
        if not _is_request(spec.get("request") or ""):
            out.invalid(SPEC / "request", spec.get("request") or "", "PEM block type must be CERTIFICATE REQUEST")
        signer = spec.get("signerName", "")
        if not signer:
            out.required(SPEC / "signerName", "")
        elif "/" not in signer:
            out.invalid(
                SPEC / "signerName",
                signer,
                'must be a fully qualified domain and path of the form "example.com/signer-name"',
            )
        seconds = spec.get("expirationSeconds")
        if seconds is not None and seconds < MIN_SECONDS:
            out.invalid(
                SPEC / "expirationSeconds", seconds, "may not specify a duration less than 600 seconds (10 minutes)"
            )
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        return ErrorList()

    def validate_approval_update(self, obj: Obj, old: Obj) -> ErrorList:
        """A decision stays, and there is one."""
        out = ErrorList()
        types = [c.get("type") for c in (obj.get("status") or {}).get("conditions") or ()]
        path = Path("status", "conditions")
        if "Approved" in types and "Denied" in types:
            out.invalid(
                path @ types.index("Denied") / "type", "Denied", "Approved and Denied conditions are mutually exclusive"
            )
        for was in (old.get("status") or {}).get("conditions") or ():
            if was.get("type") in ("Approved", "Denied", "Failed") and was["type"] not in types:
                out.forbidden(path, f'updates may not remove a condition of type "{was["type"]}"')
        return out

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


def _is_request(text: str) -> bool:
    from cryptography import x509

    try:
        x509.load_pem_x509_csr(base64.b64decode(text))
    except ValueError:
        return False
    return True
