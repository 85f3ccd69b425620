"""One SPDY connection and its streams, from either end.

    session = Session(connection, server=True, accept=new_stream)      # a `messages.Upgraded`: fed by whoever has the socket
    stream = await session.open({"streamtype": "stdin"})                # as a client
    await stream.write(b"...");  stream.end();  data = await stream.read()

Promises: what a stream has received and nobody has read is bounded, by reading no more from the peer; a writer waits while
the peer does not take; every `read` and `write` that waits ends when the connection does.

DEVIATION: the windows of SPDY/3.1 are not kept. No peer that Kubernetes has keeps them (moby/spdystream neither counts bytes
nor grants new ones), so that whoever does would stop after 64 KB. What slows a sender down is TCP, for all streams of a
connection at once, as upstream.

Source: github.com/moby/spdystream connection.go, stream.go; k8s.io/apimachinery/pkg/util/httpstream/spdy
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from sampan.http.server.messages import RawConnection
from sampan.http.spdy import frames

HIGH_WATER = 512 * 1024
MAX_STREAMS = 1024
#: one frame holds the connection for as long as it takes to send
PIECE = 256 * 1024
REPLY_SECONDS = 30.0
#: how long a finished side waits for the other one to close
FINISH_SECONDS = 900.0


class Stream:
    """Bytes both ways, each of which ends by itself. `headers`: those it was opened with."""

    def __init__(self, session: Session, number: int, headers: Mapping[str, str]) -> None:
        self.number = number
        self.headers = headers
        self._session = session
        self._chunks: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._replied: asyncio.Future[None] | None = None
        #: no more will come; no more will go
        self.ended_there = False
        self.ended_here = False
        self._broken = False
        #: Go's servers end a connection by resetting its streams, and its clients take that for the end of what was sent
        self.reset_is_end = True

    async def read(self) -> bytes:
        """What has come since; empty at the end. Raises ConnectionError if the connection is gone before."""
        while not self._chunks:
            if self.ended_there:
                return b""
            if self._broken:
                raise ConnectionResetError("the stream is gone")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        # all there is: what comes in small pieces need not go on in them
        chunk = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        self._session.taken(self)
        return chunk

    async def read_all(self, limit: int) -> bytes:
        """Up to its end; what is beyond `limit` is read and dropped."""
        out = bytearray()
        while chunk := await self.read():
            out += chunk[: limit - len(out)]
        return bytes(out)

    async def write(self, payload: bytes) -> None:
        """Returns when the peer may be sent more. Raises ConnectionError if nobody will have it."""
        for at in range(0, len(payload), PIECE):
            self._check()
            piece = payload[at : at + PIECE] if len(payload) > PIECE else payload
            self._session.send(frames.data(self.number, piece))
            if self._session.connection.pending() > HIGH_WATER:
                await self._session.connection.writable()
        self._check()

    def _check(self) -> None:
        if self._broken or self.ended_here or self._session.gone.is_set():
            raise ConnectionResetError("the stream is gone")

    def end(self) -> None:
        """No more will be written. Idempotent."""
        if not self.ended_here and not self._broken:
            self.ended_here = True
            self._session.send(frames.data(self.number, b"", fin=True))
            self._session.settle(self)

    def reset(self, status: int = frames.CANCEL) -> None:
        """Neither read nor written any more. Idempotent."""
        if not self._broken and not (self.ended_here and self.ended_there):
            self._session.send(frames.rst_stream(self.number, status))
        self.fail()
        self._session.settle(self)

    # -- the session's side --------------------------------------------------------------------------------------------

    def put(self, data: bytes, fin: bool) -> None:
        if self.ended_there or self._broken:
            return
        if data:
            self._chunks.append(data)
            self._size += len(data)
            if self._size > HIGH_WATER:
                self._session.full(self)
        if fin:
            self.ended_there = True
            self._session.settle(self)
        self._wake()

    def reply(self) -> None:
        if self._replied is not None and not self._replied.done():
            self._replied.set_result(None)

    async def replied(self) -> None:
        self._replied = asyncio.get_running_loop().create_future()
        await self._replied

    def fail(self) -> None:
        """It was reset, from either side."""
        self._broken = True
        self.ended_there = self.ended_there or self.reset_is_end
        if self._replied is not None and not self._replied.done():
            self._replied.set_exception(ConnectionResetError("the stream was refused"))
        self._session.taken(self)
        self._wake()

    def cut(self) -> None:
        """The connection is gone: what has come whole may still be read."""
        self._broken = True
        if self._replied is not None and not self._replied.done():
            self._replied.set_exception(ConnectionResetError("the connection is gone"))
        self._wake()

    @property
    def over(self) -> bool:
        return self._broken or (self.ended_here and self.ended_there)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Session:
    """`accept` is shown each stream that the peer opens, before it is told that it may send; it may reset it. `idle`: close
    after so many seconds in which nothing came and nothing went."""

    def __init__(
        self,
        connection: RawConnection,
        *,
        server: bool,
        accept: Callable[[Stream], None] | None = None,
        idle: float | None = None,
    ) -> None:
        self.connection = connection
        self._accept = accept
        self._loop = asyncio.get_running_loop()
        self._decoder = frames.Decoder()
        self._encoder = frames.Encoder()
        self._streams: dict[int, Stream] = {}
        self._next = 2 if server else 1
        self._last_seen = 0
        self._parity = 1 if server else 0
        self._full: set[Stream] = set()
        self._going = False
        #: set when the connection has ended
        self.gone = asyncio.Event()
        #: whoever serves it, kept from being forgotten
        self.serving: asyncio.Task[None] | None = None
        self._idle = idle
        self._heard = self._loop.time()
        self._timer = self._loop.call_later(idle, self._look) if idle else None

    # -- for users -----------------------------------------------------------------------------------------------------

    async def open(self, headers: Mapping[str, str]) -> Stream:
        """Returns when the peer has agreed: what is sent before, some throw away. Raises ConnectionError, TimeoutError."""
        if self.gone.is_set() or self._going:
            raise ConnectionResetError("the connection is gone")
        stream = self._streams[self._next] = Stream(self, self._next, headers)
        self._next += 2
        self.send(self._encoder.syn_stream(stream.number, headers))
        async with asyncio.timeout(REPLY_SECONDS):
            await stream.replied()
        return stream

    def ping(self) -> None:
        """So that whoever counts idle seconds on the way starts anew."""
        if not self.gone.is_set():
            self.send(frames.ping(2 - self._parity))

    async def finish(self, seconds: float = FINISH_SECONDS) -> None:
        """All streams end, and the connection when the peer closes it: closed at once, it might take with it what the peer
        has not read yet."""
        for stream in tuple(self._streams.values()):
            stream.end()
            stream.put(b"", True)  # what still comes is not wanted
        self._full.clear()
        self.connection.resume()
        self._say_goodbye()
        try:
            async with asyncio.timeout(seconds):
                await self.gone.wait()
        except TimeoutError:
            self.close()

    def close(self) -> None:
        """Now. Idempotent."""
        if not self.gone.is_set():
            self._say_goodbye()
            self.connection.close()
            self.lost()

    def send(self, data: bytes) -> None:
        self._heard = self._loop.time()
        self.connection.send(data)

    # -- `messages.Upgraded` -------------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        if self.gone.is_set():
            return
        self._heard = self._loop.time()
        try:
            for frame in self._decoder.feed(data):
                self._take(frame)
        except frames.SpdyError:
            self.connection.close()
            self.lost()

    def lost(self) -> None:
        if self.gone.is_set():
            return
        self.gone.set()
        if self._timer is not None:
            self._timer.cancel()
        for stream in tuple(self._streams.values()):
            stream.cut()
        self._streams.clear()
        self._full.clear()

    def stop(self) -> None:
        self.close()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _take(self, frame: frames.Frame) -> None:
        if isinstance(frame, frames.Data):
            stream = self._streams.get(frame.stream)
            if stream is not None:
                stream.put(frame.data, frame.fin)
        elif isinstance(frame, frames.Opened):
            self._opened(frame)
        elif isinstance(frame, frames.Replied):
            stream = self._streams.get(frame.stream)
            if stream is not None:
                stream.reply()
                if frame.fin:
                    stream.put(b"", True)
        elif isinstance(frame, frames.Reset):
            stream = self._streams.get(frame.stream)
            if stream is not None:
                stream.fail()
                self.settle(stream)
        elif isinstance(frame, frames.Ping):
            if frame.id & 1 == self._parity:
                self.send(frames.ping(frame.id))
        else:
            self._going = True
            self._close_when_done()

    def _opened(self, frame: frames.Opened) -> None:
        number = frame.stream
        if self._going:
            return
        if number & 1 != self._parity or number <= self._last_seen:
            self.send(frames.rst_stream(number, frames.PROTOCOL_ERROR))
            return
        self._last_seen = number
        if self._accept is None or len(self._streams) >= MAX_STREAMS:
            self.send(frames.rst_stream(number, frames.REFUSED_STREAM))
            return
        stream = self._streams[number] = Stream(self, number, frame.headers)
        stream.ended_there = frame.fin
        stream.ended_here = frame.unidirectional
        self._accept(stream)
        if not stream.over:
            self.send(self._encoder.syn_reply(number))

    def full(self, stream: Stream) -> None:
        if not self._full:
            self.connection.pause()
        self._full.add(stream)

    def taken(self, stream: Stream) -> None:
        if stream in self._full:
            self._full.discard(stream)
            if not self._full and not self.gone.is_set():
                self.connection.resume()

    def settle(self, stream: Stream) -> None:
        """Forget it if it is over."""
        if stream.over and self._streams.pop(stream.number, None) is not None:
            self._close_when_done()

    def _close_when_done(self) -> None:
        """The peer has said that it opens no more: the last stream takes the connection with it."""
        if self._going and not self._streams and not self.gone.is_set():
            self._loop.call_soon(self.close)

    def _say_goodbye(self) -> None:
        if not self._going:
            self.send(frames.goaway(self._last_seen))
            self._going = True

    def _look(self) -> None:
        assert self._idle is not None
        left = self._heard + self._idle - self._loop.time()
        if left <= 0:
            self.close()
        else:
            self._timer = self._loop.call_later(left, self._look)
