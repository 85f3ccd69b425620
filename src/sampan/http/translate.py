"""A client that speaks WebSocket, and behind us one that speaks SPDY: exec and attach channel by channel, port-forward unpacked.

    return translate(request, client, url, options)      # exec, attach: v5.channel.k8s.io becomes SPDY's v4
    return await tunnel(request, client, url)             # port-forward: SPDY in WebSocket messages becomes SPDY

Of exec, the WebSocket stands before the other side is asked; what goes wrong there is told in the last Status.

Promises: bytes wait on their own side of us when the other one does not take them; all that the command wrote is sent before its
Status, and a client that reads gets both; either side's end is the other's.

Source: k8s.io/apiserver/pkg/util/proxy/{streamtranslator,websocket,streamtunnel}.go
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace

from sampan.http import errors
from sampan.http.client import HttpClient
from sampan.http.connection import Upgraded as Upgrade
from sampan.http.remote import Remote, connected
from sampan.http.remotecommand import (
    BULK,
    BULK_SECONDS,
    ERROR,
    RESIZE,
    STDERR,
    STDIN,
    STDOUT,
    V4,
    V5,
    Options,
    Sink,
    Source,
    Status,
    greet,
    internal,
    listen,
    said,
)
from sampan.http.server import websocket
from sampan.http.server.channels import Channels
from sampan.http.server.messages import Request, Response
from sampan.http.upgraded import HIGH_WATER, PIECE, refusal

Headers = Sequence[tuple[str, str]]
TUNNEL = "SPDY/3.1+"
ANSWER_SECONDS = 30.0
PING_SECONDS = 30.0


def offers_v5(request: Request) -> bool:
    return websocket.is_upgrade(request) and websocket.choose(request, (V5,)) == V5


def tunnelled(request: Request) -> list[str]:
    """The protocols that the client would speak over SPDY inside of a WebSocket."""
    if not websocket.is_upgrade(request):
        return []
    texts = [value for name, value in request.header_list if name == "sec-websocket-protocol"]
    offered = [part.strip() for text in texts for part in text.split(",")]
    return [part.removeprefix(TUNNEL) for part in offered if part.startswith(TUNNEL) and part.endswith(".k8s.io")]


def translate(request: Request, client: HttpClient, url: str, options: Options, headers: Headers = ()) -> Response:
    options = replace(options, stderr=options.stderr and not options.tty)

    async def serve(socket: websocket.WebSocket) -> None:
        channels = listen(socket, options)
        reading = asyncio.ensure_future(channels.run())
        try:
            await greet(channels, options)
            status = await _translated(channels, client, url, options, headers)
            await channels[ERROR].write(said(status, V5))
        finally:
            reading.cancel()
        await socket.finish()

    return websocket.accept(request, (V5,), serve)


async def _translated(channels: Channels, client: HttpClient, url: str, options: Options, headers: Headers) -> Status:
    """Raises ConnectionError when the WebSocket's side is gone."""
    try:
        async with connected(client, url, options, headers=headers, protocols=(V4,), timeout=ANSWER_SECONDS) as remote:
            return await _joined(channels, remote)
    except errors.UpgradeRefused as error:
        return internal(str(error))
    except errors.HttpError as error:
        return internal(f"error sending request: {error.at('POST', url)}")
    except TimeoutError:
        return internal("timed out waiting for the streams to be opened")
    except ConnectionError as error:
        if channels.gone.is_set():
            raise
        return internal(f"error reading from error stream: {error}")


async def _joined(channels: Channels, remote: Remote) -> Status:
    gone = asyncio.ensure_future(channels.gone.wait())
    answer = asyncio.ensure_future(_answer(channels, remote))
    others = [asyncio.ensure_future(_pings(remote))]
    for number, end in ((STDIN, remote.stdin), (RESIZE, remote.resize)):
        others.append(asyncio.ensure_future(_offered(channels[number], end)))
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ConnectionResetError("the client is gone")
        return answer.result()
    finally:
        for task in (gone, answer, *others):
            task.cancel()
        await asyncio.gather(gone, answer, *others, return_exceptions=True)


async def _answer(channels: Channels, remote: Remote) -> Status:
    """How it ended, once all that it wrote is written."""
    await asyncio.gather(_copy(remote.stdout, channels[STDOUT]), _copy(remote.stderr, channels[STDERR]))
    return await remote.status()


async def _copy(source: Source | None, sink: Sink | None) -> None:
    if source is not None and sink is not None:
        while data := await source.read():
            await sink.write(data)
            if len(data) >= BULK:
                await asyncio.sleep(BULK_SECONDS)
        sink.end()


async def _offered(source: Source, sink: Sink | None) -> None:
    """A command need not read to the end what its client says; nor is that in the way of what else the client says."""
    with contextlib.suppress(ConnectionError):
        await _copy(source, sink)
    with contextlib.suppress(ConnectionError):
        while await source.read():
            continue


async def _pings(remote: Remote) -> None:
    """Whoever is on the way there sees that somebody is."""
    while True:
        await asyncio.sleep(PING_SECONDS)
        remote.session.ping()


# -- port-forward ------------------------------------------------------------------------------------------------------


async def tunnel(request: Request, client: HttpClient, url: str, headers: Headers = ()) -> Response:
    """Raises HttpError if there was no answer."""
    asked = [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), *headers]
    asked += [("X-Stream-Protocol-Version", each) for each in tunnelled(request)]
    try:
        upgrade = await client.upgrade("POST", url, headers=asked, timeout=ANSWER_SECONDS)
    except errors.UpgradeRefused as refused:
        return refusal(refused)
    chosen = upgrade.headers.get("x-stream-protocol-version", "")
    reply = websocket.accept(request, (f"{TUNNEL}{chosen}",), lambda socket: _unpacked(socket, upgrade))
    if reply.upgrade is None:
        upgrade.writer.close()
    return reply


async def _unpacked(socket: websocket.WebSocket, upgrade: Upgrade) -> None:
    inward = asyncio.ensure_future(_inward(socket, upgrade.writer))
    try:
        while data := await upgrade.reader.read(PIECE):
            socket.send(data)
            if socket.pending() > HIGH_WATER:
                await socket.drain()
    except OSError:
        pass  # either side; both end now
    finally:
        inward.cancel()
        upgrade.writer.close()
    await socket.finish()


async def _inward(socket: websocket.WebSocket, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        async for message in socket:
            if isinstance(message, bytes):
                writer.write(message)
                await writer.drain()
    writer.close()
