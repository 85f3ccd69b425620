"""Tests in virtual time, with a server in the same loop and no socket."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from sampan.api.user import ALL_AUTHENTICATED, MASTERS, User
from sampan.apiserver.config import ApiServerConfig
from sampan.apiserver.server import ApiServer
from sampan.client import Client
from sampan.testing.inprocess import InProcessTransport
from sampan.testing.loop import VirtualLoop

T = TypeVar("T")
START = 1_700_000_000.0
ADMIN = User("admin", (MASTERS, ALL_AUTHENTICATED))


def clock() -> float:
    """Wall time that passes as the loop's does."""
    return START + asyncio.get_running_loop().time()


def virtually(test: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a test's coroutine in virtual time."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(START)) as runner:
        return runner.run(test())


async def server() -> ApiServer:
    """An API server in this loop, in memory."""
    made = ApiServer(ApiServerConfig(store="memory"), clock=clock, rng=random.Random(1), listen=False)
    await made.start()
    return made


def admin(server: ApiServer, agent: str = "test") -> Client:
    return Client(InProcessTransport(server.handler, ADMIN), user_agent=agent)
