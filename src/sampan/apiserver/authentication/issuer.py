"""Issuing ServiceAccount tokens: bound ones for TokenRequest, and the unending ones of token Secrets.

Source: kubernetes/pkg/serviceaccount/{claims,legacy,jwt}.go
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sampan.api.kind import Obj
from sampan.apiserver.authentication import service_account
from sampan.apiserver.authentication.keys import KeyRing

LEGACY_ISSUER = "kubernetes/serviceaccount"
LEGACY = "kubernetes.io/serviceaccount/"
#: what the ServiceAccount admission plugin asks for: such tokens of pods last longer, and are told apart by `warnafter`
WARN_ONLY_SECONDS = 60 * 60 + 7
EXTENDED_SECONDS = 365 * 24 * 60 * 60


class Issuer:
    """Signs in the name of `issuer`; `audiences` are the API server's. `max_seconds` 0: as long as asked for."""

    def __init__(
        self, keys: KeyRing, issuer: str, audiences: Sequence[str], *, max_seconds: int = 0, extend: bool = True
    ) -> None:
        self.keys = keys
        self.issuer = issuer
        self.audiences = tuple(audiences)
        self.max_seconds = max_seconds
        self.extend = extend

    def bound(
        self,
        account: Obj,
        *,
        now: float,
        seconds: int,
        audiences: Sequence[str],
        pod: Obj | None = None,
        secret: Obj | None = None,
        node: Obj | None = None,
    ) -> str:
        """A token that ends with its time and with the objects it is bound to; a pod's node is told, not bound to."""
        start = int(now)
        warn_after = 0
        if self.extend and pod and seconds == WARN_ONLY_SECONDS and set(audiences) <= set(self.audiences):
            warn_after, seconds = start + seconds, EXTENDED_SECONDS
        meta = account["metadata"]
        private: dict[str, Any] = {"namespace": meta["namespace"]}
        if node:
            private["node"] = _reference(node)
        if pod:
            private["pod"] = _reference(pod)
        if secret:
            private["secret"] = _reference(secret)
        private["serviceaccount"] = _reference(account)
        if warn_after:
            private["warnafter"] = warn_after
        return self._sign(
            {
                "aud": list(audiences),
                "exp": start + seconds,
                "iat": start,
                "iss": self.issuer,
                "jti": str(uuid.uuid4()),
                "kubernetes.io": private,
                "nbf": start,
                "sub": service_account.username(meta["namespace"], meta["name"]),
            }
        )

    def legacy(self, account: Obj, secret: Obj) -> str:
        """A token that ends with its Secret."""
        meta = account["metadata"]
        return self._sign(
            {
                "iss": LEGACY_ISSUER,
                LEGACY + "namespace": meta["namespace"],
                LEGACY + "secret.name": secret["metadata"]["name"],
                LEGACY + "service-account.name": meta["name"],
                LEGACY + "service-account.uid": meta["uid"],
                "sub": service_account.username(meta["namespace"], meta["name"]),
            }
        )

    def _sign(self, claims: dict[str, Any]) -> str:
        import jwt

        signing = self.keys.signing
        header = {"kid": signing.public.id, "typ": None}
        return jwt.encode(claims, signing.key, algorithm=signing.public.algorithm, headers=header)


def _reference(obj: Obj) -> dict[str, str]:
    """A node that is not there any more has no uid."""
    meta = obj["metadata"]
    return {"name": meta["name"], **({"uid": meta["uid"]} if meta.get("uid") else {})}
