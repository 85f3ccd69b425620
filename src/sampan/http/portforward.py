"""Ports of a pod through one connection, as the side sees it that opens the real ones.

    return serve(request, ports, connect, pod=sandbox_id)       # `await connect(port)` gives a reader and a writer

Over SPDY every forwarded connection is a pair of streams with one `requestID`: its data, and words about what went wrong.
Over WebSocket the ports are known beforehand (`ports`), and each has one connection: channel 2n for data, 2n+1 for errors;
both begin with the port's number. Newer clients send their SPDY in WebSocket messages; whoever stands in between unpacks it.

DEVIATION: the newest upstream says JSON on the error stream, which every kubectl prints as it is; here it is words, as
containerd has them.

Promises: what one side ends is ended on the other, data before the end arrives; a connection that cannot be made or breaks is
told and leaves the others alone.

Source: k8s.io/kubelet/pkg/cri/streaming/portforward (httpstream.go, websocket.go)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from collections.abc import Awaitable, Callable, Sequence

from sampan.http.remotecommand import (
    BULK,
    BULK_SECONDS,
    CREATION_SECONDS,
    IDLE_SECONDS,
    CommandFailed,
    Sink,
    Source,
    spdy_handshake,
)
from sampan.http.server import websocket
from sampan.http.server.channels import Channels
from sampan.http.server.messages import RawConnection, Request, Response
from sampan.http.spdy import Session, Stream

log = logging.getLogger("sampan.http")
PROTOCOL = "portforward.k8s.io"
WEBSOCKET_PROTOCOLS = ("v4.channel.k8s.io", "v4.base64.channel.k8s.io")
PIECE = 256 * 1024
MAX_PENDING = 256
Connect = Callable[[int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


def serve(
    request: Request,
    ports: Sequence[int],
    connect: Connect,
    *,
    pod: str,
    idle: float = IDLE_SECONDS,
    creation: float = CREATION_SECONDS,
) -> Response:
    """`pod`: what the client is told that it was forwarded to. `connect` raises CommandFailed."""
    if websocket.is_upgrade(request):
        return websocket.accept(request, WEBSOCKET_PROTOCOLS, lambda socket: _on_websocket(socket, ports, connect, pod))
    accepted = spdy_handshake(request, (PROTOCOL,))
    if isinstance(accepted, Response):
        return accepted

    def upgrade(connection: RawConnection) -> Session:
        pairs = _Pairs(connect, pod, creation)
        pairs.session = Session(connection, server=True, accept=pairs.add, idle=idle)
        return pairs.session

    return Response(101, accepted[1], upgrade=upgrade)


async def forward(source: Source, sink: Sink, connect: Connect, port: int, pod: str) -> None:
    """One connection, both ways, until the far side has ended. Raises CommandFailed if it cannot be made."""
    try:
        reader, writer = await connect(port)
    except CommandFailed as error:
        raise CommandFailed(f"error forwarding port {port} to pod {pod}, uid : {error}") from None
    upward = asyncio.ensure_future(_upward(source, writer))
    try:
        while data := await reader.read(PIECE):
            await sink.write(data)
            if len(data) >= BULK:
                await asyncio.sleep(BULK_SECONDS)
    except ConnectionError:
        # either side: kubectl ends all its connections on any word about one of them, and so it gets none
        log.debug("a forwarded connection was cut")
    finally:
        upward.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await upward
        writer.close()


async def _upward(source: Source, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read():
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except ConnectionError:
        # the client cut it, or the far side reads no more; the latter is for the other direction to notice
        writer.transport.abort()


# -- over SPDY ---------------------------------------------------------------------------------------------------------


class _Pairs:
    """Streams of one connection, until their partners have come."""

    session: Session

    def __init__(self, connect: Connect, pod: str, creation: float) -> None:
        self._connect = connect
        self._pod = pod
        self._creation = creation
        self._waiting: dict[str, tuple[dict[str, Stream], asyncio.TimerHandle]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, stream: Stream) -> None:
        """As `Session.accept`."""
        kind, port = stream.headers.get("streamtype", ""), stream.headers.get("port", "")
        if kind not in ("data", "error") or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            stream.reset()
            return
        # the oldest clients name no request: they open the error stream first, and the data stream right after it
        key = stream.headers.get("requestid") or str(stream.number - (2 if kind == "data" else 0))
        if key not in self._waiting:
            if len(self._waiting) >= MAX_PENDING:
                stream.reset()
                return
            timer = asyncio.get_running_loop().call_later(self._creation, self._late, key)
            self._waiting[key] = ({}, timer)
        pair, timer = self._waiting[key]
        if kind in pair:
            stream.reset()
            return
        pair[kind] = stream
        stream.reset_is_end = kind == "error"  # who resets the data does not want the rest either
        if len(pair) == 2:
            timer.cancel()
            del self._waiting[key]
            task = asyncio.ensure_future(self._forward(pair["data"], pair["error"], int(port)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _late(self, key: str) -> None:
        pair, _ = self._waiting.pop(key)
        for stream in pair.values():
            stream.reset()

    async def _forward(self, data: Stream, error: Stream, port: int) -> None:
        try:
            await forward(data, data, self._connect, port, self._pod)
        except CommandFailed as failed:
            with contextlib.suppress(ConnectionError):
                await error.write(str(failed).encode())
        except Exception:
            log.exception("internal error in a forwarded connection")
        data.end()
        error.end()


# -- over WebSocket ----------------------------------------------------------------------------------------------------


async def _on_websocket(socket: websocket.WebSocket, ports: Sequence[int], connect: Connect, pod: str) -> None:
    numbers = range(0, 2 * len(ports), 2)
    channels = Channels(socket, numbers, base64="base64" in socket.protocol)
    for number, port in zip(numbers, ports, strict=True):
        for each in (number, number + 1):
            await channels[each].write(struct.pack("<H", port))
    reading = asyncio.ensure_future(channels.run())

    async def one(number: int, port: int) -> None:
        try:
            await forward(channels[number], channels[number], connect, port, pod)
        except CommandFailed as failed:
            with contextlib.suppress(ConnectionError):
                await channels[number + 1].write(str(failed).encode())

    try:
        await asyncio.gather(*(one(number, port) for number, port in zip(numbers, ports, strict=True)))
    finally:
        reading.cancel()
    await socket.finish()
