"""A reply that goes on: the `messages.Writer` of one connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sampan.http.server.protocol import Connection


class StreamWriter:
    """The sending half of a streamed reply; chunks of one loop turn go out together."""

    __slots__ = ("_callbacks", "_chunked", "_chunks", "_connection", "_ended", "_scheduled")

    def __init__(self, connection: Connection, chunked: bool = True) -> None:
        """Not `chunked`: the head has told how long the body is."""
        self._connection = connection
        self._chunked = chunked
        self._callbacks: list[Callable[[], None]] = []
        self._chunks: list[bytes] = []
        self._scheduled = False
        self._ended = False

    def write(self, data: bytes) -> None:
        if self._ended or not data:
            return
        self._chunks.append(data)
        if not self._scheduled:
            self._scheduled = True
            self._connection.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if not self._chunks or self._ended:
            return
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks = []
        transport = self._connection.transport
        if transport is not None:
            transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def pending(self) -> int:
        transport = self._connection.transport
        waiting = sum(map(len, self._chunks))
        return waiting + (transport.get_write_buffer_size() if transport is not None else 0)

    async def drain(self) -> None:
        self._flush()
        await self._connection.writable()
        if self.closed:
            raise ConnectionResetError("the peer is gone")

    @property
    def closed(self) -> bool:
        return self._ended or self._connection.transport is None

    def on_close(self, callback: Callable[[], None]) -> None:
        if self.closed:
            callback()
        else:
            self._callbacks.append(callback)

    def abort(self) -> None:
        if self._connection.transport is not None:
            self._connection.transport.abort()

    def end(self) -> None:
        """The terminating chunk."""
        self._flush()
        self._ended = True
        if self._connection.transport is not None and self._chunked:
            self._connection.transport.write(b"0\r\n\r\n")

    def notify(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()
