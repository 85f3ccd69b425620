"""Debian's docker-registry as a process of the test: open, with passwords, or with a token server beside it."""

from __future__ import annotations

import base64
import datetime
import hashlib
import http.server
import json
import shutil
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.images import Built, sha
from tests.runtime.processes import Logged

#: user "app" with the password "secret"; the registry takes bcrypt alone
HTPASSWD = "app:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"
BASIC = "Basic " + base64.b64encode(b"app:secret").decode()


def program() -> str:
    found = shutil.which("docker-registry") or shutil.which("registry")
    if not found:
        pytest.skip("docker-registry is not installed (Debian: docker-registry)")
    return found


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Server:
    port: int
    authorization: str = ""
    tokens: Tokens | None = None

    @property
    def domain(self) -> str:
        return f"127.0.0.1:{self.port}"

    def send(self, method: str, url: str, data: bytes = b"", kind: str = "application/octet-stream") -> str:
        """The Location of the reply."""
        if "://" not in url:
            url = f"http://{self.domain}{url}"
        request = urllib.request.Request(url, data or None, {"Content-Type": kind}, method=method)
        if self.tokens is not None:
            name = (
                urllib.parse.urlsplit(url).path.removeprefix("/v2/").partition("/blobs/")[0].partition("/manifests/")[0]
            )
            request.add_header("Authorization", f"Bearer {self.tokens.make(f'repository:{name}:pull,push')}")
        elif self.authorization:
            request.add_header("Authorization", self.authorization)
        with urllib.request.urlopen(request, timeout=10) as reply:
            return str(reply.headers.get("Location", ""))

    def push(self, built: Built, name: str, tag: str = "") -> None:
        for digest, data in built.blobs.items():
            where = self.send("POST", f"/v2/{name}/blobs/uploads/")
            self.send("PUT", f"{where}{'&' if '?' in where else '?'}digest={digest}", data)
        self.put_manifest(name, tag or sha(built.manifest_data), built.manifest_data, built.kind)

    def put_manifest(self, name: str, which: str, data: bytes, kind: str) -> None:
        self.send("PUT", f"/v2/{name}/manifests/{which}", data, kind)


@contextmanager
def registry(home: Path, *, auth: str = "none", port: int = 0, network: Path | None = None) -> Iterator[Server]:
    """`home`: what was pushed is still there another time. `network`: a namespace to be reached in."""
    home.mkdir(parents=True, exist_ok=True)
    server = Server(port or free_port(), BASIC if auth == "basic" else "")
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(home / "data")}},
        "http": {"addr": server.domain},
    }
    if auth == "basic":
        (home / "htpasswd").write_text(HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(home / "htpasswd")}}
    if auth == "token":
        server.tokens = Tokens(home)
        config["auth"] = {"token": {
            "realm": server.tokens.url, "service": "test", "issuer": "tests", "rootcertbundle": str(home / "token.crt"),
        }}  # fmt: skip
    (home / "config.yml").write_text(json.dumps(config))
    enter = ["nsenter", f"--net={network}", "--"] if network is not None else []
    process = Logged([*enter, program(), "serve", home / "config.yml"], home / "log")
    try:
        process.wait_for("listening on")
        yield server
    finally:
        process.terminate()
        process.wait(10)
        if server.tokens is not None:
            server.tokens.close()


@dataclass
class Tokens:
    """A token server as the distribution specification has it: it knows "app" and "secret", and refresh token "again"."""

    home: Path
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
        now = datetime.datetime.now(datetime.UTC)
        made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self._key.public_key())
        made = made.serial_number(1).not_valid_before(now - datetime.timedelta(hours=1))
        made = made.not_valid_after(now + datetime.timedelta(days=1))
        made = made.add_extension(x509.BasicConstraints(True, None), True)
        certificate = made.sign(self._key, hashes.SHA256())
        (self.home / "token.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self._der = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
        tokens = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                self._answer(self.headers.get("Authorization") == BASIC, query["scope"][0], "token")

            def do_POST(self) -> None:
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self._answer(form["refresh_token"] == ["again"], form["scope"][0], "access_token")

            def _answer(self, known: bool, scope: str, field: str) -> None:
                tokens.asked.append(scope)
                # strangers get a token too, one that opens nothing
                body = json.dumps({field: tokens.make(scope if known else ""), "expires_in": 300}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/token"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def make(self, scope: str) -> str:
        import jwt

        now = int(time.time())
        access = []
        if scope:
            kind, name, actions = scope.split(":")
            access = [{"type": kind, "name": name, "actions": actions.split(",")}]
        claims = {
            "iss": "tests",
            "sub": "app",
            "aud": "test",
            "exp": now + 300,
            "nbf": now - 5,
            "iat": now,
            "access": access,
        }
        claims["jti"] = hashlib.sha256(json.dumps(claims).encode()).hexdigest()[:16]
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"x5c": [self._der]})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
