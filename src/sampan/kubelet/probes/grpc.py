"""The gRPC health protocol, asked once: `grpc.health.v1.Health/Check`. Its two messages have a field each and are written by hand.

Source: kubernetes pkg/probe/grpc/grpc.go, https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

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


async def check(host: str, port: int, service: str, timeout: float) -> tuple[bool, str]:
    """Healthy or not, and what to say of it."""
    grpc: Any = importlib.import_module("grpc")
    aio: Any = importlib.import_module("grpc.aio")
    where, seconds = join_host_port(host, port), backoff.text(timeout)
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
    async with aio.insecure_channel(where, options) as channel:
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
