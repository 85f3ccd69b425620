"""WebSockets on connections that the protocol hands over: handshake, messages both ways, a clean end.

    return accept(request, ("v5.channel.k8s.io",), serve)      # serve(socket) runs as a task

Framing is wsproto's, but for whole messages that we send. A peer that asks for subprotocols gets the first of ours that it offers; none in common is its
affair to refuse, as upstream leaves it.

Source: RFC 6455; k8s.io/apimachinery/pkg/util/httpstream/wsstream/conn.go
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import logging
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from wsproto.connection import Connection as Frames
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Event, Message, Ping
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from sampan.http.server.messages import RawConnection, Request, Response
from sampan.http.server.plain import plain_status

log = logging.getLogger("sampan.http")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: messages received and not yet taken, before the peer is read from no more
MAX_WAITING = 64
MAX_MESSAGE = 4 << 20
#: how long a peer that was told goodbye may take to read all that came before it
FINISH_SECONDS = 900.0
Serve = Callable[["WebSocket"], Awaitable[None]]


def is_upgrade(request: Request) -> bool:
    """Does the client want this connection to become a WebSocket?"""
    connection = request.headers.get("connection", "").lower()
    return request.headers.get("upgrade", "").lower() == "websocket" and "upgrade" in connection


def accept(request: Request, protocols: Sequence[str], serve: Serve) -> Response:
    """101, and `serve` on the socket; 400 for a handshake that is none."""
    key = request.headers.get("sec-websocket-key", "")
    try:
        valid = len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        valid = False
    if request.method != "GET" or not valid or request.headers.get("sec-websocket-version") != "13":
        message = "the WebSocket handshake needs GET, Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key"
        return plain_status(400, "BadRequest", message)
    proof = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()
    headers = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", proof)]
    chosen = choose(request, protocols)
    if chosen:
        headers.append(("Sec-WebSocket-Protocol", chosen))
    return Response(101, headers, upgrade=lambda connection: WebSocket(connection, chosen, serve))


def _frame_head(text: bool, size: int) -> bytes:
    """Of a whole message from a server."""
    kind = 0x81 if text else 0x82
    if size < 126:
        return bytes((kind, size))
    return struct.pack("!BBH", kind, 126, size) if size < 1 << 16 else struct.pack("!BBQ", kind, 127, size)


def choose(request: Request, protocols: Sequence[str]) -> str:
    """The first of `protocols` that the client offers, or nothing."""
    listed = ",".join(value for name, value in request.header_list if name == "sec-websocket-protocol")
    offered = {item.strip() for item in listed.split(",")}
    return next((item for item in protocols if item in offered), "")


class WebSocket:
    """One open socket. Iterate over it for messages (`str` or `bytes`); it ends when either side closes."""

    def __init__(self, connection: RawConnection, protocol: str, serve: Serve) -> None:
        self.protocol = protocol
        self._connection = connection
        self._frames = Frames(ConnectionType.SERVER)
        self._messages: deque[str | bytes] = deque()
        self._partial: list[str | bytes] = []
        self._partial_size = 0
        self._arrived = asyncio.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._paused = False
        self._finishing = False
        self.closed = False
        self._task = asyncio.ensure_future(self._run(serve))

    async def _run(self, serve: Serve) -> None:
        try:
            await serve(self)
        except ConnectionError:
            log.debug("a WebSocket's peer is gone")
        except Exception:
            log.exception("internal error in a WebSocket")
            self.close(1011)
        self.close()

    # -- sending -------------------------------------------------------------------------------------------------------

    def send(self, message: str | bytes, prefix: bytes = b"") -> None:
        """Queue one message; never blocks. Nothing happens once the socket is closed. `prefix` goes before a message of bytes:
        what is large is put together once, with its frame."""
        if self.closed or self._finishing:
            return
        text = isinstance(message, str)
        data = message.encode() if isinstance(message, str) else message
        self._connection.send(b"".join((_frame_head(text, len(prefix) + len(data)), prefix, data)))

    def _emit(self, event: Event) -> None:
        if self.closed:
            return
        try:
            self._connection.send(self._frames.send(event))
        except LocalProtocolError:
            self._end()

    def pending(self) -> int:
        return self._connection.pending()

    async def drain(self) -> None:
        """Raises ConnectionError when the peer is gone."""
        await self._connection.writable()
        if self.closed:
            raise ConnectionResetError("the peer is gone")

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye and close."""
        if not self.closed:
            self._emit(CloseConnection(code, reason))
            self._connection.close()
            self._end()

    async def finish(self, code: int = 1000, seconds: float = FINISH_SECONDS) -> None:
        """Say goodbye, and let the peer close: a connection that is closed while the peer sends takes with it what the peer
        has not read yet. What still comes is dropped."""
        if self.closed:
            return
        self._emit(CloseConnection(code))
        self._finishing = True
        self._messages.clear()
        self._connection.resume()
        over = asyncio.Event()
        self.on_close(over.set)
        try:
            async with asyncio.timeout(seconds):
                await over.wait()
        except TimeoutError:
            self._connection.close()
            self._end()

    # -- receiving -----------------------------------------------------------------------------------------------------

    def __aiter__(self) -> WebSocket:
        return self

    async def __anext__(self) -> str | bytes:
        while not self._messages:
            if self.closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        if self._paused and len(self._messages) <= MAX_WAITING // 2:
            self._paused = False
            self._connection.resume()
        return self._messages.popleft()

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call back once when the socket ends."""
        if self.closed:
            callback()
        else:
            self._callbacks.append(callback)

    # -- `messages.Upgraded` -------------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        if self.closed:
            return
        try:
            self._frames.receive_data(data)
            for event in self._frames.events():
                self._take(event)
        except RemoteProtocolError as error:
            self.close(1002, str(error)[:100])

    def _take(self, event: Event) -> None:
        if isinstance(event, Message):
            self._partial.append(event.data)
            self._partial_size += len(event.data)
            if self._partial_size > MAX_MESSAGE:
                self.close(1009, f"a message may have {MAX_MESSAGE} bytes")
            elif self._finishing:
                self._partial, self._partial_size = [], 0
            elif event.message_finished:
                parts, self._partial, self._partial_size = self._partial, [], 0
                whole = parts[0] if len(parts) == 1 else type(parts[0])().join(parts)  # type: ignore[arg-type]
                self._messages.append(bytes(whole) if isinstance(whole, bytearray) else whole)
                self._arrived.set()
                if len(self._messages) >= MAX_WAITING and not self._paused:
                    self._paused = True
                    self._connection.pause()
        elif isinstance(event, Ping):
            if not self._finishing:
                self._emit(event.response())
        elif isinstance(event, CloseConnection):
            if self._frames.state is ConnectionState.REMOTE_CLOSING:
                self._emit(event.response())
            self._connection.close()
            self._end()

    def lost(self) -> None:
        self._end()

    def stop(self) -> None:
        self.close(1001, "the server is shutting down")

    def _end(self) -> None:
        self.closed = True
        self._arrived.set()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()
