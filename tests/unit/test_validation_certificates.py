"""Certificate kinds: what is refused. What depends on keys is made here."""

# ruff: noqa: E501 (a row is a line)

from __future__ import annotations

import base64
import datetime
import functools

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.validation import GONE, Change, Valid, ids

KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "n")])
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
REQUEST = x509.CertificateSigningRequestBuilder().subject_name(NAME).sign(KEY, hashes.SHA256())
GROUP = "certificates.k8s.io"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@functools.cache
def certificate() -> str:
    start = datetime.datetime(2026, 1, 1)
    builder = x509.CertificateBuilder().subject_name(NAME).issuer_name(NAME).public_key(KEY.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start + datetime.timedelta(days=1))
    return builder.sign(KEY, hashes.SHA256()).public_bytes(PEM).decode()


CSR = Valid(
    GROUP,
    "v1",
    "certificatesigningrequests",
    {"spec": {"request": b64(REQUEST.public_bytes(PEM)), "signerName": "a.b/c", "usages": ["client auth"]}},
)
APPROVED = {"type": "Approved", "status": "True", "reason": "r"}
DENIED = {"type": "Denied", "status": "True", "reason": "r"}
NOT_A_REQUEST = ['spec.request: Invalid value: "eA==": PEM block type must be CERTIFICATE REQUEST']
# fmt: off
REQUESTS: list[tuple[Change, list[str]]] = [
    ({"spec/request": "eA=="}, NOT_A_REQUEST),
    ({"spec/usages": ["any", "any"]}, ['spec.usages[1]: Duplicate value: "any"']),
    ({"spec/signerName": GONE}, ["spec.signerName: Required value"]),
    ({"spec/signerName": "a"}, ["spec.signerName: Invalid value: \"a\": must be a fully qualified domain and path of the form 'example.com/signer-name'"]),
    ({"spec/signerName": "a/b"}, ['spec.signerName: Invalid value: "a": should be a domain with at least two segments separated by dots']),
    ({"spec/signerName": "kubernetes.io/legacy-unknown"}, ['spec.signerName: Invalid value: "kubernetes.io/legacy-unknown": the legacy signerName is not allowed via this API version']),
    ({"spec/expirationSeconds": 599}, ["spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)"]),
    ({"status/conditions": [APPROVED, DENIED]}, ['status.conditions[1].type: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive']),
    ({"status/conditions": [{**APPROVED, "status": "False"}]}, ['status.conditions[0].status: Unsupported value: "False": supported values: "True"']),
    ({"status/certificate": "eA=="}, ['status.certificate: Invalid value: "<certificate data>": must contain at least one CERTIFICATE PEM block']),
]
# fmt: on


@pytest.mark.parametrize(("change", "expected"), REQUESTS, ids=ids(REQUESTS))
def test_signing_request(change: Change, expected: list[str]) -> None:
    assert CSR.errors(change) == expected


def test_unknown_usages_are_refused_with_all_that_are_known() -> None:
    (said,) = CSR.errors({"spec/usages": ["see"]})
    assert said.startswith(
        'spec.usages[0]: Unsupported value: "see": supported values: "any", "cert sign", "client auth"'
    )


def test_only_the_right_subresource_changes_the_status_of_a_request() -> None:
    approve, sign = {"status/conditions": [APPROVED]}, {"status/certificate": b64(certificate().encode())}
    conditions, content = (
        "status.conditions: Forbidden: updates may not",
        "status.certificate: Forbidden: updates may not",
    )
    assert CSR.update(approve) == CSR.status(approve) == [f'{conditions} add a condition of type "Approved"']
    assert CSR.update(sign) == [f"{content} set certificate content"]
    assert CSR.status(sign) == []
    assert CSR.status({"status/certificate": GONE}, sign) == [f"{content} modify existing certificate content"]
    removed: Change = {"status/conditions": []}
    assert CSR.status(removed, approve) == [f'{conditions} remove a condition of type "Approved"']
    changed = {"status/conditions": [{**APPROVED, "reason": "s"}]}
    assert CSR.status(changed, approve) == [f'{conditions} modify a condition of type "Approved"']


BUNDLE = Valid(GROUP, "v1", "clustertrustbundles", {"spec": {"trustBundle": certificate()}})
OMITTED = 'spec.trustBundle: Invalid value: "<value omitted>":'
BUNDLES: list[tuple[Change, list[str]]] = [
    ({"spec/trustBundle": ""}, [f"{OMITTED} at least one trust anchor must be provided"]),
    ({"spec/trustBundle": certificate() * 2}, [f"{OMITTED} duplicate trust anchor (indices [0 1])"]),
    (
        {"spec/trustBundle": certificate() + certificate().replace("CERTIFICATE", "KEY")},
        [f"{OMITTED} entry 1 has bad block type: KEY"],
    ),
    (
        {"metadata/name": "a:b"},
        ['metadata.name: Invalid value: "a:b": ClusterTrustBundle without signer name must not have ":" in its name'],
    ),
    (
        {"spec/signerName": "a.b/c"},
        [
            'metadata.name: Invalid value: "a": ClusterTrustBundle for signerName a.b/c must be named with prefix a.b:c:',
        ],
    ),
    ({"spec/signerName": "a.b/c", "metadata/name": "a.b:c:d"}, []),
]


@pytest.mark.parametrize(("change", "expected"), BUNDLES, ids=ids(BUNDLES))
def test_trust_bundle(change: Change, expected: list[str]) -> None:
    assert BUNDLE.errors(change) == expected


STUB = b64(REQUEST.public_bytes(DER))
POD = Valid(
    GROUP,
    "v1",
    "podcertificaterequests",
    {
        "spec": {
            "signerName": "a.b/c",
            "podName": "p",
            "podUID": "1",
            "serviceAccountName": "s",
            "serviceAccountUID": "2",
            "nodeName": "n",
            "nodeUID": "3",
            "stubPKCS10Request": STUB,
        }
    },
)
PODS: list[tuple[Change, list[str]]] = [
    ({"spec/signerName": ""}, ["spec.signerName: Required value"]),
    ({"spec/podUID": ""}, ['spec.podUID: Invalid value: "": must not be empty']),
    ({"spec/nodeUID": "x" * 129}, ["spec.nodeUID: Too long: may not be more than 128 bytes"]),
    (
        {"spec/maxExpirationSeconds": 3599},
        ["spec.maxExpirationSeconds: Invalid value: 3599: must be in the range [3600, 7862400]"],
    ),
    (
        {"spec/signerName": "kubernetes.io/c", "spec/maxExpirationSeconds": 86401},
        ["spec.maxExpirationSeconds: Invalid value: 86401: must be in the range [3600, 86400]"],
    ),
    (
        {"spec/stubPKCS10Request": "eA=="},
        ['spec.stubPKCS10Request: Invalid value: "<value omitted>": must be a valid PKCS#10 request'],
    ),
    (
        {"spec/stubPKCS10Request": b64(REQUEST.public_bytes(DER)[:-3] + b"abc")},
        ['spec.stubPKCS10Request: Invalid value: "<value omitted>": could not verify proof-of-possession signature'],
    ),
]


@pytest.mark.parametrize(("change", "expected"), PODS, ids=ids(PODS))
def test_pod_request(change: Change, expected: list[str]) -> None:
    assert POD.errors(change) == expected


def test_a_pods_request_does_not_change() -> None:
    assert POD.update({"spec/podName": "q"})[0].endswith("field is immutable")


START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)


@functools.cache
def issued(length: datetime.timedelta = 24 * HOUR, name: str = "a.b", *, ours: bool = True) -> str:
    """A certificate for the requested key, or for another."""
    key = KEY if ours else ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder().subject_name(NAME).issuer_name(NAME).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(START).not_valid_after(START + length)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(PEM).decode()


def outcome(kind: str, **more: str) -> Change:
    made = {"type": kind, "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    return {"status/conditions": [{**made, **more}]}


TIMES: Change = {
    "status/notBefore": "2026-01-01T00:00:00Z", "status/notAfter": "2026-01-02T00:00:00Z",
    "status/beginRefreshAt": "2026-01-01T12:00:00Z",
}  # fmt: skip
ISSUED: Change = {**outcome("Issued"), **TIMES, "status/certificateChain": issued()}


def chained(text: str) -> Change:
    return {"status/certificateChain": text}


# fmt: off
OUTCOMES: list[tuple[Change, list[str]]] = [
    (outcome("Denied"), []),
    (outcome("Failed", status="False"), ['status.conditions.[0].status: Unsupported value: "False": supported values: "True"']),
    (outcome("Other"), ['status.conditions.[0].type: Unsupported value: "Other": supported values: "Issued", "Denied", "Failed"']),
    ({"status/conditions": [*outcome("Denied")["status/conditions"], *outcome("Failed")["status/conditions"]]}, ['status.conditions.[1].type: Invalid value: "Failed": There may be at most one condition with type "Issued", "Denied", or "Failed"']),
    ({**outcome("Denied"), **chained("x")}, ["status: Invalid value: non-condition status fields must be empty when denying or failing the PodCertificateRequest"]),
    (chained("x"), ['status: Invalid value: status is immutable unless transitioning to "Issued", "Denied", or "Failed"']),
]
CHAINS: list[tuple[Change, list[str]]] = [
    ({}, []),
    (chained(issued() + certificate()), []),
    (chained(""), ['status.certificateChain: Invalid value: "": issued certificate chain must contain at least one certificate']),
    (chained("x" * 102401), ["status.certificateChain: Too long: may not be more than 102400 bytes"]),
    ({"status/notBefore": GONE, "status/beginRefreshAt": GONE}, ["status.notBefore: Required value: must be present and consistent with the issued certificate", "status.beginRefreshAt: Required value: must be present and in the range [notbefore+10min, notafter-10min]"]),
    ({"status/notBefore": "2026-01-01T00:00:01Z"}, ["status.notBefore: Invalid value: 2026-01-01 00:00:01 +0000 UTC: must be set to the NotBefore time encoded in the leaf certificate"]),
    ({"status/notAfter": "2026-01-03T00:00:00Z"}, ["status.notAfter: Invalid value: 2026-01-03 00:00:00 +0000 UTC: must be set to the NotAfter time encoded in the leaf certificate"]),
    ({"status/beginRefreshAt": "2026-01-01T00:09:59Z"}, ["status.beginRefreshAt: Invalid value: 2026-01-01 00:09:59 +0000 UTC: must be at least 10 minutes after status.notBefore"]),
    ({"status/beginRefreshAt": "2026-01-01T23:50:01Z"}, ["status.beginRefreshAt: Invalid value: 2026-01-01 23:50:01 +0000 UTC: must be at least 10 minutes before status.notAfter"]),
    ({**chained(issued(HOUR / 2)), "status/notAfter": "2026-01-01T00:30:00Z"}, ["status.certificateChain: Invalid value: 30m0s: leaf certificate lifetime must be >= 1 hour"]),
    ({**chained(issued(25 * HOUR)), "status/notAfter": "2026-01-02T01:00:00Z"}, ["status.certificateChain: Invalid value: 25h0m0s: leaf certificate lifetime must be <= spec.maxExpirationSeconds (86400)"]),
    (chained(issued(name=".a..b")), ['status.certificateChain: Invalid value: ".a..b": leaf certificate\'s DNSName should not contain \'..\'', 'status.certificateChain: Invalid value: ".a..b": leaf certificate\'s DNSName should not start or end with \'.\'']),
]
# fmt: on


@pytest.mark.parametrize(("change", "expected"), OUTCOMES, ids=ids(OUTCOMES))
def test_pod_request_status(change: Change, expected: list[str]) -> None:
    assert POD.status(change) == expected


@pytest.mark.parametrize(("change", "expected"), CHAINS, ids=ids(CHAINS))
def test_an_issued_pod_request(change: Change, expected: list[str]) -> None:
    assert POD.status({**ISSUED, **change}) == expected


def test_an_issued_pod_request_and_its_key() -> None:
    [said] = POD.status({**ISSUED, **chained(issued(ours=False))})
    assert said.endswith("leaf certificate was not issued to the requested public key")
    [said] = POD.status({**ISSUED, **chained(issued() + REQUEST.public_bytes(PEM).decode())})
    assert said.endswith("issued certificate chain must consist entirely of CERTFICATE PEM blocks")
    immutable = "status: Invalid value: immutable after PodCertificateRequest is issued, denied, or failed"
    assert POD.status({"status/notAfter": "2026-01-03T00:00:00Z"}, ISSUED) == [immutable]
    assert POD.status({}, ISSUED) == []
