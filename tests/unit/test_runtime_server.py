"""The gRPC server: replies, streams and errors as a client sees them."""

from __future__ import annotations

import importlib
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sampan.cri import pb
from sampan.runtime.errors import NotFound, Precondition
from sampan.runtime.server import CriServer
from tests.cri_client import Cri

aio: Any = importlib.import_module("grpc.aio")


class Service:
    async def Version(self, request: Any) -> Any:
        return pb.VersionResponse(version=request.version, runtime_name="test")

    async def ContainerStatus(self, request: Any) -> Any:
        raise NotFound(f"no {request.container_id}")

    async def StopContainer(self, request: Any) -> Any:
        raise ZeroDivisionError("oh")

    async def StreamContainers(self, request: Any) -> AsyncIterator[Any]:
        for name in ("a", "b"):
            yield pb.StreamContainersResponse(containers=[pb.Container(id=name)])
        raise NotFound("and no more")


@pytest.fixture
async def cri(tmp_path: Path) -> AsyncIterator[Cri]:
    server = CriServer(tmp_path / "cri.sock", {"runtime.v1.RuntimeService": Service()})
    await server.start()
    async with Cri(tmp_path / "cri.sock") as client:
        yield client
    await server.stop(0)


async def test_replies_streams_and_errors(cri: Cri, tmp_path: Path) -> None:
    assert (await cri.Version(version="v1")).runtime_name == "test"
    for call, code, words in (
        (cri.ContainerStatus(container_id="x"), "NOT_FOUND", "no x"),
        (cri.StopContainer(), "UNKNOWN", "ZeroDivisionError: oh"),
        (cri.Attach(), "UNIMPLEMENTED", "method Attach not implemented"),
    ):
        with pytest.raises(aio.AioRpcError) as caught:
            await call
        assert (caught.value.code().name, caught.value.details()) == (code, words)
    seen = []
    with pytest.raises(aio.AioRpcError, match="and no more"):
        async for reply in cri.StreamContainers():
            seen += [container.id for container in reply.containers]
    assert seen == ["a", "b"]
    assert stat.S_IMODE((tmp_path / "cri.sock").stat().st_mode) == 0o600


async def test_a_socket_has_one_server_and_a_stale_one_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "cri.sock"
    path.write_text("left by a crash")
    first, second = (CriServer(path, {"runtime.v1.RuntimeService": Service()}) for _ in range(2))
    await first.start()
    with pytest.raises(Precondition, match="served by another process"):
        await second.start()
    await first.stop(0)
    await second.start()
    await second.stop(0)
    assert not path.exists()
