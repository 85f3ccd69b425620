"""A server upstream: one question, one answer, in the words of Go's errors where there is none.

Each question over UDP has a socket of its own, and with it a port that the kernel chose by chance, and a random number:
whoever wants to answer in its place must guess both. What does not fit the question is not listened to. A truncated answer
is asked for again over TCP.

Source: github.com/coredns/coredns plugin/pkg/proxy/{connect,health}.go, RFC 5452
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass

from sampan.network.dns import wire
from sampan.network.dns.wire import BadMessage, Message, Query

READ_SECONDS, DIAL_SECONDS = 2.0, 2.0
PROBE_SECONDS = 1.0
_MAX = 65535


class UpstreamError(Exception):
    """No answer."""


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int = 53
    tls: bool = False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Upstream:
    """`failures`: health checks that failed in a row; they go on until one succeeds."""

    def __init__(self, address: Address, *, context: ssl.SSLContext | None, server_name: str = "") -> None:
        self.address = address
        self._context = context
        self._server_name = server_name
        self.failures = 0
        self._probing: asyncio.Task[None] | None = None

    async def ask(self, query: Query, *, tcp: bool) -> Message:
        """Raises UpstreamError."""
        if tcp or self.address.tls:
            return await self._over_tcp(query)
        found = await self._over_udp(query)
        # DEVIATION: a truncated answer is asked for again over TCP here, whoever asked; CoreDNS passes it on as it is, and
        # the asker comes back over TCP.
        return await self._over_tcp(query) if found.reply.truncated else found

    async def _over_udp(self, query: Query) -> Message:
        number = secrets.randbelow(1 << 16)
        packet = wire.pack_query(query, number, edns=query.edns)
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in self.address.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as sock:
            try:
                sock.connect((self.address.host, self.address.port))
                sock.send(packet)
            except OSError as error:
                raise UpstreamError(f"dial udp {self.address}: connect: {_reason(error)}") from None
            answered: asyncio.Future[Message] = loop.create_future()
            loop.add_reader(sock.fileno(), _read, sock, answered, _matcher(query, number))
            host, port = sock.getsockname()[:2]
            way = f"read udp {Address(host, port)}->{self.address}"
            try:
                async with asyncio.timeout(READ_SECONDS):
                    return await answered
            except TimeoutError:
                raise UpstreamError(f"{way}: i/o timeout") from None
            except OSError as error:
                raise UpstreamError(f"{way}: read: {_reason(error)}") from None
            finally:
                loop.remove_reader(sock.fileno())

    async def _over_tcp(self, query: Query) -> Message:
        number = secrets.randbelow(1 << 16)
        packet = wire.pack_query(query, number, edns=query.edns)
        name = (self._server_name or self.address.host) if self._context else None
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                reader, writer = await asyncio.open_connection(
                    self.address.host, self.address.port, ssl=self._context, server_hostname=name
                )
        except TimeoutError:
            raise UpstreamError(f"dial tcp {self.address}: i/o timeout") from None
        except OSError as error:
            raise UpstreamError(f"dial tcp {self.address}: connect: {_reason(error)}") from None
        try:
            async with asyncio.timeout(READ_SECONDS):
                writer.write(struct.pack("!H", len(packet)) + packet)
                (size,) = struct.unpack("!H", await reader.readexactly(2))
                found = _matcher(query, number)(await reader.readexactly(size))
        except TimeoutError:
            raise UpstreamError(f"read tcp ->{self.address}: i/o timeout") from None
        except (OSError, asyncio.IncompleteReadError):
            raise UpstreamError("EOF") from None
        finally:
            writer.close()
        if found is None:
            raise UpstreamError(f"{self.address} answered another question")
        return found

    # -- health --------------------------------------------------------------------------------------------------------

    def check(self, query: Query, interval: float, failed: Callable[[], None]) -> None:
        """Find out whether it is us or it, in the background."""
        if self._probing is None or self._probing.done():
            self._probing = asyncio.create_task(self._probe(query, interval, failed), name=f"dns probe {self.address}")

    async def _probe(self, query: Query, interval: float, failed: Callable[[], None]) -> None:
        while True:
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    await self.ask(query, tcp=query.tcp)
            except (UpstreamError, TimeoutError):
                self.failures += 1
                failed()
                await asyncio.sleep(interval)
            else:
                self.failures = 0
                return

    async def stop(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._probing


Match = Callable[[bytes], Message | None]


def _matcher(query: Query, number: int) -> Match:
    def match(data: bytes) -> Message | None:
        try:
            found = wire.parse_message(data)
        except BadMessage:
            return None
        good = found.id == number and found.type == query.type and found.name.lower() == query.key
        return found if good else None

    return match


def _read(sock: socket.socket, answered: asyncio.Future[Message], match: Match) -> None:
    try:
        data = sock.recv(_MAX)
    except BlockingIOError:
        return
    except OSError as error:
        if not answered.done():
            answered.set_exception(error)
        return
    found = match(data)
    if found is not None and not answered.done():
        answered.set_result(found)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return str(error)
    return (error.strerror or str(error)).lower()
