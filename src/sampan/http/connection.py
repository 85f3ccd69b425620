"""One client connection: one request out, its reply in, and again.

The parser is httptools'. A whole reply resolves one future, with no task of its own; a streamed one is a
`ResponseStream` that stops reading from the socket while nobody takes what came; a 101 turns the connection into a pair
of asyncio streams and leaves it.

Source of the rules: RFC 9112
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httptools

from sampan.http import errors
from sampan.http.encoding import Inflater, inflater

HIGH_WATER = 256 * 1024
MAX_HEADER_BYTES = 256 * 1024
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply. `headers` have lower-case names; several of one name are joined with `, `."""

    code: int
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What is left of a connection after 101: its two directions. Closing `writer` closes it."""

    headers: dict[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class ResponseStream:
    """A reply whose body is taken as it comes: `async for chunk in stream`. Close it with `aclose`, always."""

    def __init__(
        self,
        connection: Connection,
        code: int,
        headers: dict[str, str],
        inflate: Inflater | None,
        header_list: list[tuple[str, str]],
    ) -> None:
        """`header_list`: all of them as they came, of a raw stream."""
        self.code = code
        self.headers = headers
        self.header_list = header_list
        self._connection = connection
        self._inflate = inflate
        self._chunks: list[bytes] = []
        self._size = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False
        self._error: errors.HttpError | None = None

    def __aiter__(self) -> ResponseStream:
        return self

    async def __anext__(self) -> bytes:
        while True:
            if self._inflate is not None and (data := self._inflate.take(PIECE)):
                return data
            if self._chunks:
                data = self._take()
                if self._inflate is None:
                    return data
                self._inflate.feed(data)
            elif self._error is not None:
                raise self._error
            elif self._ended:
                raise StopAsyncIteration
            else:
                self._waiter = asyncio.get_running_loop().create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None

    async def read(self, max_body: int = 1 << 20) -> bytes:
        """The rest of the body. Raises TooLarge."""
        out, size = [], 0
        async for chunk in self:
            size += len(chunk)
            if size > max_body:
                self._connection.abort()
                raise errors.TooLarge(max_body)
            out.append(chunk)
        return b"".join(out)

    async def aclose(self) -> None:
        """Idempotent. A body that was taken to its end leaves the connection for others, else it is cut."""
        connection, self._ended = self._connection, True
        connection.leave(self)

    def _take(self) -> bytes:
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        if self._paused:
            self._paused = False
            self._connection.resume_reading()
        return data

    # -- the connection's side -----------------------------------------------------------------------------------------

    def put(self, data: bytes) -> None:
        if self._ended:
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER and not self._paused:
            self._paused = True
            self._connection.pause_reading()
        self._wake()

    def end(self, error: errors.HttpError | None = None) -> None:
        self._ended = True
        self._error = error
        if self._paused:
            # the connection is the next exchange's now: it must not inherit our pause
            self._paused = False
            self._connection.resume_reading()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connection(asyncio.Protocol):
    """`free` while no exchange is under way and another one may be; `on_free` is called when a stream leaves it so."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.transport: asyncio.Transport | None = None
        self.parser = self._new_parser()
        self.exchanges = 0
        self.idle_since = 0.0
        self.free = False
        self.on_free: Any = None
        self._waiter: asyncio.Future[Any] | None = None
        self._mode = "whole"
        self._method = ""
        self._limit = 0
        self._stream: ResponseStream | None = None
        self._clear()

    def _new_parser(self) -> Any:
        parser = httptools.HttpResponseParser(self)
        # as Go does: scripts behind web servers write their headers themselves
        parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)
        return parser

    def _clear(self) -> None:
        self._headers: dict[str, str] = {}
        self._header_list: list[tuple[str, str]] = []
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._size = 0
        self._inflate: Inflater | None = None
        self._in_body = False
        self._until_eof = False

    # -- one exchange --------------------------------------------------------------------------------------------------

    async def exchange(self, method: str, data: bytes, mode: str, limit: int) -> Any:
        """Send and wait: for a Reply ("whole"), a ResponseStream ("stream"; "raw": as it is encoded), or an Upgraded or Reply
        ("upgrade")."""
        if self.transport is None or self.transport.is_closing():
            raise errors.ConnectionLost("http: server closed idle connection")
        self.free = False
        self.exchanges += 1
        self._method, self._mode, self._limit = method, mode, limit
        self._stream, self._headers = None, {}
        waiter = self._waiter = self.loop.create_future()
        transport = self.transport
        transport.write(data)
        try:
            return await waiter
        except asyncio.CancelledError:
            # also when the reply came in the same turn, and nobody will have it
            if self._waiter is waiter:
                self.free = False
                transport.abort()
            raise
        finally:
            # a stream that came whole may have left the connection to the next exchange before we wake up
            if self._waiter is waiter:
                self._waiter = None

    def leave(self, stream: ResponseStream) -> None:
        """The reader of a stream is done with it."""
        if self._stream is stream:
            self.abort()

    def abort(self) -> None:
        self.free = False
        if self.transport is not None:
            self.transport.abort()

    def close(self) -> None:
        self.free = False
        if self.transport is not None:
            self.transport.close()

    def pause_reading(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    # -- the transport's side ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's is no subclass of asyncio.Transport
        self.free = True

    def data_received(self, data: bytes) -> None:
        if self.free:
            self.abort()  # nothing was asked
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._hand_over(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            words = str(error).lower()
            self._fail(errors.ProtocolError(f"malformed HTTP response: {words}"))

    def connection_lost(self, error: Exception | None) -> None:
        self.transport, self.free = None, False
        if self._in_body and self._until_eof and error is None:
            self.on_message_complete()
            return
        started = self._in_body or bool(self._headers)
        if error is not None and not isinstance(error, EOFError):
            self._fail(errors.ConnectionLost(f"read tcp: {errors.os_words(error)}", started=started))
        else:
            self._fail(errors.ConnectionLost("unexpected EOF" if started else "EOF", started=started))

    # -- the parser's side ---------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_HEADER_BYTES:
            self._fail(errors.ProtocolError("net/http: server response headers exceeded 262144 bytes; aborted"))
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers = self._headers
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
        if self._mode == "raw":
            self._header_list.append((name.decode("latin-1"), text))

    def on_message_begin(self) -> None:
        self._clear()

    def on_headers_complete(self) -> None:
        code = self.parser.get_status_code()
        if code < 200:
            return
        headers = self._headers
        self._in_body = True
        length = headers.get("content-length", "")
        framed = bool(length) or "chunked" in headers.get("transfer-encoding", "").lower() or code in (204, 304)
        self._until_eof = not framed
        if "content-encoding" in headers and self._method != "HEAD" and self._mode != "raw":
            try:
                self._inflate = inflater(headers["content-encoding"])
            except errors.ProtocolError as error:
                self._fail(error)
                return
        if self._mode in ("stream", "raw"):
            self._stream = ResponseStream(self, code, headers, self._inflate, self._header_list)
            self._resolve(self._stream)
        elif length.isdigit() and int(length) > self._limit and self._method != "HEAD":
            self._fail(errors.TooLarge(self._limit))
            return
        if self._method == "HEAD":
            # llhttp cannot be told that no body follows: it is done with this reply, and a new one reads the next
            keep = self.parser.should_keep_alive()
            self.parser = self._new_parser()
            self._complete(code, keep)

    def on_body(self, data: bytes) -> None:
        if self._stream is not None:
            self._stream.put(data)
            return
        if self._waiter is None:
            return
        if self._inflate is not None:
            self._inflate.feed(data)
            try:
                data = self._inflate.take(self._limit - self._size + 1)
            except errors.ProtocolError as error:
                self._fail(error)
                return
        self._size += len(data)
        if self._size > self._limit:
            self._fail(errors.TooLarge(self._limit))
            return
        self._body.append(data)

    def on_message_complete(self) -> None:
        code = self.parser.get_status_code()
        if code < 200 or not self._in_body:
            return
        if self._inflate is not None and self._stream is None and not self._inflate.complete:
            self._fail(errors.ProtocolError("unexpected EOF"))
            return
        self._complete(code, self.parser.should_keep_alive() and not self._until_eof)

    def _complete(self, code: int, keep: bool) -> None:
        self._in_body = False
        transport = self.transport
        self.free = keep and transport is not None and not transport.is_closing()
        # an answer that came before all of the request was taken: the rest of it is in the way of the next
        if self.free and transport is not None and transport.get_write_buffer_size():
            self.free = False
        stream, self._stream = self._stream, None
        if stream is None:
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            self._body = []
            self._resolve(Reply(code, self._headers, body))
        else:
            stream.end()
        if not self.free:
            self.close()
        if stream is not None and self.on_free is not None:
            self.on_free(self)

    def _resolve(self, result: Any) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(result)

    def _fail(self, error: errors.HttpError) -> None:
        self.free = self._in_body = False
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.end(error)
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self._body = []
        self.abort()
        if stream is not None and self.on_free is not None:
            self.on_free(self)

    def _hand_over(self, rest: bytes) -> None:
        transport = self.transport
        if transport is None or self._mode != "upgrade" or self._waiter is None or self._waiter.done():
            self._fail(errors.ProtocolError("net/http: unexpected 101 Switching Protocols"))
            return
        reader = asyncio.StreamReader(limit=HIGH_WATER, loop=self.loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self.loop)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if rest:
            reader.feed_data(rest)
        self.transport = None
        self._resolve(Upgraded(self._headers, reader, asyncio.StreamWriter(transport, protocol, reader, self.loop)))
