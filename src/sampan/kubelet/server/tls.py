"""The certificate of the kubelet's own server: one that is given, one that was signed for the node, or one of its own making.

DEVIATION: until a serving certificate has been approved the kubelet answers with one that it signed itself; upstream does not answer.

Source: kubernetes cmd/kubelet/app/server.go (InitializeTLS), pkg/kubelet/certificate/kubelet.go
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from sampan.http.server import tls
from sampan.kubelet import inotify
from sampan.kubelet.certificates import valid, write
from sampan.kubelet.options import Options

log = logging.getLogger("sampan.kubelet.server")
SERVING = "kubelet-server"


def server_context(options: Options, names: Sequence[str], now: float) -> ssl.SSLContext:
    """With the certificate of the options, one that was signed for us, or one of our own. Raises OSError, ssl.SSLError."""
    context = tls.server_context(options.client_ca)
    directory = options.root / "pki"
    current = directory / f"{SERVING}-current.pem"
    if options.cert is not None:
        context.load_cert_chain(options.cert, options.key)
    elif options.serving_bootstrap and valid(current, now):
        context.load_cert_chain(current)
    else:
        context.load_cert_chain(*_self_signed(directory, options.name, names, now))
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
    wanted = tls.general_names([node, *names])
    if key_file.exists() and valid(certificate_file, now + 30 * 86400) and _has(certificate_file, wanted):
        return certificate_file, key_file
    certificate, key = tls.self_signed(node, [node, *names], now)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    write(key_file, key, 0o600)
    write(certificate_file, certificate, 0o644)
    return certificate_file, key_file


def _has(path: Path, names: list[x509.GeneralName]) -> bool:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return set(names) <= set(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
