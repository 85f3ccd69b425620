"""Two API servers over one etcd: a definition made at one is served by the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sampan.apiserver.config import ApiServerConfig
from sampan.apiserver.server import ApiServer
from sampan.cluster.certificates import Pki
from sampan.store.open import EtcdTls
from tests import etcd_server
from tests.conftest import Local
from tests.unit.test_crd import CRDS, CRONTABS, GROUP, crontab, define, definition, until
from tests.unit.test_crd_serving import certificate

pytestmark = [pytest.mark.clients, pytest.mark.slow]


@pytest.fixture
async def servers(tmp_path: Path, pki: Pki) -> AsyncIterator[tuple[Local, Local]]:
    with etcd_server.running(tmp_path, pki) as etcd:
        tls = EtcdTls(pki.path("ca.crt"), pki.path("admin.crt"), pki.path("admin.key"))
        both = []
        for _ in range(2):
            config = ApiServerConfig(port=0, store=f"etcd={etcd.url}", etcd_tls=tls, client_ca_file=pki.path("ca.crt"))
            server = ApiServer(config)
            await server.start()
            both.append(Local(server, certificate(pki)))
        yield both[0], both[1]
        for local in both:
            await local.server.stop(0)


async def test_each_follows_the_definitions(servers: tuple[Local, Local]) -> None:
    one, two = servers
    await define(one, definition())
    assert (await one("POST", CRONTABS, crontab("a")))[0] == 201

    async def served() -> bool:
        return (await two("GET", f"{CRONTABS}/a"))[0] == 200

    await until(served)
    assert (await two("POST", CRONTABS, crontab("b")))[0] == 201
    _, listed = await one("GET", CRONTABS)
    assert [item["metadata"]["name"] for item in listed["items"]] == ["a", "b"]
    _, crd = await two("GET", f"{CRDS}/crontabs.{GROUP}")
    properties = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    properties["zone"] = {"type": "string", "default": "north"}
    assert (await two("PUT", f"{CRDS}/crontabs.{GROUP}", crd))[0] == 200

    async def defaulted() -> bool:
        return bool((await one("GET", f"{CRONTABS}/b"))[1]["spec"].get("zone") == "north")

    await until(defaulted)
    assert (await two("DELETE", f"{CRDS}/crontabs.{GROUP}"))[0] == 200

    async def gone() -> bool:
        return all([(await local("GET", CRONTABS))[0] == 404 for local in servers])

    await until(gone)
