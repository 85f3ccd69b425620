"""Who asks the kubelet: a client certificate that the TLS layer has checked, or a token that the API server knows.

DEVIATION: a certificate of another CA ends the handshake, where upstream lets it pass and answers 401.

What the API server says of a token is believed for two minutes. Nobody else gets in, unless anonymous requests are allowed.

Source: kubernetes/cmd/kubelet/app/auth.go (BuildAuthn), k8s.io/apiserver/pkg/authentication/request/x509
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sampan.api.errors import StatusError
from sampan.client import Client
from sampan.http import HttpError
from sampan.http.server.messages import Request

TOKEN_SECONDS, MOST_TOKENS = 120.0, 4096
log = logging.getLogger("sampan.kubelet.server")


@dataclass(frozen=True, slots=True)
class User:
    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: dict[str, list[str]] = field(default_factory=dict, hash=False)


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


class Authentication:
    """`client` None: tokens are not believed. `clock`: seconds since 1970."""

    def __init__(self, client: Client | None, *, clock: Callable[[], float], anonymous: bool = False) -> None:
        self._client = client
        self._clock = clock
        self._anonymous = anonymous
        self._known: dict[bytes, tuple[User | None, float]] = {}

    async def __call__(self, request: Request) -> User | None:
        """None: 401."""
        if request.peer_certificate is not None:
            user, start, end = of_certificate(request.peer_certificate)
            if user is not None:
                return user if start <= self._clock() <= end else None
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return await self._of_token(token.strip())
        return ANONYMOUS if self._anonymous else None

    async def _of_token(self, token: str) -> User | None:
        if self._client is None:
            return None
        key, now = hashlib.sha256(token.encode()).digest(), asyncio.get_running_loop().time()
        known = self._known.get(key)
        if known is not None and now < known[1]:
            return known[0]
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        try:
            status = (await self._client.create("tokenreviews", review)).get("status") or {}
        except (StatusError, HttpError) as error:
            log.error("Unable to authenticate the request due to an error: %s", error)
            return None
        user = _reviewed(status)
        if len(self._known) >= MOST_TOKENS:
            self._known.clear()
        self._known[key] = user, now + TOKEN_SECONDS
        return user


def _reviewed(status: dict[str, Any]) -> User | None:
    found = status.get("user") or {}
    if not status.get("authenticated") or not found.get("username"):
        return None
    return User(found["username"], tuple(found.get("groups") or ()), found.get("uid", ""), found.get("extra") or {})


@functools.lru_cache(maxsize=256)
def of_certificate(der: bytes) -> tuple[User | None, float, float]:
    """Common name and organisations, and from when to when."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    certificate = x509.load_der_x509_certificate(der)
    names = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    user = User(names[-1], (*groups, "system:authenticated")) if names and names[-1] else None
    return user, certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
