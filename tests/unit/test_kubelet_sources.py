"""What a kubelet knows of the API's objects: only what its pods use, and what has changed as soon as it has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sampan.api.errors import StatusError
from sampan.client import Client
from sampan.kubelet.sources import NotSynced, Sources
from sampan.testing.inprocess import InProcessTransport
from tests.conftest import Local
from tests.people import node
from tests.virtual import ADMIN

Obj = dict[str, Any]
NS = "default"


class World:
    """`told`: whose sources have changed."""

    def __init__(self, api: Local) -> None:
        self.now = 0.0
        self.admin = Client(InProcessTransport(api.server.handler, ADMIN))
        self.sources = Sources(Client(InProcessTransport(api.server.handler, node("one"))), clock=lambda: self.now)
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self.sources.listen(self.told.put_nowait)

    async def pod(self, name: str, **spec: Any) -> Obj:
        containers = [{"name": "c", "image": "i"}]
        meta = {"name": name, "namespace": NS}
        full = {"nodeName": "one", "containers": containers, "automountServiceAccountToken": False, **spec}
        made = await self.admin.create("pods", {"metadata": meta, "spec": full})
        self.sources.register(made)
        return made

    async def config_map(self, name: str, **data: str) -> Obj:
        return await self.admin.create("configmaps", {"metadata": {"name": name, "namespace": NS}, "data": data})


@pytest.fixture
async def world(api: Local) -> AsyncIterator[World]:
    made = World(api)
    made.now = api.server.api.clock()
    yield made
    await made.sources.aclose()


def uses(name: str) -> Obj:
    return {"volumes": [{"name": "v", "configMap": {"name": name}}]}


@pytest.mark.slow
async def test_changes_are_told_to_whom_they_concern(world: World) -> None:
    await world.config_map("a", k="1")
    pod = await world.pod("x", **uses("a"))
    assert (await world.sources.config_map(NS, "a"))["data"] == {"k": "1"}
    await world.admin.patch("configmaps", "a", {"data": {"k": "2"}}, NS)
    assert await world.told.get() == pod["metadata"]["uid"]
    assert (await world.sources.config_map(NS, "a"))["data"] == {"k": "2"}
    await world.admin.delete("configmaps", "a", NS)
    assert await world.told.get() == pod["metadata"]["uid"]
    with pytest.raises(StatusError, match='configmap "a" not found'):
        await world.sources.config_map(NS, "a")


async def test_what_is_not_there_yet_is_told_when_it_comes(world: World) -> None:
    pod = await world.pod("x", volumes=[{"name": "v", "secret": {"secretName": "late"}}])
    with pytest.raises(StatusError, match='secret "late" not found'):
        await world.sources.secret(NS, "late")
    await world.admin.create("secrets", {"metadata": {"name": "late", "namespace": NS}, "stringData": {"k": "v"}})
    assert await world.told.get() == pod["metadata"]["uid"]
    assert (await world.sources.secret(NS, "late"))["data"] == {"k": "dg=="}


async def test_only_what_registered_pods_use_is_watched(world: World) -> None:
    await world.config_map("a")
    first, second = await world.pod("x", **uses("a")), await world.pod("y", **uses("a"))
    await world.sources.config_map(NS, "a")
    world.sources.unregister(first["metadata"]["uid"])
    await world.sources.config_map(NS, "a")
    world.sources.unregister(second["metadata"]["uid"])
    with pytest.raises(NotSynced, match='object "default"/"a" not registered'):
        await world.sources.config_map(NS, "a")


async def test_immutable_ones_are_watched_no_more(world: World) -> None:
    await world.admin.create(
        "configmaps", {"metadata": {"name": "a", "namespace": NS}, "data": {"k": "1"}, "immutable": True}
    )
    pod = await world.pod("x", **uses("a"))
    await world.sources.config_map(NS, "a")
    await world.admin.delete("configmaps", "a", NS)
    world.sources.register(pod)
    assert (await world.sources.config_map(NS, "a"))["data"] == {"k": "1"}


async def test_tokens_are_renewed_in_time(world: World) -> None:
    asked = [{"serviceAccountToken": {"path": "t"}}, {"serviceAccountToken": {"path": "v", "audience": "vault"}}]
    pod = await world.pod("x", volumes=[{"name": "v", "projected": {"sources": asked}}])
    first = await world.sources.token(pod, "", 600)
    assert await world.sources.token(pod, "", 600) == first
    other = await world.sources.token(pod, "vault", 600)
    assert other != first
    world.now += 470
    assert await world.sources.token(pod, "", 600) == first
    world.now += 20
    assert await world.sources.token(pod, "", 600) != first
    # while the server refuses, the old one serves to its end
    again = await world.sources.token(pod, "", 600)
    await world.admin.delete("pods", "x", NS, grace_seconds=0)
    world.now += 100
    with pytest.raises(StatusError):
        await world.sources.token(pod, "new", 600)
    assert await world.sources.token(pod, "vault", 600) == other
    assert await world.sources.token(pod, "", 600) == again


async def test_services(world: World) -> None:
    spec = {"ports": [{"port": 80}], "clusterIP": "10.96.0.77"}
    await world.admin.create("services", {"metadata": {"name": "s", "namespace": NS}, "spec": spec})
    found = await world.sources.services()
    assert "s" in [each["metadata"]["name"] for each in found]
