"""exec, attach and port-forward as protocols: both ends, and who translates in between, without containers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.http import HttpClient, portforward, translate
from sampan.http.remote import Remote, connected
from sampan.http.remotecommand import SUCCESS, V2, V4, V5, CommandFailed, Ends, Options, Run, Status, exited, serve
from sampan.http.server.listener import Server
from sampan.http.server.messages import Request, Response
from sampan.http.spdy import Session
from sampan.http.upgraded import relay

ALL = Options(stdin=True, stdout=True, stderr=True)
App = Callable[[Request], Response | Awaitable[Response]]


@contextlib.asynccontextmanager
async def listening(app: App) -> AsyncIterator[str]:
    server = Server(app, ssl_context=None, hosts=["127.0.0.1"], port=0)
    await server.start()
    try:
        yield f"http://127.0.0.1:{server.port}/"
    finally:
        await server.shutdown(0)


@contextlib.asynccontextmanager
async def remote(run: Run, options: Options = ALL, protocol: str = V4) -> AsyncIterator[Remote]:
    async with (
        listening(lambda request: serve(request, options, run)) as url,
        HttpClient() as http,
        asyncio.timeout(5),
        connected(http, url, options, protocols=(protocol,)) as made,
    ):
        yield made


async def echo(ends: Ends) -> Status:
    assert ends.stdin and ends.stdout and ends.stderr
    while data := await ends.stdin.read():
        await ends.stdout.write(data)
    await ends.stderr.write(b"over")
    return exited(3, "[echo]")


async def test_a_command_over_spdy() -> None:
    async with remote(echo) as made:
        assert made.stdin and made.stdout and made.stderr
        await made.stdin.write(b"there and back")
        made.stdin.end()
        assert await made.stdout.read_all(100) == b"there and back"
        assert await made.stderr.read_all(100) == b"over"
        assert await made.status() == exited(3, "[echo]")


async def _fails(_: Ends) -> Status:
    raise CommandFailed("error executing command in container: no")


async def _breaks(_: Ends) -> Status:
    raise ValueError("secret")


async def _works(_: Ends) -> Status:
    return SUCCESS


@pytest.mark.parametrize(
    ("run", "protocol", "message"),
    [
        (_works, V4, None),
        (_works, V2, None),
        (_fails, V5, "Internal error occurred: error executing command in container: no"),
        (_fails, V2, "Internal error occurred: error executing remote command: Internal error occurred: error executing command in container: no"),
        (_breaks, V4, "Internal error occurred: see the node's log"),
    ],
)  # fmt: skip
async def test_how_it_ended_is_said_as_the_version_has_it(run: Run, protocol: str, message: str | None) -> None:
    async with remote(run, protocol=protocol) as made:
        status = await made.status()
        assert status.get("message") == message and status["status"] == ("Failure" if message else "Success")


async def test_streams_that_never_come_are_not_waited_for() -> None:
    app = lambda request: serve(request, ALL, echo, creation=0.01)  # noqa: E731
    async with listening(app) as url, HttpClient() as http:
        asked = [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("X-Stream-Protocol-Version", V4)]
        upgrade = await http.upgrade("POST", url, headers=asked)
        async with asyncio.timeout(5):
            await upgrade.reader.read()  # a goodbye, and the end
        upgrade.writer.close()


async def test_an_idle_connection_ends() -> None:
    async with (
        listening(lambda request: serve(request, ALL, echo, idle=0.05)) as url,
        HttpClient() as http,
        asyncio.timeout(5),
        connected(http, url, ALL) as made,
    ):
        await made.session.gone.wait()


async def test_a_client_that_goes_is_noticed_by_who_reads_and_who_waits() -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def run(ends: Ends) -> Status:
        assert ends.stdin
        with pytest.raises(ConnectionError):
            await ends.stdin.read()
        seen.put_nowait("read")
        await ends.gone.wait()
        seen.put_nowait("gone")
        return SUCCESS

    async with remote(run) as made:
        made.session.connection.close()
        assert [await seen.get(), await seen.get()] == ["read", "gone"]


SIZES = st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 65535)), max_size=5)


@settings(max_examples=10)
@given(SIZES, st.lists(st.integers(1, 30), min_size=1), st.sampled_from([("Width", "Height"), ("width", "height")]))
def test_sizes_of_terminals_come_in_any_pieces(
    sizes: list[tuple[int, int]], cuts: list[int], names: tuple[str, str]
) -> None:
    text = "\n".join(json.dumps(dict(zip(names, size, strict=True))) for size in sizes).encode()

    class Pieces:
        turn = 0

        async def read(self) -> bytes:
            nonlocal text
            piece, text = text[: cuts[self.turn % len(cuts)]], text[cuts[self.turn % len(cuts)] :]
            self.turn += 1
            return piece

    async def run() -> list[tuple[int, int]]:
        return [size async for size in Ends(None, None, None, Pieces(), asyncio.Event()).sizes()]

    with pytest.raises(StopIteration) as found:  # it never waits
        run().send(None)
    assert found.value.value == sizes


# -- who passes it on unread -------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def relayed(run: Run, options: Options) -> AsyncIterator[Remote]:
    async with listening(lambda request: serve(request, options, run)) as url, HttpClient() as http:
        app = lambda request: relay(request, http, url)  # noqa: E731
        async with listening(app) as front, asyncio.timeout(5), connected(http, front, options) as made:
            yield made


async def test_a_relay_passes_both_ways_and_ends_with_either_side() -> None:
    async with relayed(echo, ALL) as made:
        assert made.stdin and made.stdout
        data = bytes(range(256)) * 8000
        writing = asyncio.ensure_future(made.stdin.write(data))
        got = b""
        while len(got) < len(data):
            got += await made.stdout.read()
        await writing
        assert got == data

    gone = asyncio.Event()

    async def wait(ends: Ends) -> Status:
        assert ends.stdout
        await ends.stdout.write(b"here")
        await ends.gone.wait()
        gone.set()
        return SUCCESS

    async with relayed(wait, Options(stdout=True)) as made:
        assert made.stdout and await made.stdout.read() == b"here"
        made.session.connection.close()
        await gone.wait()

    async def leave(ends: Ends) -> Status:
        assert ends.stdout
        ends.stdout._session.connection.close()  # type: ignore[attr-defined]
        await ends.gone.wait()
        return SUCCESS

    async with relayed(leave, Options(stdout=True)) as made:
        await made.session.gone.wait()


@pytest.mark.slow
async def test_nobody_on_the_way_keeps_what_the_last_one_does_not_read() -> None:
    written, stopped = 0, asyncio.Event()

    async def pour(ends: Ends) -> Status:
        nonlocal written
        assert ends.stdout
        loop = asyncio.get_running_loop()
        while True:
            timer = loop.call_later(0.1, stopped.set)
            await ends.stdout.write(bytes(100_000))
            timer.cancel()
            written += 100_000
            assert written < 60_000_000  # the kernel's buffers on three connections, and a little of ours

    async with relayed(pour, Options(stdout=True)) as made:
        await stopped.wait()
        assert made.stdout
        seen = 0
        while seen < written:
            seen += len(await made.stdout.read())


# -- WebSocket in front of SPDY ----------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def translated(backend: App, options: Options = ALL) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with listening(backend) as url, HttpClient() as http:
        app = lambda request: translate.translate(request, http, url, options)  # noqa: E731
        async with (
            listening(app) as front,
            aiohttp.ClientSession() as session,
            asyncio.timeout(5),
            session.ws_connect(front, protocols=[V5, V4], max_msg_size=0) as socket,
        ):
            assert socket.protocol == V5
            yield socket


async def heard(socket: aiohttp.ClientWebSocketResponse) -> dict[int, bytes]:
    out: dict[int, bytes] = {}
    async for message in socket:
        out[message.data[0]] = out.get(message.data[0], b"") + message.data[1:]
    return out


async def test_version_5_ends_stdin_on_the_other_side() -> None:
    async with translated(lambda request: serve(request, ALL, echo)) as socket:
        first = await socket.receive()
        assert first.data == b"\x01"  # it stands
        await socket.send_bytes(b"\x00some")
        await socket.send_str("\x00 more")
        await socket.send_bytes(b"\xff\x00")
        out = await heard(socket)
    assert (out[1], out[2], json.loads(out[3])) == (b"some more", b"over", exited(3, "[echo]"))
    assert socket.close_code == 1000


async def test_who_reads_late_gets_all_of_it() -> None:
    written = asyncio.Event()

    async def run(ends: Ends) -> Status:
        assert ends.stdout
        for _ in range(30):
            await ends.stdout.write(b"x" * 100_000)
        written.set()
        return SUCCESS

    async with translated(lambda request: serve(request, ALL, run)) as socket:
        await socket.send_bytes(b"\x00what nobody reads" * 1000)
        reading = asyncio.ensure_future(heard(socket))
        await written.wait()
        out = await reading
    assert len(out[1]) == 3_000_000 and json.loads(out[3]) == SUCCESS


async def test_refusals_and_losses_behind_are_told_in_front() -> None:
    def refuse(_: Request) -> Response:
        return Response(500, (), b'container not found ("x")')

    async with translated(refuse) as socket:
        status = json.loads((await heard(socket))[3])
    words = 'Internal error occurred: unable to upgrade connection: container not found ("x")'
    assert (status["message"], status["code"]) == (words, 500)

    async def run(ends: Ends) -> Status:
        assert ends.stdout
        await ends.stdout.write(b"begun")
        session = ends.stdout._session  # type: ignore[attr-defined]
        session.connection.close()
        await ends.gone.wait()
        return SUCCESS

    async with translated(lambda request: serve(request, ALL, run)) as socket:
        out = await heard(socket)
    assert out[1] == b"begun" and "error reading from error stream" in json.loads(out[3])["message"]


async def test_a_client_that_goes_in_front_is_gone_behind() -> None:
    gone = asyncio.Event()

    async def run(ends: Ends) -> Status:
        assert ends.stdout
        await ends.stdout.write(b"here")
        await ends.gone.wait()
        gone.set()
        return SUCCESS

    async with translated(lambda request: serve(request, Options(stdout=True), run), Options(stdout=True)) as socket:
        while (await socket.receive()).data != b"\x01here":
            continue
        await socket.close()
        await gone.wait()


async def test_spdy_in_a_websocket_is_unpacked() -> None:
    async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        writer.close()

    far = await asyncio.start_server(upper, "127.0.0.1", 0)
    where = far.sockets[0].getsockname()[1]

    async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if port != 80:
            raise CommandFailed("no such port")
        return await asyncio.open_connection("127.0.0.1", where)

    backend = lambda request: portforward.serve(request, [], connect, pod="web")  # noqa: E731
    async with far, listening(backend) as url, HttpClient() as http:
        app = lambda request: translate.tunnel(request, http, url)  # noqa: E731
        async with listening(app) as front, aiohttp.ClientSession() as client:
            name = "SPDY/3.1+portforward.k8s.io"
            async with asyncio.timeout(5), client.ws_connect(front, protocols=[name]) as socket:
                assert socket.protocol == name
                session = Session(OnWebSocket(socket), server=False)
                feeding = asyncio.ensure_future(feed(socket, session))
                error = await session.open({"streamType": "error", "port": "80", "requestID": "0"})
                data = await session.open({"streamType": "data", "port": "80", "requestID": "0"})
                await data.write(b"shout")
                data.end()
                assert await data.read_all(100) == b"SHOUT" and await error.read_all(100) == b""
                error = await session.open({"streamType": "error", "port": "81", "requestID": "1"})
                data = await session.open({"streamType": "data", "port": "81", "requestID": "1"})
                assert await error.read_all(100) == b"error forwarding port 81 to pod web, uid : no such port"
                feeding.cancel()


class OnWebSocket:
    """`messages.RawConnection`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._tasks: list[Any] = []

    def send(self, data: bytes) -> None:
        self._tasks.append(asyncio.ensure_future(self._socket.send_bytes(data)))

    def pending(self) -> int:
        return 0

    async def writable(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def close(self) -> None: ...


async def feed(socket: aiohttp.ClientWebSocketResponse, session: Session) -> None:
    async for message in socket:
        session.received(message.data)
