"""Crashes at a chosen moment: a transport whose k-th call never comes back, as if the process had died there."""

from __future__ import annotations

import asyncio
from typing import Any

from sampan.client.transport import Headers
from sampan.http import ConnectionLost, Reply


class Crashing:
    """Around a controller's transport. `at`: which writing call (from 1) is the last; `after`: it still reached the
    server. `crashed` is set when it happens."""

    def __init__(self, inner: Any, at: int, *, after: bool = False) -> None:
        self.inner = inner
        self.left = at
        self.after = after
        self.crashed = asyncio.Event()

    async def request(
        self, method: str, path: str, *, headers: Headers = (), body: bytes = b"", timeout: float | None = None
    ) -> Reply:
        if method != "GET":
            self.left -= 1
            if self.left == 0 and self.after:
                await self.inner.request(method, path, headers=headers, body=body, timeout=timeout)
            if self.left <= 0:
                self.crashed.set()
                await asyncio.Event().wait()
        reply: Reply = await self.inner.request(method, path, headers=headers, body=body, timeout=timeout)
        return reply

    async def stream(self, path: str, *, headers: Headers = (), timeout: float | None = None) -> Any:
        return await self.inner.stream(path, headers=headers, timeout=timeout)

    async def upgrade(self, method: str, path: str, *, headers: Headers, timeout: float | None = None) -> Any:
        return await self.inner.upgrade(method, path, headers=headers, timeout=timeout)

    async def aclose(self) -> None:
        await self.inner.aclose()


class Unanswering(Crashing):
    """The first `count` creations of pods are made, and nobody hears of it. `said`: what is heard instead."""

    def __init__(self, inner: Any, count: int, said: Reply | None = None) -> None:
        super().__init__(inner, 0)
        self.count = count
        self.said = said

    async def request(
        self, method: str, path: str, *, headers: Headers = (), body: bytes = b"", timeout: float | None = None
    ) -> Reply:
        reply: Reply = await self.inner.request(method, path, headers=headers, body=body, timeout=timeout)
        if method == "POST" and path.partition("?")[0].endswith("/pods") and self.count > 0:
            self.count -= 1
            if self.said is not None:
                return self.said
            raise ConnectionLost("EOF", started=True)
        return reply


#: a server that gave up waiting for its own store
TIMED_OUT = Reply(
    504, {}, b'{"kind":"Status","apiVersion":"v1","status":"Failure","message":"Timeout","reason":"Timeout","code":504}'
)
