"""The cluster's certificates: a CA, the API server's, those of its clients, and the key that signs tokens.

ECDSA on P-256 throughout. Keys are readable by their owner alone. What is there and good for another month is kept.

Source: https://kubernetes.io/docs/setup/best-practices/certificates/
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS, LEAF_DAYS, RENEW_DAYS = 3650, 365, 30
#: client certificates: file, common name and organisations, as kubeadm makes them
CLIENTS = (
    ("admin", "kubernetes-admin", ("system:masters",)),
    ("controller-manager", "system:kube-controller-manager", ()),
    ("scheduler", "system:kube-scheduler", ()),
    ("apiserver-kubelet-client", "kube-apiserver-kubelet-client", ("system:masters",)),
)
Key = ec.EllipticCurvePrivateKey
Span = tuple[datetime.datetime, datetime.datetime]


@dataclass(frozen=True, slots=True)
class Pki:
    """Where the files are."""

    directory: Path

    def path(self, name: str) -> Path:
        return self.directory / name


def ensure(directory: Path, addresses: Sequence[str], valid: Span | None = None) -> Pki:
    """Make what is missing, or nearly expired, or lacks one of `addresses`. `valid`: from when to when, if it is not the
    usual time from now on. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    pki = Pki(directory)
    if not (_good(pki.path("ca.crt")) and pki.path("ca.key").exists()):
        key = ec.generate_private_key(ec.SECP256R1())
        span = valid or _from_now(CA_DAYS)
        _write(pki, "ca", key, _certificate(_name("kubernetes"), key.public_key(), None, key, span))
        for name in ("apiserver", *(client[0] for client in CLIENTS)):
            pki.path(f"{name}.crt").unlink(missing_ok=True)
    ca = x509.load_pem_x509_certificate(pki.path("ca.crt").read_bytes())
    ca_key = serialization.load_pem_private_key(pki.path("ca.key").read_bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    names = _server_names(addresses)
    if not _good(pki.path("apiserver.crt"), names):
        key = ec.generate_private_key(ec.SECP256R1())
        span = valid or _from_now(LEAF_DAYS)
        _write(pki, "apiserver", key, _certificate(_name("kube-apiserver"), key.public_key(), ca, ca_key, span, names))
    for file, common, organisations in CLIENTS:
        if not _good(pki.path(f"{file}.crt")):
            key = ec.generate_private_key(ec.SECP256R1())
            subject = _name(common, *organisations)
            span = valid or _from_now(LEAF_DAYS)
            _write(pki, file, key, _certificate(subject, key.public_key(), ca, ca_key, span))
    if not pki.path("sa.key").exists():
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        _put(pki.path("sa.pub"), public, 0o644)
        _put(pki.path("sa.key"), _pem(key), 0o600)
    return pki


def issue(pki: Pki, name: str, groups: Sequence[str] = ()) -> tuple[bytes, bytes]:
    """A client certificate of the cluster's CA for a user with groups, and its key; both PEM, written nowhere."""
    ca = x509.load_pem_x509_certificate(pki.path("ca.crt").read_bytes())
    ca_key = serialization.load_pem_private_key(pki.path("ca.key").read_bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(_name(name, *groups), key.public_key(), ca, ca_key, _from_now(LEAF_DAYS))
    return certificate.public_bytes(serialization.Encoding.PEM), _pem(key)


def _server_names(addresses: Sequence[str]) -> list[x509.GeneralName]:
    service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in dict.fromkeys([*service, "localhost", *_host()])]
    for address in dict.fromkeys(["127.0.0.1", "::1", *addresses]):
        names.append(x509.IPAddress(ipaddress.ip_address(address)))
    return names


def _host() -> list[str]:
    name = socket.gethostname().lower()
    return [name] if name.isascii() and 0 < len(name) < 64 and " " not in name else []


def _name(common: str, *organisations: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation) for organisation in organisations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _from_now(days: int) -> Span:
    now = datetime.datetime.now(datetime.UTC)
    return now - datetime.timedelta(minutes=5), now + datetime.timedelta(days=days)


def _certificate(
    subject: x509.Name,
    public: ec.EllipticCurvePublicKey,
    issuer: x509.Certificate | None,
    signer: Key,
    valid: Span,
    names: Sequence[x509.GeneralName] = (),
) -> x509.Certificate:
    authority = issuer is None
    usage = x509.KeyUsage(
        digital_signature=True,
        key_encipherment=not authority,
        key_cert_sign=authority,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(names)), critical=False)
    if not authority:
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _good(path: Path, names: Sequence[x509.GeneralName] = ()) -> bool:
    """There, not about to expire, and good for all `names`."""
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return False
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    if left < datetime.timedelta(days=RENEW_DAYS):
        return False
    if not names:
        return True
    have = set(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    return set(names) <= have


def _pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(pki: Pki, name: str, key: Key, certificate: x509.Certificate) -> None:
    _put(pki.path(f"{name}.key"), _pem(key), 0o600)
    _put(pki.path(f"{name}.crt"), certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _put(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all; never readable by others for a moment."""
    scratch = path.with_name(path.name + ".part")
    scratch.unlink(missing_ok=True)
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)
