"""A client and an API server in one process: the handler is called, and no socket is between.

    transport = InProcessTransport(server.handler, User("system:kube-scheduler", ("system:authenticated",)))
    client = Client(transport, user_agent="kube-scheduler")

Whoever makes a transport says who asks through it; authorization and admission then apply as to everyone. Bytes go in
and out as the handler has them: no chunks, no compression, no copies. A watch's writer counts what was not yet taken,
so that the server drops a slow reader here as it does elsewhere.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from sampan.api.user import User
from sampan.client.transport import Headers
from sampan.client.watch import Event
from sampan.http import ConnectFailed, ConnectionLost, HttpError, ProtocolError, Reply, TimedOut, TooLarge, Upgraded
from sampan.http.deadline import Deadlines
from sampan.http.server.messages import App, Request, Response

log = logging.getLogger("sampan.testing")
HIGH_WATER = 256 * 1024
MAX_RETRIES = 10


@dataclass
class Connection:
    """What stands in for the socket of all requests of one transport."""

    remote: str = "127.0.0.1"


class InProcessTransport:
    """`app` is an API server's handler."""

    def __init__(self, app: App, user: User) -> None:
        self.app = app
        self.user = user
        self._connection = Connection()
        #: by the timeouts of its clients
        self._deadlines: dict[float, Deadlines] = {}
        self._streams: set[InProcessStream] = set()
        self._running: dict[asyncio.Future[Response], asyncio.Task[None]] = {}
        self._closed = False

    async def request(
        self, method: str, path: str, *, headers: Headers = (), body: bytes = b"", timeout: float | None = None
    ) -> Reply:
        try:
            with self._within(timeout):
                for _ in range(MAX_RETRIES):
                    reply = await self._once(method, path, headers, body)
                    if reply.code != 429 and reply.code < 500:
                        return reply
                    after = reply.headers.get("retry-after", "")
                    if not after.isdigit():
                        return reply
                    await asyncio.sleep(float(after))
                return await self._once(method, path, headers, body)
        except TimeoutError:
            raise TimedOut() from None

    async def stream(self, path: str, *, headers: Headers = (), timeout: float | None = None) -> InProcessStream:
        try:
            with self._within(timeout):
                response = await self._ask("GET", path, headers, b"")
        except TimeoutError:
            raise TimedOut() from None
        stream = InProcessStream(response, self._streams.discard)
        self._streams.add(stream)
        return stream

    def _within(self, timeout: float | None) -> AbstractContextManager[None]:
        if timeout is None:
            return nullcontext()
        if timeout not in self._deadlines:
            self._deadlines[timeout] = Deadlines(timeout)
        return self._deadlines[timeout].one()

    async def upgrade(self, method: str, path: str, *, headers: Headers, timeout: float | None = None) -> Upgraded:
        raise ProtocolError("a call in process has no connection to upgrade: use HTTPS")

    async def aclose(self) -> None:
        self._closed = True
        for stream in tuple(self._streams):
            await stream.aclose()

    async def _once(self, method: str, path: str, headers: Headers, body: bytes) -> Reply:
        response = await self._ask(method, path, headers, body)
        if response.stream is not None:
            stream = InProcessStream(response, lambda _: None)
            try:
                return Reply(response.code, stream.headers, await stream.read(1 << 30))
            finally:
                await stream.aclose()
        return Reply(response.code, _lower(response.headers), _joined(response.body))

    async def _ask(self, method: str, path: str, headers: Headers, body: bytes) -> Response:
        if self._closed:
            raise ConnectFailed("http: client is closed")
        listed, first = _read(tuple(headers))
        raw_path, _, query = path.partition("?")
        request = Request(
            method, raw_path, query, dict(first), listed, body, self._connection, None,
            self._connection.remote, {"user": self.user},
        )  # fmt: skip
        result = self.app(request)
        if isinstance(result, Response):
            # others get their turn, as they would while a request is on its way
            await asyncio.sleep(0)
            return result
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Response] = loop.create_future()
        self._running[answer] = loop.create_task(self._answer(result, answer))
        return await answer

    async def _answer(self, result: Awaitable[Response], answer: asyncio.Future[Response]) -> None:
        """The server finishes what it began, as it does when a connection breaks."""
        try:
            response = await result
            if not answer.done():
                answer.set_result(response)
        except Exception as error:
            if not answer.done():
                answer.set_exception(error)
        finally:
            answer.cancel()
            del self._running[answer]


class InProcessStream:
    """A streamed reply: what the handler writes, as it wrote it. It is its own `Writer`."""

    def __init__(self, response: Response, forget: Callable[[InProcessStream], None]) -> None:
        self.code = response.code
        self.headers = _lower(response.headers)
        self._forget = forget
        self._chunks: list[bytes | Event] = []
        self._wants_objects = False
        self._size = 0
        self._ended = False
        self._gone = False
        self._error: HttpError | None = None
        self._callbacks: list[Callable[[], None]] = []
        self._reader: asyncio.Future[None] | None = None
        self._drained: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None
        if response.stream is None:
            self._chunks, self._ended = [_joined(response.body)], True
        else:
            self._task = asyncio.get_running_loop().create_task(self._run(response.stream(self)))

    async def _run(self, body: Awaitable[None]) -> None:
        try:
            await body
        except ConnectionError:
            self._error = None if self._gone else ConnectionLost("EOF", started=True)
        except Exception:
            log.exception("internal error in a stream")
            self._error = ConnectionLost("unexpected EOF", started=True)
        finally:
            self._ended = True
            self._wake()

    # -- the handler's side (Writer) -----------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if data and not self.closed:
            self._chunks.append(data)
            self._size += len(data)
            self._wake()

    def take(self, kind: str, obj: dict[str, Any], size: int) -> bool:
        if self._wants_objects and not self.closed:
            self._chunks.append(Event(kind, b"", obj, size))
            self._size += size
            self._wake()
        return self._wants_objects

    def pending(self) -> int:
        return self._size

    async def drain(self) -> None:
        if self._size > HIGH_WATER and not self.closed:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._drained.append(waiter)
            await waiter
        if self.closed:
            raise ConnectionResetError("the peer is gone")

    @property
    def closed(self) -> bool:
        return self._ended or self._gone

    def on_close(self, callback: Callable[[], None]) -> None:
        if self.closed:
            callback()
        else:
            self._callbacks.append(callback)

    def abort(self) -> None:
        self._error = ConnectionLost("unexpected EOF", started=True)
        self._ended = True
        self._wake()

    # -- the client's side ---------------------------------------------------------------------------------------------

    def __aiter__(self) -> InProcessStream:
        return self

    async def __anext__(self) -> bytes:
        data = [chunk for chunk in await self.take_all() if isinstance(chunk, bytes)]
        return data[0] if len(data) == 1 else b"".join(data)

    def objects(self) -> Objects:
        self._wants_objects = True
        return Objects(self)

    async def take_all(self) -> list[bytes | Event]:
        """What has come since. Raises StopAsyncIteration at the end."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._ended or self._gone:
                raise StopAsyncIteration
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        chunks, self._chunks, self._size = self._chunks, [], 0
        for waiter in self._drained:
            if not waiter.done():
                waiter.set_result(None)
        self._drained.clear()
        return chunks

    async def read(self, max_body: int = 1 << 20) -> bytes:
        out, size = [], 0
        async for chunk in self:
            size += len(chunk)
            if size > max_body:
                raise TooLarge(max_body)
            out.append(chunk)
        return b"".join(out)

    async def aclose(self) -> None:
        self._forget(self)
        if self._gone:
            return
        self._gone = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()
        for waiter in self._drained:
            if not waiter.done():
                waiter.set_result(None)
        self._wake()
        if self._task is not None and not self._task.done():
            # the handler was told; it ends by itself, as after a lost connection
            await asyncio.sleep(0)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class Objects:
    """Bytes, and events whose objects came as such, by turns and in their order."""

    def __init__(self, stream: InProcessStream) -> None:
        self._stream = stream
        self._chunks: list[bytes | Event] = []

    def __aiter__(self) -> Objects:
        return self

    async def __anext__(self) -> bytes | list[Event]:
        if not self._chunks:
            self._chunks = await self._stream.take_all()
        chunks, events = self._chunks, list[Event]()
        for chunk in chunks:
            if isinstance(chunk, bytes):
                break
            events.append(chunk)
        if events:
            self._chunks = chunks[len(events) :]
            return events
        first, self._chunks = chunks[0], chunks[1:]
        assert isinstance(first, bytes)
        return first


@functools.lru_cache(maxsize=64)
def _read(headers: tuple[tuple[str, str], ...]) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """As a server has them: a client sends the same ones again and again. Not to be changed."""
    listed = [(name.lower(), value) for name, value in headers]
    return listed, dict(reversed(listed))


def _lower(headers: Sequence[tuple[str, str]]) -> dict[str, str]:
    out = {name.lower(): value for name, value in headers}
    if len(out) < len(headers):
        out.clear()
        for name, value in headers:
            key = name.lower()
            out[key] = f"{out[key]}, {value}" if key in out else value
    return out


def _joined(body: bytes | Sequence[bytes]) -> bytes:
    return body if isinstance(body, bytes) else b"".join(body)
