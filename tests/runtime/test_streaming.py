"""Exec, Attach and PortForward of the runtime, over SPDY and WebSocket, on the connections that their URLs lead to."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from sampan.cri import pb
from sampan.http import HttpClient, UpgradeRefused
from sampan.http.remote import Remote, connected
from sampan.http.remotecommand import V1, V2, V3, Options
from sampan.http.server.listener import Server
from sampan.http.server.messages import Request, Response
from sampan.http.spdy import Session, Stream
from sampan.http.upgraded import driven, relay
from sampan.runtime import kernel
from tests.runtime.homes import Home
from tests.runtime.pods import Pods

pytestmark = [pytest.mark.slow]
OUT = Options(stdout=True, stderr=True)
HTTPD = "mkdir -p /www && echo hello > /www/index.html && exec httpd -f -p 8080 -h /www"


@pytest.fixture
async def http(runtime: Home) -> AsyncIterator[HttpClient]:
    """On the node's own network, as the kubelet is."""

    async def inside(factory: Any, host: str, port: int, **_: Any) -> Any:
        loop = asyncio.get_running_loop()
        sock = await kernel.socket_in(runtime.network, socket.AF_INET)
        sock.setblocking(False)
        await loop.sock_connect(sock, (host, port))
        return await loop.create_connection(factory, sock=sock)

    async with HttpClient(dial=inside) as made:
        yield made


@contextlib.asynccontextmanager
async def websocket(http: HttpClient, at: str, protocol: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Through a relay, as the kubelet is one."""

    async def app(request: Request) -> Response:
        return await relay(request, http, at)

    server = Server(app, ssl_context=None, hosts=["127.0.0.1"], port=0)
    await server.start()
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://127.0.0.1:{server.port}", protocols=[protocol]) as made,
        ):
            assert made.protocol == protocol
            yield made
    finally:
        await server.shutdown(0)


async def url(pods: Pods, container: str, *command: str, tty: bool = False, options: Options = OUT) -> str:
    reply = await pods.cri.Exec(
        container_id=container, cmd=command, tty=tty, stdin=options.stdin, stdout=options.stdout, stderr=options.stderr
    )
    return str(reply.url)


async def everything(stream: Stream | None) -> bytes:
    assert stream is not None
    return await stream.read_all(1 << 30)


async def executed(
    http: HttpClient, pods: Pods, container: str, *command: str, stdin: bytes | None = None, **more: Any
) -> tuple[bytes, bytes, Any]:
    """Output, errors, and the Status."""
    options = Options(stdin is not None, True, True)
    at = await url(pods, container, *command, options=options)
    async with asyncio.timeout(20), connected(http, at, options, **more) as remote:
        writing = asyncio.ensure_future(_written(remote.stdin, stdin))
        out, err = await asyncio.gather(everything(remote.stdout), everything(remote.stderr))
        status = await remote.status()
        writing.cancel()
        return out, err, status


async def _written(stream: Stream | None, data: bytes | None) -> None:
    if stream is not None and data is not None:
        await stream.write(data)
        stream.end()


async def test_exec(pods: Pods, http: HttpClient) -> None:
    sandbox = await pods.run()
    container = await pods.start(sandbox, "sleep", "1000")

    assert await executed(http, pods, container, "sh", "-c", "echo out; echo err >&2") == (
        b"out\n", b"err\n", {"metadata": {}, "status": "Success"},
    )  # fmt: skip
    _, _, status = await executed(http, pods, container, "sh", "-c", "exit 7")
    assert status["reason"] == "NonZeroExitCode"
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]
    assert status["message"].endswith("error executing command [sh -c exit 7], exit code 7")
    out, err, status = await executed(http, pods, container, "no-such")
    assert out == err == b""
    assert status["reason"] == "InternalError"
    assert "error executing command in container: failed to exec in container" in status["message"]
    assert 'exec: "no-such": executable file not found in $PATH' in status["message"]
    _, _, status = await executed(http, pods, container, "sh", "-c", "kill -9 $$")
    assert status["details"]["causes"][0]["message"] == "137"

    # older versions say how it ended in words, or nothing of success
    for protocol in (V3, V2, V1):
        assert await executed(http, pods, container, "echo", "x", protocols=(protocol,)) == (
            b"x\n", b"", {"metadata": {}, "status": "Success"},
        )  # fmt: skip
        _, _, status = await executed(http, pods, container, "false", protocols=(protocol,))
        assert "exit code 1" in status.get("message", "") or (protocol == V1 and pods.home.kind == "containerd")

    # a lot in both directions, and the end of stdin is the end of the command
    data = os.urandom(20_000_000)
    out, _, _ = await executed(http, pods, container, "cat", stdin=data)
    assert out == data
    out, err, _ = await executed(http, pods, container, "busybox", "sha256sum", stdin=data)
    assert err == b"" and out.split()[0].decode() == hashlib.sha256(data).hexdigest()
    # who does not read its stdin does not keep us from ending (containerd it does, at times)
    if pods.home.kind == "sampan":
        assert (await executed(http, pods, container, "true", stdin=data))[2]["status"] == "Success"

    await _terminal(pods, http, container)
    if pods.home.kind == "sampan":  # containerd lets both run on
        await _clients_that_go(pods, http, container)
    await _refusals(pods, http, container)


async def test_crun(own: Pods) -> None:
    if shutil.which("crun") is None:
        pytest.skip("not installed: crun")
    sandbox = await own.run(handler="crun")
    container = await own.start(sandbox, "sleep", "1000")
    async with HttpClient() as http:
        out, err, status = await executed(http, own, container, "sh", "-c", "cat; echo err >&2; exit 7", stdin=b"out")
        assert (out, err, status["details"]["causes"][0]["message"]) == (b"out", b"err\n", "7")
        out, err, status = await executed(http, own, container, "no-such")
        assert out == err == b"" and "executable file `no-such` not found in $PATH" in status["message"]
        await _terminal(own, http, container)


async def _terminal(pods: Pods, http: HttpClient, container: str) -> None:
    options = Options(stdin=True, stdout=True, tty=True)
    script = """
        size() { test "$(busybox stty size 2>/dev/null)" = "$1"; }
        until size "30 100"; do sleep 0.01; done
        trap 'size "44 111" && echo second && exit 3' WINCH
        echo first
        while :; do sleep 0.01; done
    """
    at = await url(pods, container, "sh", "-c", script, tty=True, options=options)
    async with connected(http, at, options) as remote:
        assert remote.resize is not None and remote.stdout is not None and remote.stdin is not None
        await remote.resize.write(b'{"Width":100,"Height":30}')
        await _until(remote, b"first\r\n")
        await remote.resize.write(b'{"Width":111,"Height":44}')
        assert await everything(remote.stdout) == b"second\r\n"
        assert (await remote.status())["details"]["causes"][0]["message"] == "3"
    at = await url(pods, container, "sh", tty=True, options=options)
    async with connected(http, at, options) as remote:
        assert remote.stdin is not None
        await remote.stdin.write(b"busybox tty && echo $TERM $((6 * 7))\n")
        await _until(remote, b"\r\nxterm 42\r\n")
        await remote.stdin.write(b"sh -c 'echo u\"\"p; exec sleep 1000'\n")
        await _until(remote, b"up\r\n")
        await remote.stdin.write(b"\x03")  # control-C is the terminal's to understand
        await _until(remote, b"# ")
        await remote.stdin.write(b"exit 5\n")
        async with asyncio.timeout(10):
            await everything(remote.stdout)
        assert (await remote.status())["details"]["causes"][0]["message"] == "5"


async def _until(remote: Remote, words: bytes) -> None:
    assert remote.stdout is not None
    seen = b""
    try:
        async with asyncio.timeout(10):
            while words not in seen:
                data = await remote.stdout.read()
                assert data, seen
                seen += data
    except TimeoutError:
        raise AssertionError(seen) from None


async def _clients_that_go(pods: Pods, http: HttpClient, container: str) -> None:
    """A terminal is hung up on; a command that writes learns it from that."""
    options = Options(stdin=True, stdout=True, tty=True)
    for command, wanted in (
        ("sleep 31 & echo here; wait", options),
        ("while echo here; do sleep 0.01; done; sleep 32", OUT),
    ):
        at = await url(pods, container, "sh", "-c", command, tty=wanted.tty, options=wanted)
        async with connected(http, at, wanted) as remote:
            await _until(remote, b"here")
    running = "for each in /proc/[0-9]*; do tr '\\0' ' ' < $each/cmdline; echo; done 2>/dev/null"
    async with asyncio.timeout(10):
        while "here" in (found := await pods.sh(container, f"{running} | grep -v grep")):  # noqa: ASYNC110 - the kernel
            await asyncio.sleep(0.02)
    assert "sleep 32" not in found


async def _refusals(pods: Pods, http: HttpClient, container: str) -> None:
    with pytest.raises(Exception, match="one of stdin, stdout, or stderr must be set"):
        await url(pods, container, "true", options=Options())
    with pytest.raises(Exception, match="tty and stderr cannot both be true"):
        await url(pods, container, "true", tty=True)
    with pytest.raises(Exception, match="not found"):
        await url(pods, "f" * 64, "true")
    at = await url(pods, container, "true")
    with pytest.raises(UpgradeRefused, match=r"unable to negotiate protocol: client supports \[x\], server accepts"):
        async with connected(http, at, OUT, protocols=("x",)):
            pass
    # that was the one connection the URL was good for
    with pytest.raises(UpgradeRefused, match="404 page not found"):
        async with connected(http, at, OUT):
            pass
    reply = await http.request("GET", await url(pods, container, "true"))
    assert (reply.code, reply.body) == (400, b"unable to upgrade: X-Stream-Protocol-Version is required\n")


async def test_websockets(pods: Pods, http: HttpClient) -> None:
    sandbox = await pods.run()
    container = await pods.start(sandbox, "sh", "-c", HTTPD)
    options = Options(stdin=True, stdout=True, stderr=True)
    script = "read x; echo got $x; echo bad >&2; exit 7"
    protocols = ["v4.channel.k8s.io", "v4.base64.channel.k8s.io"]
    for protocol in protocols if pods.home.kind == "containerd" else ["v5.channel.k8s.io", *protocols]:
        at = await url(pods, container, "sh", "-c", script, options=options)
        async with websocket(http, at, protocol) as peer:
            await _say(peer, 0, b"it\n")
            heard = await _hear(peer)
        assert heard[1] == b"got it\n" and heard[2] == b"bad\n"
        assert json.loads(heard[3])["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]
    if pods.home.kind == "sampan":
        # version 5 alone can end stdin
        at = await url(pods, container, "cat", options=options)
        async with websocket(http, at, "v5.channel.k8s.io") as peer:
            await _say(peer, 0, b"all of it")
            await peer.send_bytes(b"\xff\x00")
            heard = await _hear(peer)
        assert heard[1] == b"all of it" and json.loads(heard[3])["status"] == "Success"
    # ports: each has a channel for data and one for errors, which begin with its number
    for protocol in protocols:
        reply = await pods.cri.PortForward(pod_sandbox_id=sandbox, port=[8080, 8081])
        async with websocket(http, reply.url, protocol) as peer:
            await _say(peer, 0, b"GET / HTTP/1.0\r\n\r\n")
            heard = await _hear(peer)
        assert heard[0][:2] == heard[1] == (8080).to_bytes(2, "little") and heard[0].endswith(b"\r\n\r\nhello\n")
        assert heard[2] == heard[3][:2] == (8081).to_bytes(2, "little")
        assert b"error forwarding port 8081 to pod " in heard[3] and b"connection refused" in heard[3]


async def _say(socket: aiohttp.ClientWebSocketResponse, channel: int, data: bytes) -> None:
    if "base64" in (socket.protocol or ""):
        await socket.send_str(f"{channel}{base64.b64encode(data).decode()}")
    else:
        await socket.send_bytes(bytes((channel,)) + data)


async def _hear(socket: aiohttp.ClientWebSocketResponse) -> dict[int, bytes]:
    heard: dict[int, bytes] = {}
    async with asyncio.timeout(10):
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                number, data = int(message.data[0]), base64.b64decode(message.data[1:])
            else:
                number, data = message.data[0], message.data[1:]
            heard[number] = heard.get(number, b"") + data
    return heard


async def test_attach(pods: Pods, http: HttpClient) -> None:
    sandbox = await pods.run()
    options = Options(stdin=True, stdout=True, stderr=True)
    script = "echo ready; while read x; do echo got $x; echo bad $x >&2; done; echo over"
    container = await pods.start(sandbox, "sh", "-c", script, stdin=True, stdin_once=True)
    at = (await pods.cri.Attach(container_id=container, stdin=True, stdout=True, stderr=True)).url
    async with connected(http, at, options) as remote:
        assert remote.stdin is not None
        await remote.stdin.write(b"one\n" + b"x" * 30_000 + b"\n")
        remote.stdin.end()
        out, err = await asyncio.gather(everything(remote.stdout), everything(remote.stderr))
        assert (await remote.status())["status"] == "Success"
    assert out.removeprefix(b"ready\n") == b"got one\ngot " + b"x" * 30_000 + b"\nover\n"
    assert err.startswith(b"bad one\nbad xxx")
    assert (await pods.ended(container)).exit_code == 0

    # as much as it says, however slowly it is taken
    script = "read x; busybox dd if=/dev/zero bs=100000 count=100 2>/dev/null; echo over; exec sleep 1000"
    loud = await pods.start(sandbox, "sh", "-c", script, name="loud", stdin=True)
    at = (await pods.cri.Attach(container_id=loud, stdin=True, stdout=True)).url
    async with asyncio.timeout(20), connected(http, at, Options(stdin=True, stdout=True)) as remote:
        assert remote.stdin is not None and remote.stdout is not None
        await remote.stdin.write(b"\n")
        seen = b""
        while not seen.endswith(b"over\n"):
            seen += await remote.stdout.read()
        assert len(seen) == 10_000_005

    options = Options(stdin=True, stdout=True, tty=True)
    shell = await pods.start(sandbox, "sh", name="shell", stdin=True, tty=True)
    for turn in ("first", "second"):  # it outlives those who look at it
        at = (await pods.cri.Attach(container_id=shell, stdin=True, stdout=True, tty=True)).url
        async with connected(http, at, options) as remote:
            assert remote.stdin is not None and remote.resize is not None
            await remote.resize.write(b'{"Width":90,"Height":20}')
            await remote.stdin.write(
                f"echo {turn} $((40 + 2)); while [ \"$(busybox stty size)\" != '20 90' ]; do :; done\n".encode()
            )
            await _until(remote, f"\n{turn} 42\r\n".encode())
    assert (await pods.status(shell)).state == pb.CONTAINER_RUNNING
    with pytest.raises(Exception, match="container is in CONTAINER_EXITED state"):
        await pods.cri.Attach(container_id=container, stdout=True)


async def test_port_forward(pods: Pods, http: HttpClient) -> None:
    sandbox = await pods.run()
    await pods.start(sandbox, "sh", "-c", HTTPD)
    await pods.start(sandbox, "nc", "-l", "-p", "9", "-e", "cat", name="echo")
    at = (await pods.cri.PortForward(pod_sandbox_id=sandbox)).url
    asked = [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("X-Stream-Protocol-Version", "portforward.k8s.io")]
    upgrade = await http.upgrade("POST", at, headers=asked)
    async with driven(upgrade, lambda connection: Session(connection, server=False)) as session:

        async def forward(number: int, port: int, data: bytes) -> tuple[bytes, bytes]:
            headers = {"port": str(port), "requestID": str(number)}
            error = await session.open({**headers, "streamType": "error"})
            error.end()
            stream = await session.open({**headers, "streamType": "data"})

            async def write() -> None:
                await stream.write(data)
                stream.end()

            writing = asyncio.ensure_future(write())
            got = await stream.read_all(1 << 30)
            await asyncio.gather(writing, return_exceptions=True)
            return got, await error.read_all(1000)

        get = b"GET / HTTP/1.0\r\n\r\n"
        async with asyncio.timeout(20):
            for got, error in await asyncio.gather(*(forward(number, 8080, get) for number in range(20))):
                assert got.endswith(b"hello\n") and error == b""
            got, error = await forward(20, 8081, get)
            assert got == b"" and error.startswith(b"error forwarding port 8081 to pod ")
            assert b"dial tcp4 127.0.0.1:8081: connect: connection refused" in error
            if pods.home.kind == "sampan":  # containerd gives a connection that is half closed one second
                data = os.urandom(20_000_000)
                assert await forward(21, 9, data) == (data, b"")
        with pytest.raises(ConnectionError, match="refused"):
            await session.open({"port": "0", "requestID": "22", "streamType": "data"})


async def test_the_runtime_may_die_under_its_clients(own: Pods) -> None:
    sandbox = await own.run()
    container = await own.start(sandbox, "sleep", "1000")
    at = await url(own, container, "sh", "-c", "echo here; sleep 0.3")
    async with HttpClient() as http, connected(http, at, OUT) as remote:
        await _until(remote, b"here")
        own.home.stop(signal.SIGKILL)
        with pytest.raises(ConnectionError):
            await everything(remote.stdout)
