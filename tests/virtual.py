"""Virtual time: a loop whose clock jumps to the next timer whenever nothing else is to do."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from sampan.apiserver.authentication.user import ALL_AUTHENTICATED, MASTERS, User
from sampan.apiserver.config import ApiServerConfig
from sampan.apiserver.server import ApiServer
from sampan.client import Client
from sampan.testing.inprocess import InProcessTransport

T = TypeVar("T")
START = 1_700_000_000.0
ADMIN = User("admin", (MASTERS, ALL_AUTHENTICATED))


class _Selector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("everybody waits, and for nothing that will come")
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.virtual = _Selector()
        super().__init__(self.virtual)

    def time(self) -> float:
        return self.virtual.now


def clock() -> float:
    """Wall time that passes as the loop's does."""
    return START + asyncio.get_running_loop().time()


def virtually(test: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a test's coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(test())


async def server() -> ApiServer:
    """An API server in this loop, in memory."""
    made = ApiServer(ApiServerConfig(port=0, store="memory"))
    await made.start()
    return made


def admin(server: ApiServer, agent: str = "test") -> Client:
    return Client(InProcessTransport(server.handler, ADMIN), user_agent=agent)
