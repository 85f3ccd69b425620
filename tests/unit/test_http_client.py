"""The HTTP client against servers that behave, and against ones that do not."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from sampan.cluster.certificates import Pki
from sampan.http import (
    ConnectFailed,
    ConnectionLost,
    HttpClient,
    ProtocolError,
    TimedOut,
    TlsFailed,
    TooLarge,
    UpgradeRefused,
)
from sampan.http.client import MAX_ORIGINS
from sampan.http.connection import Connection

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Scripted:
    """A server that says what each test wants; `heads` are the requests it got, `connections` how many came."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []
        self.answer: Peer = self.nothing
        self.server: asyncio.Server | None = None

    async def nothing(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def start(self, context: ssl.SSLContext | None = None) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            await self.answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.transport.abort()
        writer.close()

    async def head(self, reader: asyncio.StreamReader) -> bytes:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        return self.heads[-1]

    def says(self, *replies: bytes, close: bool = False) -> None:
        """Each connection gives these replies, one a request; then it waits, or closes."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for reply in replies:
                await self.head(reader)
                writer.write(reply)
            if not close:
                await reader.read()

        self.answer = answer


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def peer() -> AsyncIterator[Scripted]:
    made = Scripted()
    await made.start()
    yield made
    assert made.server is not None
    made.server.close()
    for writer in made.writers:
        writer.transport.abort()
    await asyncio.sleep(0)


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as client:
        yield client


def reply(body: bytes, *headers: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in headers)
    return f"HTTP/1.1 200 OK\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def test_a_connection_serves_one_request_after_another(peer: Scripted, http: HttpClient) -> None:
    peer.says(OK, b"HTTP/1.1 100 Continue\r\n\r\n" + OK, OK)
    first = await http.request("POST", peer.url + "/a?b=c", headers=[("X-One", "1")], body=b"hello")
    second = await http.request("GET", peer.url + "/second")
    assert (first.code, first.body, second.body) == (200, b"ok", b"ok")
    assert peer.connections == 1
    host = peer.url.removeprefix("http://")
    assert peer.heads[0].decode() == (
        f"POST /a?b=c HTTP/1.1\r\nHost: {host}\r\nX-One: 1\r\nAccept-Encoding: gzip\r\nContent-Length: 5\r\n\r\n"
    )


async def test_concurrent_requests_are_bounded_and_all_served(peer: Scripted) -> None:
    peer.says(*[OK] * 10)
    async with HttpClient(max_connections_per_host=2) as http:
        replies = await asyncio.gather(*(http.request("GET", peer.url) for _ in range(8)))
    assert [r.body for r in replies] == [b"ok"] * 8
    assert peer.connections == 2


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
RAW_DEFLATE = zlib.compressobj(9, zlib.DEFLATED, -15)
RAW = RAW_DEFLATE.compress(b"abcde") + RAW_DEFLATE.flush()


@pytest.mark.parametrize(
    ("wire", "close"),
    [
        (CHUNKED, False),
        (reply(gzip.compress(b"abcde", mtime=0), "Content-Encoding: gzip"), False),
        (reply(zlib.compress(b"abcde"), "Content-Encoding: deflate"), False),
        (reply(RAW, "Content-Encoding: deflate"), False),
        (b"HTTP/1.1 200 OK\r\n\r\nabcde", True),
    ],
)
async def test_bodies_however_they_are_framed(peer: Scripted, http: HttpClient, wire: bytes, close: bool) -> None:
    peer.says(*[wire] * (1 if close else 2), close=close)
    assert (await http.request("GET", peer.url)).body == b"abcde"
    stream = await http.stream("GET", peer.url)
    assert b"".join([chunk async for chunk in stream]) == b"abcde"
    await stream.aclose()


async def test_head_has_no_body_and_the_connection_goes_on(peer: Scripted, http: HttpClient) -> None:
    peer.says(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", OK)
    assert (await http.request("HEAD", peer.url)).headers["content-length"] == "999"
    assert (await http.request("GET", peer.url)).body == b"ok"
    assert peer.connections == 1


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",  # refused before any of it came
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" + b"x" * 1024 + b"\r\n",
        reply(gzip.compress(b"x" * 10_000_000), "Content-Encoding: gzip"),
    ],
)
async def test_what_is_too_large_is_cut_at_once(peer: Scripted, http: HttpClient, wire: bytes) -> None:
    gone = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.head(reader)
        writer.write(wire)
        try:
            await reader.read()
        finally:
            gone.set()

    peer.answer = answer
    with pytest.raises(TooLarge):
        await http.request("GET", peer.url, max_body=1000)
    await gone.wait()


async def test_a_closed_kept_connection_is_replaced(peer: Scripted, http: HttpClient) -> None:
    peer.says(OK)
    await http.request("GET", peer.url)
    peer.writers[0].transport.abort()
    await asyncio.sleep(0.01)
    assert (await http.request("POST", peer.url)).body == b"ok"
    assert peer.connections == 2


async def test_only_what_is_safe_twice_is_sent_twice(peer: Scripted, http: HttpClient) -> None:
    """The kept connection closes on receipt of its second request."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.head(reader)
        writer.write(OK)
        await peer.head(reader)

    peer.answer = answer
    await http.request("GET", peer.url)
    assert (await http.request("GET", peer.url)).body == b"ok"
    with pytest.raises(ConnectionLost, match="EOF"):
        await http.request("POST", peer.url)


@pytest.mark.parametrize(
    ("wire", "error", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", ConnectionLost, "^unexpected EOF$"),
        (b"", ConnectionLost, "^EOF$"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", ProtocolError, "malformed HTTP response"),
        (reply(b"not gzip", "Content-Encoding: gzip"), ProtocolError, "gzip: invalid"),
        (reply(gzip.compress(b"abcde", mtime=0)[:-6], "Content-Encoding: gzip"), ProtocolError, "unexpected EOF"),
        (reply(b"x", "Content-Encoding: br"), ProtocolError, "unsupported"),
    ],
)
async def test_broken_replies(
    peer: Scripted, http: HttpClient, wire: bytes, error: type[Exception], words: str
) -> None:
    peer.says(wire, close=True)
    with pytest.raises(error, match=words):
        await http.request("GET", peer.url)


async def test_timeouts_and_cancellation_leave_no_socket(peer: Scripted, http: HttpClient) -> None:
    came, gone = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await reader.read()
        gone.set()

    peer.answer = answer
    with pytest.raises(TimedOut, match=r"^context deadline exceeded$"):
        await http.request("GET", peer.url, timeout=0.01)
    await gone.wait()
    came.clear()
    gone.clear()
    task = asyncio.create_task(http.request("GET", peer.url))
    await came.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone.wait()


async def test_refusals_in_gos_words(http: HttpClient) -> None:
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(ConnectFailed) as refused:
        await http.request("GET", f"http://127.0.0.1:{port}")
    assert str(refused.value) == f"dial tcp 127.0.0.1:{port}: connect: connection refused"
    assert refused.value.at("POST", "https://x/y").startswith('Post "https://x/y": dial tcp')
    with pytest.raises(ConnectFailed, match="unsupported protocol scheme"):
        await http.request("GET", "ftp://x")
    with pytest.raises(ProtocolError, match="invalid header"):
        await http.request("GET", "http://x", headers=[("X", "a\r\nEvil: 1")])


def server_context(pki: Pki) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.path("apiserver.crt"), pki.path("apiserver.key"))
    return context


async def test_tls_names_and_authorities(pki: Pki) -> None:
    peer = Scripted()
    await peer.start(server_context(pki))
    peer.says(OK)
    url = peer.url.replace("http:", "https:")
    trusting = ssl.create_default_context(cafile=str(pki.path("ca.crt")))
    async with HttpClient(ssl_context=lambda: trusting, server_name="kubernetes.default.svc") as http:
        assert (await http.request("GET", url)).body == b"ok"
    async with HttpClient(ssl_context=trusting, server_name="example.com") as http:
        with pytest.raises(TlsFailed, match=r"^tls: failed to verify certificate: x509: .* example.com$"):
            await http.request("GET", url)
    async with HttpClient() as http:
        with pytest.raises(TlsFailed) as unknown:
            await http.request("GET", url)
    expected = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    assert str(unknown.value) == expected
    assert peer.server is not None
    peer.server.close()


async def test_https_to_a_plain_server(peer: Scripted, http: HttpClient) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    peer.answer = answer
    with pytest.raises(TlsFailed, match="server gave HTTP response to HTTPS client"):
        await http.request("GET", peer.url.replace("http:", "https:"))


async def test_a_stream_is_read_no_faster_than_it_is_taken(peer: Scripted, http: HttpClient) -> None:
    sent = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await peer.head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 64000000\r\n\r\n")
        writer.transport.set_write_buffer_limits(high=1)
        for _ in range(64):
            writer.write(b"x" * 1_000_000)
            await writer.drain()
            sent += 1

    peer.answer = answer
    stream = await http.stream("GET", peer.url)
    before = -1
    while sent != before:
        before = sent
        await asyncio.sleep(0.02)
    assert sent < 32
    total = 0
    async for chunk in stream:
        total += len(chunk)
    assert total == 64_000_000


class Wire(asyncio.Transport):
    """A transport that only knows whether it is read from."""

    reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Nobody listens."""

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


async def test_a_stream_that_came_whole_and_is_not_yet_read_leaves_its_connection_usable() -> None:
    """More than is read ahead, in one piece with its end: the pause must not outlast the stream."""
    connection, wire = Connection(asyncio.get_running_loop()), Wire()
    connection.connection_made(wire)
    asked = asyncio.create_task(connection.exchange("GET", b"", "stream", 0))
    await asyncio.sleep(0)
    connection.data_received(reply(b"x" * 300_000))
    stream = await asked
    assert connection.free and wire.reading
    assert len(await stream.read()) == 300_000


async def test_closing_a_stream_closes_its_connection_and_ending_one_keeps_it(peer: Scripted, http: HttpClient) -> None:
    gone = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.head(reader)
        writer.write(CHUNKED)
        await peer.head(reader)
        writer.write(CHUNKED[:-5])
        await reader.read()
        gone.set()

    peer.answer = answer
    stream = await http.stream("GET", peer.url)
    assert await stream.read() == b"abcde"
    stream = await http.stream("GET", peer.url)
    assert await anext(stream)
    await stream.aclose()
    await gone.wait()
    assert peer.connections == 1


@pytest.mark.parametrize("secure", [False, True])
async def test_upgrades_hand_the_connection_over(pki: Pki, secure: bool) -> None:
    peer = Scripted()
    await peer.start(server_context(pki) if secure else None)
    url = peer.url.replace("http:", "https:") if secure else peer.url
    http = HttpClient(ssl_context=ssl.create_default_context(cafile=str(pki.path("ca.crt"))))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.head(reader)
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst")
        while data := await reader.read(100):
            writer.write(data)

    peer.answer = answer
    wants = [("Connection", "Upgrade"), ("Upgrade", "echo")]
    up = await http.upgrade("GET", url, headers=wants)
    assert up.headers["upgrade"] == "echo"
    assert await up.reader.readexactly(5) == b"first"
    up.writer.write(b"second")
    assert await up.reader.readexactly(6) == b"second"
    up.writer.close()
    peer.says(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    with pytest.raises(UpgradeRefused, match="no") as refused:
        await http.upgrade("GET", url, headers=wants)
    assert refused.value.reply.code == 403
    await http.aclose()
    assert peer.server is not None
    peer.server.close()


async def test_dials_through_the_seam(peer: Scripted) -> None:
    asked: list[tuple[str, int]] = []
    real = int(peer.url.rpartition(":")[2])

    async def elsewhere(factory: Any, host: str, port: int, *, ssl: Any, server_hostname: Any) -> Any:
        asked.append((host, port))
        return await asyncio.get_running_loop().create_connection(factory, "127.0.0.1", real)

    peer.says(OK)
    async with HttpClient(dial=elsewhere) as http:
        assert (await http.request("GET", "http://web.default.svc/x")).body == b"ok"
    assert asked == [("web.default.svc", 80)]
    assert b"Host: web.default.svc\r\n" in peer.heads[0]


REPLIES = [
    CHUNKED,
    reply(gzip.compress(b"abcde", mtime=0), "Content-Encoding: gzip"),
    b"HTTP/1.1 204 No Content\r\n\r\n",
    OK,
]


@pytest.mark.parametrize("size", [1, 3, 7])
async def test_replies_are_the_same_however_they_arrive(peer: Scripted, http: HttpClient, size: int) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for wire in REPLIES:
            await peer.head(reader)
            for at in range(0, len(wire), size):
                writer.write(wire[at : at + size])
                await asyncio.sleep(0)
        await reader.read()

    peer.answer = answer
    replies = [await http.request("GET", peer.url) for _ in REPLIES]
    assert [(r.code, r.body) for r in replies] == [(200, b"abcde"), (200, b"abcde"), (204, b""), (200, b"ok")]
    assert peer.connections == 1


async def test_nothing_is_left_of_calls_cut_at_any_moment(peer: Scripted) -> None:
    """Each call is cancelled one turn of the loop later than the one before."""
    open_now = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(0)
                writer.write(CHUNKED[:60])
                await asyncio.sleep(0)
                writer.write(CHUNKED[60:])
        finally:
            open_now -= 1

    async def stream(http: HttpClient) -> None:
        body = await http.stream("GET", peer.url)
        try:
            await body.read()
        finally:
            await body.aclose()

    peer.answer = answer
    async with HttpClient(max_connections_per_host=2) as http:
        for turns in range(30):
            for call in (http.request("GET", peer.url), stream(http)):
                task = asyncio.ensure_future(call)
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        # every slot was given back
        assert [r.body for r in await asyncio.gather(*(http.request("GET", peer.url) for _ in range(4)))] == [
            b"abcde"
        ] * 4
    async with asyncio.timeout(5):
        while open_now:  # noqa: ASYNC110  # the sockets close one by one
            await asyncio.sleep(0.001)


async def test_origins_that_were_left_are_forgotten(peer: Scripted) -> None:
    """Others decide where a proxy goes: what it remembers of it is bounded."""

    async def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(111, "Connection refused")

    async with HttpClient(dial=refuse) as http:
        for port in range(1, 3 * MAX_ORIGINS):
            with pytest.raises(ConnectFailed):
                await http.request("GET", f"http://10.0.0.1:{port}/")
        assert len(http._pools) <= MAX_ORIGINS
