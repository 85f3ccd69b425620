"""The status of PodCertificateRequests: issued, denied or failed, once and for all.

DEVIATION: whether an issued certificate begins within five minutes of now is not asked: validation knows no clock.

Source: kubernetes/pkg/apis/certificates/validation/validation.go (ValidatePodCertificateRequestStatusUpdate)
"""

from __future__ import annotations

import base64
import datetime
import email.utils
from typing import TYPE_CHECKING

from sampan.api import durations
from sampan.api.field import OMIT, Bare, ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.times import parse_time
from sampan.api.validation.certificates import pem_blocks
from sampan.api.validation.meta import validate_conditions
from sampan.api.validation.workload import STATUS

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

MAX_CHAIN = 100 * 1024
OUTCOMES = ("Issued", "Denied", "Failed")
CHAIN, CONDITIONS = STATUS / "certificateChain", STATUS / "conditions"
HOUR, MARGIN = 3600, 600


def pod_request_status(obj: Obj, old: Obj) -> ErrorList:
    new, was = obj.get("status") or {}, old.get("status") or {}
    out = _conditions(new)
    if out:
        return out
    outcome = _outcome(new)
    if _outcome(was):
        if new != was:
            out.invalid(STATUS, OMIT, "immutable after PodCertificateRequest is issued, denied, or failed")
    elif outcome == "Issued":
        _issued(new, obj.get("spec") or {}, out)
    elif outcome:
        if any(new.get(name) for name in new if name != "conditions"):
            why = "non-condition status fields must be empty when denying or failing the PodCertificateRequest"
            out.invalid(STATUS, OMIT, why)
    elif new != was:
        out.invalid(STATUS, OMIT, 'status is immutable unless transitioning to "Issued", "Denied", or "Failed"')
    return out


def _outcome(status: Obj) -> str:
    found = (item["type"] for item in status.get("conditions") or () if item.get("status") == "True")
    return next((kind for kind in found if kind in OUTCOMES), "")


def _conditions(status: Obj) -> ErrorList:
    out, known = ErrorList(), 0
    for index, item in enumerate(status.get("conditions") or ()):
        # upstream's path
        here, kind = Path(f"{CONDITIONS}.[{index}]"), item.get("type", "")
        if kind not in OUTCOMES:
            out.not_supported(here / "type", kind, OUTCOMES)
            continue
        known += 1
        if known > 1:
            why = 'There may be at most one condition with type "Issued", "Denied", or "Failed"'
            out.invalid(here / "type", kind, why)
        if item.get("status") != "True":
            out.not_supported(here / "status", item.get("status", ""), ("True",))
    out.extend(validate_conditions(status.get("conditions"), CONDITIONS))
    return out


def _issued(status: Obj, spec: Obj, out: ErrorList) -> None:
    from cryptography import x509

    chain: str = status.get("certificateChain", "")
    if len(chain) > MAX_CHAIN:
        out.too_long(CHAIN, MAX_CHAIN)
        return
    blocks = list(pem_blocks(chain.encode()))
    if not blocks:
        out.invalid(CHAIN, chain, "issued certificate chain must contain at least one certificate")
        return
    if blocks[0][0] != "CERTIFICATE":
        out.invalid(CHAIN, chain, "issued certificate chain must consist entirely of CERTIFICATE PEM blocks")
        return
    try:
        leaf = x509.load_der_x509_certificate(blocks[0][2])
    except ValueError:
        out.invalid(CHAIN, chain, "leaf certificate does not parse as valid X.509")
        return
    _names(leaf, out)
    if _key(leaf.public_key()) != _key(
        x509.load_der_x509_csr(base64.b64decode(spec["stubPKCS10Request"])).public_key()
    ):
        out.invalid(CHAIN, chain, "leaf certificate was not issued to the requested public key")
    else:
        _times(status, spec, leaf, out)
    if out:
        return
    for kind, _, content in blocks[1:]:
        if kind != "CERTIFICATE":
            # so spelled
            out.invalid(CHAIN, chain, "issued certificate chain must consist entirely of CERTFICATE PEM blocks")
            return
        try:
            x509.load_der_x509_certificate(content)
        except ValueError:
            out.invalid(CHAIN, chain, "intermediate certificate does not parse as valid X.509")
            return


def _key(key: object) -> bytes:
    from cryptography.hazmat.primitives import serialization as form

    found: bytes = key.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return found


def _names(leaf: Certificate, out: ErrorList) -> None:
    from cryptography import x509

    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return
    for name in found.get_values_for_type(x509.DNSName):
        if not name:
            out.invalid(CHAIN, name, "leaf certificate should not contain empty DNSName")
        if ".." in name:
            out.invalid(CHAIN, name, "leaf certificate's DNSName should not contain '..'")
        if name.startswith(".") or name.endswith("."):
            out.invalid(CHAIN, name, "leaf certificate's DNSName should not start or end with '.'")
    for address in found.get_values_for_type(x509.RFC822Name):
        if "@" not in email.utils.parseaddr(address)[1]:
            out.invalid(CHAIN, address, "leaf certificate should not contain invalid EmailAddress")


def _times(status: Obj, spec: Obj, leaf: Certificate, out: ErrorList) -> None:
    consistent = "must be present and consistent with the issued certificate"
    for name, why in (
        ("notBefore", consistent),
        ("notAfter", consistent),
        ("beginRefreshAt", "must be present and in the range [notbefore+10min, notafter-10min]"),
    ):
        if not status.get(name):
            out.required(STATUS / name, why)
    if out:
        return
    start, end = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    for name, encoded in (("notBefore", start), ("notAfter", end)):
        if parse_time(status[name]) != encoded:
            shown = f"{name[0].upper()}{name[1:]}"
            detail = f"must be set to the {shown} time encoded in the leaf certificate"
            out.invalid(STATUS / name, _shown(status[name]), detail)
            return
    lifetime, most = Bare(durations.text(int(end - start) * 10**9)), spec.get("maxExpirationSeconds")
    refresh = parse_time(status["beginRefreshAt"])
    if end - start < HOUR:
        out.invalid(CHAIN, lifetime, "leaf certificate lifetime must be >= 1 hour")
    elif most is not None and end - start > most:
        out.invalid(CHAIN, lifetime, f"leaf certificate lifetime must be <= spec.maxExpirationSeconds ({most})")
    elif refresh < start + MARGIN:
        why = "must be at least 10 minutes after status.notBefore"
        out.invalid(STATUS / "beginRefreshAt", _shown(status["beginRefreshAt"]), why)
    elif refresh > end - MARGIN:
        why = "must be at least 10 minutes before status.notAfter"
        out.invalid(STATUS / "beginRefreshAt", _shown(status["beginRefreshAt"]), why)


def _shown(time: str) -> Bare:
    """As Go prints it."""
    when = datetime.datetime.fromtimestamp(parse_time(time), datetime.UTC)
    return Bare(f"{when:%Y-%m-%d %H:%M:%S} +0000 UTC")
