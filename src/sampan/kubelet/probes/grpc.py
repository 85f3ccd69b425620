"""The gRPC health protocol, asked once: `grpc.health.v1.Health/Check`. Its two messages have a field each and are written by hand.

Source: kubernetes pkg/probe/grpc/grpc.go, https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import tempfile
from collections.abc import AsyncIterator
from typing import Any

from sampan.http.client import Dial, dial
from sampan.http.errors import join_host_port
from sampan.kubelet import backoff
from sampan.kubelet.probes.http import VERSION

_METHOD = "/grpc.health.v1.Health/Check"
_STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")


def request(service: str) -> bytes:
    """HealthCheckRequest: field 1, the service's name."""
    name = service.encode()
    if not name:
        return b""
    length, out = len(name), b"\x0a"
    while length > 0x7F:
        out += bytes([length & 0x7F | 0x80])
        length >>= 7
    return out + bytes([length]) + name


def status(response: bytes) -> str:
    """HealthCheckResponse: field 1, a number."""
    number = response[1] if response[:1] == b"\x08" and len(response) > 1 else 0
    return _STATUSES[number] if number < len(_STATUSES) else str(number)


async def check(host: str, port: int, service: str, timeout: float, connect: Dial = dial) -> tuple[bool, str]:
    """Healthy or not, and what to say of it. gRPC connects by itself: one that cannot go there is given a way to whoever can."""
    where = join_host_port(host, port)
    if connect is dial:
        return await _ask(where, where, service, timeout)
    async with relay(host, port, connect) as way:
        return await _ask(way, where, service, timeout)


@contextlib.asynccontextmanager
async def relay(host: str, port: int, connect: Dial) -> AsyncIterator[str]:
    """A socket of this machine, each of whose connections is one to there."""
    pumps: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        pumps.add(task)
        there = asyncio.StreamReader()
        try:
            made, protocol = await connect(
                lambda: asyncio.StreamReaderProtocol(there), host, port, ssl=None, server_hostname=None
            )
            out = asyncio.StreamWriter(made, protocol, there, asyncio.get_running_loop())
            try:
                await asyncio.gather(_pump(reader, out), _pump(there, writer))
            finally:
                made.abort()
        except OSError:
            pass  # it is closed, and gRPC tries again
        finally:
            writer.transport.abort()
            pumps.discard(task)

    with tempfile.TemporaryDirectory(prefix="sampan-probe-") as directory:
        server = await asyncio.start_unix_server(answer, f"{directory}/s")
        try:
            yield f"unix:{directory}/s"
        finally:
            server.close()
            ending = tuple(pumps)
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.transport.abort()


async def _ask(way: str, where: str, service: str, timeout: float) -> tuple[bool, str]:
    grpc: Any = importlib.import_module("grpc")
    aio: Any = importlib.import_module("grpc.aio")
    seconds = backoff.text(timeout)
    options = [
        ("grpc.primary_user_agent", f"kube-probe/{VERSION}"),
        ("grpc.enable_http_proxy", 0),
        # a connection of our own: not one that has failed before and waits
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
    ]
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    async with aio.insecure_channel(way, options) as channel:
        try:
            async with asyncio.timeout_at(end):
                await channel.channel_ready()
        except TimeoutError:
            return False, f'timeout: failed to connect service "{where}" within {seconds}: context deadline exceeded'
        call = channel.unary_unary(_METHOD)
        try:
            answer = status(await call(request(service), timeout=max(0.0, end - loop.time())))
        except grpc.RpcError as error:
            return False, _words(error, seconds)
    if answer == "SERVING":
        return True, "service healthy"
    return False, f'service unhealthy (responded with "{answer}")'


def _words(error: Any, seconds: str) -> str:
    code = error.code().name
    if code == "UNIMPLEMENTED":
        return (
            f"error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {error.details()}"
        )
    if code == "DEADLINE_EXCEEDED":
        return f"timeout: health rpc did not complete within {seconds}"
    spelled = "".join(part.capitalize() for part in code.split("_"))
    return f"error: health rpc probe failed: rpc error: code = {spelled} desc = {error.details()}"
