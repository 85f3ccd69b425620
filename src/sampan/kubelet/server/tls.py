"""The certificate of the kubelet's own server: one that is given, one that was signed for the node, or one of its own making.

DEVIATION: until a serving certificate has been approved the kubelet answers with one that it signed itself; upstream does not answer.

Source: kubernetes cmd/kubelet/app/server.go (InitializeTLS), pkg/kubelet/certificate/kubelet.go
"""

from __future__ import annotations

import datetime
import logging
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sampan.kubelet import inotify
from sampan.kubelet.certificates import general_names, pem, valid, write
from sampan.kubelet.options import Options

log = logging.getLogger("sampan.kubelet.server")
SELF_SIGNED_DAYS = 365
SERVING = "kubelet-server"


def server_context(options: Options, names: Sequence[str], now: float) -> ssl.SSLContext:
    """With the certificate of the options, one that was signed for us, or one of our own. Raises OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    directory = options.root / "pki"
    current = directory / f"{SERVING}-current.pem"
    if options.cert is not None:
        context.load_cert_chain(options.cert, options.key)
    elif options.serving_bootstrap and valid(current, now):
        context.load_cert_chain(current)
    else:
        context.load_cert_chain(*_self_signed(directory, options.name, names, now))
    if options.client_ca is not None:
        context.load_verify_locations(options.client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


async def reread(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    """Until cancelled: new connections get what is in the files then. A pair that does not fit (yet) is not taken."""
    with inotify.Watch(certificate.parent) as watch:
        while True:
            await watch.next()
            try:
                # asked of another first: a context is left without any by a pair that does not fit
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
                context.load_cert_chain(certificate, key)
            except (OSError, ssl.SSLError) as error:
                log.warning("cannot read the serving certificate %s: %s", certificate, error)


def _self_signed(directory: Path, node: str, names: Sequence[str], now: float) -> tuple[Path, Path]:
    """Kept while it is valid and has all the names."""
    certificate_file, key_file = directory / "kubelet.crt", directory / "kubelet.key"
    wanted = general_names([node, *names])
    if key_file.exists() and valid(certificate_file, now + 30 * 86400) and _has(certificate_file, wanted):
        return certificate_file, key_file
    key = ec.generate_private_key(ec.SECP256R1())
    begins = datetime.datetime.fromtimestamp(now, datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{node}@{int(now)}"[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins - datetime.timedelta(minutes=5))
        .not_valid_after(begins + datetime.timedelta(days=SELF_SIGNED_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(wanted), critical=False)
        .sign(key, hashes.SHA256())
    )
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    write(key_file, pem(key), 0o600)
    write(certificate_file, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return certificate_file, key_file


def _has(path: Path, names: list[x509.GeneralName]) -> bool:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return set(names) <= set(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
