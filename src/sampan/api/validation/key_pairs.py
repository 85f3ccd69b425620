"""A certificate and its key: why a TLS server could not use them.

Source: crypto/tls (X509KeyPair), which upstream asks
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sampan.api.validation.certificates import pem_blocks

SWITCHED = (
    "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been "
    "switched"
)


def key_pair_problem(certificate: bytes, key: bytes) -> str:
    """In the words of Go, or nothing."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    found, skipped = _first(certificate, lambda kind: kind == "CERTIFICATE")
    if found is None:
        if len(skipped) == 1 and skipped[0].endswith("PRIVATE KEY"):
            return SWITCHED
        return _missing("certificate", 'find "CERTIFICATE" PEM block', skipped)
    private, skipped = _first(key, lambda kind: kind == "PRIVATE KEY" or kind.endswith(" PRIVATE KEY"))
    if private is None:
        if skipped == ["CERTIFICATE"]:
            return "tls: found a certificate rather than a key in the PEM for the private key"
        return _missing("key", 'find PEM block with type ending in "PRIVATE KEY"', skipped)
    try:
        public: Any = x509.load_der_x509_certificate(found).public_key()
    except (ValueError, UnsupportedAlgorithm):
        # DEVIATION: upstream says what of the certificate is malformed
        return "x509: malformed certificate"
    try:
        own: Any = serialization.load_der_private_key(private, None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "tls: failed to parse private key"
    if type(own) is not type(public):
        return "tls: private key type does not match public key type"
    return "" if own == public else "tls: private key does not match public key"


def _first(data: bytes, wanted: Callable[[str], bool]) -> tuple[bytes | None, list[str]]:
    """The first block of a kind that is wanted, and the kinds before it."""
    skipped: list[str] = []
    for kind, _, content in pem_blocks(data):
        if wanted(kind):
            return content, skipped
        skipped.append(kind)
    return None, skipped


def _missing(what: str, tried: str, skipped: list[str]) -> str:
    if not skipped:
        return f"tls: failed to find any PEM data in {what} input"
    kinds = f"[{' '.join(skipped)}]"
    return f"tls: failed to {tried} in {what} input after skipping PEM blocks of the following types: {kinds}"
