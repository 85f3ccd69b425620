"""One HTTP/1.1 connection: bytes in, requests out, replies in order.

The parser is httptools'; everything else is here, because a Kubernetes API server hands connections over (SPDY,
WebSocket), reads the client's certificate, and streams for hours. A reply that the application has at once is written
in the parser's callback; only what waits costs a task.

Promises: replies go out in the order of their requests; a client that pipelines is read from only while few of its
requests wait; what a client may send is bounded in size and in time; a peer that does not read is not written to.
"""

from __future__ import annotations

import asyncio
import email.utils
import logging
import time
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httptools
import orjson

from sampan.http.server.messages import App, Request, Response, Sink, Upgraded

if TYPE_CHECKING:
    from sampan.http.server.listener import Server

log = logging.getLogger("sampan.http")
GZIP_OVER = 128 * 1024
#: what a transport may give us at once
_READ_SIZE = 256 * 1024
#: what comes with each piece of a body in chunks
_PER_CHUNK = 32
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    body: int = 3 * 1024 * 1024
    headers: int = 64 * 1024
    header_count: int = 256
    pipelined: int = 16
    idle: float = 300.0
    #: for the head and for the body of one request
    receive: float = 60.0
    high_water: int = 256 * 1024


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


class Connection(asyncio.Protocol):
    """One connection. `since`: when what it is now doing (idling, sending a request) began."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.app: App = server.app
        self.limits = server.limits
        self.loop = server.loop
        self.transport: asyncio.Transport | None = None
        self.parser: Any = httptools.HttpRequestParser(self)
        self.waiting: deque[Request] = deque()
        self.busy = False
        self.receiving = False
        self.since = self.loop.time()
        self.certificate: bytes | None = None
        self.remote = ""
        self.stream: StreamWriter | None = None
        self.task: asyncio.Task[None] | None = None
        self.closing = False
        self.abandoned = self.patient = False
        self.upgraded: Upgraded | None = None
        self._paused: list[asyncio.Future[None]] | None = None
        self._paused_at = 0.0
        #: bytes of the message that is coming: the parser keeps a line until it ends, be it endless
        self._received = 0
        self._reset()

    def _reset(self) -> None:
        self._target = b""
        self._headers: list[tuple[str, str]] = []
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._pieces = 0
        self._refused: Response | None = None
        self._sink: Sink | None = None

    # -- the transport's side ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]
        transport.set_write_buffer_limits(high=self.limits.high_water)  # type: ignore[attr-defined]
        peer = transport.get_extra_info("peername")
        self.remote = peer[0] if isinstance(peer, tuple) else ""
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self.certificate = tls.getpeercert(binary_form=True)
        self.server.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self.server.forget(self)
        if self._sink is not None and self.receiving:
            self._sink.abort()
        if self.stream is not None:
            self.stream.notify()
        elif self.abandoned and self.task is not None:
            self.task.cancel()
        if self.upgraded is not None:
            self.upgraded.lost()
        self.resume_writing()
        self.waiting.clear()

    def pause_writing(self) -> None:
        """Who does not read what we answer is not listened to either."""
        if self._paused is None:
            self._paused, self._paused_at = [], self.loop.time()
        if self.upgraded is None and self.stream is None and self.transport is not None and not self.closing:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        waiting, self._paused = self._paused, None
        for waiter in waiting or ():
            if not waiter.done():
                waiter.set_result(None)
        if self.upgraded is None and self.transport is not None:
            self._listen()
            if not self.busy:
                self._serve_waiting()

    def _listen(self) -> None:
        """Unless there is enough to do, or to be taken by the peer."""
        transport = self.transport
        enough = self._paused is not None or len(self.waiting) > self.limits.pipelined // 2
        if not enough and transport is not None and not transport.is_closing():
            transport.resume_reading()

    async def writable(self) -> None:
        """Until the peer has taken enough of what was written."""
        if self._paused is not None and self.transport is not None:
            waiter: asyncio.Future[None] = self.loop.create_future()
            self._paused.append(waiter)
            await waiter

    def data_received(self, data: bytes) -> None:
        if self.upgraded is not None:
            self.upgraded.received(data)
            return
        if self.closing:
            return
        if not self.receiving and not self.busy:
            self.receiving, self.since = True, self.loop.time()
        self._received += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # where the upgrade was not granted, the rest is the beginning of the next request
            self.parser = httptools.HttpRequestParser(self)
            rest = data[upgrade.args[0] :]
            if rest:
                self.data_received(rest)
        except httptools.HttpParserError as error:
            self._refuse(400, f"malformed request: {error}")
        wanted = self._body_bytes + _PER_CHUNK * self._pieces + 2 * self.limits.headers
        if self._received > wanted + _READ_SIZE:
            self._refuse(431, "request header fields too large")
        if len(self.waiting) >= self.limits.pipelined and self.transport is not None:
            self.transport.pause_reading()

    def abandon(self) -> None:
        """Nobody needs the answer that is being made if its asker goes: its task is cancelled then."""
        self.abandoned = True
        if self.transport is None and self.task is not None:
            self.task.cancel()

    def eof_received(self) -> bool:
        return False

    # -- the parser's side ---------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._reset()
        self._received = 0

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > self.limits.headers:
            self._refuse(414, "request URI too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > self.limits.headers or len(self._headers) >= self.limits.header_count:
            self._refuse(431, "request header fields too large")
            return
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        headers = dict(reversed(self._headers))
        length = headers.get("content-length", "")
        if self.server.sinks is not None:
            self._sink = self.server.sinks(self.parser.get_method().decode(), self._target.decode("latin-1"), headers)
        if self._sink is None and length.isdigit() and int(length) > self.limits.body:
            self._too_large()
        elif headers.get("expect", "").lower() == "100-continue" and not self.busy and self.transport is not None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._pieces += 1
        if self._sink is not None:
            self.since = self.loop.time()  # it may take long, if only it goes on
            self._sink.write(body)
        elif self._body_bytes > self.limits.body:
            self._too_large()
        elif self._refused is None:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self.closing:
            return
        self.receiving = False
        self.since = self.loop.time()
        path, _, query = self._target.decode("latin-1").partition("?")
        if "://" in path:
            path = "/" + path.partition("://")[2].partition("/")[2]
        request = Request(
            self.parser.get_method().decode(),
            path,
            query,
            dict(reversed(self._headers)),
            self._headers,
            self._body[0] if len(self._body) == 1 else b"".join(self._body),
            self,
            self.certificate,
            self.remote,
        )
        if self._sink is not None:
            request.scratch["sink"], self._sink = self._sink, None
        if not self.parser.should_keep_alive():
            request.scratch["close"] = True
        if self.busy or self._paused is not None:
            self.waiting.append(request)
        else:
            self._serve(request)

    # -- serving -------------------------------------------------------------------------------------------------------

    def _serve(self, request: Request) -> None:
        self.busy, self.abandoned = True, False
        try:
            result = self.app(request)
        except Exception:
            log.exception("internal error")
            result = plain_status(500, "InternalError", "Internal error occurred: see the server's log")
        if isinstance(result, Response):
            self._reply(request, result)
        else:
            self.task = self.loop.create_task(self._wait(request, result))

    async def _wait(self, request: Request, result: Awaitable[Response]) -> None:
        try:
            reply = await result
        except Exception:
            log.exception("internal error")
            reply = plain_status(500, "InternalError", "Internal error occurred: see the server's log")
        self.task = None
        if self.transport is not None:
            self._reply(request, reply)

    def _reply(self, request: Request, reply: Response) -> None:
        transport = self.transport
        if transport is None:
            return
        close = reply.close or self.closing or self.server.stopping or "close" in request.scratch
        if reply.upgrade is not None:
            self._hand_over(reply)
            return
        if reply.stream is not None:
            self._start_stream(request, reply)
            return
        body = reply.body
        chunks: Sequence[bytes] = (body,) if isinstance(body, bytes) else body
        headers = list(reply.headers)
        length = sum(map(len, chunks))
        if length > GZIP_OVER and "gzip" in request.headers.get("accept-encoding", "") and reply.code == 200:
            chunks = compress(chunks)
            length = sum(map(len, chunks))
            headers += [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
        # what a HEAD is about may be longer than its answer
        told = request.method == "HEAD" and any(name.lower() == "content-length" for name, _ in headers)
        if reply.code not in (204, 304) and not told:
            headers.append(("Content-Length", str(length)))
        if close:
            headers.append(("Connection", "close"))
        head = self._head(reply.code, headers)
        if request.method == "HEAD":
            transport.write(head)
        elif length < 65536:
            transport.write(head + b"".join(chunks))
        else:
            transport.write(head)
            if length > 4 * self.limits.high_water:
                self.task = self.loop.create_task(self._write_slowly(chunks, close))
                return
            for chunk in chunks:
                transport.write(chunk)
        self._next(close)

    async def _write_slowly(self, chunks: Sequence[bytes], close: bool) -> None:
        """A large body, only as fast as the peer takes it."""
        for chunk in chunks:
            for at in range(0, len(chunk), 1 << 20):
                if self.transport is None:
                    return
                self.transport.write(chunk[at : at + (1 << 20)] if len(chunk) > 1 << 20 else chunk)
                await self.writable()
        self.task = None
        self._next(close)

    def _head(self, code: int, headers: Sequence[tuple[str, str]]) -> bytes:
        lines = [b"HTTP/1.1 %d %b" % (code, _REASONS.get(code, b"Unknown")), self.server.date()]
        lines.extend(f"{name}: {value}".encode("utf-8", "replace") for name, value in headers)
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _next(self, close: bool) -> None:
        self.busy = False
        self.since = self.loop.time()
        if close:
            self.closing = True
            if self.transport is not None:
                self.transport.close()
            return
        if self.waiting:
            self._listen()
            self.loop.call_soon(self._serve_waiting)

    def _serve_waiting(self) -> None:
        if self.waiting and not self.busy and self.transport is not None and self._paused is None:
            self._serve(self.waiting.popleft())

    def _start_stream(self, request: Request, reply: Response) -> None:
        assert self.transport is not None and reply.stream is not None
        chunked = not any(name.lower() == "content-length" for name, _ in reply.headers)
        headers = [*reply.headers, ("Transfer-Encoding", "chunked")] if chunked else reply.headers
        self.transport.write(self._head(reply.code, headers))
        if request.method == "HEAD":
            self._next(True)
            return
        self.patient = reply.patient
        self.stream = StreamWriter(self, chunked)
        self.task = self.loop.create_task(self._run_stream(reply.stream(self.stream), "close" in request.scratch))

    async def _run_stream(self, body: Awaitable[None], close: bool) -> None:
        stream = self.stream
        assert stream is not None
        try:
            await body
        except ConnectionError:
            log.debug("a stream's peer is gone")
        except Exception:
            log.exception("internal error in a stream")
            stream.abort()
        self.stream = self.task = None
        self.patient = False
        if not stream.closed:
            stream.end()
            self._next(close or self.server.stopping)

    def _hand_over(self, reply: Response) -> None:
        assert self.transport is not None and reply.upgrade is not None
        self.transport.write(self._head(reply.code, list(reply.headers)))
        self.upgraded = reply.upgrade(self)

    # -- after an upgrade: `messages.RawConnection` --------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def pending(self) -> int:
        return self.transport.get_write_buffer_size() if self.transport is not None else 0

    def pause(self) -> None:
        if self.transport is not None:
            self.transport.pause_reading()

    def resume(self) -> None:
        if self.transport is not None:
            self.transport.resume_reading()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    # -- refusing ------------------------------------------------------------------------------------------------------

    def _too_large(self) -> None:
        if self._refused is None:
            message = f"Request entity too large: limit is {self.limits.body}"
            self._refuse(413, message, "RequestEntityTooLarge")

    def _refuse(self, code: int, message: str, reason: str = "BadRequest") -> None:
        """Say why and close: what follows on this connection cannot be understood."""
        if self.closing or self.transport is None:
            return
        self.closing = True
        reply = plain_status(code, reason, message)
        self._refused = reply
        body = reply.body
        assert isinstance(body, bytes)
        headers = [*reply.headers, ("Content-Length", str(len(body))), ("Connection", "close")]
        if not self.busy:
            self.transport.write(self._head(code, headers) + body)
            self.transport.close()

    def sweep(self, now: float) -> None:
        """Called every few seconds: end what has taken too long."""
        if self.upgraded is not None or self.transport is None:
            return
        if self._paused is not None and not self.patient and now - self._paused_at > self.limits.receive:
            self.transport.abort()
        elif self.receiving and now - self.since > self.limits.receive:
            self._refuse(408, "the request took too long to arrive", "Timeout")
        elif not self.receiving and not self.busy and now - self.since > self.limits.idle:
            self.transport.close()

    def drain(self) -> None:
        """The server is stopping: idle connections close now, others after what they do."""
        if self.transport is None:
            return
        if self.upgraded is not None:
            self.upgraded.stop()
        elif self.stream is not None:
            self.stream.notify()
        elif not self.busy and not self.receiving:
            self.transport.close()


def plain_status(code: int, reason: str, message: str) -> Response:
    """A Status for what never reached the application."""
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return Response(code, (("Content-Type", "application/json"),), orjson.dumps(status), close=code != 500)


def compress(chunks: Sequence[bytes]) -> list[bytes]:
    """gzip at level 1: cheaper than encrypting what it saves."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    out = [packer.compress(chunk) for chunk in chunks]
    out.append(packer.flush())
    return [piece for piece in out if piece]


def http_date() -> bytes:
    return b"Date: " + email.utils.formatdate(time.time(), usegmt=True).encode()
