"""Connections to one origin: the idle ones, and a bound on how many whole exchanges go on at once.

Streams and upgrades live for hours and do not count. The connection used last is used first; the others age and close.

Source of the numbers: net/http/transport.go (DefaultTransport: IdleConnTimeout), client-go's transport cache
"""

from __future__ import annotations

import asyncio
import select
from collections import deque
from collections.abc import Awaitable, Callable

from sampan.http.connection import Connection

IDLE_SECONDS = 90.0
#: one that lay longer is looked at before it is used: the peer may have closed it in this very moment
SUSPECT_SECONDS = 0.5


class Pool:
    def __init__(self, dial: Callable[[], Awaitable[Connection]], limit: int) -> None:
        self._dial = dial
        self._limit = limit
        self._idle: deque[Connection] = deque()
        self._open: set[Connection] = set()
        self._running = 0
        self._dialing = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def empty(self) -> bool:
        """There is no connection, and nobody who wants one."""
        return not (self._open or self._dialing or self._running or self._queue)

    async def slot(self) -> None:
        """Wait until one more whole exchange may begin; `release` ends it."""
        if self._running < self._limit and not self._queue:
            self._running += 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(waiter)
        try:
            await waiter  # `release` passes its place on
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release()
            raise

    def release(self) -> None:
        while self._queue:
            waiter = self._queue.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._running -= 1

    def idle(self) -> Connection | None:
        """An open connection that is free, or None."""
        while self._idle:
            connection = self._idle.pop()
            age = connection.loop.time() - connection.idle_since
            if connection.free and age < IDLE_SECONDS and not (age > SUSPECT_SECONDS and _hung_up(connection)):
                return connection
            self.discard(connection)
        return None

    async def dial(self) -> Connection:
        self._dialing += 1
        try:
            connection = await self._dial()
        finally:
            self._dialing -= 1
        connection.on_free = self.give_back
        if self._closed:
            connection.abort()
        self._open.add(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        if not connection.free or self._closed:
            self.discard(connection)
            return
        connection.idle_since = connection.loop.time()
        self._idle.append(connection)
        if self._timer is None:
            self._timer = connection.loop.call_later(IDLE_SECONDS, self._sweep, connection.loop)

    def discard(self, connection: Connection) -> None:
        self._open.discard(connection)
        connection.close()

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        while self._idle and loop.time() - self._idle[0].idle_since >= IDLE_SECONDS:
            self.discard(self._idle.popleft())
        if self._idle:
            due = self._idle[0].idle_since + IDLE_SECONDS
            self._timer = loop.call_at(due, self._sweep, loop)

    def close(self) -> None:
        """Cut everything, streams too."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in tuple(self._open):
            connection.abort()
        self._open.clear()
        self._idle.clear()


def _hung_up(connection: Connection) -> bool:
    """The kernel already knows that the peer has closed, and the loop has not told us yet."""
    transport = connection.transport
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None or not hasattr(select, "POLLRDHUP"):
        return transport is None
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))
