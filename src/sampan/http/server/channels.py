"""Several streams in one WebSocket: each message begins with the number of its channel.

`channel.k8s.io` and its versions send bytes, `base64.channel.k8s.io` sends text (a digit, then base64). Version 5 can also
close a channel: a message `255, number`.

Promises: a channel nobody reads from stops the whole socket after a bounded amount; what waits ends when the socket does.

Source: k8s.io/apimachinery/pkg/util/httpstream/wsstream/conn.go
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Collection

from sampan.http.server.websocket import WebSocket

CLOSE = 255
HIGH_WATER = 512 * 1024


class Channel:
    """One of them; read and written as a SPDY stream is."""

    def __init__(self, channels: Channels, number: int) -> None:
        self.number = number
        self._channels = channels
        self._chunks: list[bytes] = []
        self._size = 0
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = False

    async def read(self) -> bytes:
        """Empty at the end. Raises ConnectionError if the socket has gone before."""
        while not self._chunks:
            if self._ended:
                return b""
            if self._channels.gone.is_set():
                raise ConnectionResetError("the peer is gone")
            self._changed.clear()
            await self._changed.wait()
        chunk = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        self._room.set()
        return chunk

    async def write(self, data: bytes) -> None:
        """Raises ConnectionError if nobody will have it."""
        socket = self._channels.socket
        if self._channels.base64:
            socket.send(chr(ord("0") + self.number) + base64.b64encode(data).decode())
        else:
            socket.send(data, bytes((self.number,)))
        if socket.closed:
            raise ConnectionResetError("the peer is gone")
        if socket.pending() > HIGH_WATER:
            await socket.drain()

    def end(self) -> None:
        """The other side learns it from the end of the socket."""

    async def put(self, data: bytes) -> None:
        """Returns when more may come."""
        if data and not self._ended:
            self._chunks.append(data)
            self._size += len(data)
            self._changed.set()
        if self._size > HIGH_WATER and not self._channels.gone.is_set():
            self._room.clear()
            await self._room.wait()

    def finish(self) -> None:
        """No more will come."""
        self._ended = True
        self._changed.set()

    def wake(self) -> None:
        self._changed.set()
        self._room.set()


class Channels:
    """`readable`: the channels that we listen to; messages for others are dropped. `closes`: version 5."""

    def __init__(
        self, socket: WebSocket, readable: Collection[int], *, base64: bool = False, closes: bool = False
    ) -> None:
        self.socket = socket
        self.base64 = base64
        self.gone = asyncio.Event()
        self._closes = closes
        self._channels: dict[int, Channel] = {number: Channel(self, number) for number in readable}
        socket.on_close(self._lost)

    def __getitem__(self, number: int) -> Channel:
        if number not in self._channels:
            return Channel(self, number)
        return self._channels[number]

    async def run(self) -> None:
        """Hand out what comes, until the socket ends."""
        async for message in self.socket:
            number, data = self._parsed(message)
            if self._closes and number == CLOSE and len(data) == 1:
                if (closed := self._channels.get(data[0])) is not None:
                    closed.finish()
                continue
            if (channel := self._channels.get(number)) is not None:
                await channel.put(data)

    def _parsed(self, message: str | bytes) -> tuple[int, bytes]:
        """Number and payload; -1 for what is no message of ours. Some clients send text as text, where bytes are agreed on."""
        data = message.encode() if isinstance(message, str) else message
        if not data:
            return -1, b""
        if not self.base64:
            return data[0], data[1:]
        try:
            return data[0] - ord("0"), base64.b64decode(data[1:], validate=True)
        except (binascii.Error, ValueError):
            return -1, b""

    def _lost(self) -> None:
        self.gone.set()
        for channel in self._channels.values():
            channel.wake()
