"""Compact signed tokens: taken apart without belief, then believed once a key of ours has verified them.

Source: RFC 7515; kubernetes/pkg/serviceaccount/jwt.go
"""

from __future__ import annotations

import base64
import re
from typing import Any

import orjson

from sampan.apiserver.authentication.bearer import BadToken

Claims = dict[str, Any]
_COMPACT = re.compile(r"([\w-]+)\.([\w-]+)\.([\w-]+)", re.ASCII)
#: what clocks may differ by
LEEWAY = 60.0
BAD_SIGNATURE = "go-jose/go-jose: error in cryptographic primitive"


def peek(token: str) -> tuple[Claims, Claims] | None:
    """Header and claims, verified by nobody yet; None: not a compact token. One without a signature (`alg: none`) is
    none."""
    match = _COMPACT.fullmatch(token)
    if match is None:
        return None
    try:
        header, claims = (orjson.loads(base64.urlsafe_b64decode(part + "==")) for part in match.groups()[:2])
    except ValueError:
        return None
    if not isinstance(header, dict) or not isinstance(claims, dict) or not isinstance(header.get("alg"), str):
        return None
    return header, claims


def verify(token: str, key: Any, algorithm: str) -> Claims:
    """The claims, once `key` has verified them by `algorithm`. Raises BadToken."""
    import jwt

    try:
        claims = orjson.loads(jwt.PyJWS().decode(token, key, algorithms=[algorithm]))
    except (jwt.PyJWTError, TypeError, ValueError, RecursionError):
        raise BadToken(BAD_SIGNATURE) from None
    if not isinstance(claims, dict):
        raise BadToken(BAD_SIGNATURE)
    return claims


def text(claims: Claims, *path: str) -> str:
    """A claim that should be text; empty where it is not."""
    value: Any = claims
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def seconds(claims: Claims, name: str) -> float | None:
    """A claim that is a time. Raises BadToken for one that should be and is not."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadToken(f"claim {name} is not a time")
    return float(value)


def audiences(claims: Claims) -> tuple[str, ...]:
    """Raises BadToken."""
    value = claims.get("aud")
    listed = [value] if isinstance(value, str) else value if value is not None else []
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise BadToken("claim aud is neither text nor a list of texts")
    return tuple(listed)


def credential_id(jti: str) -> str:
    return f"JTI={jti}"
