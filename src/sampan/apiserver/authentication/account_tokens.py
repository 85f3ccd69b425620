"""Believing ServiceAccount tokens: signature, issuer, audience, time, and that what they hang on still exists.

A token names its ServiceAccount, and perhaps a Pod, Secret or Node, by name and uid. One that is gone, or has another
uid, or has been deleted for a minute, ends the token. Everything that was looked at is handed on, so that the token is
believed only while it is unchanged.

Source: kubernetes/pkg/serviceaccount/{jwt,claims,legacy}.go
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

import orjson

from sampan.api.core_v1.secret import INVALID_SINCE
from sampan.api.kind import Obj
from sampan.api.times import parse_time
from sampan.api.user import CREDENTIAL_ID, User
from sampan.apiserver.authentication import jws, service_account
from sampan.apiserver.authentication.bearer import Answer, Audiences, BadToken, Verified
from sampan.apiserver.authentication.issuer import LEGACY, LEGACY_ISSUER
from sampan.apiserver.authentication.keys import ALGORITHMS, KeyRing
from sampan.apiserver.cache import Record, ResourceCache

if TYPE_CHECKING:
    from sampan.apiserver.api import Api

EXTRA = "authentication.kubernetes.io/"
INVALIDATED = "service account token has been invalidated"
FOREVER = float("inf")


class Gone(BadToken):
    """Something the token hangs on is not in the cache, or not as the token says."""


class Evidence:
    """What was looked at, and how long it can be trusted to stay good."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.now = api.clock()
        self.until = FOREVER
        self.seen: list[tuple[ResourceCache, str, Record]] = []

    def find(self, resource: str, namespace: str, name: str) -> Obj | None:
        cache = self.api.cached("", resource)
        key = f"{namespace}/{name}" if namespace else name
        record = cache.get(key)
        if record is None:
            return None
        self.seen.append((cache, key, record))
        obj: Obj = orjson.loads(record.value)
        return obj

    def deleted(self, obj: Obj) -> bool:
        """For longer than clocks differ; for less, it will be."""
        when = obj["metadata"].get("deletionTimestamp")
        if not when:
            return False
        end = parse_time(when) + jws.LEEWAY
        self.until = min(self.until, end)
        return end < self.now


class AccountTokens:
    """Of `issuers`, and of token Secrets."""

    def __init__(self, api: Api, keys: KeyRing, issuers: Iterable[str], audiences: Audiences) -> None:
        self._api = api
        self._keys = keys
        self._issuers = frozenset(issuers)
        self._audiences = audiences
        #: is told of each Secret whose token is used
        self.used: Callable[[Obj], object] = lambda secret: None

    def verify(self, token: str, audiences: Audiences) -> Answer | Awaitable[Answer]:
        peeked = jws.peek(token)
        if peeked is None or peeked[0]["alg"] not in ALGORITHMS:
            return None
        issuer = jws.text(peeked[1], "iss")
        if issuer != LEGACY_ISSUER and issuer not in self._issuers:
            return None
        key_id = jws.text(peeked[0], "kid")
        claims = self._signed(token, key_id, peeked[0]["alg"])
        try:
            return self._judge(token, claims, audiences)
        except Gone:
            if self._api.local:
                raise
            return self._again(token, claims, audiences)

    async def _again(self, token: str, claims: jws.Claims, audiences: Audiences) -> Answer:
        """A shared store may know of objects that have not reached us."""
        await self._api.fresh()
        return self._judge(token, claims, audiences)

    def _signed(self, token: str, key_id: str, algorithm: str) -> jws.Claims:
        known = self._keys.verifying
        keys = [known[key_id]] if key_id in known else [] if key_id else list(known.values())
        if not keys:
            raise BadToken("invalid signature, no keys found")
        for key in keys:
            if key.algorithm == algorithm:
                try:
                    return jws.verify(token, key.key, algorithm)
                except BadToken:
                    continue
        raise BadToken(jws.BAD_SIGNATURE)

    def _judge(self, token: str, claims: jws.Claims, audiences: Audiences) -> Verified:
        meant = jws.audiences(claims) or self._audiences
        shared = tuple(name for name in meant if name in audiences)
        if not shared:
            raise BadToken(f"token audiences {_listed(meant)} is invalid for the target audiences {_listed(audiences)}")
        evidence = Evidence(self._api)
        judge = self._legacy if jws.text(claims, "iss") == LEGACY_ISSUER else self._bound
        user = judge(token, claims, evidence)
        return Verified(user, shared, evidence.until, tuple(evidence.seen))

    # -- tokens that TokenRequest made ---------------------------------------------------------------------------------

    def _bound(self, token: str, claims: jws.Claims, evidence: Evidence) -> User:
        _check_times(claims, evidence)
        private = claims.get("kubernetes.io")
        namespace, name = jws.text(claims, "kubernetes.io", "namespace"), _name(claims, "serviceaccount")
        if not isinstance(private, dict) or not namespace or not name:
            raise BadToken("service account token claims could not be validated due to unexpected private claim")
        account = evidence.find("serviceaccounts", namespace, name)
        if account is None:
            raise Gone(f'serviceaccounts "{name}" not found')
        uid = _same_uid(claims, "serviceaccount", account, "service account UID ({}) does not match claim ({})")
        if evidence.deleted(account):
            raise BadToken(f"service account {namespace}/{name} has been deleted")
        extra: dict[str, list[str]] = {}
        if jws.text(claims, "jti"):
            extra[CREDENTIAL_ID] = [jws.credential_id(jws.text(claims, "jti"))]
        if "secret" in private:
            self._still_there(claims, "secret", namespace, evidence)
        if "pod" in private:
            extra[EXTRA + "pod-name"] = [_name(claims, "pod")]
            extra[EXTRA + "pod-uid"] = [self._still_there(claims, "pod", namespace, evidence)]
        if "node" in private:
            extra[EXTRA + "node-name"] = [_name(claims, "node")]
            node_uid = jws.text(claims, "kubernetes.io", "node", "uid")
            if "pod" not in private:
                node_uid = self._still_there(claims, "node", "", evidence)
            if node_uid:
                extra[EXTRA + "node-uid"] = [node_uid]
        return _user(namespace, name, uid, extra)

    @staticmethod
    def _still_there(claims: jws.Claims, what: str, namespace: str, evidence: Evidence) -> str:
        """Its uid. Raises Gone, BadToken."""
        obj = evidence.find(what + "s", namespace, _name(claims, what))
        if obj is None:
            raise Gone(INVALIDATED)
        uid = _same_uid(claims, what, obj, f"{what} UID ({{}}) does not match service account {what} ref claim ({{}})")
        if evidence.deleted(obj):
            raise BadToken(INVALIDATED)
        return uid

    # -- tokens of Secrets ---------------------------------------------------------------------------------------------

    def _legacy(self, token: str, claims: jws.Claims, evidence: Evidence) -> User:
        if not jws.text(claims, "sub"):
            raise BadToken("sub claim is missing")
        wanted = {}
        for claim, shown in (
            ("namespace", "namespace"),
            ("secret.name", "secretName"),
            ("service-account.name", "serviceAccountName"),
            ("service-account.uid", "serviceAccountUID"),
        ):
            wanted[claim] = jws.text(claims, LEGACY + claim)
            if not wanted[claim]:
                raise BadToken(f"{shown} claim is missing")
        namespace, secret_name, name, uid = wanted.values()
        if service_account.split_username(jws.text(claims, "sub")) != (namespace, name):
            raise BadToken("sub claim is invalid")
        secret = evidence.find("secrets", namespace, secret_name)
        if secret is None:
            raise Gone("Token has been invalidated")
        if evidence.deleted(secret):
            raise BadToken("Token has been invalidated")
        if not hmac.compare_digest(_token_in(secret), token.encode()):
            raise Gone("Token does not match server's copy")
        account = evidence.find("serviceaccounts", namespace, name)
        if account is None:
            raise Gone(f'serviceaccounts "{name}" not found')
        if evidence.deleted(account):
            raise BadToken(f"ServiceAccount {namespace}/{name} has been deleted")
        if account["metadata"]["uid"] != uid:
            raise Gone(f"ServiceAccount UID ({account['metadata']['uid']}) does not match claim ({uid})")
        self.used(secret)
        if (secret["metadata"].get("labels") or {}).get(INVALID_SINCE):
            raise BadToken(
                f"the token in secret {namespace}/{secret_name} for service account {namespace}/{name} has been marked "
                "invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the "
                f"'{INVALID_SINCE}' label from the secret to temporarily allow use of this token"
            )
        return _user(namespace, name, uid, {})


def _check_times(claims: jws.Claims, evidence: Evidence) -> None:
    """Raises BadToken. A token without an end has none of ours."""
    end = jws.seconds(claims, "exp")
    if end is None or evidence.now - jws.LEEWAY > end:
        raise BadToken("service account token has expired")
    if (jws.seconds(claims, "nbf") or 0) > evidence.now + jws.LEEWAY:
        raise BadToken("service account token is not valid yet")
    if (jws.seconds(claims, "iat") or 0) > evidence.now + jws.LEEWAY:
        raise BadToken("service account token is issued in the future")
    evidence.until = min(evidence.until, end + jws.LEEWAY)


def _name(claims: jws.Claims, what: str) -> str:
    return jws.text(claims, "kubernetes.io", what, "name")


def _same_uid(claims: jws.Claims, what: str, obj: Obj, message: str) -> str:
    found, claimed = obj["metadata"]["uid"], jws.text(claims, "kubernetes.io", what, "uid")
    if found != claimed:
        raise Gone(message.format(found, claimed))
    return claimed


def _user(namespace: str, name: str, uid: str, extra: dict[str, list[str]]) -> User:
    return User(service_account.username(namespace, name), service_account.groups(namespace), uid, extra)


def _token_in(secret: Obj) -> bytes:
    try:
        return base64.b64decode((secret.get("data") or {}).get("token", ""))
    except ValueError:
        return b""


def _listed(names: Iterable[str]) -> str:
    return "[" + " ".join(f'"{name}"' for name in names) + "]"
