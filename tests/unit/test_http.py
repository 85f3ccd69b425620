"""The protocol on a real socket: what it accepts, bounds and refuses; and watches as they come over the wire."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from sampan.http.server.limits import Limits
from sampan.http.server.listener import Server
from sampan.http.server.messages import Request, Response, Writer
from sampan.http.server.websocket import WebSocket, accept
from tests.conftest import Local

BIG = b"x" * 200_000


async def app(request: Request) -> Response:
    return Response(200, (), request.method.encode() + b" " + request.raw_path.encode() + b" " + request.body)


def answer(request: Request) -> Any:
    if request.raw_path == "/now":
        return Response(200, (), b"now")
    if request.raw_path == "/big":
        return Response(200, (), BIG)
    if request.raw_path == "/broken":
        raise RuntimeError("broken")
    if request.raw_path == "/stream":

        async def stream(writer: Writer) -> None:
            writer.write(b"one")
            await writer.drain()
            writer.write(b"two")

        return Response(200, (), stream=stream)
    if request.raw_path == "/socket":
        return accept(request, ("b.example", "a.example"), echo)
    return app(request)


async def echo(socket: WebSocket) -> None:
    async for message in socket:
        socket.send(message)
        if message == "enough":
            return


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server(answer, ssl_context=None, hosts=("127.0.0.1",), port=0, limits=Limits(receive=0.0, idle=0.0))
    await made.start()
    yield made
    await made.shutdown(0)


async def talk(server: Server, data: bytes) -> bytes:
    """Everything the server says before it closes; ours asks it to."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(data)
    said = await reader.read()
    writer.close()
    return said


CLOSE = b"Connection: close\r\n\r\n"


async def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    said = await talk(server, b"GET /later HTTP/1.1\r\n\r\nGET /now HTTP/1.1\r\n\r\nGET /last HTTP/1.1\r\n" + CLOSE)
    assert said.index(b"GET /later") < said.index(b"now") < said.index(b"GET /last")


async def test_bodies(server: Server) -> None:
    chunked = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + CLOSE + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert (await talk(server, chunked)).endswith(b"POST /a abcde")
    asks = b"POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n" + CLOSE + b"hi"
    assert (await talk(server, asks)).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
    assert (await talk(server, b"HEAD /now HTTP/1.1\r\n" + CLOSE)).endswith(b"\r\n\r\n")


async def test_large_replies_are_packed_where_accepted(server: Server) -> None:
    plain = await talk(server, b"GET /big HTTP/1.1\r\n" + CLOSE)
    assert plain.endswith(BIG)
    packed = await talk(server, b"GET /big HTTP/1.1\r\nAccept-Encoding: gzip\r\n" + CLOSE)
    assert b"Content-Encoding: gzip" in packed
    assert gzip.decompress(packed.partition(b"\r\n\r\n")[2]) == BIG


async def test_streams_end_with_their_terminator(server: Server) -> None:
    said = await talk(server, b"GET /stream HTTP/1.1\r\n" + CLOSE)
    assert said.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 300 + b"\r\n", 431),
        (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /broken HTTP/1.1\r\n" + CLOSE, 500),
    ],
)
async def test_refusals_say_why_and_close(server: Server, data: bytes, code: int) -> None:
    said = await talk(server, data)
    assert said.startswith(b"HTTP/1.1 %d " % code)
    assert json.loads(said.partition(b"\r\n\r\n")[2])["kind"] == "Status"


async def test_slow_requests_are_ended(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /now HT")
    for _ in range(100_000):
        if any(connection.reader.under_way for connection in server.connections):
            break
        await asyncio.sleep(0)
    for connection in tuple(server.connections):
        connection.sweep(asyncio.get_running_loop().time() + 1)
    assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
    writer.close()


# -- watches -----------------------------------------------------------------------------------------------------------

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


class Sink:
    """The writing half of a stream that the test reads from."""

    def __init__(self, full: bool = False) -> None:
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.full = full
        self.callbacks: list[Any] = []

    def write(self, data: bytes) -> None:
        for line in data.splitlines():
            self.events.put_nowait(json.loads(line))

    def pending(self) -> int:
        return 1 << 30 if self.full else 0

    async def drain(self) -> None:
        await asyncio.sleep(0)

    closed = False

    def on_close(self, callback: Any) -> None:
        self.callbacks.append(callback)

    def abort(self) -> None:
        self.closed = True


async def test_websockets_carry_messages_both_ways_and_end_cleanly(server: Server) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{server.port}/socket"
        async with session.ws_connect(url, protocols=("a.example", "c.example")) as socket:
            assert socket.protocol == "a.example"
            await socket.send_bytes(BIG)
            assert await socket.receive_bytes() == BIG
            await socket.ping()
            await socket.send_str("enough")
            assert await socket.receive_str() == "enough"
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 1000


async def test_a_websocket_handshake_that_is_none_is_refused(server: Server) -> None:
    upgrade = b"GET /socket HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n"
    assert b"101" not in (await talk(server, upgrade)).splitlines()[0]


async def test_shutting_down_says_goodbye_to_websockets(server: Server) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{server.port}/socket") as socket,
    ):
        await server.shutdown(1)
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1001


async def test_an_upgrade_nobody_grants_is_an_ordinary_request(server: Server) -> None:
    first = b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    said = await talk(server, first + b"GET /b HTTP/1.1\r\nHost: x\r\n" + CLOSE)
    assert said.count(b"HTTP/1.1 200") == 2 and said.index(b"GET /a") < said.index(b"GET /b")


async def watching(api: Local, query: str, sink: Sink, **headers: str) -> asyncio.Task[None]:
    reply = await api.raw("GET", f"{CONFIG_MAPS}?watch=1&{query}", **headers)
    assert reply.stream is not None
    task: asyncio.Task[None] = asyncio.ensure_future(reply.stream(sink))
    await asyncio.sleep(0)
    return task


def config_map(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}}


async def test_watch_list_sends_the_state_then_a_bookmark_then_changes(api: Local) -> None:
    await api("POST", CONFIG_MAPS, config_map("a", x="1"))
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&labelSelector=x%3D1"
    sink = Sink()
    task = await watching(api, query, sink)
    first, mark = await sink.events.get(), await sink.events.get()
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "a")
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    await api("PATCH", f"{CONFIG_MAPS}/a", {"metadata": {"labels": {"x": "2"}}}, "application/merge-patch+json")
    await api("POST", CONFIG_MAPS, config_map("b", x="1"))
    left, entered = await sink.events.get(), await sink.events.get()
    assert (left["type"], left["object"]["metadata"]["name"]) == ("DELETED", "a")
    assert (entered["type"], entered["object"]["metadata"]["name"]) == ("ADDED", "b")
    sink.callbacks[0]()
    await task


async def test_watch_resumes_where_it_was(api: Local) -> None:
    _, made = await api("POST", CONFIG_MAPS, config_map("a"))
    await api("POST", CONFIG_MAPS, config_map("b"))
    await api("DELETE", f"{CONFIG_MAPS}/a")
    sink = Sink()
    task = await watching(api, f"resourceVersion={made['metadata']['resourceVersion']}", sink)
    seen = [await sink.events.get() for _ in range(2)]
    assert [(e["type"], e["object"]["metadata"]["name"]) for e in seen] == [("ADDED", "b"), ("DELETED", "a")]
    assert int(seen[1]["object"]["metadata"]["resourceVersion"]) > int(seen[0]["object"]["metadata"]["resourceVersion"])
    sink.callbacks[0]()
    await task


async def test_too_old_a_revision_is_told_as_an_event(api: Local) -> None:
    cache = api.server.api.cached("", "configmaps")
    cache.horizon = 100
    sink = Sink()
    await (await watching(api, "resourceVersion=5", sink))
    event = await sink.events.get()
    assert event["type"] == "ERROR" and (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


async def test_a_watcher_that_does_not_read_is_ended(api: Local) -> None:
    sink = Sink(full=True)
    task = await watching(api, "resourceVersion=0", sink)
    await api("POST", CONFIG_MAPS, config_map("a"))
    await task
    assert sum(api.server.api.metrics.terminated_watchers.values.values()) == 1


async def test_tables_are_watched_too(api: Local) -> None:
    sink = Sink()
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    task = await watching(api, "fieldSelector=metadata.name%3Da", sink, accept=accept)
    await api("POST", CONFIG_MAPS, config_map("a"))
    await api("DELETE", f"{CONFIG_MAPS}/a")
    first, second = await sink.events.get(), await sink.events.get()
    assert [column["name"] for column in first["object"]["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert second["object"]["columnDefinitions"] is None and second["object"]["rows"][0]["cells"][0] == "a"
    sink.callbacks[0]()
    await task
