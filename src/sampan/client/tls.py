"""TLS contexts of a `Config`; built again when a certificate file changes, so that a rotated one is used by the next
connection.

Source: client-go/transport/{transport,cert_rotation}.go
"""

from __future__ import annotations

import os
import ssl
import tempfile
from pathlib import Path

from sampan.client.config import Config, ConfigError


class TlsContexts:
    """Call it for the context to use now. `certificate`, `key`: those of an exec plugin, which go before the file's."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.certificate, self.key = config.certificate, config.key
        self._context: ssl.SSLContext | None = None
        self._stamps: list[tuple[int, int]] = []

    def use(self, certificate: bytes, key: bytes) -> None:
        self.certificate, self.key = certificate, key
        self._context = None

    def __call__(self) -> ssl.SSLContext:
        stamps = self._look()
        if self._context is None or stamps != self._stamps:
            self._context = self._build()
            self._stamps = stamps
        return self._context

    def _look(self) -> list[tuple[int, int]]:
        config = self.config
        files = (config.ca_file, config.certificate_file, config.key_file)
        return [_stamp(file) for file in files if file is not None]

    def _build(self) -> ssl.SSLContext:
        config = self.config
        try:
            file = str(config.ca_file) if config.ca_file and not config.ca else None
            context = ssl.create_default_context(cafile=file, cadata=config.ca.decode() or None)
            if config.insecure:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.certificate:
                _load_pair(context, self.certificate, self.key)
            elif config.certificate_file is not None:
                context.load_cert_chain(config.certificate_file, config.key_file)
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot use the certificates of {config.server}: {error}") from None
        context.set_alpn_protocols(["http/1.1"])
        return context


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_ino)


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """OpenSSL through Python reads key pairs from files alone: give it one that is on no disk."""
    pem = certificate + b"\n" + key
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
        try:
            os.write(handle, pem)
            context.load_cert_chain(f"/proc/self/fd/{handle}")
        finally:
            os.close(handle)
        return
    with tempfile.NamedTemporaryFile() as file:  # readable by us alone
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)
