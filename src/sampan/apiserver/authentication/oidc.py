"""Identity tokens of an OpenID issuer: the issuer's keys are fetched when the first token comes, and again when a token
is signed with one that is not known yet.

Fetching is tried at most every few seconds, whatever tokens are thrown at it, and a token waits for it. Keys that do not
come leave the last ones in place.

DEVIATION: distributed claims (`_claim_names`) are not followed.

Source: k8s.io/apiserver/plugin/pkg/authenticator/token/oidc/oidc.go; github.com/coreos/go-oidc/{verify,jwks}.go
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from sampan.api.user import CREDENTIAL_ID, User
from sampan.apiserver.authentication import jws
from sampan.apiserver.authentication.bearer import Answer, Audiences, BadToken, Verified
from sampan.apiserver.config import OidcConfig
from sampan.http.client import HttpClient
from sampan.http.errors import HttpError
from sampan.http.proxies import Proxies

log = logging.getLogger("sampan.apiserver")
FETCH_SECONDS, FETCH_BYTES = 30.0, 1 << 20
#: between two attempts to get keys: where there are none yet, and where a token asks for one that is not known
AGAIN_SECONDS, REFRESH_SECONDS = 10.0, 2.0
#: how far into the future `nbf` may lie
NOT_BEFORE_LEEWAY = 300.0
WELL_KNOWN = "/.well-known/openid-configuration"


class Oidc:
    """Raises OSError for a CA file that cannot be read."""

    def __init__(self, config: OidcConfig, clock: Callable[[], float]) -> None:
        self._config = config
        self._clock = clock
        context = ssl.create_default_context(cafile=str(config.ca_file) if config.ca_file else None)
        self._client = HttpClient(
            ssl_context=context, max_connections_per_host=2, proxies=Proxies.from_environment(os.environ)
        )
        #: None: nobody could be asked yet
        self._keys: list[dict[str, Any]] | None = None
        self._jwks_uri = ""
        self._tried = float("-inf")
        self._lock = asyncio.Lock()
        prefix = config.username_prefix
        if not prefix and config.username_claim != "email":
            prefix = config.issuer_url + "#"
        self._prefix = "" if prefix == "-" else prefix

    async def close(self) -> None:
        await self._client.aclose()

    def verify(self, token: str, audiences: Audiences) -> Awaitable[Answer] | None:
        peeked = jws.peek(token)
        if peeked is None or jws.text(peeked[1], "iss") != self._config.issuer_url:
            return None
        return self._verify(token, *peeked)

    async def _verify(self, token: str, header: jws.Claims, peeked: jws.Claims) -> Verified:
        if self._keys is None:
            await self._fetch(AGAIN_SECONDS)
        if self._keys is None:
            raise BadToken("oidc: authenticator not initialized")
        try:
            # what costs nothing to refuse is refused before keys are fetched
            self._check(header, peeked)
            claims = self._signed(token, header)
            if claims is None:
                await self._fetch(REFRESH_SECONDS)
                claims = self._signed(token, header)
            if claims is None:
                raise BadToken("failed to verify signature: failed to verify id token signature")
        except BadToken as error:
            raise BadToken(f"oidc: verify token: {error}") from None
        return Verified(self._user(claims), None, jws.seconds(claims, "exp") or 0.0)

    def _check(self, header: jws.Claims, claims: jws.Claims) -> None:
        now, client, algs = self._clock(), self._config.client_id, self._config.signing_algs
        audiences = jws.audiences(claims)
        if client not in audiences:
            raise BadToken(f'oidc: expected audience "{client}" got {_shown(audiences)}')
        end = jws.seconds(claims, "exp") or 0.0
        if end < now:
            raise BadToken(f"oidc: token is expired (Token Expiry: {_time(end)})")
        start = jws.seconds(claims, "nbf")
        if start is not None and start > now + NOT_BEFORE_LEEWAY:
            raise BadToken(f"oidc: current time {_time(now)} before the nbf (not before) time: {_time(start)}")
        if header["alg"] not in algs:
            raise BadToken(
                f'oidc: id token signed with unsupported algorithm, expected {_shown(algs)} got "{header["alg"]}"'
            )

    def _signed(self, token: str, header: jws.Claims) -> jws.Claims | None:
        """None: no key that we have has signed it."""
        import jwt

        key_id = jws.text(header, "kid")
        for key in self._keys or ():
            if key_id and key.get("kid", key_id) != key_id:
                continue
            try:
                public = jwt.PyJWK(key, header["alg"]).key
                return jws.verify(token, public, header["alg"])
            except (BadToken, jwt.PyJWTError, TypeError, ValueError, RecursionError):
                continue
        return None

    # -- keys ----------------------------------------------------------------------------------------------------------

    async def _fetch(self, pause: float) -> None:
        """Get the keys, unless that was tried just now. Those who come meanwhile wait for the same attempt."""
        loop = asyncio.get_running_loop()
        asked = loop.time()
        async with self._lock:
            if self._tried >= asked or loop.time() - self._tried < pause:
                return
            try:
                if not self._jwks_uri:
                    self._jwks_uri = await self._discover()
                keys = (await self._get(self._jwks_uri)).get("keys")
                if not isinstance(keys, list):
                    raise ValueError("the key set has no keys")
                self._keys = [key for key in keys if _is_public(key)]
            except (HttpError, ValueError) as error:
                log.error("oidc authenticator: %s: %s", self._config.issuer_url, error)
            finally:
                self._tried = loop.time()

    async def _discover(self) -> str:
        document = await self._get(self._config.issuer_url.rstrip("/") + WELL_KNOWN)
        issuer, uri = jws.text(document, "issuer"), jws.text(document, "jwks_uri")
        if issuer != self._config.issuer_url:
            raise ValueError(
                f'oidc: issuer did not match the issuer returned by provider, expected "{self._config.issuer_url}" got "{issuer}"'
            )
        if not uri.startswith("https://"):
            raise ValueError(f'jwks_uri is no https URL: "{uri}"')
        return uri

    async def _get(self, url: str) -> dict[str, Any]:
        """Raises HttpError, ValueError."""
        reply = await self._client.request("GET", url, timeout=FETCH_SECONDS, max_body=FETCH_BYTES)
        if reply.code != 200:
            raise ValueError(f"{url} answered {reply.code}")
        found = orjson.loads(reply.body)
        if not isinstance(found, dict):
            raise ValueError(f"{url} did not answer with an object")
        return found

    # -- claims --------------------------------------------------------------------------------------------------------

    def _user(self, claims: jws.Claims) -> User:
        """Raises BadToken."""
        config = self._config
        if config.username_claim not in claims:
            raise BadToken(f'oidc: parse username claims "{config.username_claim}": claim not present')
        name = jws.text(claims, config.username_claim)
        if not name:
            raise BadToken(f'oidc: parse username claims "{config.username_claim}": not a text, or empty')
        if config.username_claim == "email" and "email_verified" in claims:
            verified = claims["email_verified"]
            if not isinstance(verified, bool):
                raise BadToken("oidc: parse 'email_verified' claim: not a boolean")
            if not verified:
                raise BadToken("oidc: email not verified")
        groups = self._groups(claims)
        for claim, wanted in config.required_claims:
            if claim not in claims:
                raise BadToken(f"oidc: required claim {claim} not present in ID token")
            if not isinstance(claims[claim], str):
                raise BadToken(f"oidc: parse claim {claim}: not a text")
            if claims[claim] != wanted:
                raise BadToken(
                    f"oidc: required claim {claim} value does not match. Got = {claims[claim]}, want = {wanted}"
                )
        token_id = jws.text(claims, "jti")
        extra = {CREDENTIAL_ID: [jws.credential_id(token_id)]} if token_id else {}
        return User(self._prefix + name, groups, "", extra)

    def _groups(self, claims: jws.Claims) -> tuple[str, ...]:
        """One text is one group, as some issuers have it."""
        claim = self._config.groups_claim
        found = claims.get(claim) if claim else None
        if found is None:
            return ()
        listed = [found] if isinstance(found, str) else found
        if not isinstance(listed, list) or not all(isinstance(group, str) for group in listed):
            raise BadToken(f'oidc: parse groups claim "{claim}": neither a text nor a list of texts')
        return tuple(self._config.groups_prefix + group for group in listed)


def _is_public(key: Any) -> bool:
    """Symmetric keys verify nothing here."""
    return isinstance(key, dict) and key.get("kty") in ("RSA", "EC") and key.get("use", "sig") == "sig"


def _shown(names: tuple[str, ...]) -> str:
    return "[" + " ".join(f'"{name}"' for name in names) + "]"


def _time(epoch: float) -> str:
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
    except (ValueError, OverflowError, OSError):
        # no calendar goes so far
        return str(epoch)
