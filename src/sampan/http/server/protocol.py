"""One HTTP/1.1 connection: requests as the reader finds them, replies in order.

The parser is httptools' (`reading`); everything else is ours, because a Kubernetes API server hands connections over (SPDY,
WebSocket), reads the client's certificate, and streams for hours. A reply that the application has at once is written
in the parser's callback; only what waits costs a task.

Promises: replies go out in the order of their requests; a client that pipelines is read from only while few of its
requests wait; what a client may send is bounded in size and in time; a peer that does not read is not written to.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING

from sampan.http.server.messages import App, Request, Response, Upgraded
from sampan.http.server.plain import compress, head, plain_status
from sampan.http.server.reading import Reader
from sampan.http.server.streaming import StreamWriter

if TYPE_CHECKING:
    from sampan.http.server.listener import Server

log = logging.getLogger("sampan.http")
GZIP_OVER = 128 * 1024


class Connection(asyncio.Protocol):
    """One connection. `since`: when what it is now doing (idling, sending a request) began."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.app: App = server.app
        self.limits = server.limits
        self.loop = server.loop
        self.transport: asyncio.Transport | None = None
        self.waiting: deque[Request] = deque()
        self.busy = False
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
        self.reader = Reader(self)

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
        self.server.remember(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self.server.forget(self)
        self.reader.lost()
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
        reader = self.reader
        if not reader.under_way and not self.busy:
            reader.under_way, self.since = True, self.loop.time()
        reader.feed(data)
        if len(self.waiting) >= self.limits.pipelined and self.transport is not None:
            self.transport.pause_reading()

    def abandon(self) -> None:
        """Nobody needs the answer that is being made if its asker goes: its task is cancelled then."""
        self.abandoned = True
        if self.transport is None and self.task is not None:
            self.task.cancel()

    def eof_received(self) -> bool:
        return False

    # -- the reader's side ---------------------------------------------------------------------------------------------

    def go_on(self) -> None:
        """The client wants to be asked for the body."""
        if not self.busy and self.transport is not None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def touch(self) -> None:
        self.since = self.loop.time()

    def arrived(self, request: Request) -> None:
        self.since = self.loop.time()
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
        start = head(reply.code, self.server.date(), headers)
        if request.method == "HEAD":
            transport.write(start)
        elif length < 65536:
            transport.write(start + b"".join(chunks))
        else:
            transport.write(start)
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
        self.transport.write(head(reply.code, self.server.date(), headers))
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
        self.transport.write(head(reply.code, self.server.date(), list(reply.headers)))
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

    def refuse(self, code: int, message: str, reason: str = "BadRequest") -> None:
        """Say why and close: what follows on this connection cannot be understood."""
        if self.closing or self.transport is None:
            return
        self.closing = True
        reply = plain_status(code, reason, message)
        body = reply.body
        assert isinstance(body, bytes)
        headers = [*reply.headers, ("Content-Length", str(len(body))), ("Connection", "close")]
        if not self.busy:
            self.transport.write(head(code, self.server.date(), headers) + body)
            self.transport.close()

    def sweep(self, now: float) -> None:
        """Called every few seconds: end what has taken too long."""
        if self.upgraded is not None or self.transport is None:
            return
        if self._paused is not None and not self.patient and now - self._paused_at > self.limits.receive:
            self.transport.abort()
        elif self.reader.under_way and now - self.since > self.limits.receive:
            self.refuse(408, "the request took too long to arrive", "Timeout")
        elif not self.reader.under_way and not self.busy and now - self.since > self.limits.idle:
            self.transport.close()

    def drain(self) -> None:
        """The server is stopping: idle connections close now, others after what they do."""
        if self.transport is None:
            return
        if self.upgraded is not None:
            self.upgraded.stop()
        elif self.stream is not None:
            self.stream.notify()
        elif not self.busy and not self.reader.under_way:
            self.transport.close()
