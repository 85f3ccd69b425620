"""Where the server is and who we are: kubeconfigs, pods, plugins; and the transport over TLS to a real server."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from sampan.apiserver.config import ApiServerConfig
from sampan.apiserver.server import ApiServer
from sampan.client import Client, Config, ConfigError, HttpsTransport, StatusError, from_kubeconfig, in_cluster, load
from sampan.client.config import ExecPlugin
from sampan.cluster.certificates import Pki
from sampan.http import TlsFailed
from sampan.http.server.listener import Server
from sampan.http.server.messages import Request, Response


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def write(path: Path, **sections: Any) -> Path:
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **sections}))
    return path


def context(name: str, cluster: str, user: str, **more: str) -> dict[str, Any]:
    return {"name": name, "context": {"cluster": cluster, "user": user, **more}}


def test_a_kubeconfig_in_several_files(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").touch()
    write(
        tmp_path / "one",
        clusters=[{"name": "c", "cluster": {"server": "https://one:6443/", "certificate-authority": "ca.crt"}}],
        contexts=[context("dev", "c", "u", namespace="team"), context("none", "missing", "u")],
    )
    write(
        tmp_path / "two",
        clusters=[{"name": "c", "cluster": {"server": "https://two"}}],
        users=[{"name": "u", "user": {"token": "secret", "as": "other", "as-groups": ["g"]}}],
        **{"current-context": "dev"},
    )
    environ = {"KUBECONFIG": f"{tmp_path / 'one'}{os.pathsep}{tmp_path / 'absent'}{os.pathsep}{tmp_path / 'two'}"}
    found = load(environ)
    assert (found.server, found.ca_file, found.namespace) == ("https://one:6443", tmp_path / "ca.crt", "team")
    assert found.token == "secret" and "secret" not in repr(found)
    assert found.impersonate == (("Impersonate-User", "other"), ("Impersonate-Group", "g"))
    with pytest.raises(ConfigError, match='cluster "missing" was not found'):
        from_kubeconfig(environ=environ, context="none")
    with pytest.raises(ConfigError, match='context "nowhere" does not exist'):
        from_kubeconfig(environ=environ, context="nowhere")


def test_certificates_and_plugins_in_a_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    plugin = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "./get", "args": ["token"],
              "env": [{"name": "A", "value": "B"}], "provideClusterInfo": True}  # fmt: skip
    path = write(
        tmp_path / "config",
        clusters=[
            {"name": "c", "cluster": {"server": "https://c", "certificate-authority-data": encoded("CA")}},
            {"name": "loose", "cluster": {"server": "https://c", "insecure-skip-tls-verify": True, "tls-server-name": "n"}},
        ],
        users=[
            {"name": "u", "user": {"client-certificate-data": encoded("CERT"), "client-key": "key"}},
            {"name": "p", "user": {"exec": plugin}},
        ],
        contexts=[context("certs", "c", "u"), context("exec", "loose", "p")],
    )  # fmt: skip
    certs = from_kubeconfig(path, context="certs")
    assert (certs.ca, certs.certificate, certs.key_file) == (b"CA", b"CERT", tmp_path / "key")
    executed = from_kubeconfig(path, context="exec")
    assert executed.insecure and executed.server_name == "n" and executed.exec is not None
    assert (executed.exec.command, executed.exec.env) == (str(tmp_path / "get"), (("A", "B"),))
    with pytest.raises(ConfigError, match="no current-context"):
        from_kubeconfig(path)
    path.write_text("- not\n- a config")
    with pytest.raises(ConfigError, match="not a kubeconfig"):
        from_kubeconfig(path)


V1, BETA = "client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ({"exec": {"command": "x"}}, "apiVersion must be specified for u to use exec authentication plugin"),
        ({"exec": {"apiVersion": V1}}, "command must be specified for u to use exec authentication plugin"),
        ({"exec": {"command": "x", "apiVersion": V1}}, "interactiveMode must be specified for u to use exec"),
        (
            {"exec": {"command": "x", "apiVersion": V1, "interactiveMode": "Often"}},
            'invalid interactiveMode for u: "Often"',
        ),
        ({"exec": {"command": "x", "apiVersion": f"{V1}alpha1"}}, f'exec plugin: invalid apiVersion "{V1}alpha1"'),
        (
            {"exec": {"command": "x", "apiVersion": BETA, "env": [{"value": "a"}]}},
            "env variable name must be specified for u",
        ),
        ({"auth-provider": {"name": "gcp"}}, 'no Auth Provider found for name "gcp"'),
        (
            {"token": "t", "username": "a"},
            r"more than one authentication method found for u; found \[token basicAuth\]",
        ),
        ({"client-certificate-data": "aGk="}, "client-key-data or client-key must be specified for u to use"),
        (
            {"client-certificate": "no.crt", "client-key": "no.key"},
            r"\[unable to read client-cert .*/no.crt for u due to open .*/no.crt: no such file or directory, unable to read c",
        ),
        ({"as-groups": ["g"]}, "requesting uid, groups or user-extra for u without impersonating a user"),
    ],
)
def test_users_that_cannot_be(user: dict[str, Any], said: str, tmp_path: Path) -> None:
    clusters = [{"name": "c", "cluster": {"server": "https://c"}}]
    users = [{"name": "u", "user": user}]
    path = write(tmp_path / "config", clusters=clusters, users=users, contexts=[context("dev", "c", "u")])
    with pytest.raises(ConfigError, match=f"invalid configuration: {said}"):
        from_kubeconfig(path, context="dev")


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        ({"server": "localhost:8080"}, "http://localhost:8080"),
        ({"server": "k:6443", "insecure-skip-tls-verify": True}, "https://k:6443"),
        ({}, 'no server found for cluster "c"'),
        (
            {"server": "https://c", "certificate-authority": "no"},
            "unable to read certificate-authority .*/no for c due to",
        ),
        (
            {"server": "https://c", "certificate-authority-data": "aGk=", "insecure-skip-tls-verify": True},
            "specifying a root certificates file with the insecure flag is not allowed",
        ),
        ("words", "cluster 'c' is no mapping"),
    ],
)
def test_servers(cluster: Any, expected: str, tmp_path: Path) -> None:
    clusters = [{"name": "c", "cluster": cluster}]
    path = write(tmp_path / "config", clusters=clusters, contexts=[context("dev", "c", "")])
    if expected.startswith("http"):
        assert from_kubeconfig(path, context="dev").server == expected
        return
    with pytest.raises(ConfigError, match=expected):
        from_kubeconfig(path, context="dev")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^stat .*/none: no such file or directory$"):
        from_kubeconfig(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"no current-context in .*/none \(which is not there\)$"):
        load({"KUBECONFIG": str(tmp_path / "none")})


def test_in_a_pod(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(ConfigError, match="must be defined"):
        load({"HOME": str(tmp_path)})
    with pytest.raises(ConfigError, match="no such file"):
        in_cluster(environ, tmp_path)
    (tmp_path / "token").write_text("t\n")
    (tmp_path / "ca.crt").write_text("CA")
    (tmp_path / "namespace").write_text("ns\n")
    found = in_cluster(environ, tmp_path)
    assert (found.server, found.namespace, found.ca_file) == ("https://[fd00::1]:443", "ns", tmp_path / "ca.crt")


# -- over sockets -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def tls_server(pki: Pki) -> AsyncIterator[ApiServer]:
    config = ApiServerConfig(
        port=0, store="memory", client_ca_file=pki.path("ca.crt"), cert_file=pki.path("apiserver.crt"),
        key_file=pki.path("apiserver.key"),
    )  # fmt: skip
    server = ApiServer(config)
    await server.start()
    yield server
    await server.stop(0)


async def test_client_certificates_from_data_and_from_files(pki: Pki, tls_server: ApiServer) -> None:
    url = f"https://127.0.0.1:{tls_server.port}"
    ca = pki.path("ca.crt")
    data = Config(
        url, ca=ca.read_bytes(), certificate=pki.path("admin.crt").read_bytes(), key=pki.path("admin.key").read_bytes()
    )
    files = Config(url, ca_file=ca, certificate_file=pki.path("admin.crt"), key_file=pki.path("admin.key"))
    for config in (data, files):
        async with Client(HttpsTransport(config)) as client:
            made = await client.create("configmaps", {"metadata": {"generateName": "c-", "namespace": "default"}})
            async with await client.watch("configmaps", "default", initial=True) as watch:
                assert (await anext(watch)).type == "ADDED"
            await client.delete("configmaps", made["metadata"]["name"], "default")
    async with Client(HttpsTransport(Config(url))) as client:
        with pytest.raises(TlsFailed, match="unknown authority"):
            await client.get("namespaces", "default")
    async with Client(HttpsTransport(Config(url, insecure=True, token="wrong"))) as client:
        with pytest.raises(StatusError, match="Unauthorized"):
            await client.get("namespaces", "default")


async def test_a_certificate_file_that_changes_is_used_by_the_next_connection(
    pki: Pki, tls_server: ApiServer, tmp_path: Path
) -> None:
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    cert.write_bytes(pki.path("apiserver.crt").read_bytes())
    key.write_bytes(pki.path("apiserver.key").read_bytes())
    config = Config(
        f"https://127.0.0.1:{tls_server.port}", ca_file=pki.path("ca.crt"), certificate_file=cert, key_file=key
    )
    transport = HttpsTransport(config)
    before = transport.tls()
    assert transport.tls() is before
    cert.write_bytes(pki.path("admin.crt").read_bytes())
    key.write_bytes(pki.path("admin.key").read_bytes())
    assert transport.tls() is not before
    async with Client(transport) as client:
        await client.get("namespaces", "default")


class Bearer:
    """A server that knows one token; `seen` are the headers it got."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.seen: list[str] = []

    def __call__(self, request: Request) -> Response:
        given = request.headers.get("authorization", "")
        self.seen.append(given)
        if given == f"Bearer {self.token}":
            return Response(200, (), b"{}")
        return Response(401, (("Content-Type", "text/plain"),), b"Unauthorized")


@pytest.fixture
async def bearer() -> AsyncIterator[tuple[Bearer, str]]:
    app = Bearer("one")
    server = Server(app, ssl_context=None, hosts=("127.0.0.1",), port=0)
    await server.start()
    yield app, f"http://127.0.0.1:{server.port}"
    await server.shutdown(0)


async def test_token_files_are_read_again(bearer: tuple[Bearer, str], tmp_path: Path) -> None:
    app, url = bearer
    now = 1000.0
    file = tmp_path / "token"
    file.write_text("one\n")
    async with Client(HttpsTransport(Config(url, token_file=file), clock=lambda: now)) as client:
        await client.get("nodes", "n")
        file.write_text("two")
        await client.get("nodes", "n")
        assert app.seen == ["Bearer one"] * 2
        now += 61
        app.token = "two"
        await client.get("nodes", "n")
        file.write_text("three")
        app.token = "three"
        await client.get("nodes", "n")  # refused, read again, sent again
        assert app.seen[2:] == ["Bearer two", "Bearer two", "Bearer three"]
        app.token = "four"
        with pytest.raises(StatusError):
            await client.get("nodes", "n")
        assert len(app.seen) == 6  # the same token would be refused again
        file.unlink()
        now += 61
        with pytest.raises(ConfigError, match="failed to read token file"):
            await client.get("nodes", "n")


def plugin(tmp_path: Path, **status: str) -> ExecPlugin:
    """A command that gives these, and notes what it was told."""
    path = tmp_path / "plugin"
    answer = {"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": status}
    path.write_text(
        f'#!/bin/sh\necho "$KUBERNETES_EXEC_INFO" >> {tmp_path}/runs\ncat <<E\n{orjson.dumps(answer).decode()}\nE\n'
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return ExecPlugin(str(path), provide_cluster_info=True)


def runs(tmp_path: Path) -> list[Any]:
    return [orjson.loads(line) for line in (tmp_path / "runs").read_text().splitlines()]


async def test_plugins_run_again_when_expired_or_refused(bearer: tuple[Bearer, str], tmp_path: Path) -> None:
    app, url = bearer
    now = 1000.0
    config = Config(url, exec=plugin(tmp_path, token="one", expirationTimestamp="1970-01-01T01:00:00Z"))
    async with Client(HttpsTransport(config, clock=lambda: now)) as client:
        await client.get("nodes", "n")
        await client.get("nodes", "n")
        assert [run["spec"]["cluster"]["server"] for run in runs(tmp_path)] == [url]
        plugin(tmp_path, token="two", expirationTimestamp="1970-01-01T01:00:00Z")
        app.token = "two"
        await client.get("nodes", "n")  # 401, then once more with what the plugin gives now
        assert len(runs(tmp_path)) == 2 and app.seen[-2:] == ["Bearer one", "Bearer two"]
        app.token = "other"
        with pytest.raises(StatusError, match="asked for the client to provide credentials"):
            await client.get("nodes", "n")
        assert len(runs(tmp_path)) == 3
        plugin(tmp_path, token="other")
        now = 3700.0
        await client.get("nodes", "n")
        assert len(runs(tmp_path)) == 4


async def test_plugins_that_fail(bearer: tuple[Bearer, str], tmp_path: Path) -> None:
    _, url = bearer
    cases = [
        (ExecPlugin("/no/such", install_hint="install it"), "executable /no/such not found\n\ninstall it"),
        (ExecPlugin("/bin/false"), "failed with exit code 1"),
        (ExecPlugin("/bin/echo"), "no ExecCredential"),
        (ExecPlugin("/bin/true", interactive="Always"), "interactive mode: standard input is not a terminal"),
        (plugin(tmp_path), "didn't return a token or cert/key pair"),
    ]
    for each, words in cases:
        async with Client(HttpsTransport(Config(url, exec=each))) as client:
            with pytest.raises(ConfigError, match=words):
                await client.get("nodes", "n")


async def test_a_plugin_may_give_a_certificate(pki: Pki, tls_server: ApiServer, tmp_path: Path) -> None:
    given = plugin(
        tmp_path,
        clientCertificateData=pki.path("admin.crt").read_text(),
        clientKeyData=pki.path("admin.key").read_text(),
    )
    config = Config(f"https://127.0.0.1:{tls_server.port}", ca_file=pki.path("ca.crt"), exec=given)
    async with Client(HttpsTransport(config)) as client:
        await client.get("namespaces", "default")
