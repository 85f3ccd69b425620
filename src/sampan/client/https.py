"""The transport over sockets: one server, our credentials, retries where the server asks for them.

A reply of 429 or 5xx that carries `Retry-After` is asked for again after that long, ten times at most, whatever the
method, as all of Kubernetes' own clients do: the server says by it that it has not begun.

Source: client-go/rest/with_retry.go
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlsplit

from sampan.client.config import Config
from sampan.client.credentials import Credentials, Header
from sampan.client.metrics import Requests
from sampan.client.tls import TlsContexts
from sampan.client.transport import Headers
from sampan.http import Dial, HttpClient, Reply, ResponseStream, TimedOut, Upgraded, UpgradeRefused, dial
from sampan.http.proxies import Proxies

R = TypeVar("R", Reply, ResponseStream)
MAX_RETRIES = 10
#: a list of 30,000 pods in one piece is 180 MB; this is against what never ends
MAX_BODY = 1 << 30


class HttpsTransport:
    """`clock` is the wall clock, for tokens that expire. `metrics` counts what is asked. Raises ConfigError when credentials cannot
    be had."""

    def __init__(
        self,
        config: Config,
        *,
        dial: Dial = dial,
        clock: Callable[[], float] = time.time,
        max_connections: int = 64,
        metrics: Requests | None = None,
    ) -> None:
        self.config = config
        self.metrics = metrics
        self._host = urlsplit(config.server).netloc
        self.tls = TlsContexts(config)
        self.credentials = Credentials(config, self.tls, clock)
        self.http = HttpClient(
            ssl_context=self.tls,
            dial=dial,
            server_name=config.server_name or None,
            max_connections_per_host=max_connections,
            proxies=Proxies.only(config.proxy) if config.proxy else None,
        )

    async def request(
        self, method: str, path: str, *, headers: Headers = (), body: bytes = b"", timeout: float | None = None
    ) -> Reply:
        if timeout is None:
            return await self._request(method, path, headers, body)
        try:
            async with asyncio.timeout(timeout):
                return await self._request(method, path, headers, body)
        except TimeoutError:
            raise TimedOut() from None

    async def _request(self, method: str, path: str, headers: Headers, body: bytes) -> Reply:
        retries = 0
        url = self.config.server + path
        while True:
            own, generation = await self._own()
            asked = self.http.request(method, url, headers=[*headers, *own], body=body, max_body=MAX_BODY)
            reply = await (asked if self.metrics is None else self._counted(self.metrics, method, asked))
            if reply.code < 400 or retries >= MAX_RETRIES or not await self._again(reply, generation):
                return reply
            retries = MAX_RETRIES if reply.code == 401 else retries + 1

    async def stream(self, path: str, *, headers: Headers = (), timeout: float | None = None) -> ResponseStream:
        retries = 0
        while True:
            own, generation = await self._own()
            url = self.config.server + path
            asked = self.http.stream("GET", url, headers=[*headers, *own], timeout=timeout)
            stream = await (asked if self.metrics is None else self._counted(self.metrics, "GET", asked))
            if stream.code < 400 or retries >= MAX_RETRIES:
                return stream
            reply = Reply(stream.code, stream.headers, b"")
            if not await self._again(reply, generation):
                return stream
            await stream.aclose()
            retries = MAX_RETRIES if reply.code == 401 else retries + 1

    async def upgrade(self, method: str, path: str, *, headers: Headers, timeout: float | None = None) -> Upgraded:
        url = self.config.server + path
        own, generation = await self._own()
        try:
            return await self.http.upgrade(method, url, headers=[*headers, *own], timeout=timeout)
        except UpgradeRefused as refused:
            if not await self._again(refused.reply, generation):
                raise
        own, _ = await self._own()
        return await self.http.upgrade(method, url, headers=[*headers, *own], timeout=timeout)

    async def _counted(self, metrics: Requests, method: str, asked: Awaitable[R]) -> R:
        loop = asyncio.get_running_loop()
        start, code = loop.time(), "<error>"
        try:
            reply = await asked
            code = str(reply.code)
            return reply
        finally:
            metrics.done(code, method, self._host, loop.time() - start)

    async def aclose(self) -> None:
        await self.http.aclose()

    async def _own(self) -> tuple[tuple[Header, ...], int]:
        return await self.credentials.headers(), self.credentials.generation

    async def _again(self, reply: Reply, generation: int) -> bool:
        """Wait as long as the reply asks to; False when it is final."""
        if reply.code == 401:
            return await self.credentials.renew(generation)
        if not _may_retry(reply):
            return False
        await asyncio.sleep(float(reply.headers["retry-after"]))
        return True


def _may_retry(reply: Reply) -> bool:
    return (reply.code == 429 or reply.code >= 500) and reply.headers.get("retry-after", "").isdigit()
