"""A connection that we upgraded as a client, as the same `RawConnection` that the server hands over; and two of them joined.

    async with driven(upgraded, lambda connection: Session(connection, server=False)) as session: ...
    return await relay(request, client, url)         # a server's reply: the client's upgrade is the backend's

`relay` is what stands between a client and whoever really serves it: it knows nothing of what is spoken. Bytes wait in the
kernel, not in us: who writes faster than the other side reads is not read from.

Source: k8s.io/apimachinery/pkg/util/proxy/upgradeaware.go (tryUpgrade: rules and words)
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

from sampan.http import errors
from sampan.http.client import HttpClient
from sampan.http.connection import Upgraded as Upgrade
from sampan.http.server.messages import RawConnection, Request, Response, Upgraded
from sampan.http.server.plain import plain_status

PIECE = 256 * 1024
HIGH_WATER = 512 * 1024
#: what is said between two neighbours alone
_HOP = {
    "host",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "keep-alive",
    "proxy-connection",
    "accept-encoding",
}
U = TypeVar("U", bound=Upgraded)


class ClientConnection:
    """`messages.RawConnection`."""

    def __init__(self, upgrade: Upgrade) -> None:
        self._reader = upgrade.reader
        self._writer = upgrade.writer
        self._listening = asyncio.Event()
        self._listening.set()

    def send(self, data: bytes) -> None:
        if not self._writer.transport.is_closing():
            self._writer.write(data)

    def pending(self) -> int:
        return self._writer.transport.get_write_buffer_size()

    async def writable(self) -> None:
        with contextlib.suppress(OSError):
            await self._writer.drain()

    def pause(self) -> None:
        self._listening.clear()

    def resume(self) -> None:
        self._listening.set()

    def close(self) -> None:
        self._writer.close()

    async def feed(self, upgraded: Upgraded) -> None:
        """Until the peer is gone."""
        try:
            while True:
                await self._listening.wait()
                data = await self._reader.read(PIECE)
                if not data:
                    break
                upgraded.received(data)
        except OSError:
            pass  # broken, or by TLS's rules: as gone as after a goodbye
        finally:
            self._writer.close()
            upgraded.lost()


@contextlib.asynccontextmanager
async def driven(upgrade: Upgrade, make: Callable[[RawConnection], U]) -> AsyncIterator[U]:
    """Make what speaks on the connection, and feed it; the connection is closed at the end."""
    connection = ClientConnection(upgrade)
    made = make(connection)
    feeding = asyncio.ensure_future(connection.feed(made))
    try:
        yield made
    finally:
        connection.close()
        feeding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await feeding


class Relay:
    """`messages.Upgraded`: what comes from the client goes to the backend, and the other way round."""

    def __init__(self, client: RawConnection, backend: Upgrade) -> None:
        self._client = client
        self._backend = ClientConnection(backend)
        self._reader = backend.reader
        self._draining: asyncio.Task[None] | None = None
        self._pumping = asyncio.ensure_future(self._pump())

    async def _pump(self) -> None:
        client = self._client
        try:
            while data := await self._reader.read(PIECE):
                client.send(data)
                if client.pending() > HIGH_WATER:
                    await client.writable()
        except OSError:
            pass  # as above
        finally:
            self._backend.close()
            client.close()

    def received(self, data: bytes) -> None:
        self._backend.send(data)
        if self._draining is None and self._backend.pending() > HIGH_WATER:
            self._client.pause()
            self._draining = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        await self._backend.writable()
        self._draining = None
        self._client.resume()

    def lost(self) -> None:
        if self._draining is not None:
            self._draining.cancel()
        # what is on its way to the backend still goes out
        self._backend.close()

    def stop(self) -> None:
        self._pumping.cancel()


def asks(request: Request) -> bool:
    """Does the client want the connection to become something else?"""
    return "upgrade" in request.headers.get("connection", "").lower() and bool(request.headers.get("upgrade"))


async def relay(
    request: Request,
    client: HttpClient,
    url: str,
    *,
    headers: Sequence[tuple[str, str]] | None = None,
    timeout: float | None = None,
) -> Response:
    """The backend's answer: 101 and a Relay, or its refusal as it is. `headers`: instead of the client's own.
    Raises HttpError if there was no answer."""
    sent = forwarded(request) if headers is None else headers
    try:
        upgrade = await client.upgrade(request.method, url, headers=sent, timeout=timeout)
    except errors.UpgradeRefused as refused:
        return refusal(refused)
    kept = [
        (_spelled(name), value) for name, value in upgrade.headers.items() if name not in ("date", "content-length")
    ]
    return Response(101, kept, upgrade=lambda connection: Relay(connection, upgrade))


def refusal(refused: errors.UpgradeRefused) -> Response:
    """A backend's no, for the client. One that is not an error answers another question than ours."""
    reply = refused.reply
    if reply.code < 400:
        message = f"invalid upgrade response: status code {reply.code}"
        return plain_status(500, "InternalError", f"Internal error occurred: {message}")
    media = reply.headers.get("content-type", "text/plain; charset=utf-8")
    return Response(reply.code, (("Content-Type", media),), reply.body, close=True)


def forwarded(request: Request) -> list[tuple[str, str]]:
    """The client's headers but for those that were meant for us; credentials never go further."""
    return [(name, value) for name, value in request.header_list if name not in _HOP and name != "authorization"]


def _spelled(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))
