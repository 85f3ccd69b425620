"""Servers for the tests: in this process for the unit ring, as `sampan up` leaves them for other people's clients."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from sampan.apiserver.config import ApiServerConfig
from sampan.apiserver.server import ApiServer
from sampan.cluster import certificates, doctor
from sampan.http.server.messages import Request, Response

# a busy machine is no failure
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


@dataclass
class Local:
    """An API server in this process; requests enter behind the socket, as the administrator (or, without a certificate,
    as nobody)."""

    server: ApiServer
    certificate: bytes | None

    async def __call__(
        self,
        method: str,
        target: str,
        body: Any = None,
        content_type: str = "application/json",
        **headers: str,
    ) -> tuple[int, Any]:
        """Code and decoded body."""
        reply = await self.raw(method, target, body, content_type, **headers)
        joined = reply.body if isinstance(reply.body, bytes) else b"".join(reply.body)
        try:
            return reply.code, json.loads(joined)
        except ValueError:
            return reply.code, joined

    async def replace(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """PUT over what is stored, whatever that is."""
        _, stored = await self("GET", path)
        revision = {"resourceVersion": stored["metadata"]["resourceVersion"]}
        return await self("PUT", path, {**body, "metadata": {**body["metadata"], **revision}})

    async def raw(
        self, method: str, target: str, body: Any = None, content_type: str = "application/json", **headers: str
    ) -> Response:
        path, _, query = target.partition("?")
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = {key.replace("_", "-").lower(): value for key, value in headers.items()}
        sent.setdefault("user-agent", "test/1")
        sent["content-type"] = content_type
        request = Request(method, path, query, sent, list(sent.items()), data, None, self.certificate)
        result = self.server.handler(request)
        return result if isinstance(result, Response) else await result


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> certificates.Pki:
    return certificates.ensure(tmp_path_factory.mktemp("pki"), ["10.96.0.1"])


@pytest.fixture
async def api(pki: certificates.Pki) -> AsyncIterator[Local]:
    """A fresh server with the memory store."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    server = ApiServer(ApiServerConfig(port=0, store="memory", client_ca_file=pki.path("ca.crt")))
    await server.start()
    certificate = x509.load_pem_x509_certificate(pki.path("admin.crt").read_bytes())
    yield Local(server, certificate.public_bytes(Encoding.DER))
    await server.stop(0)


@dataclass(frozen=True)
class Up:
    """A cluster that `sampan up` made."""

    kubeconfig: Path
    home: Path
    server: str

    @property
    def env(self) -> dict[str, str]:
        here = {"KUBECONFIG": str(self.kubeconfig), "SAMPAN_HOME": str(self.home), "SAMPAN_NODES": "0"}
        return {**os.environ, **here}

    def sampan(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sampan.cli", *arguments]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60)


def brought_up(home: Path, *flags: str) -> Iterator[Up]:
    blank = Up(home / "config", home, "")
    done = blank.sampan("up", "-o", "json", *flags)
    assert done.returncode == 0, done.stderr
    yield Up(blank.kubeconfig, home, json.loads(done.stdout)["server"])
    stopped = blank.sampan("down")
    assert stopped.returncode == 0, stopped.stderr


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One cluster without nodes for all client tests; each works in namespaces of its own."""
    yield from brought_up(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def hollow_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One with three simulated nodes, on which pods run."""
    yield from brought_up(tmp_path_factory.mktemp("hollow"), "--hollow", "3")


#: rooms whose tests make namespaces, mounts and control groups
MACHINE = ("runtime", "kubelet", "network", "cluster")


#: what the oldest and the newest kubectl and Helm show as well (the oldest speaks SPDY alone): `make test-all` has it
AGAIN = re.compile(r"\[(.*-)?(1\.26|1\.32|3\.11|1\.37-spdy)\b")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that repeat others with more versions are marked so. Where this machine lets nobody make namespaces, tests that
    need them are left out, and say why."""
    for item in items:
        if AGAIN.search(item.name):
            item.add_marker(pytest.mark.again)
    concerned = [item for item in items if item.path.parent.name in MACHINE]
    if not concerned:
        return
    lacking = [f"{finding.what}: {finding.said}" for finding in doctor.lacking()]
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True
    )
    if tried.returncode:
        lacking.append(tried.stderr.strip())
    for item in concerned if lacking else ():
        item.add_marker(pytest.mark.skip(reason="; ".join(lacking)))
