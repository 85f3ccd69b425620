"""Who asks a component, and whether it may: the API server is asked, by whoever has a port of its own (kubelet, scheduler,
controller manager).

A client certificate that the TLS layer has checked says who it is, or a token that the API server knows. Nobody else gets in,
unless anonymous requests are allowed. What was answered is believed for a while.

DEVIATION: a certificate of another CA ends the handshake, where upstream lets it pass and answers 401.

Source: kubernetes/cmd/kubelet/app/auth.go, k8s.io/apiserver/pkg/authentication/request/x509, pkg/server/options/{authentication,authorization}.go
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
from collections.abc import Callable
from typing import Any

from sampan.api.errors import StatusError
from sampan.api.user import ANONYMOUS, MASTERS, User
from sampan.client.client import Client
from sampan.http import HttpError
from sampan.http.server.messages import Request

TOKEN_SECONDS = 120.0
ALLOWED_SECONDS, REFUSED_SECONDS = 300.0, 30.0
#: remembered answers, of each kind
MOST = 4096
log = logging.getLogger("sampan.client")


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
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[key] = user, now + TOKEN_SECONDS
        return user


class Authorization:
    """`allowed`, `refused`: seconds for which such an answer is believed."""

    def __init__(self, client: Client, *, allowed: float = ALLOWED_SECONDS, refused: float = REFUSED_SECONDS) -> None:
        self._client = client
        self._allowed, self._refused = allowed, refused
        self._known: dict[tuple[Any, ...], tuple[bool, float]] = {}

    async def __call__(self, user: User, **attributes: dict[str, str]) -> bool:
        """`resourceAttributes` or `nonResourceAttributes`, as a SubjectAccessReview has them. Raises StatusError, HttpError
        where there is no answer."""
        if MASTERS in user.groups:
            return True
        extra = tuple((key, tuple(values)) for key, values in sorted(user.extra.items()))
        asked = tuple((kind, *found.items()) for kind, found in attributes.items())
        key, now = (user.name, user.uid, user.groups, extra, asked), asyncio.get_running_loop().time()
        known = self._known.get(key)
        if known is not None and now < known[1]:
            return known[0]
        spec: dict[str, Any] = {"user": user.name, "groups": list(user.groups), **attributes}
        if user.uid:
            spec["uid"] = user.uid
        if user.extra:
            spec["extra"] = user.extra
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        answer = await self._client.create("subjectaccessreviews", review)
        allowed = bool((answer.get("status") or {}).get("allowed"))
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[key] = allowed, now + (self._allowed if allowed else self._refused)
        return allowed


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
