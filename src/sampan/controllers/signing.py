"""Signing requests: which of them each of the cluster's own signers takes, and the certificates it makes of them.

Source: kubernetes/pkg/apis/certificates/helpers.go, pkg/controller/certificates/{authority,signer}/
"""

from __future__ import annotations

import datetime
from collections.abc import Collection
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KUBELET_SERVING = "kubernetes.io/kubelet-serving"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
CLIENT = "kubernetes.io/kube-apiserver-client"
LEGACY = "kubernetes.io/legacy-unknown"
SIGNERS = frozenset({KUBELET_SERVING, KUBELET_CLIENT, CLIENT, LEGACY})
#: certificates begin in the past, for clocks that are behind; short-lived ones lose no time by that
BACKDATE, SHORT, SHORTEST = 5 * 60, 8 * 3600, 10 * 60

_KEY_USAGES = {
    "signing": "digital_signature", "digital signature": "digital_signature",
    "content commitment": "content_commitment", "key encipherment": "key_encipherment",
    "key agreement": "key_agreement", "data encipherment": "data_encipherment", "cert sign": "key_cert_sign",
    "crl sign": "crl_sign", "encipher only": "encipher_only", "decipher only": "decipher_only",
}  # fmt: skip
_EXTENDED = {
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "s/mime": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "ipsec end system": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.5"),
    "ipsec tunnel": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.6"),
    "ipsec user": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.7"),
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
    "microsoft sgc": x509.ObjectIdentifier("1.3.6.1.4.1.311.10.3.3"),
    "netscape sgc": x509.ObjectIdentifier("2.16.840.1.113730.4.1"),
}


class Refused(Exception):
    """What is wrong with a request, as upstream words it."""


def common_name(request: x509.CertificateSigningRequest) -> str:
    found = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[-1].value) if found else ""


def _names(request: x509.CertificateSigningRequest) -> list[x509.GeneralName]:
    try:
        return list(request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def check(request: x509.CertificateSigningRequest, usages: Collection[str], signer: str) -> None:
    """Raises Refused where the signer would not sign this."""
    if signer == CLIENT:
        _check_client(usages)
    elif signer in (KUBELET_CLIENT, KUBELET_SERVING):
        _check_kubelet(request, set(usages), signer)


def _check_client(usages: Collection[str]) -> None:
    for usage in usages:
        if usage not in ("digital signature", "key encipherment", "client auth"):
            raise Refused(f"invalid usage for client certificate: {usage}")
    if "client auth" not in usages:
        raise Refused("missing required usage for client certificate: client auth")


def _check_kubelet(request: x509.CertificateSigningRequest, usages: set[str], signer: str) -> None:
    serving = signer == KUBELET_SERVING
    organisations = [item.value for item in request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    if organisations != ["system:nodes"]:
        raise Refused("subject organization is not system:nodes")
    kinds = {type(name) for name in _names(request)}
    if serving and not kinds & {x509.DNSName, x509.IPAddress}:
        raise Refused("DNS or IP subjectAltName is required")
    refused: list[tuple[type[x509.GeneralName], str]] = [
        (x509.RFC822Name, "Email"),
        (x509.UniformResourceIdentifier, "URI"),
    ]
    if not serving:
        refused = [(x509.DNSName, "DNS"), refused[0], (x509.IPAddress, "IP"), refused[1]]
    for kind, shown in refused:
        if kind in kinds:
            raise Refused(f"{shown} subjectAltNames are not allowed")
    named = common_name(request).startswith("system:node:")
    required = {"digital signature", "key encipherment", "server auth" if serving else "client auth"}
    if not serving and not named:
        raise Refused("subject common name does not begin with system:node:")
    if usages not in (required, required - {"key encipherment"}):
        raise Refused(f"usages did not match [{' '.join(sorted(required))}]")
    if not named:
        raise Refused("subject common name does not begin with system:node:")


class Authority:
    """Certificate and key of a CA, as PEM. Raises ValueError for what is neither."""

    def __init__(self, certificate: str, key: str) -> None:
        self.certificate = x509.load_pem_x509_certificate(certificate.encode())
        self.key: Any = serialization.load_pem_private_key(key.encode(), password=None)

    def sign(self, request: x509.CertificateSigningRequest, usages: Collection[str], seconds: int, now: float) -> bytes:
        """PEM of a certificate. Raises Refused."""
        if not request.is_signature_valid:
            raise Refused("unable to verify certificate request signature")
        begins = now - BACKDATE
        ends = now + seconds - (0 if seconds < SHORT else BACKDATE)
        ends = min(ends, self.certificate.not_valid_after_utc.timestamp())
        if ends <= now:
            raise Refused("refusing to sign a certificate that expired in the past")
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(self.certificate.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_when(begins))
            .not_valid_after(_when(ends))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )
        purposes = _key_usage(usages)
        if purposes is not None:
            builder = builder.add_extension(purposes, critical=True)
        extended = [_EXTENDED[usage] for usage in _EXTENDED if usage in usages]
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(dict.fromkeys(extended)), critical=False)
        try:
            own = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        except x509.ExtensionNotFound:
            pass
        else:
            authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
            builder = builder.add_extension(authority, critical=False)
        kept = (x509.DNSName, x509.IPAddress, x509.RFC822Name, x509.UniformResourceIdentifier)
        names = [name for name in _names(request) if isinstance(name, kept)]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not list(request.subject))
        own_hash = None if isinstance(self.key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)) else hashes.SHA256()
        return builder.sign(self.key, own_hash).public_bytes(serialization.Encoding.PEM)


def _when(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)


def _key_usage(usages: Collection[str]) -> x509.KeyUsage | None:
    """None where none is asked for: an empty one makes a certificate that nobody accepts."""
    said = {_KEY_USAGES[usage] for usage in usages if usage in _KEY_USAGES}
    unknown = [usage for usage in usages if usage not in _KEY_USAGES and usage not in _EXTENDED]
    if unknown:
        raise Refused("unrecognized usage values: [" + " ".join(f'"{usage}"' for usage in unknown) + "]")
    if not said:
        return None
    agrees = "key_agreement" in said
    flags = {name: name in said for name in _KEY_USAGES.values()}
    for only in ("encipher_only", "decipher_only"):
        flags[only] = flags[only] and agrees  # they mean nothing without it
    return x509.KeyUsage(**flags)


def duration(asked: int | None, longest: int) -> int:
    """Seconds that a certificate is good for."""
    return longest if asked is None else min(max(asked, SHORTEST), longest)
