"""One address that is listened on, by datagrams and streams. It outlives the Corefile that asked for it: a reload puts another
server behind it, and no question is lost.

Datagrams are read by hand: a transport between would cost as much as an answer from the table. All that can grow has a
bound: questions being answered, connections, questions of one connection; what comes beyond is dropped.

Source: RFC 7766 (streams); github.com/coredns/coredns core/dnsserver/server.go (timeouts)
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import Coroutine
from typing import Any, cast

from sampan.network.dns.server import Server

MAX_TASKS, MAX_CONNECTIONS, MAX_PIPELINED = 4096, 1024, 64
IDLE_SECONDS = 10.0
#: datagrams taken in one turn of the loop
BATCH = 64
_MAX = 65535


class Listener:
    """`host` empty: all addresses. `port` 0: any one, the same for both protocols."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.server: Server | None = None
        self._udp: list[socket.socket] = []
        self._tcp: list[asyncio.Server] = []
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    async def open(self) -> None:
        """Raises OSError; then nothing is open."""
        try:
            for host in (self.host,) if self.host else ("0.0.0.0", "::"):
                try:
                    await self._open(host)
                except OSError as error:
                    absent = error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
                    if host != "::" or self.host or not absent:
                        raise
        except OSError:
            await self.close()
            raise

    async def _open(self, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        stream = _bound(family, socket.SOCK_STREAM, host, self.port)
        self.port = stream.getsockname()[1]
        try:
            datagrams = _bound(family, socket.SOCK_DGRAM, host, self.port)
        except OSError:
            stream.close()
            raise
        self._tcp.append(await self._loop.create_server(lambda: _Connection(self), sock=stream, backlog=512))
        self._udp.append(datagrams)
        local = _shown(datagrams.getsockname())
        self._loop.add_reader(datagrams.fileno(), self._read, datagrams, local)

    async def close(self) -> None:
        """What is being answered is answered still."""
        for server in self._tcp:
            server.close()
        for sock in self._udp:
            self._loop.remove_reader(sock.fileno())
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=IDLE_SECONDS)
        for task in self._tasks:
            task.cancel()
        for connection in tuple(self._connections):
            connection.close()
        for sock in self._udp:
            sock.close()
        self._udp, self._tcp = [], []

    def _read(self, sock: socket.socket, local: str) -> None:
        server = self.server
        for _ in range(BATCH):
            try:
                data, sender = sock.recvfrom(_MAX)
            except OSError:  # there is no more; or it tells of an answer that found nobody
                return
            if server is None:
                continue
            known = server.known(data)
            if known is not None:
                with contextlib.suppress(OSError):  # the socket is full, or nobody is there: as if lost on the way
                    sock.sendto(known, sender)
            elif len(self._tasks) < MAX_TASKS:
                self.run(self._answer(server, sock, data, sender, local))

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _answer(self, server: Server, sock: socket.socket, data: bytes, sender: Any, local: str) -> None:
        reply = await server.answer(data, tcp=False, remote=sender[:2], local=local)
        if reply is not None:
            with contextlib.suppress(OSError):
                sock.sendto(reply, sender)

    def joined(self, connection: _Connection) -> bool:
        """Is there room for one more?"""
        if len(self._connections) >= MAX_CONNECTIONS:
            return False
        self._connections.add(connection)
        return True

    def left(self, connection: _Connection) -> None:
        self._connections.discard(connection)


def _bound(family: int, kind: int, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        shown = f"[{host}]" if ":" in host else host if host != "0.0.0.0" else ""
        protocol = "tcp" if kind == socket.SOCK_STREAM else "udp"
        reason = (error.strerror or str(error)).lower()
        raise OSError(error.errno, f"listen {protocol} {shown}:{port}: bind: {reason}") from None
    return sock


def _shown(address: Any) -> str:
    host, port = address[:2]
    if host in ("0.0.0.0", "::"):
        host = ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Connection(asyncio.Protocol):
    """Messages behind their lengths, answered in the order in which answers are had."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._pending = 0
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._remote, self._local = ("", 0), ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        if not self._listener.joined(self):
            transport.abort()
            return
        self._transport = transport
        self._remote = transport.get_extra_info("peername")[:2]
        self._local = _shown(transport.get_extra_info("sockname"))
        self._idle()

    def _idle(self) -> None:
        loop = asyncio.get_running_loop()
        left = self._last + IDLE_SECONDS - loop.time() if self._last else IDLE_SECONDS
        if self._last == 0.0:
            self._last = loop.time()
        if left <= 0 and not self._pending:
            self.close()
        else:
            self._timer = loop.call_later(max(left, 0.1), self._idle)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 2:
            (size,) = struct.unpack_from("!H", self._buffer)
            if len(self._buffer) < 2 + size:
                return
            message = bytes(self._buffer[2 : 2 + size])
            del self._buffer[: 2 + size]
            self._last = asyncio.get_running_loop().time()
            self._pending += 1
            if self._pending >= MAX_PIPELINED and self._transport is not None:
                self._transport.pause_reading()
            self._listener.run(self._answer(message))

    async def _answer(self, message: bytes) -> None:
        server = self._listener.server
        try:
            reply = None
            if server is not None:
                reply = await server.answer(message, tcp=True, remote=self._remote, local=self._local)
        finally:
            self._pending -= 1
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if reply is None:
            transport.close()
            return
        transport.write(struct.pack("!H", len(reply)) + reply)
        if transport.get_write_buffer_size() > 4 * _MAX:
            transport.abort()  # it asks and does not listen
        elif self._pending < MAX_PIPELINED:
            transport.resume_reading()

    def eof_received(self) -> bool:
        return self._pending > 0

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._listener.left(self)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
