"""Identity tokens of an OpenID issuer: an issuer runs beside the server, over TLS, and signs good and bad tokens."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sampan.api.user import User
from sampan.apiserver.authentication import oidc
from sampan.apiserver.authentication.bearer import BadToken, BearerTokens, Refused, Verified
from sampan.apiserver.authentication.oidc import Oidc
from sampan.apiserver.config import OidcConfig
from sampan.cluster.certificates import Pki
from sampan.http.server.listener import Server
from sampan.http.server.messages import Request, Response

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


class Issuer:
    """Serves its documents and signs."""

    def __init__(self) -> None:
        self.url = ""
        self.keys: dict[str, Any] = {"r1": RSA}
        self.document: dict[str, Any] = {}
        self.asked: list[str] = []
        self.broken = False

    def __call__(self, request: Request) -> Response:
        self.asked.append(request.raw_path)
        if self.broken:
            return Response(500, (), b"{}")
        if request.raw_path == "/.well-known/openid-configuration":
            found = {"issuer": self.url, "jwks_uri": self.url + "/keys", **self.document}
        else:
            found = {"keys": [self._jwk(key_id, key) for key_id, key in self.keys.items()]}
        return Response(200, (("Content-Type", "application/json"),), json.dumps(found).encode())

    @staticmethod
    def _jwk(key_id: str, key: Any) -> dict[str, Any]:
        algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
        return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": key_id, "use": "sig"}

    def sign(self, key: Any = RSA, algorithm: str = "RS256", key_id: str = "r1", **changes: Any) -> str:
        now = int(time.time())
        claims = {"iss": self.url, "aud": "kube", "sub": "jane", "iat": now, "exp": now + 60, **changes}
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.PyJWS().encode(json.dumps(claims).encode(), key, algorithm, {"kid": key_id})


@pytest.fixture
async def issuer(pki: Pki) -> AsyncIterator[Issuer]:
    made = Issuer()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.path("apiserver.crt"), pki.path("apiserver.key"))
    server = Server(made, ssl_context=context, hosts=("127.0.0.1",), port=0)
    await server.start()
    made.url = f"https://127.0.0.1:{server.port}"
    yield made
    await server.shutdown(0)


@pytest.fixture
async def believer(issuer: Issuer, pki: Pki) -> AsyncIterator[Believer]:
    made = Believer(OidcConfig(issuer.url, "kube", ca_file=pki.path("ca.crt")))
    yield made
    await made.oidc.close()


class Believer:
    def __init__(self, config: OidcConfig) -> None:
        self.config = config
        self.oidc = Oidc(config, time.time)

    def configure(self, **changes: Any) -> None:
        self.config = replace(self.config, **changes)
        keys, self.oidc = self.oidc, Oidc(self.config, time.time)
        self.oidc._client = keys._client

    async def user(self, token: str) -> User:
        answer = self.oidc.verify(token, ("kube",))
        assert answer is not None
        verified = await answer
        assert verified is not None
        return verified.user

    async def refuses(self, token: str) -> str:
        with pytest.raises(BadToken) as caught:
            await self.user(token)
        assert token not in str(caught.value)
        return str(caught.value)


async def test_believes(issuer: Issuer, believer: Believer) -> None:
    token = issuer.sign(jti="j-1", groups=["a", "b"])
    user = await believer.user(token)
    assert user.name == f"{issuer.url}#jane" and user.groups == ()
    assert user.extra == {"authentication.kubernetes.io/credential-id": ["JTI=j-1"]}
    assert await believer.user(issuer.sign(aud=["other", "kube"]))
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


@pytest.mark.parametrize(
    ("settings", "claims", "name", "groups"),
    [
        ({"username_prefix": "oidc:"}, {}, "oidc:jane", ()),
        ({"username_prefix": "-"}, {}, "jane", ()),
        ({"username_claim": "email"}, {"email": "j@x.org"}, "j@x.org", ()),
        ({"username_claim": "email"}, {"email": "j@x.org", "email_verified": True}, "j@x.org", ()),
        ({"username_claim": "email", "username_prefix": "o:"}, {"email": "j@x.org"}, "o:j@x.org", ()),
        ({"username_prefix": "-", "groups_claim": "roles"}, {"roles": ["a", "b"]}, "jane", ("a", "b")),
        ({"username_prefix": "-", "groups_claim": "roles", "groups_prefix": "o:"}, {"roles": "a"}, "jane", ("o:a",)),
        ({"username_prefix": "-", "groups_claim": "roles"}, {}, "jane", ()),
        ({"username_prefix": "-", "required_claims": (("hd", "x.org"),)}, {"hd": "x.org"}, "jane", ()),
    ],
)
async def test_claims(
    issuer: Issuer, believer: Believer, settings: Any, claims: Any, name: str, groups: tuple[str, ...]
) -> None:
    believer.configure(**settings)
    user = await believer.user(issuer.sign(**claims))
    assert (user.name, user.groups) == (name, groups)


@pytest.mark.parametrize(
    ("settings", "claims", "why"),
    [
        ({}, {"aud": "other"}, 'oidc: verify token: oidc: expected audience "kube" got ["other"]'),
        ({}, {"aud": None}, 'oidc: verify token: oidc: expected audience "kube" got []'),
        ({}, {"exp": 1000}, "oidc: verify token: oidc: token is expired (Token Expiry: 1970-01-01 00:16:40 +0000 UTC)"),
        ({}, {"exp": None}, "oidc: verify token: oidc: token is expired (Token Expiry: 1970-01-01 00:00:00 +0000 UTC)"),
        ({}, {"nbf": time.time() + 1000}, "before the nbf (not before) time"),
        ({}, {"nbf": 1e300}, "before the nbf (not before) time: 1e+300"),
        ({}, {"exp": -(10**18)}, "oidc: token is expired (Token Expiry: -1e+18)"),
        ({}, {"exp": "x"}, "oidc: verify token: claim exp is not a time"),
        ({}, {"sub": None}, 'oidc: parse username claims "sub": claim not present'),
        ({}, {"sub": ""}, 'oidc: parse username claims "sub": not a text, or empty'),
        ({}, {"sub": {"a": 1}}, 'oidc: parse username claims "sub": not a text, or empty'),
        ({"username_claim": "email"}, {"email": "a@b", "email_verified": False}, "oidc: email not verified"),
        ({"username_claim": "email"}, {"email": "a@b", "email_verified": "true"}, "oidc: parse 'email_verified' claim"),
        ({"groups_claim": "roles"}, {"roles": [1]}, 'oidc: parse groups claim "roles"'),
        ({"required_claims": (("hd", "x.org"),)}, {}, "oidc: required claim hd not present in ID token"),
        ({"required_claims": (("hd", "x.org"),)}, {"hd": "y"}, "oidc: required claim hd value does not match. Got = y, want = x.org"),
    ],
)  # fmt: skip
async def test_bad_claims(issuer: Issuer, believer: Believer, settings: Any, claims: Any, why: str) -> None:
    believer.configure(**settings)
    assert why in await believer.refuses(issuer.sign(**claims))


async def test_bad_signatures(issuer: Issuer, believer: Believer) -> None:
    unsupported = 'oidc: verify token: oidc: id token signed with unsupported algorithm, expected ["RS256"] got '
    public = RSA.public_key().public_numbers().n.to_bytes(256)
    assert await believer.refuses(issuer.sign(public, "HS256")) == unsupported + '"HS256"'
    assert await believer.refuses(issuer.sign(RSA, "RS512")) == unsupported + '"RS512"'
    unsigned = issuer.sign(None, "none")
    assert believer.oidc.verify(unsigned, ()) is None
    assert await believer.refuses(unsigned + "x") == unsupported + '"none"'
    bad = "oidc: verify token: failed to verify signature: failed to verify id token signature"
    assert await believer.refuses(issuer.sign(rsa.generate_private_key(65537, 2048))) == bad
    head, _, signature = issuer.sign().split(".")
    assert await believer.refuses(f"{head}.{issuer.sign(sub='root').split('.')[1]}.{signature}") == bad


async def test_keys_of_another_kind(issuer: Issuer, believer: Believer) -> None:
    """A key does not serve an algorithm that is not its own."""
    issuer.keys["e1"] = EC
    assert "failed to verify id token signature" in await believer.refuses(issuer.sign(RSA, "RS256", "e1"))
    believer.configure(signing_algs=("RS256", "ES256"))
    assert (await believer.user(issuer.sign(EC, "ES256", "e1"))).name.endswith("#jane")


async def test_another_issuer_is_not_asked_about(issuer: Issuer, believer: Believer) -> None:
    assert believer.oidc.verify(issuer.sign(iss="https://elsewhere"), ()) is None
    assert believer.oidc.verify("rubbish", ()) is None
    assert issuer.asked == []


async def test_new_keys_are_fetched_but_not_by_every_token(
    issuer: Issuer, believer: Believer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await believer.user(issuer.sign())
    fresh = rsa.generate_private_key(65537, 2048)
    issuer.keys = {"r2": fresh}
    monkeypatch.setattr(oidc, "REFRESH_SECONDS", 0)
    good, old = issuer.sign(fresh, key_id="r2"), issuer.sign()
    assert (await asyncio.gather(believer.user(good), believer.user(good)))[0].name.endswith("#jane")
    assert issuer.asked.count("/keys") == 2
    assert "failed to verify" in await believer.refuses(old)
    monkeypatch.setattr(oidc, "REFRESH_SECONDS", 3600)
    asked = len(issuer.asked)
    for number in range(5):
        await believer.refuses(issuer.sign(fresh, key_id=f"guess-{number}"))
    assert len(issuer.asked) == asked


async def test_an_issuer_that_is_not_there(issuer: Issuer, believer: Believer, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer.broken = True
    assert await believer.refuses(issuer.sign()) == "oidc: authenticator not initialized"
    asked = len(issuer.asked)
    assert await believer.refuses(issuer.sign()) == "oidc: authenticator not initialized"
    assert len(issuer.asked) == asked
    issuer.broken = False
    monkeypatch.setattr(oidc, "AGAIN_SECONDS", 0)
    assert await believer.user(issuer.sign())
    issuer.broken = True
    monkeypatch.setattr(oidc, "REFRESH_SECONDS", 0)
    assert "failed to verify" in await believer.refuses(issuer.sign(key_id="r9"))
    assert await believer.user(issuer.sign())


@pytest.mark.parametrize(
    "document", [{"issuer": "https://elsewhere"}, {"jwks_uri": "http://127.0.0.1/keys"}, {"jwks_uri": 1}]
)
async def test_documents_that_lie(issuer: Issuer, believer: Believer, document: Any) -> None:
    issuer.document = document
    assert await believer.refuses(issuer.sign()) == "oidc: authenticator not initialized"


async def test_an_issuer_with_a_certificate_of_another_ca(issuer: Issuer) -> None:
    stranger = Believer(OidcConfig(issuer.url, "kube"))
    assert await stranger.refuses(issuer.sign()) == "oidc: authenticator not initialized"
    assert issuer.asked == []
    await stranger.oidc.close()


async def test_among_the_others(issuer: Issuer, believer: Believer) -> None:
    """What was verified is believed for a while; why not is told."""
    tokens = BearerTokens([believer.oidc], ("api",), time.time)
    outcome = tokens.ask(issuer.sign(), ("api",))
    assert not isinstance(outcome, Verified | Refused)
    found = await outcome
    assert isinstance(found, Verified) and found.audiences == ("api",)
    assert found.user.groups == ("system:authenticated",) and time.time() < found.until < time.time() + 11
    outcome = tokens.ask(issuer.sign(aud="x"), ("api",))
    assert not isinstance(outcome, Verified | Refused)
    assert str(await outcome).startswith("[invalid bearer token, oidc: verify token: oidc: expected audience")
    outcome = tokens.ask(issuer.sign(), ("vault",))
    assert not isinstance(outcome, Verified | Refused)
    assert isinstance(await outcome, Refused)
