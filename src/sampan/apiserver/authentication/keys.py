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
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson

from sampan.api.frozen import frozen

#: how the algorithms are written in keys: rsaEncryption, ecPublicKey with each curve
_OIDS = tuple(
    bytes.fromhex(text)
    for text in (
        "06092a864886f70d010101",
        "06072a8648ce3d020106082a8648ce3d030107",
        "06072a8648ce3d020106052b81040022",
        "06072a8648ce3d020106052b81040023",
    )
)
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
ALGORITHMS = frozenset({"RS256", *CURVES.values()})


@frozen
class PublicKey:
    id: str
    algorithm: str
    key: Any


@frozen
class SigningKey:
    """`key` never leaves this process; `repr` must not show it."""

    key: Any
    public: PublicKey

    def __repr__(self) -> str:
        return f"SigningKey({self.public.id})"


class KeyRing:
    """What signs and what verifies. Without a file to sign with, a key is made in memory when it is first needed: its
    tokens end with the process."""

    def __init__(
        self,
        signing: Callable[[], SigningKey] | None = None,
        verifying: Callable[[], Iterable[PublicKey]] = tuple,
    ) -> None:
        """Keys are asked for when first used."""
        self._signing = signing
        self._verifying = verifying

    @functools.cached_property
    def signing(self) -> SigningKey:
        if self._signing is not None:
            return self._signing()
        from cryptography.hazmat.primitives.asymmetric import ec

        return _signing(ec.generate_private_key(ec.SECP256R1()))

    @functools.cached_property
    def verifying(self) -> dict[str, PublicKey]:
        """By id. Where none were given, the signing key's public half."""
        return {key.id: key for key in tuple(self._verifying()) or (self.signing.public,)}

    @functools.cached_property
    def jwks(self) -> bytes:
        return orjson.dumps({"keys": [_jwk(key) for key in self.verifying.values()]})


def ring(signing_file: Path | None, verifying_files: Sequence[Path]) -> KeyRing:
    """Raises OSError, and ValueError for files without a usable key.

    The library that reads keys takes longer to import than all else that a start needs. Files that are plainly a key,
    as nearly all are, are read with the first token; what is odd about the others is told at once.
    """
    contents = {path: path.read_bytes() for path in (*filter(None, (signing_file,)), *verifying_files)}

    def signing() -> SigningKey:
        assert signing_file is not None
        return _signing(_private(signing_file, contents[signing_file]))

    def verifying() -> list[PublicKey]:
        return [key for path in verifying_files for key in _publics(path, contents[path])]

    out = KeyRing(signing if signing_file else None, verifying)
    if signing_file and not _plainly_a_key(contents[signing_file], b"PRIVATE KEY"):
        _ = out.signing
    if not all(_plainly_a_key(contents[path], b"PRIVATE KEY", b"PUBLIC KEY") for path in verifying_files):
        _ = out.verifying
    return out


def _plainly_a_key(data: bytes, *labels: bytes) -> bool:
    """One PEM block, whole, that says it is an RSA or ECDSA key."""
    found = _PEM.fullmatch(data.strip())
    if found is None or found[1] not in labels:
        return False
    try:
        der = base64.b64decode(b"".join(data.split(b"-----")[2].split()), validate=True)
    except ValueError:
        return False
    long = der[1] & 0x7F if len(der) > 2 and der[1] & 0x80 else 0
    size = int.from_bytes(der[2 : 2 + long]) if long else der[1] if len(der) > 2 else 0
    return der[:1] == b"\x30" and len(der) == 2 + long + size and any(oid in der[:50] for oid in _OIDS)


def _private(path: Path, data: bytes) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    for match in _PEM.finditer(data):
        if match[1].endswith(b"PRIVATE KEY"):
            try:
                return load_pem_private_key(match[0], None)
            except (ValueError, TypeError, UnsupportedAlgorithm):
                # the library's words may quote the file
                break
    raise ValueError(f"data in {path} does not contain a valid RSA or ECDSA private key")


def _publics(path: Path, data: bytes) -> list[PublicKey]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

    out = []
    for match in _PEM.finditer(data):
        try:
            if match[1] == b"CERTIFICATE":
                from cryptography import x509

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
