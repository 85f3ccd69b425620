"""ServiceAccount tokens: what TokenRequest gives, what is believed, and every way of forging one that is not."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sampan.api.times import format_time
from sampan.apiserver.authentication.issuer import EXTENDED_SECONDS, WARN_ONLY_SECONDS, Issuer
from sampan.apiserver.authentication.keys import KeyRing, ring
from sampan.apiserver.cache import Watcher
from tests.conftest import Local

ISSUER = "https://kubernetes.default.svc.cluster.local"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
POD: Any = {
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "c", "image": "i"}], "serviceAccountName": "sa"},
}


@pytest.fixture
async def account(api: Local) -> Any:
    code, made = await api("POST", ACCOUNTS, {"metadata": {"name": "sa"}})
    assert code == 201
    return made


def issuer(api: Local) -> Issuer:
    assert api.server.api.identity is not None
    return api.server.api.identity.issuer


async def ask(api: Local, token: str, audiences: list[str] | None = None) -> Any:
    """The status of a TokenReview."""
    spec = {"token": token, **({"audiences": audiences} if audiences else {})}
    code, review = await api("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": spec})
    assert code == 201, review
    return review["status"]


async def knock(api: Local, token: str) -> int:
    """A request with nothing but the token. 403 is somebody known, who may not."""
    stranger = Local(api.server, None)
    code, _ = await stranger("GET", "/api/v1/nodes", authorization=f"Bearer {token}")
    return code


async def refused(api: Local, token: str, why: str) -> None:
    assert await knock(api, token) == 401
    status = await ask(api, token)
    assert status == {"user": {}, "error": why}
    assert token not in status["error"]


async def request_token(api: Local, **spec: Any) -> tuple[int, Any]:
    return await api("POST", f"{ACCOUNTS}/sa/token", {"spec": spec})


async def bound_to(api: Local, kind: str, name: str, **more: str) -> str:
    code, made = await request_token(api, boundObjectRef={"kind": kind, "apiVersion": "v1", "name": name, **more})
    assert code == 201, made
    token: str = made["status"]["token"]
    return token


# -- what is given -----------------------------------------------------------------------------------------------------


async def test_token_request(api: Local, account: Any) -> None:
    code, made = await request_token(api)
    assert code == 201 and made["kind"] == "TokenRequest"
    assert made["spec"]["audiences"] == [ISSUER] and made["spec"]["expirationSeconds"] == 3600
    assert made["metadata"]["name"] == "sa" and made["metadata"]["uid"] == account["metadata"]["uid"]
    claims = jwt.decode(made["status"]["token"], options={"verify_signature": False})
    header = jwt.get_unverified_header(made["status"]["token"])
    assert header == {"alg": "ES256", "kid": issuer(api).keys.signing.public.id}
    assert claims["iss"] == ISSUER and claims["aud"] == [ISSUER] and claims["exp"] - claims["iat"] == 3600
    assert claims["sub"] == "system:serviceaccount:default:sa"
    assert claims["kubernetes.io"] == {
        "namespace": "default",
        "serviceaccount": {"name": "sa", "uid": account["metadata"]["uid"]},
    }
    status = await ask(api, made["status"]["token"])
    assert status == {
        "authenticated": True,
        "user": {
            "username": "system:serviceaccount:default:sa",
            "uid": account["metadata"]["uid"],
            "groups": ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"],
            "extra": {"authentication.kubernetes.io/credential-id": [f"JTI={claims['jti']}"]},
        },
        "audiences": [ISSUER],
    }
    assert await knock(api, made["status"]["token"]) == 403


INVALID = 'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: '
CONFLICT = (
    'Operation cannot be fulfilled on Secret "s": the UID in the bound object reference (other) does not match the UID '
    "in record. "
)
POD_REF, NODE_REF = ({"kind": kind, "apiVersion": "v1", "name": "none"} for kind in ("Pod", "Node"))


@pytest.mark.parametrize(
    ("spec", "code", "message"),
    [
        ({"expirationSeconds": 599}, 422, INVALID + '599: may not specify a duration less than 10 minutes'),
        ({"expirationSeconds": (1 << 32) + 1}, 422, INVALID + '4294967297: may not specify a duration larger than 2^32 seconds'),
        ({"boundObjectRef": POD_REF}, 404, 'pods "none" not found'),
        ({"boundObjectRef": NODE_REF}, 404, 'nodes "none" not found'),
        ({"boundObjectRef": {"kind": "Job", "apiVersion": "batch/v1", "name": "j"}}, 400, "cannot bind token to object of type batch/v1, Kind=Job"),
        ({"boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": "s", "uid": "other"}}, 409, CONFLICT + 'The object might have been deleted and then recreated'),
        ({"boundObjectRef": {**POD_REF, "name": "foreign"}}, 400, 'cannot bind token for serviceaccount "sa" to pod running with different serviceaccount name.'),
    ],
)  # fmt: skip
async def test_token_request_refuses(api: Local, account: Any, spec: Any, code: int, message: str) -> None:
    await api("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}})
    foreign = {"metadata": {"name": "foreign"}, "spec": {**POD["spec"], "serviceAccountName": "default"}}
    await api("POST", "/api/v1/namespaces/default/pods", foreign)
    got, status = await request_token(api, **spec)
    assert (got, status["message"]) == (code, message)


async def test_token_request_of_another(api: Local, account: Any) -> None:
    code, _ = await api("POST", f"{ACCOUNTS}/nobody/token", {"spec": {}})
    assert code == 404
    code, status = await api("POST", f"{ACCOUNTS}/sa/token", {"metadata": {"name": "x"}, "spec": {}})
    assert code == 422 and "must match the service account name if specified" in status["message"]
    code, status = await api("POST", f"{ACCOUNTS}/sa/token", {"metadata": {"uid": "x"}, "spec": {}})
    assert code == 409 and "does not match the UID of the service account" in status["message"]


async def test_token_of_a_pod(api: Local, account: Any) -> None:
    """Says where the pod runs, and lasts a year where the pod's volume asked for it."""
    _, node = await api("POST", "/api/v1/nodes", {"metadata": {"name": "n1"}})
    pod = {"metadata": {"name": "p"}, "spec": {**POD["spec"], "nodeName": "n1"}}
    code, pod = await api("POST", "/api/v1/namespaces/default/pods", pod)
    assert code == 201, pod
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "p"}
    _, made = await request_token(api, boundObjectRef=reference, expirationSeconds=WARN_ONLY_SECONDS)
    claims = jwt.decode(made["status"]["token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == EXTENDED_SECONDS
    assert claims["kubernetes.io"]["warnafter"] - claims["iat"] == WARN_ONLY_SECONDS
    assert claims["kubernetes.io"]["node"] == {"name": "n1", "uid": node["metadata"]["uid"]}
    extra = (await ask(api, made["status"]["token"]))["user"]["extra"]
    del extra["authentication.kubernetes.io/credential-id"]
    assert extra == {
        "authentication.kubernetes.io/pod-name": ["p"],
        "authentication.kubernetes.io/pod-uid": [pod["metadata"]["uid"]],
        "authentication.kubernetes.io/node-name": ["n1"],
        "authentication.kubernetes.io/node-uid": [node["metadata"]["uid"]],
    }
    await api("DELETE", "/api/v1/nodes/n1")
    assert (await ask(api, made["status"]["token"]))["authenticated"]


async def test_longest_expiration(api: Local, account: Any) -> None:
    issuer(api).max_seconds = 7200
    reply = await api.raw("POST", f"{ACCOUNTS}/sa/token", {"spec": {"expirationSeconds": 90000}})
    said = dict(reply.headers)["Warning"]
    assert reply.code == 201 and "requested expiration of 90000 seconds shortened to 7200 seconds" in said


# -- what is not believed ----------------------------------------------------------------------------------------------


def forge(api: Local, account: Any, key: Any = None, algorithm: str = "ES256", **changes: Any) -> str:
    """A token as ours, with changes; signed with our own key unless another is given. A None takes a claim out."""
    signing = issuer(api).keys.signing
    good = issuer(api).bound(account, now=time.time(), seconds=600, audiences=[ISSUER])
    claims = {**jwt.decode(good, options={"verify_signature": False}), **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.PyJWS().encode(json.dumps(claims).encode(), key or signing.key, algorithm, {"kid": signing.public.id})


def unsigned(token: str, algorithm: str) -> str:
    header = base64.urlsafe_b64encode(json.dumps({"alg": algorithm}).encode()).rstrip(b"=").decode()
    return f"{header}.{token.split('.')[1]}."


CRYPTO = "[invalid bearer token, go-jose/go-jose: error in cryptographic primitive]"
NOW = time.time()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"exp": int(NOW) - 120}, "[invalid bearer token, service account token has expired]"),
        ({"exp": None}, "[invalid bearer token, service account token has expired]"),
        ({"exp": "never"}, "[invalid bearer token, claim exp is not a time]"),
        ({"nbf": int(NOW) + 300}, "[invalid bearer token, service account token is not valid yet]"),
        ({"iat": int(NOW) + 300}, "[invalid bearer token, service account token is issued in the future]"),
        ({"aud": ["vault"]}, f'[invalid bearer token, token audiences ["vault"] is invalid for the target audiences ["{ISSUER}"]]'),
        ({"aud": 7}, "[invalid bearer token, claim aud is neither text nor a list of texts]"),
        ({"iss": "https://elsewhere"}, "invalid bearer token"),
        ({"iss": ["https://elsewhere"]}, "invalid bearer token"),
        ({"kubernetes.io": None}, "[invalid bearer token, service account token claims could not be validated due to unexpected private claim]"),
        ({"kubernetes.io": {"namespace": "default", "serviceaccount": {"name": "none", "uid": "u"}}}, '[invalid bearer token, serviceaccounts "none" not found]'),
        ({"iss": "kubernetes/serviceaccount"}, "[invalid bearer token, namespace claim is missing]"),
    ],
)  # fmt: skip
async def test_bad_claims(api: Local, account: Any, changes: Any, why: str) -> None:
    await refused(api, forge(api, account, **changes), why)


async def test_clocks_may_differ(api: Local, account: Any) -> None:
    assert await knock(api, forge(api, account, exp=int(time.time()) - 30)) == 403


async def test_bad_signatures(api: Local, account: Any) -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())
    await refused(api, forge(api, account, stranger), CRYPTO)
    await refused(api, forge(api, account, rsa.generate_private_key(65537, 2048), "RS256"), CRYPTO)
    good = forge(api, account)
    header, claims, signature = good.split(".")
    other = forge(api, account, sub="system:serviceaccount:kube-system:default")
    await refused(api, f"{header}.{other.split('.')[1]}.{signature}", CRYPTO)
    await refused(api, f"{header}.{claims}.{signature[:-8]}", CRYPTO)
    unknown = jwt.encode({"iss": ISSUER}, stranger, "ES256", {"kid": "unknown"})
    await refused(api, unknown, "[invalid bearer token, invalid signature, no keys found]")


async def test_the_header_does_not_choose_the_algorithm(api: Local, account: Any) -> None:
    good = forge(api, account)
    for algorithm in ("none", "None", "NONE", "HS256", ""):
        token = unsigned(good, algorithm)
        await refused(api, token, "invalid bearer token")
        await refused(api, token + good.split(".")[2], "invalid bearer token")
    public = issuer(api).keys.signing.public.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256"}, jwt.decode(good, options={"verify_signature": False}))
    )
    import hashlib
    import hmac

    mac = base64.urlsafe_b64encode(hmac.digest(public, head + b"." + body, hashlib.sha256)).rstrip(b"=")
    await refused(api, b".".join((head, body, mac)).decode(), "invalid bearer token")


@pytest.mark.parametrize(
    "token", ["x", "a.b", "..", "a.b.c", "{}", "e30.e30.e30", "a.b.c.d", "e30.W10.e30", "\x00.\xff.é"]
)
async def test_rubbish(api: Local, token: str) -> None:
    await refused(api, token, "invalid bearer token")


async def test_deep_and_large(api: Local, account: Any) -> None:
    """Nothing that an attacker nests or piles up is more than a bad token."""
    nested = "[" * 100_000
    for text in (nested, nested[:900] + "]" * 900, '{"iss":' * 900 + "1" + "}" * 900, "1" * 10_000):
        part = base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
        await refused(api, f"{part}.{part}.{part}", "invalid bearer token")
    deep = '{"alg":"ES256","x":' + "[" * 1000 + "]" * 1000 + "}"
    header = base64.urlsafe_b64encode(deep.encode()).rstrip(b"=").decode()
    await refused(api, ".".join([header, *forge(api, account).split(".")[1:]]), CRYPTO)


async def test_audiences(api: Local, account: Any) -> None:
    _, made = await request_token(api, audiences=["vault", "other"])
    token = made["status"]["token"]
    assert await knock(api, token) == 401
    assert (await ask(api, token, ["other", "third"]))["audiences"] == ["other"]
    assert "error" in await ask(api, token, ["third"])
    assert await knock(api, token) == 401


# -- tokens end with what they hang on ---------------------------------------------------------------------------------

GONE = "[invalid bearer token, service account token has been invalidated]"


@pytest.mark.parametrize(
    ("kind", "path", "body"),
    [
        ("Pod", "/api/v1/namespaces/default/pods", POD),
        ("Secret", "/api/v1/namespaces/default/secrets", {"metadata": {"name": "p"}}),
        ("Node", "/api/v1/nodes", {"metadata": {"name": "p"}}),
    ],
)
async def test_bound_object(api: Local, account: Any, kind: str, path: str, body: Any) -> None:
    _, first = await api("POST", path, body)
    token = await bound_to(api, kind, "p", uid=first["metadata"]["uid"])
    # twice: the second time it is known
    assert (await knock(api, token), await knock(api, token)) == (403, 403)
    await api("DELETE", f"{path}/p?gracePeriodSeconds=0")
    await refused(api, token, GONE)
    _, second = await api("POST", path, body)
    uids = second["metadata"]["uid"], first["metadata"]["uid"]
    said = f"{kind.lower()} UID ({uids[0]}) does not match service account {kind.lower()} ref claim ({uids[1]})"
    await refused(api, token, f"[invalid bearer token, {said}]")


async def test_account_deleted_and_made_again(api: Local, account: Any) -> None:
    token = (await request_token(api))[1]["status"]["token"]
    assert await knock(api, token) == 403
    await api("DELETE", f"{ACCOUNTS}/sa")
    await refused(api, token, '[invalid bearer token, serviceaccounts "sa" not found]')
    _, again = await api("POST", ACCOUNTS, {"metadata": {"name": "sa"}})
    uids = again["metadata"]["uid"], account["metadata"]["uid"]
    await refused(
        api, token, f"[invalid bearer token, service account UID ({uids[0]}) does not match claim ({uids[1]})]"
    )


async def test_deletion_is_final_after_a_minute(api: Local, account: Any) -> None:
    await api("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": "p", "finalizers": ["a.b/c"]}})
    token = await bound_to(api, "Secret", "p")
    await api("DELETE", "/api/v1/namespaces/default/secrets/p")
    assert await knock(api, token) == 403
    api.server.api.clock = lambda: time.time() + 62
    await refused(api, token, GONE)


async def test_known_tokens_still_end(api: Local, account: Any) -> None:
    token = issuer(api).bound(account, now=time.time(), seconds=600, audiences=[ISSUER])
    assert await knock(api, token) == 403
    api.server.api.clock = lambda: time.time() + 662
    await refused(api, token, "[invalid bearer token, service account token has expired]")


# -- token Secrets -----------------------------------------------------------------------------------------------------


async def changed(api: Local, name: str, gone: bool = False, label: str = "") -> Any:
    """The Secret once it has a token (and a label), or None once it is gone."""
    cache = api.server.api.cached("", "secrets")
    news = asyncio.Event()
    watcher = Watcher("default", name, None, lambda entry, kind: news.set())
    cache.watchers.add(watcher)
    async with asyncio.timeout(2):
        while True:
            news.clear()
            record = cache.get(f"default/{name}")
            if gone and record is None:
                return None
            if not gone and record is not None and "token" in (record.obj().get("data") or {}):
                secret = record.obj()
                labels = secret["metadata"].get("labels") or {}
                if not label or label in labels:
                    return secret
            await news.wait()


def token_secret(name: str = "t") -> Any:
    notes = {"kubernetes.io/service-account.name": "sa"}
    return {"metadata": {"name": name, "annotations": notes}, "type": "kubernetes.io/service-account-token"}


async def test_token_secret(api: Local, account: Any) -> None:
    await api("POST", "/api/v1/namespaces/default/secrets", token_secret())
    secret = await changed(api, "t")
    assert secret["metadata"]["annotations"]["kubernetes.io/service-account.uid"] == account["metadata"]["uid"]
    data = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    assert data["namespace"] == "default" and data["ca.crt"].startswith("-----BEGIN CERTIFICATE-----")
    token = data["token"]
    assert (await knock(api, token), await knock(api, token)) == (403, 403)
    status = await ask(api, token)
    assert status["user"]["username"] == "system:serviceaccount:default:sa" and "extra" not in status["user"]

    _, other = await api("PATCH", "/api/v1/namespaces/default/secrets/t", {"data": {"token": "eA=="}}, "application/merge-patch+json")  # fmt: skip
    await refused(api, token, "[invalid bearer token, Token does not match server's copy]")
    await api("PUT", "/api/v1/namespaces/default/secrets/t", {**other, "data": secret["data"]})
    assert await knock(api, token) == 403
    label = {"metadata": {"labels": {"kubernetes.io/legacy-token-invalid-since": "2026-01-01"}}}
    await api("PATCH", "/api/v1/namespaces/default/secrets/t", label, "application/merge-patch+json")
    assert "has been marked invalid" in (await ask(api, token))["error"]
    await api("DELETE", "/api/v1/namespaces/default/secrets/t")
    await refused(api, token, "[invalid bearer token, Token has been invalidated]")


async def test_an_account_does_not_name_a_token_secret_that_is_gone(api: Local, account: Any) -> None:
    await api("POST", "/api/v1/namespaces/default/secrets", token_secret())
    await changed(api, "t")
    named = {"secrets": [{"name": "t"}, {"name": "other"}]}
    await api("PATCH", f"{ACCOUNTS}/sa", named, "application/merge-patch+json")
    cache, news = api.server.api.cached("", "serviceaccounts"), asyncio.Event()
    watcher = Watcher("default", "sa", None, lambda entry, kind: news.set())
    cache.watchers.add(watcher)
    await api("DELETE", "/api/v1/namespaces/default/secrets/t")
    async with asyncio.timeout(2):
        await news.wait()
    _, found = await api("GET", f"{ACCOUNTS}/sa")
    assert found["secrets"] == [{"name": "other"}]


async def test_on_which_day_a_token_of_a_secret_was_last_used(api: Local, account: Any) -> None:
    await api("POST", "/api/v1/namespaces/default/secrets", token_secret())
    token = base64.b64decode((await changed(api, "t"))["data"]["token"]).decode()
    assert await knock(api, token) == 403
    last_used = "kubernetes.io/legacy-token-last-used"
    secret = await changed(api, "t", label=last_used)
    day = format_time(api.server.api.clock())[:10]
    assert secret["metadata"]["labels"] == {last_used: day}
    name = "kube-apiserver-legacy-service-account-token-tracking"
    _, tracking = await api("GET", f"/api/v1/namespaces/kube-system/configmaps/{name}")
    assert tracking["data"] == {"since": day}


async def test_token_secret_goes_with_its_account(api: Local, account: Any) -> None:
    await api("POST", "/api/v1/namespaces/default/secrets", token_secret())
    token = base64.b64decode((await changed(api, "t"))["data"]["token"]).decode()
    await api("DELETE", f"{ACCOUNTS}/sa")
    assert await knock(api, token) == 401
    assert await changed(api, "t", gone=True) is None
    await api("POST", "/api/v1/namespaces/default/secrets", token_secret("orphan"))
    assert await changed(api, "orphan", gone=True) is None


# -- keys --------------------------------------------------------------------------------------------------------------


def pem(key: Any) -> bytes:
    out: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return out


def test_key_files(tmp_path: Path) -> None:
    keys = [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())]
    old = ec.generate_private_key(ec.SECP521R1())
    (tmp_path / "sa.key").write_bytes(pem(keys[0]))
    public = old.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "all.pem").write_bytes(pem(keys[0]) + b"some words\n" + pem(keys[1]) + public)
    made = ring(tmp_path / "sa.key", [tmp_path / "all.pem"])
    assert made.signing.public.id in made.verifying
    published = json.loads(made.jwks)["keys"]
    assert [(key["kty"], key["alg"], key["use"]) for key in published] == [
        ("RSA", "RS256", "sig"), ("EC", "ES384", "sig"), ("EC", "ES512", "sig"),
    ]  # fmt: skip
    assert not {"d", "p", "q"} & {name for key in published for name in key}


def test_bad_key_files_are_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "bad.key").write_text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    for signing, verifying in ((tmp_path / "bad.key", []), (None, [tmp_path / "bad.key"])):
        with pytest.raises(ValueError, match="valid RSA or ECDSA") as caught:
            ring(signing, verifying)
        assert "c2VjcmV0" not in str(caught.value) and caught.value.__cause__ is None
    assert "PrivateKey" not in repr(KeyRing().signing)


def test_keys_of_no_use_are_refused_at_start(tmp_path: Path) -> None:
    good = ec.generate_private_key(ec.SECP256R1())
    public = good.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    lines = pem(good).splitlines(keepends=True)
    short = lines[0] + lines[1] + lines[-1]
    for name, data in (("k1", pem(ec.generate_private_key(ec.SECP256K1()))), ("short", short), ("not", b"x")):
        (tmp_path / name).write_bytes(data)
        path = tmp_path / name
        for signing, verifying in ((path, []), (None, [path])):
            with pytest.raises(ValueError, match=r"RSA,? or ECDSA"):
                ring(signing, verifying)
    (tmp_path / "public").write_bytes(public)
    with pytest.raises(ValueError, match="valid RSA or ECDSA private key"):
        ring(tmp_path / "public", [])
    with pytest.raises(FileNotFoundError):
        ring(None, [tmp_path / "none"])
    (tmp_path / "good").write_bytes(pem(good))
    made = ring(tmp_path / "good", [tmp_path / "public"])
    assert "signing" not in made.__dict__ and "verifying" not in made.__dict__
    assert list(made.verifying) == [made.signing.public.id]


async def test_no_token_in_the_log(api: Local, account: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = forge(api, account, exp=1)
    assert await knock(api, token) == 401
    assert "service account token has expired" in caplog.text
    assert all(part not in caplog.text for part in token.split("."))


async def test_a_shared_store_is_asked_before_a_token_is_refused(api: Local, account: Any) -> None:
    """Another API server may have made its objects just now."""
    api.server.api.local = False
    good = issuer(api).bound(account, now=time.time(), seconds=600, audiences=[ISSUER])
    gone = {**account, "metadata": {**account["metadata"], "name": "gone"}}
    bad = issuer(api).bound(gone, now=time.time(), seconds=600, audiences=[ISSUER])
    assert await knock(api, good) == 403
    await refused(api, bad, '[invalid bearer token, serviceaccounts "gone" not found]')
