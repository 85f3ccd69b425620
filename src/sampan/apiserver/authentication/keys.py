"""The keys of ServiceAccount tokens: one signs, several may verify, and all are published as a JWKS.

RSA (RS256) and ECDSA (ES256, ES384, ES512) from PEM files. A key is found by its id, which is a hash of the public key.
The algorithm is the key's own: what a token's header says about it is never followed, only compared.

Source: kubernetes/pkg/serviceaccount/{jwt,openidmetadata}.go; k8s.io/client-go/util/keyutil/key.go
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
ALGORITHMS = frozenset({"RS256", *CURVES.values()})


@dataclass(frozen=True, slots=True)
class PublicKey:
    id: str
    algorithm: str
    key: Any


@dataclass(frozen=True, slots=True)
class SigningKey:
    """`key` never leaves this process; `repr` must not show it."""

    key: Any
    public: PublicKey

    def __repr__(self) -> str:
        return f"SigningKey({self.public.id})"


class KeyRing:
    """What signs and what verifies. Without a file to sign with, a key is made in memory when it is first needed: its
    tokens end with the process."""

    def __init__(self, signing: SigningKey | None = None, verifying: Iterable[PublicKey] = ()) -> None:
        self._signing = signing
        self._verifying = tuple(verifying)

    @functools.cached_property
    def signing(self) -> SigningKey:
        if self._signing is not None:
            return self._signing
        from cryptography.hazmat.primitives.asymmetric import ec

        return _signing(ec.generate_private_key(ec.SECP256R1()))

    @functools.cached_property
    def verifying(self) -> dict[str, PublicKey]:
        """By id. Where none were given, the signing key's public half."""
        return {key.id: key for key in self._verifying or (self.signing.public,)}

    @functools.cached_property
    def jwks(self) -> bytes:
        return orjson.dumps({"keys": [_jwk(key) for key in self.verifying.values()]})


def ring(signing_file: Path | None, verifying_files: Iterable[Path]) -> KeyRing:
    """Raises OSError, and ValueError for files without a usable key."""
    signing = _signing(_private(signing_file)) if signing_file else None
    return KeyRing(signing, (key for path in verifying_files for key in _publics(path)))


def _private(path: Path) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = path.read_bytes()
    for match in _PEM.finditer(data):
        if match[1].endswith(b"PRIVATE KEY"):
            try:
                return load_pem_private_key(match[0], None)
            except (ValueError, TypeError, UnsupportedAlgorithm):
                # the library's words may quote the file
                break
    raise ValueError(f"data in {path} does not contain a valid RSA or ECDSA private key")


def _publics(path: Path) -> list[PublicKey]:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

    out = []
    for match in _PEM.finditer(path.read_bytes()):
        try:
            if match[1] == b"CERTIFICATE":
                key: Any = x509.load_pem_x509_certificate(match[0]).public_key()
            elif match[1].endswith(b"PRIVATE KEY"):
                key = load_pem_private_key(match[0], None).public_key()
            else:
                key = load_pem_public_key(match[0])
            out.append(_public(key))
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
    if not out:
        raise ValueError(f"data in {path} does not contain any valid RSA or ECDSA public keys")
    return out


def _signing(key: Any) -> SigningKey:
    return SigningKey(key, _public(key.public_key()))


def _public(key: Any) -> PublicKey:
    """Raises ValueError for keys of other kinds."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if isinstance(key, rsa.RSAPublicKey):
        algorithm = "RS256"
    elif isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
        algorithm = CURVES[key.curve.name]
    else:
        raise ValueError("unknown public key type, must be RSA, or ECDSA on the curve P-256, P-384 or P-521")
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode(), algorithm, key)


def _jwk(public: PublicKey) -> dict[str, Any]:
    from jwt.algorithms import ECAlgorithm, RSAAlgorithm

    kind = RSAAlgorithm if public.algorithm == "RS256" else ECAlgorithm
    numbers: dict[str, Any] = {**kind.to_jwk(public.key, as_dict=True)}
    wanted = ("crv", "x", "y", "n", "e")
    shown: dict[str, Any] = {name: value for name, value in numbers.items() if name in wanted}
    return {"use": "sig", "kty": numbers["kty"], "kid": public.id, "alg": public.algorithm, **shown}
