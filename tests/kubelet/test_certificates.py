"""A node joins with a bootstrap token: its request is approved and signed by the controllers, and the certificate lets it in."""

from __future__ import annotations

import asyncio
import base64
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sampan.api.user import User
from sampan.apiserver.config import ApiServerConfig
from sampan.apiserver.server import ApiServer
from sampan.client import Client, EventRecorder, HttpsTransport, Informers, from_kubeconfig
from sampan.cluster.certificates import Pki
from sampan.controllers.context import Context, Options
from sampan.controllers.manager import build
from sampan.kubelet.certificates import PAIR, Paths, Rotation, ensure_client
from sampan.testing.inprocess import InProcessTransport

pytestmark = pytest.mark.slow
TOKEN = "abcdef.0123456789abcdef"
NODES = {
    "system:node-bootstrapper": "system:bootstrappers",
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": "system:bootstrappers",
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": "system:nodes",
}


@pytest.fixture
async def server(pki: Pki) -> AsyncIterator[ApiServer]:
    """With the controllers that approve and sign, and a token to join with."""
    config = ApiServerConfig(
        port=0, store="memory", cert_file=pki.path("apiserver.crt"), key_file=pki.path("apiserver.key"),
        client_ca_file=pki.path("ca.crt"), bootstrap_token_auth=True,
    )  # fmt: skip
    server = ApiServer(config)
    await server.start()
    admin = Client(InProcessTransport(server.handler, User("admin", ("system:masters",))))
    for number, (role, group) in enumerate(NODES.items()):
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
        subjects = [{"kind": "Group", "name": group, "apiGroup": ref["apiGroup"]}]
        made: dict[str, Any] = {"metadata": {"name": f"b{number}"}, "roleRef": ref, "subjects": subjects}
        await admin.create("clusterrolebindings.rbac.authorization.k8s.io", made)
    key, secret = TOKEN.split(".")
    data = {"token-id": key, "token-secret": secret, "usage-bootstrap-authentication": "true"}
    body = {"metadata": {"name": f"bootstrap-token-{key}"}, "type": "bootstrap.kubernetes.io/token", "stringData": data}
    await admin.create("secrets", body, "kube-system")
    informers = Informers(admin)
    options = Options(signing_cert=pki.path("ca.crt").read_text(), signing_key=pki.path("ca.key").read_text())
    context = Context(
        informers,
        lambda _: admin,
        lambda name, client: EventRecorder(client, name, clock=time.time),
        time.time,
        random.Random(),
        options,
    )
    running = [
        build(f"certificatesigningrequest-{name}-controller", context).run() for name in ("approving", "signing")
    ]
    informers.start()
    tasks = [asyncio.create_task(each) for each in running]
    yield server
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await informers.aclose()
    await server.stop(0)


async def who(kubeconfig: Path) -> dict[str, Any]:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    async with Client(HttpsTransport(from_kubeconfig(kubeconfig))) as client:
        found: dict[str, Any] = (await client.create("selfsubjectreviews", review))["status"]["userInfo"]
    return found


async def test_from_a_token_to_a_certificate(server: ApiServer, pki: Pki, tmp_path: Path) -> None:
    ca = base64.b64encode(pki.path("ca.crt").read_bytes()).decode()
    cluster = {"server": f"https://127.0.0.1:{server.port}", "certificate-authority-data": ca}
    config: dict[str, Any] = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": cluster}], "users": [{"name": "u", "user": {"token": TOKEN}}],
    }  # fmt: skip
    paths = Paths(tmp_path / "pki", tmp_path / "kubeconfig", tmp_path / "bootstrap")
    (tmp_path / "bootstrap").write_text(yaml.safe_dump(config))
    await asyncio.wait_for(ensure_client(paths, "n1", clock=time.time), 20)
    found = await who(paths.kubeconfig)
    assert found["username"] == "system:node:n1" and "system:nodes" in found["groups"]
    before = paths.current(PAIR).resolve()
    # a second start finds what is there; time to renew, and the next connection has the new one
    await ensure_client(paths, "n1", clock=time.time)
    assert paths.current(PAIR).resolve() == before
    stored = asyncio.Event()
    async with Client(HttpsTransport(from_kubeconfig(paths.kubeconfig))) as client:
        late = time.time() + 350 * 86400
        rotation = Rotation(paths.directory, PAIR, client, "n1", clock=lambda: late, stored=lambda _: stored.set())
        task = asyncio.create_task(rotation.run())
        await asyncio.wait_for(stored.wait(), 20)
        task.cancel()
    assert paths.current(PAIR).resolve() != before
    assert (await who(paths.kubeconfig))["username"] == "system:node:n1"
