"""Clients that misbehave on the socket: what they cost is bounded, and others are answered meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from sampan.cluster.certificates import Pki
from sampan.http.server.limits import Limits
from sampan.http.server.listener import Server
from sampan.http.server.messages import Request, Response, Writer
from tests.responsive import WITHIN

BIG = b"x" * 200_000
LIMITS = Limits(receive=1000.0, idle=1000.0)


def answer(request: Request) -> Any:
    if request.raw_path == "/big":
        return Response(200, (), BIG)
    if request.raw_path == "/stream":
        return Response(200, (), stream=endless)
    return Response(200, (), b"now")


async def endless(writer: Writer) -> None:
    while True:
        writer.write(BIG)
        await writer.drain()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server(answer, ssl_context=None, hosts=("127.0.0.1",), port=0, limits=LIMITS)
    await made.start()
    yield made
    await made.shutdown(0)


Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(server: Server, **more: Any) -> Pair:
    return await asyncio.open_connection("127.0.0.1", server.port, **more)


async def others_are_answered(server: Server, **more: Any) -> None:
    started = time.process_time()
    reader, writer = await connect(server, **more)
    writer.write(b"GET /now HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).endswith(b"now")
    writer.close()
    assert time.process_time() - started < WITHIN


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not check():  # noqa: ASYNC110  # sockets wake nobody
            await asyncio.sleep(0.001)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Everything that is said until the connection ends, in whatever way."""
    said = b""
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65536):
                said += piece
    return said


def later(server: Server, seconds: float) -> None:
    """What the server's timer does then."""
    for connection in tuple(server.connections):
        connection.sweep(server.loop.time() + seconds)


async def test_slow_loris(server: Server) -> None:
    """Heads and bodies that trickle are ended when their time is up, however much trickles."""
    pairs = [await connect(server) for _ in range(100)]
    starts = (b"G", b"GET / HTTP/1.1\r\nA: ", b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nx",
              b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")  # fmt: skip
    for number, (_, writer) in enumerate(pairs):
        writer.write(starts[number % 4])
    await until(lambda: sum(connection.reader.under_way for connection in server.connections) == 100)
    for number, (_, writer) in enumerate(pairs):
        writer.write(b"x" if number % 4 else b"ET")
    await others_are_answered(server)
    later(server, 900)
    assert sum(connection.reader.under_way for connection in server.connections) == 100
    later(server, 1100)
    for reader, writer in pairs:
        assert (await ended(reader)).startswith(b"HTTP/1.1 408 ")
        writer.close()
    await until(lambda: not server.connections)


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\nA: ",
        b"GET / HTTP/1.1\r\nA",
        b"GET /",
        b"GET",
        b"\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n ",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: ",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 10,
    ],
)
async def test_lines_without_end(server: Server, start: bytes) -> None:
    """Refused while they come, not kept until they end."""
    reader, writer = await connect(server)
    writer.write(start)
    filler = (
        b"\r\n" * 32768 if start == b"\r\n" else b"1\r\nx\r\n" * 10_000 if start.endswith(b"x\r\n") else b"a" * 65536
    )
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < 100 << 20:
            writer.write(filler)
            sent += len(filler)
            await writer.drain()
            await asyncio.sleep(0)
            if reader.at_eof():
                break
    assert sent < 24 << 20
    await until(lambda: not server.connections)
    await others_are_answered(server)
    writer.close()


async def test_a_flood_of_requests_whose_answers_nobody_reads(server: Server) -> None:
    """Neither requests nor answers pile up; who does not read for a minute is cut."""
    client = socket.create_connection(("127.0.0.1", server.port))
    client.setblocking(False)
    flood, sent = b"GET /big HTTP/1.1\r\n\r\n" * 1000, 0
    for _ in range(200):
        with contextlib.suppress(BlockingIOError):
            sent += client.send(flood)
        await asyncio.sleep(0)
    (connection,) = server.connections
    assert connection.transport is not None
    assert connection.transport.get_write_buffer_size() < 4 << 20
    assert len(connection.waiting) < 20_000 and sent < 16 << 20
    await others_are_answered(server)
    later(server, 900)
    assert connection.transport is not None
    later(server, 1100)
    await until(lambda: not server.connections)
    client.close()


@pytest.mark.parametrize("target", [b"/big", b"/stream"])
async def test_answers_that_are_not_read(server: Server, target: bytes) -> None:
    client = socket.create_connection(("127.0.0.1", server.port))
    client.sendall(b"GET " + target + b" HTTP/1.1\r\n\r\n" + b"GET /big HTTP/1.1\r\n\r\n" * 50)
    await until(lambda: any(connection._paused is not None for connection in server.connections))
    (connection,) = server.connections
    assert connection.transport is not None and connection.transport.get_write_buffer_size() < 4 << 20
    later(server, 1100)
    await until(lambda: not server.connections)
    client.close()


async def test_a_slow_reader_gets_everything(server: Server) -> None:
    """In order, although the server has stopped reading and answering in between."""
    reader, writer = await connect(server, limit=1024)
    writer.write(b"GET /big HTTP/1.1\r\n\r\n" * 30 + b"GET /now HTTP/1.1\r\nConnection: close\r\n\r\n")
    await until(lambda: any(connection._paused is not None for connection in server.connections))
    said = await ended(reader)
    assert said.count(b"HTTP/1.1 200 OK") == 31 and said.count(b"x") == 30 * len(BIG) and said.endswith(b"now")
    writer.close()


@pytest.fixture
async def tls(pki: Pki) -> AsyncIterator[tuple[Server, ssl.SSLContext]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.path("apiserver.crt"), pki.path("apiserver.key"))
    made = Server(answer, ssl_context=context, hosts=("127.0.0.1",), port=0, limits=LIMITS)
    await made.start()
    yield made, ssl.create_default_context(cafile=str(pki.path("ca.crt")))
    await made.shutdown(0)


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nab"])
async def test_connections_closed_by_half(tls: tuple[Server, ssl.SSLContext], sent: bytes) -> None:
    """The peer will not send any more: there is nothing to wait for."""
    server, trusts = tls
    reader, writer = await connect(server, ssl=trusts)
    writer.write(sent)
    await writer.drain()
    await until(lambda: len(server.connections) == 1)
    _half_close(writer.get_extra_info("socket"))
    await until(lambda: not server.connections)
    assert await ended(reader) == b""
    await others_are_answered(server, ssl=trusts)
    writer.transport.abort()


def _half_close(shown: Any) -> None:
    """Below TLS, without its goodbye."""
    twin = socket.socket(fileno=os.dup(shown.fileno()))
    twin.shutdown(socket.SHUT_WR)
    twin.close()


async def test_handshakes_that_never_end(tls: tuple[Server, ssl.SSLContext]) -> None:
    server, trusts = tls
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
    for number, client in enumerate(silent):
        client.sendall((b"", b"\x16", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff")[number % 4])
    await others_are_answered(server, ssl=trusts)
    assert not server.connections or len(server.connections) == 1, "they are no connections yet"
    for client in silent:
        client.close()


@pytest.mark.slow
async def test_five_thousand_idle_connections(server: Server) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 12_000:
        pytest.skip(f"only {hard} files may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients: list[socket.socket] = []
    try:
        for count in range(1, 51):
            clients.extend(socket.create_connection(("127.0.0.1", server.port)) for _ in range(100))
            await until(lambda: len(server.connections) == 100 * count)  # noqa: B023  # called at once
        clients[0].sendall(b"GET /now HTTP/1.1\r\n\r\n")
        await others_are_answered(server)
        started = time.process_time()
        later(server, 10)
        assert time.process_time() - started < 0.1
        await until(lambda: len(server.connections) == 5000)
        later(server, 1100)
        await until(lambda: not server.connections)
        await others_are_answered(server)
    finally:
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
