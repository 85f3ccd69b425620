"""A streamed reply as WebSocket messages: what a watch writes, one message for each event.

Source: k8s.io/apiserver/pkg/endpoints/handlers/watch.go (HandleWS)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sampan.http.server.messages import StreamBody
from sampan.http.server.websocket import Serve, WebSocket


class MessageWriter:
    """`messages.Writer` on a socket: every write is one text message, or, where so many bytes before it (`framed`) tell its
    length to those without messages, a binary one without them."""

    def __init__(self, socket: WebSocket, framed: int) -> None:
        self.socket = socket
        self.framed = framed

    def write(self, data: bytes) -> None:
        self.socket.send(data[self.framed :] if self.framed else data.rstrip(b"\n").decode())

    def pending(self) -> int:
        return self.socket.pending()

    async def drain(self) -> None:
        await self.socket.drain()

    @property
    def closed(self) -> bool:
        return self.socket.closed

    def on_close(self, callback: Callable[[], None]) -> None:
        self.socket.on_close(callback)

    def abort(self) -> None:
        self.socket.close(1011)


def streamed(body: StreamBody, framed: int = 0) -> Serve:
    """Serve a streamed body on a socket; what the client says meanwhile is read and dropped."""

    async def serve(socket: WebSocket) -> None:
        async def ignore() -> None:
            async for _ in socket:
                continue

        reading = asyncio.ensure_future(ignore())
        try:
            await body(MessageWriter(socket, framed))
        finally:
            reading.cancel()

    return serve
