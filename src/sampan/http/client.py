"""The client: URLs in, replies out, connections kept.

    async with HttpClient(ssl_context=context) as client:
        reply = await client.request("POST", "https://127.0.0.1:8443/validate", body=review, timeout=10)

Promises: a call that is cancelled or times out leaves no socket behind; a reply longer than `max_body` is cut as soon
as that is known; a request that a kept connection did not take is sent once more on another one, if it can do no harm
twice (GET, HEAD, OPTIONS) or was not sent at all. `dial` opens the connections, so that others may do so in another
network namespace or to a Service; `ssl_context` may be a callable, asked for every new connection, so that certificates
can change. `proxies` says which requests go through one.

Source of the rules: net/http/transport.go (shouldRetryRequest)
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar
from urllib.parse import SplitResult, urlsplit

from sampan.http import errors
from sampan.http.connection import Connection, Reply, ResponseStream, Upgraded
from sampan.http.pool import Pool
from sampan.http.proxies import Proxies, tunnel

CONNECT_SECONDS = 30.0
HANDSHAKE_SECONDS = 10.0
MAX_BODY = 16 << 20
MAX_ORIGINS = 256
_SAFE_TWICE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
P = TypeVar("P", bound=asyncio.BaseProtocol)
Headers = Sequence[tuple[str, str]]
SslSource = ssl.SSLContext | Callable[[], ssl.SSLContext] | None


class Dial(Protocol):
    """Opens one connection, as `loop.create_connection` does; with `ssl` it returns after the handshake."""

    async def __call__(
        self, factory: Callable[[], P], host: str, port: int, *, ssl: ssl.SSLContext | None, server_hostname: str | None
    ) -> tuple[Any, P]: ...


async def dial(
    factory: Callable[[], P], host: str, port: int, *, ssl: ssl.SSLContext | None, server_hostname: str | None
) -> tuple[Any, P]:
    """The ordinary way: from this process."""
    loop = asyncio.get_running_loop()
    handshake = HANDSHAKE_SECONDS if ssl is not None else None
    return await loop.create_connection(
        factory, host, port, ssl=ssl, server_hostname=server_hostname, ssl_handshake_timeout=handshake
    )


class HttpClient:
    """`server_name`: the name that TLS certificates are checked against, where it is not the URL's host."""

    def __init__(
        self,
        *,
        ssl_context: SslSource = None,
        dial: Dial = dial,
        server_name: str | None = None,
        max_connections_per_host: int = 64,
        proxies: Proxies | None = None,
    ) -> None:
        self._ssl = ssl_context
        self._dial = dial
        self._server_name = server_name
        self._limit = max_connections_per_host
        self._proxies = proxies
        self._pools: dict[str, tuple[Pool, str, str, str]] = {}
        self._closed = False

    async def __aenter__(self) -> HttpClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        body: bytes = b"",
        timeout: float | None = None,
        max_body: int = MAX_BODY,
    ) -> Reply:
        """Raises HttpError; a reply of any code is a reply."""
        return await _within(timeout, self._whole(method, url, headers, body, max_body))

    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        body: bytes = b"",
        timeout: float | None = None,
        raw: bool = False,
    ) -> ResponseStream:
        """As soon as the head is there; `timeout` is for that alone. `raw`: encoded as it came. The caller closes it."""
        pool, data = self._prepare(method, url, headers, body)
        return await _within(timeout, self._send(pool, method, data, "raw" if raw else "stream", 0))

    async def upgrade(
        self, method: str, url: str, *, headers: Headers = (), timeout: float | None = None, max_body: int = 1 << 20
    ) -> Upgraded:
        """`headers` must ask for it (`Connection: Upgrade`, `Upgrade: ...`). Raises UpgradeRefused for all but 101."""
        pool, data = self._prepare(method, url, headers, b"")
        result = await _within(timeout, self._send(pool, method, data, "upgrade", max_body))
        if isinstance(result, Reply):
            raise errors.UpgradeRefused(result)
        assert isinstance(result, Upgraded)
        return result

    async def aclose(self) -> None:
        """Idempotent; exchanges under way fail."""
        self._closed = True
        for pool, *_ in self._pools.values():
            pool.close()
        self._pools.clear()
        # transports close in the next turn of the loop
        await asyncio.sleep(0)

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _whole(self, method: str, url: str, headers: Headers, body: bytes, max_body: int) -> Reply:
        pool, data = self._prepare(method, url, headers, body)
        await pool.slot()
        try:
            reply: Reply = await self._send(pool, method, data, "whole", max_body)
        finally:
            pool.release()
        return reply

    async def _send(self, pool: Pool, method: str, data: bytes, mode: str, limit: int) -> Any:
        connection = pool.idle()
        if connection is not None:
            sent = connection.exchanges
            try:
                return await self._on(pool, connection, method, data, mode, limit)
            except errors.ConnectionLost as error:
                unsent = connection.exchanges == sent
                if not unsent and (error.started or method not in _SAFE_TWICE):
                    raise
        return await self._on(pool, await pool.dial(), method, data, mode, limit)

    @staticmethod
    async def _on(pool: Pool, connection: Connection, method: str, data: bytes, mode: str, limit: int) -> Any:
        try:
            result = await connection.exchange(method, data, mode, limit)
        except BaseException:
            pool.discard(connection)
            raise
        if type(result) is Reply:
            pool.give_back(connection)
        elif type(result) is Upgraded:
            pool.discard(connection)
        return result

    def _prepare(self, method: str, url: str, headers: Headers, body: bytes) -> tuple[Pool, bytes]:
        if self._closed:
            raise errors.ConnectFailed("http: client is closed")
        scheme_end = url.find("://")
        path_at = url.find("/", scheme_end + 3)
        origin = url if path_at < 0 else url[:path_at]
        target = "/" if path_at < 0 else url[path_at:]
        if "?" in origin:
            origin, _, query = url.partition("?")
            target = "/?" + query
        found = self._pools.get(origin)
        if found is None:
            if len(self._pools) >= MAX_ORIGINS:
                # whoever is sent to ever new places forgets those it has left
                self._pools = {each: pool for each, pool in self._pools.items() if not pool[0].empty}
            found = self._pools[origin] = self._pool(origin)
        pool, host, prefix, more = found
        target = prefix + target
        lines = [f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n"]
        encoding = True
        for name, value in headers:
            if name.lower() == "host":  # another than the URL's
                lines[0] = f"{method} {target} HTTP/1.1\r\nHost: {value}\r\n"
                continue
            if name.lower() == "accept-encoding":
                encoding = False
                if not value:  # none is sent
                    continue
            lines.append(f"{name}: {value}\r\n")
        if more:
            lines.append(more)
        if encoding:
            lines.append("Accept-Encoding: gzip\r\n")
        if body or method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(body)}\r\n")
        lines.append("\r\n")
        head = "".join(lines)
        if head.count("\n") != head.count("\r\n") or head.count("\n") != len(lines) + 1 or " " in target:
            raise errors.ProtocolError("net/http: invalid header field value or request target")
        try:
            return pool, head.encode("latin-1") + body
        except UnicodeEncodeError:
            raise errors.ProtocolError("net/http: invalid header field value or request target") from None

    def _pool(self, origin: str) -> tuple[Pool, str, str, str]:
        """Also its `Host`, and what a proxy wants before the path and as a header of every request."""
        parts = _split(origin)
        if parts.scheme not in ("http", "https"):
            raise errors.ConnectFailed(f'unsupported protocol scheme "{parts.scheme}"')
        host = parts.hostname
        if not host:
            raise errors.ConnectFailed("http: no Host in request URL")
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        shown = parts.netloc.rpartition("@")[2]
        proxy = self._proxies.of(host, port, secure=secure) if self._proxies and not secure else None
        if proxy is not None:
            pool = Pool(functools.partial(self._connect, proxy.host, proxy.port, False), self._limit)
            return pool, shown, f"http://{shown}", proxy.headers
        return Pool(functools.partial(self._connect, host, port, secure), self._limit), shown, "", ""

    async def _connect(self, host: str, port: int, secure: bool) -> Connection:
        context = self._context() if secure else None
        name = (self._server_name or host) if secure else None
        loop = asyncio.get_running_loop()
        proxy = self._proxies.of(host, port, secure=True) if self._proxies and secure else None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                if proxy is not None and context is not None and name is not None:
                    return await tunnel(
                        proxy, lambda: Connection(loop), host, port, context=context, name=name, seconds=HANDSHAKE_SECONDS
                    )  # fmt: skip
                _, connection = await self._dial(
                    lambda: Connection(loop), host, port, ssl=context, server_hostname=name
                )
        except errors.HttpError:
            raise
        except (OSError, EOFError) as error:
            raise errors.of_dial(error, host, port, name) from error
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._ssl is None:
            self._ssl = ssl.create_default_context()
        return self._ssl if isinstance(self._ssl, ssl.SSLContext) else self._ssl()


def _split(origin: str) -> SplitResult:
    try:
        parts = urlsplit(origin)
        _ = parts.port
    except ValueError as error:
        raise errors.ConnectFailed(f"parse {origin!r}: {error}") from None
    return parts


T = TypeVar("T")


async def _within(timeout: float | None, work: Awaitable[T]) -> T:
    if timeout is None:
        return await work
    try:
        async with asyncio.timeout(timeout):
            return await work
    except TimeoutError:
        raise errors.TimedOut() from None
