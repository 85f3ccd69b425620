"""A CRI client for tests: `await cri.Version(version="v1")`, fields as keywords; for our runtime and for others."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path
from typing import Any

from sampan.cri import SERVICES

aio: Any = importlib.import_module("grpc.aio")


class Cri:
    def __init__(self, socket: Path) -> None:
        self._channel: Any = aio.insecure_channel(
            f"unix:{socket}",
            [
                ("grpc.max_reconnect_backoff_ms", 50),
                ("grpc.initial_reconnect_backoff_ms", 20),
                ("grpc.min_reconnect_backoff_ms", 20),
            ],
        )
        self._calls: dict[str, Any] = {}
        for service, methods in SERVICES.items():
            for method in methods.values():
                make = self._channel.unary_stream if method.streams else self._channel.unary_unary
                call = make(
                    f"/{service}/{method.name}",
                    request_serializer=method.request.SerializeToString,
                    response_deserializer=method.response.FromString,
                )
                self._calls[method.name] = (call, method.request)

    async def __aenter__(self) -> Cri:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def ready(self, seconds: float) -> None:
        """Whenever the server comes, we are connected, and it does what it is asked."""
        call, request = self._calls["Status"]
        async with asyncio.timeout(seconds):
            while True:
                try:
                    await call(request(), wait_for_ready=True)
                except aio.AioRpcError:  # containerd refuses at first, and tells nobody when that is over
                    await asyncio.sleep(0.01)
                else:
                    return

    def __getattr__(self, name: str) -> Any:
        call, request = self._calls[name]
        return lambda **fields: call(request(**fields))
