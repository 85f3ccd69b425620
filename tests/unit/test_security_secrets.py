"""What is secret is told to nobody: not by a log, an error, a repr, or the mode of a file."""

from __future__ import annotations

import base64
import json
import logging
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sampan.api.kind import Obj
from sampan.apiserver.config import ApiServerConfig
from sampan.apiserver.server import ApiServer
from sampan.cluster import certificates
from sampan.cluster.certificates import Pki
from sampan.http.server.messages import Request, Response
from sampan.store.backup import backup, restore
from sampan.store.contract import NO_LEASE, KeyValue, Put, Revision
from tests.conftest import Local
from tests.unit import test_policies as policies
from tests.unit import test_security_webhooks as webhooks
from tests.webhook_server import rule, serving

SECRETS = "/api/v1/namespaces/default/secrets"
#: whatever is found of these, in plain or as it is stored, has leaked
WORDS = (
    "hunter2-plain",
    "hunter2-later",
    "hunter2-large",
    "alice-static-token",
    "wrong-static-token",
    "bootsecret123456",
)
TOKENS_CSV = "alice-static-token,alice,u-1\n"


@pytest.fixture
async def server(pki: Pki, tmp_path: Path) -> AsyncIterator[Local]:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    (tmp_path / "tokens.csv").write_text(TOKENS_CSV)
    config = ApiServerConfig(
        port=0,
        store="memory",
        client_ca_file=pki.path("ca.crt"),
        token_auth_file=tmp_path / "tokens.csv",
        bootstrap_token_auth=True,
    )
    made = ApiServer(config)
    await made.start()
    certificate = x509.load_pem_x509_certificate(pki.path("admin.crt").read_bytes())
    yield Local(made, certificate.public_bytes(Encoding.DER))
    await made.stop(0)


def secret(name: str, **more: Any) -> Obj:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, **more}


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Day:
    """What goes on at a server, and every word that it says which a stranger or a log could hear."""

    def __init__(self, api: Local) -> None:
        self.api = api
        self.errors: list[str] = []
        self.tokens: list[str] = []

    async def do(
        self, method: str, path: str, body: Any = None, media: str = "application/json", **headers: str
    ) -> Any:
        reply = await self.api.raw(method, path, body, media, **headers)
        text = reply.body if isinstance(reply.body, bytes) else b"".join(reply.body)
        if reply.code >= 400:
            self.errors.append(f"{text.decode()} {reply.headers}")
        # warnings are in the head
        self.errors.append(" ".join(value for name, value in reply.headers if name == "Warning"))
        return json.loads(text) if text.startswith(b"{") else text

    async def secrets(self) -> None:
        good = secret("s", stringData={"k": "hunter2-plain"})
        await self.do("POST", SECRETS, good)
        await self.do("POST", SECRETS, good)
        for wrong in (
            {"data": {"k": "hunter2-plain"}},
            {"data": {"k": {"v": "hunter2-plain"}}},
            {"data": {"bad key/": coded("hunter2-plain")}},
            {"data": {"k": coded("hunter2-plain")}, "type": "kubernetes.io/tls"},
            {"data": {".dockerconfigjson": coded("hunter2-plain")}, "type": "kubernetes.io/dockerconfigjson"},
            {"stringData": {".dockercfg": "hunter2-plain"}, "type": "kubernetes.io/dockercfg"},
            {"stringData": {"k": "hunter2-large" * 100_000}},
            {"stringData": {"token-id": "hunter2-plain"}, "type": "bootstrap.kubernetes.io/token"},
        ):
            await self.do("POST", f"{SECRETS}?fieldValidation=Strict", secret("w", **wrong))
            await self.do(
                "POST",
                f"{SECRETS}?fieldValidation=Strict",
                yaml.dump(secret("w", **wrong)).encode(),
                "application/yaml",
            )
            await self.do("PUT", f"{SECRETS}/s", secret("s", **wrong))
            for media in ("merge-patch+json", "strategic-merge-patch+json"):
                await self.do("PATCH", f"{SECRETS}/s", wrong, f"application/{media}")
            await self.do("PATCH", f"{SECRETS}/s?fieldManager=m", secret("s", **wrong), "application/apply-patch+yaml")
        operations = [{"op": "test", "path": "/data/k", "value": "hunter2-later"}]
        await self.do("PATCH", f"{SECRETS}/s", operations, "application/json-patch+json")
        immutable = secret("i", immutable=True, stringData={"k": "hunter2-plain"})
        await self.do("POST", SECRETS, immutable)
        await self.do("PUT", f"{SECRETS}/i", {**immutable, "stringData": {"k": "hunter2-later"}})
        await self.do(
            "PATCH",
            f"{SECRETS}/s?fieldManager=a",
            secret("s", stringData={"x": "hunter2-plain"}),
            "application/apply-patch+yaml",
        )
        await self.do(
            "PATCH",
            f"{SECRETS}/s?fieldManager=b",
            secret("s", data={"k": coded("hunter2-later")}),
            "application/apply-patch+yaml",
        )
        for broken in (
            b'{"data": {"k": hunter2-plain}}',
            b"data: {k: 'hunter2-plain}",
            b"data: [hunter2-plain: *hunter2-plain]",
        ):
            for media in ("json", "yaml"):
                await self.do("POST", SECRETS, broken, f"application/{media}")

    async def credentials(self) -> None:
        _, made = await self.api("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", {"spec": {}})
        token = made["status"]["token"]
        self.tokens = [token, token.rsplit(".", 1)[1]]
        stranger = Day(Local(self.api.server, None))
        stranger.errors = self.errors
        for given in (
            token, token[:-4] + "AAAA", "alice-static-token", "wrong-static-token", "abcdef.bootsecret123456", "abcdef.bootsecret12345x",
        ):  # fmt: skip
            await stranger.do("GET", "/api/v1/nodes", authorization=f"Bearer {given}")
            await stranger.do("GET", "/api/v1/nodes", authorization=f"Basic {given}")
            await stranger.do("GET", "/healthz/nothing", authorization=f"Bearer {given}")
            review = {"spec": {"token": given, "audiences": ["none"]}}
            await self.do("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
        data = {"token-id": "abcdef", "token-secret": "bootsecret123456", "usage-bootstrap-authentication": "maybe"}
        boot = secret("bootstrap-token-abcdef", type="bootstrap.kubernetes.io/token", stringData=data)
        await self.do("POST", "/api/v1/namespaces/kube-system/secrets", boot)
        await stranger.do("GET", "/api/v1/nodes", authorization="Bearer abcdef.bootsecret123456")

    async def admission(self, pki: Pki) -> None:
        """Webhooks that fail and policies that refuse, on Secrets."""
        async with serving(pki) as webhook:
            webhook.answer = lambda request: Response(500, (), b"oops")
            on_secrets = webhook.hook(rules=[rule("secrets")])
            await webhooks.register(self.api, "Validating", on_secrets)
            await webhooks.register(self.api, "Mutating", on_secrets)
            await self.do("POST", SECRETS, secret("h", stringData={"k": "hunter2-plain"}))
            for kind in ("mutating", "validating"):
                await self.api("DELETE", f"{webhooks.REGISTER.format(kind)}/hooks")
        refusing = policies.policy("object.data.k == 1", "!has(object.data)", "object.data['x'] == 'y'")
        refusing["spec"]["matchConstraints"]["resourceRules"][0]["resources"] = ["secrets"]
        await policies.enforce(self.api, refusing)
        await self.do("POST", SECRETS, secret("p", stringData={"k": "hunter2-plain"}))
        await self.api("DELETE", f"{policies.BINDINGS}/b")


async def test_a_day_of_operations(
    server: Local,
    pki: Pki,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with caplog.at_level(logging.DEBUG):
        day = Day(server)
        await day.secrets()
        await day.credentials()
        await day.admission(pki)

        def broken(obj: Obj, *rest: Any) -> None:
            raise KeyError(f"a bug on {type(obj).__name__}")

        # a bug of ours, with a Secret in hand
        with monkeypatch.context() as patched:
            patched.setattr("sampan.apiserver.write.new.validate_object_meta", broken)
            await day.do(
                "POST",
                SECRETS,
                secret("b", stringData={"k": "hunter2-plain"}),
                authorization="Bearer alice-static-token",
            )
    out, err = capfd.readouterr()
    assert "internal error" in caplog.text and "failing closed" in caplog.text, "the log was captured"
    assert sum("Failure" in text for text in day.errors) > 60
    said = {
        "log": caplog.text,
        "stdout": out,
        "stderr": err,
        **{f"error {n}": text for n, text in enumerate(day.errors)},
    }
    for word in (*WORDS, *map(coded, WORDS), *day.tokens):
        for where, text in said.items():
            assert word not in text, f"{word} is in {where}: {text[:600]}"


def test_reprs() -> None:
    """What a debugger, a log or an exception might print of what holds them."""
    word = "hunter2"
    bearer = {"authorization": f"Bearer {word}"}
    request = Request("POST", "/p", f"q={word}", bearer, [*bearer.items()], word.encode())
    from sampan.apiserver.admission.chain import Attributes
    from sampan.apiserver.write import Produced
    from sampan.client.config import Config
    from sampan.http.connection import Reply

    for holder in (
        request,
        Response(200, (("X", word),), word.encode()),
        Reply(200, {"x": word}, word.encode()),
        KeyValue(b"k", word.encode(), Revision(1), Revision(1), 1, NO_LEASE),
        Put(b"k", word.encode()),
        Produced({"data": word}),
        Config("https://x", key=word.encode(), token=word, password=word),
    ):
        assert word not in repr(holder), type(holder)
    assert Attributes.__repr__ is object.__repr__


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    """Keys, the store, its journal, backups, and what is restored."""
    made = certificates.ensure(tmp_path / "pki", [])
    keys = [path for path in made.path("ca.crt").parent.iterdir() if path.suffix == ".key"]
    assert len(keys) > 3 and {mode(path) for path in keys} == {0o600}
    data = tmp_path / "data"
    data.mkdir()
    server = ApiServer(ApiServerConfig(port=0, store="sqlite", data_dir=data, client_ca_file=made.path("ca.crt")))
    await server.start()
    files = [path for path in data.rglob("*") if path.is_file()]
    assert len(files) >= 2 and {mode(path) for path in files} == {0o600}, files
    database = next(path for path in files if path.suffix == ".db" or "-" not in path.name)
    copy = tmp_path / "backup"
    copy.with_name("backup.part").write_text("left behind")
    backup(database, copy)
    await server.stop(0)
    assert mode(copy) == 0o600
    copy.chmod(0o644)
    restore(copy, tmp_path / "new" / "state.db")
    assert mode(tmp_path / "new" / "state.db") == 0o600
