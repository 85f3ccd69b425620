"""Who kubectl is: tokens, impersonation, an exec plugin that logs in at a real OpenID issuer, and bad certificates."""

from __future__ import annotations

import base64
import datetime
import http.client
import importlib
import json
import os
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sampan.cluster.certificates import Pki
from tests import kubectls
from tests.conftest import Up

pytestmark = [pytest.mark.clients, pytest.mark.slow]


def kubectl(env: dict[str, str], *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    command = [str(kubectls.kubectl("1.37")), *arguments]
    done = subprocess.run(command, input=stdin, env=env, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def works(env: dict[str, str], *arguments: str, stdin: str = "") -> str:
    code, out, problems = kubectl(env, *arguments, stdin=stdin)
    assert code == 0, problems
    return out


def whoami(env: dict[str, str], *arguments: str) -> Any:
    return json.loads(works(env, "auth", "whoami", "-o", "json", *arguments))["status"]["userInfo"]


def as_user(path: Path, server: str, ca: Path, user: Any) -> dict[str, str]:
    """The environment of a kubeconfig with one user."""
    cluster = {"server": server, "certificate-authority": str(ca)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(json.dumps(config))
    return {**os.environ, "KUBECONFIG": str(path)}


@pytest.fixture(scope="module")
def ca(up: Up) -> Path:
    return up.home / "clusters" / "default" / "pki" / "ca.crt"


def test_create_token(up: Up, ca: Path, tmp_path: Path) -> None:
    works(up.env, "create", "namespace", "authn")
    works(up.env, "-n", "authn", "create", "serviceaccount", "robot")
    works(up.env, "-n", "authn", "create", "secret", "generic", "leash")
    made = works(up.env, "-n", "authn", "create", "token", "robot", "--duration=20m", "--bound-object-kind=Secret", "--bound-object-name=leash")  # fmt: skip
    env = as_user(tmp_path / "config", up.server, ca, {"token": made.strip()})
    who = whoami(env)
    assert who["username"] == "system:serviceaccount:authn:robot"
    assert "system:serviceaccounts:authn" in who["groups"]
    code, _, problems = kubectl(env, "get", "nodes")
    assert code == 1 and 'User "system:serviceaccount:authn:robot" cannot list resource "nodes"' in problems
    works(up.env, "-n", "authn", "delete", "secret", "leash")
    code, _, problems = kubectl(env, "auth", "whoami")
    assert code == 1 and "You must be logged in to the server (Unauthorized)" in problems
    code, _, problems = kubectl(up.env, "-n", "authn", "create", "token", "robot", "--duration=1m")
    assert code == 1 and "may not specify a duration less than 10 minutes" in problems


def test_token_secret(up: Up, ca: Path, tmp_path: Path) -> None:
    manifest = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: old}
---
apiVersion: v1
kind: Secret
metadata: {name: old-token, annotations: {kubernetes.io/service-account.name: old}}
type: kubernetes.io/service-account-token
"""
    works(up.env, "apply", "-f", "-", stdin=manifest)
    works(up.env, "wait", "secret/old-token", "--for=jsonpath={.data.token}", "--timeout=10s")
    data = json.loads(works(up.env, "get", "secret", "old-token", "-o", "json"))["data"]
    assert base64.b64decode(data["ca.crt"]) == ca.read_bytes()
    env = as_user(tmp_path / "config", up.server, ca, {"token": base64.b64decode(data["token"]).decode()})
    assert whoami(env)["username"] == "system:serviceaccount:default:old"


def test_impersonation(up: Up) -> None:
    who = whoami(up.env, "--as=jane", "--as-group=dev", "--as-group=ops", "--as-uid=u-1", "--as-user-extra=team/x=blue")
    assert who["username"] == "jane" and who["uid"] == "u-1" and who["extra"] == {"team/x": ["blue"]}
    assert who["groups"] == ["dev", "ops", "system:authenticated"]
    code, _, problems = kubectl(up.env, "get", "pods", "--as=jane")
    assert (
        code == 1 and 'User "jane" cannot list resource "pods" in API group "" in the namespace "default"' in problems
    )


def test_impersonation_without_the_right(up: Up, ca: Path, tmp_path: Path) -> None:
    token = works(up.env, "create", "token", "default").strip()
    env = as_user(tmp_path / "config", up.server, ca, {"token": token})
    code, _, problems = kubectl(env, "get", "pods", "--as=kubernetes-admin", "--as-group=system:masters")
    said = 'User "system:serviceaccount:default:default" cannot impersonate resource "users" in API group ""'
    assert code == 1 and said in problems


def test_keys_are_their_owners(up: Up) -> None:
    pki = up.home / "clusters" / "default" / "pki"
    keys = sorted(pki.glob("*.key"))
    assert {key.name for key in keys} >= {"ca.key", "sa.key", "apiserver.key"}
    assert all(stat.S_IMODE(key.stat().st_mode) == 0o600 for key in keys)


# -- an issuer of identity tokens --------------------------------------------------------------------------------------


@pytest.fixture
def issuer(pki: Pki) -> Iterator[str]:
    """A real OpenID provider, over TLS."""
    from werkzeug.serving import make_server

    oidc_provider_mock = importlib.import_module("oidc_provider_mock")
    tls = str(pki.path("apiserver.crt")), str(pki.path("apiserver.key"))
    app = oidc_provider_mock.app(
        user_claims=[oidc_provider_mock.User(sub="jane", claims={"email": "jane@example.org"})]
    )
    server = make_server("127.0.0.1", 0, app, threaded=True, ssl_context=tls)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def believer(pki: Pki, issuer: str, tmp_path: Path) -> Iterator[str]:
    """An API server that believes it."""
    reader, writer = os.pipe()
    log = tmp_path / "log"
    command = [
        sys.executable, "-m", "sampan.cli", "apiserver", "--secure-port", "0", "--storage", "memory", "-v", "9",
        "--tls-cert-file", str(pki.path("apiserver.crt")), "--tls-private-key-file", str(pki.path("apiserver.key")),
        "--client-ca-file", str(pki.path("ca.crt")), "--oidc-ca-file", str(pki.path("ca.crt")),
        "--oidc-issuer-url", issuer, "--oidc-client-id", "kubernetes", "--oidc-username-claim", "email",
        "--oidc-username-prefix", "oidc:", "--ready-fd", str(writer),
    ]  # fmt: skip
    with log.open("wb") as file:
        process = subprocess.Popen(command, stderr=file, pass_fds=[writer])
    os.close(writer)
    try:
        with os.fdopen(reader) as ready:
            assert ready.read() == "ready\n", log.read_text()
        port = log.read_text().split("serving on port ")[1].split()[0]
        yield f"https://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_exec_plugin_and_openid_issuer(pki: Pki, issuer: str, believer: str, tmp_path: Path) -> None:
    def logged_in(subject: str, client: str = "kubernetes") -> dict[str, str]:
        plugin = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": [str(Path(__file__).parent.parent / "oidc_login.py"), issuer, str(pki.path("ca.crt")), client, subject],
            "interactiveMode": "Never",
        }  # fmt: skip
        return as_user(tmp_path / "config", believer, pki.path("ca.crt"), {"exec": plugin})

    who = whoami(logged_in("jane"))
    assert who["username"] == "oidc:jane@example.org" and who["groups"] == ["system:authenticated"]
    code, _, problems = kubectl(logged_in("jane"), "get", "nodes")
    assert code == 1 and 'User "oidc:jane@example.org" cannot list resource "nodes"' in problems
    code, _, problems = kubectl(logged_in("jane", "another-client"), "get", "nodes")
    assert code == 1 and "You must be logged in to the server" in problems
    log = (tmp_path / "log").read_text()
    assert 'oidc: expected audience "kubernetes" got ["another-client"]' in log and "eyJ" not in log


# -- certificates ------------------------------------------------------------------------------------------------------


def client_certificate(
    path: Path, signer: tuple[x509.Name, ec.EllipticCurvePrivateKey], start: int, end: int, name: str = "eve"
) -> Path:
    """Key and certificate in one file, valid from `start` to `end` days from now."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer[0])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=start))
        .not_valid_after(now + datetime.timedelta(days=end))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(signer[1], hashes.SHA256())
    )
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(*form) + built.public_bytes(serialization.Encoding.PEM))
    return path


def get_nodes(server: str, ca: Path, certificate: Path) -> int:
    context = ssl.create_default_context(cafile=str(ca))
    context.load_cert_chain(certificate)
    where = urlsplit(server)
    connection = http.client.HTTPSConnection(where.hostname or "", where.port, context=context, timeout=10)
    try:
        connection.request("GET", "/api/v1/nodes")
        return connection.getresponse().status
    finally:
        connection.close()


def test_certificates(up: Up, ca: Path, tmp_path: Path) -> None:
    authority = x509.load_pem_x509_certificate(ca.read_bytes()).subject
    key = serialization.load_pem_private_key(ca.with_name("ca.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    ours, stranger = (authority, key), (authority, ec.generate_private_key(ec.SECP256R1()))
    assert get_nodes(up.server, ca, client_certificate(tmp_path / "good", ours, -1, 1)) == 200
    for name, signer, start, end in (
        ("expired", ours, -3, -1),
        ("not-yet-valid", ours, 1, 3),
        ("another-ca", stranger, -1, 1),
    ):
        bad = client_certificate(tmp_path / name, signer, start, end)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            get_nodes(up.server, ca, bad)
    assert get_nodes(up.server, ca, tmp_path / "good") == 200
