"""Kinds of certificates.k8s.io: requests and their decisions, bundles of trust, certificates of pods.

Source: kubernetes/pkg/apis/certificates/validation/validation.go
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence

from sampan.api import names
from sampan.api.field import ErrorList, Path, go_quote
from sampan.api.kind import Obj
from sampan.api.validation.signers import (
    DAY,
    QUARTER,
    cluster_trust_bundle_name,
    is_kubernetes_signer,
    signer_name,
    user_annotations,
)
from sampan.api.validation.workload import SPEC, STATUS

MIN_SECONDS, MAX_BUNDLE, MAX_UID = 600, 1 << 20, 128
LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
USAGES = frozenset({
    "signing", "digital signature", "content commitment", "key encipherment", "key agreement", "data encipherment",
    "cert sign", "crl sign", "encipher only", "decipher only", "any", "server auth", "client auth", "code signing",
    "email protection", "s/mime", "ipsec end system", "ipsec tunnel", "ipsec user", "timestamping", "ocsp signing",
    "microsoft sgc", "netscape sgc",
})  # fmt: skip
DECISIONS = ("Approved", "Denied", "Failed")
_BLOCK = re.compile(rb"-----BEGIN ([^\n-]+)-----[ \t]*\r?\n(.*?)-----END \1-----", re.DOTALL)


def pem_blocks(data: bytes) -> Iterator[tuple[str, bool, bytes]]:
    """Of each block: its type, whether it has headers, and its bytes. What cannot be read is skipped, as in Go."""
    for match in _BLOCK.finditer(data):
        head, blank, body = match[2].partition(b"\n\n")
        headers = bool(blank) and b":" in head
        try:
            content = base64.b64decode(b"".join((body if headers else match[2]).split()), validate=True)
        except binascii.Error:
            continue
        yield match[1].decode(errors="replace"), headers, content


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except binascii.Error:
        return b""


# -- CertificateSigningRequests ----------------------------------------------------------------------------------------


def signing_request(obj: Obj, out: ErrorList) -> None:
    spec = obj["spec"]
    request = spec.get("request") or ""
    problem = _request_problem(_decoded(request))
    if problem:
        out.invalid(SPEC / "request", request, problem)
    usages, here = spec.get("usages") or [], SPEC / "usages"
    if not usages:
        out.required(here, "")
    for index, usage in enumerate(usages):
        if usage not in USAGES:
            out.not_supported(here @ index, usage, USAGES)
    for index, usage in enumerate(usages):
        if usage in usages[:index]:
            out.duplicate(here @ index, usage)
    signer = spec.get("signerName", "")
    if signer == LEGACY_SIGNER:
        out.invalid(SPEC / "signerName", signer, "the legacy signerName is not allowed via this API version")
    else:
        signer_name(signer, SPEC / "signerName", out)
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < MIN_SECONDS:
        detail = f"may not specify a duration less than {MIN_SECONDS} seconds (10 minutes)"
        out.invalid(SPEC / "expirationSeconds", seconds, detail)
    status = obj.get("status") or {}
    _conditions(status.get("conditions") or (), STATUS / "conditions", out)
    problem = _certificate_problem(_decoded(status.get("certificate") or ""))
    if problem:
        out.invalid(STATUS / "certificate", "<certificate data>", problem)


def _request_problem(data: bytes) -> str:
    from cryptography import x509

    block = next(pem_blocks(data), None)
    if block is None or block[0] != "CERTIFICATE REQUEST":
        return "PEM block type must be CERTIFICATE REQUEST"
    try:
        x509.load_der_x509_csr(block[2])
    except ValueError as error:
        return f"asn1: structure error: {error}"
    return ""


def _certificate_problem(data: bytes) -> str:
    from cryptography import x509

    if not data:
        return ""
    blocks = 0
    for kind, headers, content in pem_blocks(data):
        if kind != "CERTIFICATE":
            return f"only CERTIFICATE PEM blocks are allowed, found {go_quote(kind)}"
        if headers:
            return "no PEM block headers are permitted"
        blocks += 1
        if not content:
            return "found CERTIFICATE PEM block containing 0 certificates"
        try:
            x509.load_der_x509_certificate(content)
        except ValueError as error:
            return f"x509: malformed certificate: {error}"
    return "" if blocks else "must contain at least one CERTIFICATE PEM block"


def _conditions(conditions: Sequence[Obj], path: Path, out: ErrorList) -> None:
    seen: set[str] = set()
    for index, item in enumerate(conditions):
        here, kind, status = path @ index, item.get("type", ""), item.get("status", "")
        if not kind:
            out.required(here / "type", "")
        allowed = ("True",) if kind in DECISIONS else ("False", "True", "Unknown")
        if not status:
            out.required(here / "status", "")
        elif status not in allowed:
            out.not_supported(here / "status", status, allowed)
        for one, other in (("Approved", "Denied"), ("Denied", "Approved")):
            if kind == one and other in seen:
                detail = "Approved and Denied conditions are mutually exclusive"
                out.invalid(here / "type", kind, detail)
        if kind in seen:
            out.duplicate(here / "type", kind)
        seen.add(kind)


def signing_request_update(obj: Obj, old: Obj, subresource: str, out: ErrorList) -> None:
    """`subresource`: "", "status", which may bring the certificate, or "approval", which may bring the decision."""
    signing_request(obj, out)
    new, was = obj.get("status") or {}, old.get("status") or {}
    here = STATUS / "conditions"
    for kind in DECISIONS:
        now, before = _of_type(new, kind), _of_type(was, kind)
        if len(now) < len(before):
            out.forbidden(here, f'updates may not remove a condition of type "{kind}"')
        if subresource == "approval" or kind == "Failed":
            continue
        if len(now) > len(before):
            out.forbidden(here, f'updates may not add a condition of type "{kind}"')
        elif len(now) == len(before) and now != before:
            out.forbidden(here, f'updates may not modify a condition of type "{kind}"')
    if new.get("certificate") != was.get("certificate"):
        if subresource != "status":
            out.forbidden(STATUS / "certificate", "updates may not set certificate content")
        if was.get("certificate"):
            out.forbidden(STATUS / "certificate", "updates may not modify existing certificate content")


def _of_type(status: Obj, kind: str) -> list[Obj]:
    return [item for item in status.get("conditions") or () if item.get("type") == kind]


# -- ClusterTrustBundles -----------------------------------------------------------------------------------------------


def trust_bundle(obj: Obj, out: ErrorList) -> None:
    spec, name = obj.get("spec") or {}, obj["metadata"].get("name", "")
    signer, bundle = spec.get("signerName", ""), spec.get("trustBundle", "")
    out.each(Path("metadata", "name"), name, cluster_trust_bundle_name(name, signer))
    if signer:
        signer_name(signer, SPEC / "signerName", out)
    here = SPEC / "trustBundle"
    if len(bundle.encode()) > MAX_BUNDLE:
        out.too_long(here, MAX_BUNDLE)
        return
    for problem in _anchor_problems(bundle.encode()):
        out.invalid(here, "<value omitted>", problem)


def _anchor_problems(data: bytes) -> Iterator[str]:
    from cryptography import x509

    places: dict[bytes, list[int]] = {}
    count = 0
    for index, (kind, headers, content) in enumerate(pem_blocks(data)):
        count += 1
        if kind != "CERTIFICATE":
            yield f"entry {index} has bad block type: {kind}"
            continue
        if headers:
            yield f"entry {index} has PEM block headers"
            continue
        try:
            x509.load_der_x509_certificate(content)
        except ValueError:
            yield f"entry {index} does not parse as X.509"
            continue
        places.setdefault(content, []).append(index)
    if not count:
        yield "at least one trust anchor must be provided"
    for found in places.values():
        if len(found) > 1:
            yield f"duplicate trust anchor (indices [{' '.join(map(str, found))}])"


# -- PodCertificateRequests --------------------------------------------------------------------------------------------


def pod_request(obj: Obj, out: ErrorList) -> None:
    spec = obj.get("spec") or {}
    signer = spec.get("signerName", "")
    signer_name(signer, SPEC / "signerName", out)
    for name, uid in (("podName", "podUID"), ("serviceAccountName", "serviceAccountUID"), ("nodeName", "nodeUID")):
        out.each(SPEC / name, spec.get(name, ""), names.is_dns1123_subdomain(spec.get(name, "")))
        given = spec.get(uid, "")
        if not given:
            out.invalid(SPEC / uid, given, "must not be empty")
        if len(given) > MAX_UID:
            out.too_long(SPEC / uid, MAX_UID)
    seconds, most = spec.get("maxExpirationSeconds"), DAY if is_kubernetes_signer(signer) else QUARTER
    if seconds is None:
        out.required(SPEC / "maxExpirationSeconds", "must be set")
    elif not 3600 <= seconds <= most:
        out.invalid(SPEC / "maxExpirationSeconds", seconds, f"must be in the range [3600, {most}]")
    _stub(spec, out)
    user_annotations(spec.get("unverifiedUserAnnotations") or {}, SPEC / "unverifiedUserAnnotations", out)


def _stub(spec: Obj, out: ErrorList) -> None:
    """The key, and proof of having it."""
    from cryptography import x509

    stub = spec.get("stubPKCS10Request")
    if not stub:
        return
    try:
        proven = x509.load_der_x509_csr(_decoded(stub)).is_signature_valid
    except ValueError:
        # DEVIATION: upstream adds what its parser says
        out.invalid(SPEC / "stubPKCS10Request", "<value omitted>", "must be a valid PKCS#10 request")
        return
    if not proven:
        out.invalid(SPEC / "stubPKCS10Request", "<value omitted>", "could not verify proof-of-possession signature")
