"""Listening sockets, and the connections they brought.

One timer looks at all connections every few seconds; there is none per connection. `shutdown` stops listening, ends
streams with their terminating chunk, lets requests finish, and cuts what is left after the grace period.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Sequence

from sampan.http.server.limits import Limits
from sampan.http.server.messages import App, Sinks
from sampan.http.server.plain import http_date
from sampan.http.server.protocol import Connection

SWEEP_SECONDS = 5.0
BACKLOG = 1024


class Server:
    """`port` 0 lets the system choose one; the same port is used on all hosts."""

    def __init__(
        self,
        app: App,
        *,
        ssl_context: ssl.SSLContext | None,
        hosts: Sequence[str],
        port: int,
        limits: Limits | None = None,
        sinks: Sinks | None = None,
    ) -> None:
        self.app = app
        self.ssl_context = ssl_context
        self.hosts = hosts
        self.port = port
        self.limits = limits or Limits()
        self.sinks = sinks
        self.connections: set[Connection] = set()
        self.stopping = False
        self.loop = asyncio.get_running_loop()
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._date = b""
        self._emptied: asyncio.Future[None] | None = None
        self._date_until = 0.0

    async def start(self) -> None:
        """Raises OSError when a port is taken."""
        for host in self.hosts:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            server = await self.loop.create_server(
                lambda: Connection(self), host, self.port, family=family, ssl=self.ssl_context, backlog=BACKLOG
            )
            self.port = server.sockets[0].getsockname()[1]
            self._servers.append(server)

    def _sweep(self) -> None:
        now = self.loop.time()
        for connection in tuple(self.connections):
            connection.sweep(now)
        self._sweeper = self.loop.call_later(SWEEP_SECONDS, self._sweep) if self.connections else None

    def date(self) -> bytes:
        """The Date header's line, made anew each second."""
        now = self.loop.time()
        if now >= self._date_until:
            self._date, self._date_until = http_date(), now + 1
        return self._date

    def remember(self, connection: Connection) -> None:
        """It is open. While there is none, no timer ticks."""
        self.connections.add(connection)
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(SWEEP_SECONDS, self._sweep)

    def forget(self, connection: Connection) -> None:
        """It is closed."""
        self.connections.discard(connection)
        if not self.connections and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    async def shutdown(self, grace: float) -> None:
        self.stopping = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for server in self._servers:
            server.close()
        for connection in tuple(self.connections):
            connection.drain()
        if self.connections:
            self._emptied = self.loop.create_future()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._emptied
        for connection in tuple(self.connections):
            if connection.transport is not None:
                connection.transport.abort()
