"""The other credentials: certificates, static and bootstrap tokens, nobody's; impersonation; the discovery documents."""

from __future__ import annotations

import base64
import datetime
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID, ObjectIdentifier

from sampan.api.user import User
from sampan.apiserver.authentication.chain import Authentication
from sampan.apiserver.authentication.token_file import TokenFile
from sampan.apiserver.authorization.attributes import NO_OPINION, Attributes, Decision
from sampan.apiserver.config import ApiServerConfig
from sampan.apiserver.server import ApiServer
from sampan.cli.apiserver import parser
from sampan.cli.credentials import settings
from sampan.http.server.messages import Request, Response
from tests.conftest import Local

WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
TOKENS = """\
alice-token,alice,u-1,"dev,ops"
bob-token,bob,u-2
root-token,root,u-0,system:masters
"""


def authenticate(chain: Authentication, certificate: bytes | None = None, **headers: str) -> User:
    sent = {key.replace("_", "-"): value for key, value in headers.items()}
    answer = chain(Request("GET", "/", "", sent, list(sent.items()), b"", None, certificate))
    assert isinstance(answer, User)
    return answer


def refuses(chain: Authentication, certificate: bytes | None = None, **headers: str) -> bool:
    from sampan.api.errors import StatusError

    with pytest.raises(StatusError) as caught:
        authenticate(chain, certificate, **headers)
    return caught.value.code == 401 and caught.value.message == "Unauthorized"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    (tmp_path / "tokens.csv").write_text(TOKENS)
    config = ApiServerConfig(port=0, store="memory", token_auth_file=tmp_path / "tokens.csv", bootstrap_token_auth=True)
    made = ApiServer(config)
    await made.start()
    yield made
    await made.stop(0)


def chain_of(server: ApiServer) -> Authentication:
    assert server.api.identity is not None
    return server.api.identity.authentication


async def send(server: ApiServer, method: str, target: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    client = Local(server, None)
    return await client(method, target, body, **headers)


# -- nobody, static tokens ---------------------------------------------------------------------------------------------


async def test_static_tokens(server: ApiServer) -> None:
    chain = chain_of(server)
    assert authenticate(chain, authorization="Bearer alice-token") == User(
        "alice", ("dev", "ops", "system:authenticated"), "u-1"
    )
    assert authenticate(chain, authorization="bearer bob-token").groups == ("system:authenticated",)
    for token in ("alice-toke", "alice-tokenx", "ALICE-TOKEN", '"alice-token"'):
        assert refuses(chain, authorization=f"Bearer {token}")


async def test_what_is_no_bearer_token_is_nobody(server: ApiServer) -> None:
    chain = chain_of(server)
    for header in ("", "Bearer", "Bearer ", "Basic YWxpY2U6eA==", "alice-token"):
        assert authenticate(chain, authorization=header).info == {
            "username": "system:anonymous",
            "groups": ["system:unauthenticated"],
        }
    chain.anonymous = False
    assert refuses(chain) and refuses(chain, authorization="Basic YWxpY2U6eA==")


async def test_refusal_is_a_status_and_the_token_is_forgotten(server: ApiServer) -> None:
    code, status = await send(server, "GET", "/version", authorization="Bearer no")
    assert code == 401
    assert status == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "Unauthorized", "reason": "Unauthorized", "code": 401,
    }  # fmt: skip
    request = Request(
        "GET", "/", "", {"authorization": "Bearer bob-token"}, [("authorization", "Bearer bob-token")], b""
    )
    chain_of(server)(request)
    assert request.headers == {} and request.header_list == []


def test_token_file_problems(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "t"
    path.write_text("a-secret-token,b\n")
    with pytest.raises(ValueError, match="at least 3 columns") as caught:
        TokenFile(path)
    assert "a-secret" not in str(caught.value)
    path.write_text(",nobody,1\n\nsame-token,a,1\nsame-token,b,2\n")
    with caplog.at_level(logging.WARNING):
        tokens = TokenFile(path)
    assert tokens.verify("", ()) is None
    assert "record number '1'" in caplog.text and "same-token" not in caplog.text


async def test_websockets_bring_tokens_as_subprotocol(server: ApiServer) -> None:
    encoded = base64.urlsafe_b64encode(b"alice-token").rstrip(b"=").decode()
    protocol = f"base64url.bearer.authorization.k8s.io.{encoded}"

    def request(offered: str) -> Request:
        pairs = [("upgrade", "websocket"), ("sec-websocket-protocol", offered)]
        return Request("GET", "/", "", dict(pairs), pairs, b"")

    good = request(f"{protocol}, v5.channel.k8s.io")
    found = chain_of(server)(good)
    assert isinstance(found, User) and found.name == "alice"
    assert good.header_list[-1] == ("sec-websocket-protocol", "v5.channel.k8s.io") and encoded not in str(good)
    from sampan.api.errors import StatusError

    for bad in (protocol, f"{protocol}, {protocol}, x", "base64url.bearer.authorization.k8s.io.%%, x"):
        with pytest.raises(StatusError):
            chain_of(server)(request(bad))


# -- bootstrap tokens --------------------------------------------------------------------------------------------------


def bootstrap_secret(**data: str) -> Any:
    values = {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
        **{key.replace("_", "-"): value for key, value in data.items()},
    }
    return {
        "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": values,
    }


async def bootstrap(server: ApiServer, secret: Any, token: str = "abcdef.0123456789abcdef") -> tuple[int, Any]:
    path = "/api/v1/namespaces/kube-system/secrets"
    code, made = await send(server, "POST", path, secret, authorization="Bearer root-token")
    assert code == 201, made
    review = {"spec": {"token": token}}
    _, done = await send(
        server, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", review, authorization="Bearer root-token"
    )
    code, _ = await send(server, "GET", "/api/v1/nodes", authorization=f"Bearer {token}")
    return code, done["status"]


async def test_bootstrap_token(server: ApiServer) -> None:
    later = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)).isoformat()
    extra = "system:bootstrappers:kubeadm:default-node-token"
    code, status = await bootstrap(server, bootstrap_secret(auth_extra_groups=extra, expiration=later))
    assert code == 403
    assert status["user"] == {
        "username": "system:bootstrap:abcdef",
        "groups": ["system:bootstrappers", extra, "system:authenticated"],
    }


@pytest.mark.parametrize(
    "data",
    [
        {"token_secret": "0123456789abcdee"},
        {"token_id": "abcdeg"},
        {"expiration": "2020-01-01T00:00:00Z"},
        {"expiration": "soon"},
        {"usage_bootstrap_authentication": "yes"},
        {"auth_extra_groups": "system:masters"},
        {"auth_extra_groups": "system:bootstrappers:a,"},
    ],
)
async def test_bad_bootstrap_token(server: ApiServer, data: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        code, status = await bootstrap(server, bootstrap_secret(**data))
    assert (code, status) == (401, {"user": {}, "error": "invalid bearer token"})
    assert "0123456789abcde" not in caplog.text


async def test_bootstrap_token_of_another_type(server: ApiServer) -> None:
    secret = {**bootstrap_secret(), "type": "Opaque"}
    assert (await bootstrap(server, secret))[0] == 401


# -- certificates ------------------------------------------------------------------------------------------------------


def certificate(subject: list[tuple[ObjectIdentifier, str]], start: float = -60, end: float = 60) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in subject])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now + datetime.timedelta(seconds=start))
        .not_valid_after(now + datetime.timedelta(seconds=end))
    )
    return built.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


async def test_certificates(server: ApiServer) -> None:
    chain, uid = chain_of(server), ObjectIdentifier("1.3.6.1.4.1.57683.2")
    people = [(NameOID.ORGANIZATION_NAME, "dev"), (NameOID.ORGANIZATION_NAME, "ops"), (NameOID.COMMON_NAME, "eve")]
    user = authenticate(chain, certificate(people))
    assert (user.name, user.groups, user.uid) == ("eve", ("dev", "ops", "system:authenticated"), "")
    assert user.extra["authentication.kubernetes.io/credential-id"][0].startswith("X509SHA256=")
    assert authenticate(chain, certificate([*people, (uid, "u-9")])).uid == "u-9"
    # it wins over a token, and without a name it says nothing
    assert authenticate(chain, certificate(people), authorization="Bearer bob-token").name == "eve"
    assert authenticate(chain, certificate(people[:1]), authorization="Bearer bob-token").name == "bob"
    assert authenticate(chain, certificate(people[:1])).name == "system:anonymous"


async def test_certificates_end_while_connections_last(server: ApiServer) -> None:
    people = [(NameOID.COMMON_NAME, "eve")]
    assert refuses(chain_of(server), certificate(people, -120, -60))
    assert refuses(chain_of(server), certificate(people, 60, 120))
    good = certificate(people)
    assert authenticate(chain_of(server), good).name == "eve"
    server.api.clock = lambda: time.time() + 61
    assert refuses(chain_of(server), good)


# -- impersonation -----------------------------------------------------------------------------------------------------


class Allow:
    """An authorizer that allows `alice` to impersonate some, notes what it is asked, and lets all ask who they are."""

    def __init__(self, *allowed: tuple[str, str]) -> None:
        self.allowed = allowed
        self.asked: list[Attributes] = []

    def authorize(self, user: User, asked: Attributes) -> Decision:
        if asked.resource == "selfsubjectreviews":
            return Decision(True)
        self.asked.append(asked)
        resource = asked.resource + (f"/{asked.subresource}" if asked.subresource else "")
        good = user.name == "alice" and asked.verb == "impersonate" and (resource, asked.name) in self.allowed
        return Decision(True) if good else NO_OPINION


async def act_as(server: ApiServer, allow: Allow, *pairs: tuple[str, str]) -> tuple[int, Any]:
    """Who that makes us, or the refusal."""
    setattr(server.api, "authorizer", allow)  # noqa: B010  # it is no complete Authorization
    sent = [("authorization", "Bearer alice-token"), ("content-type", "application/json"), *pairs]
    headers: dict[str, str] = {}
    for name, value in sent:
        headers.setdefault(name, value)
    result = server.handler(Request("POST", WHO, "", headers, sent, b"{}"))
    reply = result if isinstance(result, Response) else await result
    assert isinstance(reply.body, bytes)
    body = json.loads(reply.body)
    return reply.code, body["status"]["userInfo"] if reply.code == 201 else body


async def test_impersonate_a_user(server: ApiServer) -> None:
    allow = Allow(("users", "bob"), ("groups", "dev"), ("groups", "ops"), ("uids", "u-7"), ("userextras/a/b", "x"))
    code, who = await act_as(
        server, allow, ("impersonate-user", "bob"), ("impersonate-group", "dev"), ("impersonate-group", "ops"),
        ("impersonate-uid", "u-7"), ("impersonate-extra-a%2fb", "x"),
    )  # fmt: skip
    assert code == 201
    groups = ["dev", "ops", "system:authenticated"]
    assert who == {"username": "bob", "uid": "u-7", "groups": groups, "extra": {"a/b": ["x"]}}
    asked = {(one.verb, one.group, one.resource) for one in allow.asked}
    assert asked == {("impersonate", "", "users"), ("impersonate", "", "groups")} | {
        ("impersonate", "authentication.k8s.io", resource) for resource in ("uids", "userextras")
    }


async def test_impersonate_an_account_or_nobody(server: ApiServer) -> None:
    allow = Allow(("serviceaccounts", "sa"), ("users", "system:anonymous"), ("groups", "system:unauthenticated"))
    _, who = await act_as(server, allow, ("impersonate-user", "system:serviceaccount:ns:sa"))
    assert who["groups"] == ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"]
    assert allow.asked[0].namespace == "ns"
    _, who = await act_as(server, allow, ("impersonate-user", "system:anonymous"))
    assert who == {"username": "system:anonymous", "groups": ["system:unauthenticated"]}


@pytest.mark.parametrize(
    ("header", "what", "resource", "group", "where"),
    [
        ({"user": "eve"}, 'users "eve"', "users", "", "at the cluster scope"),
        ({"user": "system:serviceaccount:ns:no"}, 'serviceaccounts "no"', "serviceaccounts", "", 'in the namespace "ns"'),
        ({"user": "bob", "group": "system:masters"}, 'groups "system:masters"', "groups", "", "at the cluster scope"),
        ({"user": "bob", "uid": "1"}, 'uids.authentication.k8s.io "1"', "uids", "authentication.k8s.io", "at the cluster scope"),
        ({"user": "bob", "extra-x": "y"}, 'userextras.authentication.k8s.io "y"', "userextras/x", "authentication.k8s.io", "at the cluster scope"),
    ],
)  # fmt: skip
async def test_impersonation_refused(
    server: ApiServer, header: dict[str, str], what: str, resource: str, group: str, where: str
) -> None:
    headers = [("impersonate-" + name, value) for name, value in header.items()]
    code, status = await act_as(server, Allow(("users", "bob")), *headers)
    said = f'User "alice" cannot impersonate resource "{resource}" in API group "{group}" {where}'
    assert (code, status["message"]) == (403, f"{what} is forbidden: {said}")


async def test_impersonation_without_a_user(server: ApiServer) -> None:
    said = 'requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"a"}, Extra:map[string][]string(nil)} without impersonating a user name'
    code, status = await act_as(server, Allow(), ("impersonate-group", "a"))
    assert (code, status["message"]) == (400, said)
    for header in ("impersonate-uid", "impersonate-extra-x"):
        assert (await act_as(server, Allow(), (header, "a")))[0] == 400


# -- discovery, flags --------------------------------------------------------------------------------------------------


async def test_discovery_documents(api: Local) -> None:
    reply = await api.raw("GET", "/.well-known/openid-configuration")
    assert isinstance(reply.body, bytes)
    document = json.loads(reply.body)
    assert dict(reply.headers)["Cache-Control"] == "public, max-age=3600"
    assert document == {
        "issuer": "https://kubernetes.default.svc.cluster.local",
        "jwks_uri": f"https://127.0.0.1:{api.server.port}/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }
    reply = await api.raw("GET", "/openid/v1/jwks")
    assert dict(reply.headers)["Content-Type"] == "application/jwk-set+json" and isinstance(reply.body, bytes)
    _, made = await api("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", {"spec": {}})
    token = made["status"]["token"]
    key = jwt.PyJWKSet.from_dict(json.loads(reply.body))[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, key, audience=document["issuer"], issuer=document["issuer"])["sub"].endswith(":default")


def test_flags() -> None:
    given = (
        "--anonymous-auth=false --api-audiences=a,b --service-account-issuer=https://x --service-account-issuer=https://y "
        "--service-account-max-token-expiration=24h30m --oidc-issuer-url=https://i --oidc-client-id=c "
        "--oidc-required-claim=hd=example.com --oidc-signing-algs=RS256,ES256 --enable-bootstrap-token-auth"
    )
    made = ApiServerConfig(**settings(parser().parse_args(given.split())))
    assert not made.anonymous_auth and made.bootstrap_token_auth and made.api_audiences == ("a", "b")
    assert made.service_account_issuers == ("https://x", "https://y")
    assert made.service_account_max_token_expiration == 88200
    assert made.oidc is not None and made.oidc.required_claims == (("hd", "example.com"),)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("--oidc-issuer-url=https://x", "must be specified together"),
        ("--oidc-issuer-url=http://x --oidc-client-id=c", "URL scheme must be https"),
        ("--oidc-issuer-url=https://x --oidc-client-id=c --oidc-signing-algs=HS256", "unsupported signing alg"),
        ("--service-account-max-token-expiration=10m", "between 1 hour and"),
    ],
)
def test_bad_flags(given: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        settings(parser().parse_args(given.split()))
