"""Commands at the other end of a connection: exec and attach, as those who run them see it.

    return serve(request, Options(stdin=True, stdout=True), run)     # a reply: 101, and `run(ends)` once its streams are there

`run` gets the ends of stdin, stdout, stderr and the terminal's sizes, whatever was spoken to get them here: SPDY with a
stream for each (protocols v1 to v5), or WebSocket with a channel for each (v4, v5, the one before, and all in base64). It
returns the Status that the client is told: `SUCCESS`, or `exited(code, ...)`; or raises CommandFailed.

Promises: all that was written before `run` returned reaches a client that reads; a client that goes away ends every read and
write of `run` with ConnectionError and sets `gone`.

Source: k8s.io/kubelet/pkg/cri/streaming/remotecommand (httpstream.go, websocket.go, exec.go, attach.go),
k8s.io/apimachinery/pkg/util/httpstream (Handshake), k8s.io/apimachinery/pkg/util/remotecommand (names)
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sampan.http.server import websocket
from sampan.http.server.channels import Channels
from sampan.http.server.messages import RawConnection, Request, Response
from sampan.http.spdy import Session, Stream

log = logging.getLogger("sampan.http")
STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
V5, V4, V3, V2, V1 = (*(f"v{number}.channel.k8s.io" for number in (5, 4, 3, 2)), "channel.k8s.io")
V4_BASE64, V1_BASE64 = "v4.base64.channel.k8s.io", "base64.channel.k8s.io"
SPDY_PROTOCOLS = (V5, V4, V3, V2, V1)
WEBSOCKET_PROTOCOLS = (V5, V4, V4_BASE64, V1, V1_BASE64)
IDLE_SECONDS = 4 * 3600.0
CREATION_SECONDS = 30.0
MAX_RESIZE = 1024
#: who has sent so much at once has more: what comes in the next moment is sent on in one piece, at a tenth of the cost
BULK, BULK_SECONDS = 4096, 0.001
Status = dict[str, Any]
SUCCESS: Status = {"metadata": {}, "status": "Success"}


class CommandFailed(Exception):
    """It could not be run; the words are for the client."""


class Source(Protocol):
    async def read(self) -> bytes:
        """What has come; empty at the end. Raises ConnectionError if the other side is gone."""


class Sink(Protocol):
    async def write(self, data: bytes) -> None:
        """Returns when more may be written. Raises ConnectionError if the other side is gone."""

    def end(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Options:
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


@dataclass(slots=True)
class Ends:
    """None: not asked for."""

    stdin: Source | None
    stdout: Sink | None
    stderr: Sink | None
    resize: Source | None
    gone: asyncio.Event

    async def sizes(self) -> AsyncIterator[tuple[int, int]]:
        """Width and height of the client's terminal, whenever they change."""
        decoder, text = json.JSONDecoder(), ""
        while self.resize is not None and (data := await self.resize.read()):
            text = (text + data.decode(errors="replace")).lstrip()
            while text:
                try:
                    found, end = decoder.raw_decode(text)
                except ValueError:
                    break
                text = text[end:].lstrip()
                size = {key.lower(): value for key, value in found.items()} if isinstance(found, dict) else {}
                width, height = size.get("width"), size.get("height")
                if isinstance(width, int) and isinstance(height, int) and 0 <= width < 65536 and 0 <= height < 65536:
                    yield width, height
            if len(text) > MAX_RESIZE:
                return


Run = Callable[[Ends], Awaitable[Status]]


def exited(code: int, command: str) -> Status:
    """The Status of a command that ran to its end."""
    if code == 0:
        return SUCCESS
    words = f"error executing command {command}, exit code {code}"
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: {words}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def internal(words: str) -> Status:
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {words}",
        "reason": "InternalError",
        "details": {"causes": [{"message": words}]},
        "code": 500,
    }


def serve(
    request: Request, options: Options, run: Run, *, idle: float = IDLE_SECONDS, creation: float = CREATION_SECONDS
) -> Response:
    """`creation`: how long the client may take to open its streams. Refusals are in plain words, as upstream's."""
    if websocket.is_upgrade(request):
        return websocket.accept(request, WEBSOCKET_PROTOCOLS, lambda socket: _on_websocket(socket, options, run))
    accepted = spdy_handshake(request, SPDY_PROTOCOLS)
    if isinstance(accepted, Response):
        return accepted
    protocol, headers = accepted

    def upgrade(connection: RawConnection) -> Session:
        arrived: asyncio.Queue[Stream] = asyncio.Queue(16)
        session = Session(connection, server=True, accept=lambda stream: _put(arrived, stream), idle=idle)
        session.serving = asyncio.ensure_future(_on_spdy(session, arrived, protocol, options, run, creation))
        return session

    return Response(101, headers, upgrade=upgrade)


def spdy_handshake(request: Request, supported: tuple[str, ...]) -> tuple[str, list[tuple[str, str]]] | Response:
    """The protocol and the headers of a 101, or a refusal."""
    offered = [
        item.strip()
        for name, value in request.header_list
        if name == "x-stream-protocol-version"
        for item in value.split(",")
    ]
    if not offered:
        return _plain(400, "unable to upgrade: X-Stream-Protocol-Version is required")
    protocol = next((item for item in offered if item in supported), "")
    if not protocol:
        words = (
            "unable to upgrade: unable to negotiate protocol: "
            f"client supports {_listed(offered)}, server accepts {_listed(supported)}"
        )
        return _plain(403, words, [("X-Accepted-Stream-Protocol-Versions", item) for item in supported])
    asked = request.headers.get("upgrade", "").lower()
    if "upgrade" not in request.headers.get("connection", "").lower() or "spdy/3.1" not in asked:
        return _plain(400, "unable to upgrade: missing upgrade headers in request")
    return protocol, [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("X-Stream-Protocol-Version", protocol)]


def _listed(items: list[str] | tuple[str, ...]) -> str:
    return f"[{' '.join(items)}]"


def _plain(code: int, words: str, headers: list[tuple[str, str]] | None = None) -> Response:
    media = ("Content-Type", "text/plain; charset=utf-8")
    return Response(code, [media, *(headers or [])], f"{words}\n".encode(), close=True)


def _put(arrived: asyncio.Queue[Stream], stream: Stream) -> None:
    if arrived.full():
        stream.reset()
    else:
        arrived.put_nowait(stream)


# -- over SPDY ---------------------------------------------------------------------------------------------------------


async def _on_spdy(
    session: Session, arrived: asyncio.Queue[Stream], protocol: str, options: Options, run: Run, creation: float
) -> None:
    wanted = {"error"} | {name for name in ("stdin", "stdout", "stderr") if getattr(options, name)}
    if options.tty and protocol not in (V2, V1):
        wanted.add("resize")
    streams: dict[str, Stream] = {}
    try:
        async with asyncio.timeout(creation):
            # counted, not named: who attaches to a terminal may not know that it is one, and opens stderr for its sizes
            while len(streams) < len(wanted):
                stream = await arrived.get()
                streams[stream.headers.get("streamtype", "")] = stream
    except TimeoutError:
        log.warning("timed out waiting for client to create streams")
        session.close()
        return
    if protocol == V1 and "stdin" in streams:
        streams["stdin"].end()  # what the first clients waited for
    found = {name: stream for name, stream in streams.items() if name in wanted}
    ends = Ends(found.get("stdin"), found.get("stdout"), found.get("stderr"), found.get("resize"), session.gone)
    status = await _carried_out(run, ends)
    if status is not None:
        text = said(status, protocol)
        try:
            if text:
                await streams["error"].write(text)
        except ConnectionError:
            log.debug("a command's client is gone")
        await session.finish()


async def _carried_out(run: Run, ends: Ends) -> Status | None:
    """None: there is nobody to tell."""
    try:
        return await run(ends)
    except ConnectionError:
        log.debug("a command's client is gone")
        return None if ends.gone.is_set() else internal("the connection was cut")
    except CommandFailed as error:
        return internal(str(error))
    except Exception:
        log.exception("internal error in a command")
        return internal("see the node's log")


def said(status: Status, protocol: str) -> bytes:
    """On the error stream: a Status since version 4, before that words, and none of success."""
    if protocol in (V5, V4, V4_BASE64):
        return json.dumps(status, separators=(",", ":")).encode()
    return b"" if status["status"] == "Success" else status["message"].encode()


# -- over WebSocket ----------------------------------------------------------------------------------------------------


async def _on_websocket(socket: websocket.WebSocket, options: Options, run: Run) -> None:
    channels = listen(socket, options)
    reading = asyncio.ensure_future(channels.run())
    try:
        await greet(channels, options)
        status = await _carried_out(run, ends_of(channels, options))
        if status is not None and (text := said(status, socket.protocol)):
            await channels[ERROR].write(text)
    finally:
        reading.cancel()
    await socket.finish()


def listen(socket: websocket.WebSocket, options: Options) -> Channels:
    readable = {RESIZE, STDIN} if options.stdin else {RESIZE}
    return Channels(socket, readable, base64="base64" in socket.protocol, closes=socket.protocol == V5)


async def greet(channels: Channels, options: Options) -> None:
    """An empty message on the first channel that we write to: the client learns that the connection stands."""
    await channels[STDOUT if options.stdout else STDERR if options.stderr else ERROR].write(b"")


def ends_of(channels: Channels, options: Options) -> Ends:
    return Ends(
        channels[STDIN] if options.stdin else None,
        channels[STDOUT] if options.stdout else None,
        channels[STDERR] if options.stderr else None,
        channels[RESIZE] if options.tty else None,
        channels.gone,
    )
