"""A quota holds with several API servers over one etcd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sampan.api.user import User
from sampan.apiserver.config import ApiServerConfig
from sampan.apiserver.server import ApiServer
from sampan.cluster.certificates import Pki
from sampan.store.open import EtcdTls
from tests import etcd_server
from tests.conftest import Local
from tests.unit.test_admission_pods import PODS, pod
from tests.unit.test_admission_subresources import As

pytestmark = [pytest.mark.clients, pytest.mark.slow]
ADMIN = User("admin", ("system:masters", "system:authenticated"))


@pytest.fixture
async def servers(tmp_path: Path, pki: Pki) -> AsyncIterator[list[As]]:
    with etcd_server.running(tmp_path, pki) as etcd:
        tls = EtcdTls(pki.path("ca.crt"), pki.path("admin.crt"), pki.path("admin.key"))
        made = [ApiServer(ApiServerConfig(port=0, store=f"etcd={etcd.url}", etcd_tls=tls)) for _ in range(2)]
        for server in made:
            await server.start()
        yield [As(Local(server, b""), ADMIN) for server in made]
        for server in made:
            await server.stop(0)


async def test_two_servers_never_exceed_a_quota(servers: list[As]) -> None:
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "9"}}}
    code, _ = await servers[0]("POST", "/api/v1/namespaces/default/resourcequotas", quota)
    assert code == 201
    # both see it
    await servers[1]("GET", "/api/v1/namespaces/default/resourcequotas/q")
    replies = await asyncio.gather(
        *(servers[number % 2]("POST", PODS, pod(f"p{number}")) for number in range(40)),
    )
    assert sorted(code for code, _ in replies) == [201] * 9 + [403] * 31
    _, found = await servers[1]("GET", "/api/v1/namespaces/default/resourcequotas/q")
    assert found["status"]["used"] == {"pods": "9"}
    _, listed = await servers[0]("GET", PODS)
    assert len(listed["items"]) == 9
