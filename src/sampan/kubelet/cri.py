"""The runtime as the kubelet calls it: `await cri.RunPodSandbox(config=...)`, fields as keywords, messages of `sampan.cri.pb`.

Promises: a call ends, for a runtime that hangs has a deadline; what went wrong is CriFailed, with gRPC's code and the runtime's own
words. A runtime that dies is connected to again, whenever it comes back.

Source: k8s.io/cri-client pkg/remote_runtime.go (deadlines)
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from sampan.cri import SERVICES

T = TypeVar("T")
#: seconds; calls that wait for something (StopContainer, ExecSync) are given its time on top
SECONDS = 120.0
SLOW = {"RunPodSandbox": 240.0, "PullImage": None, "StopPodSandbox": 240.0}
LOOK_SECONDS = 0.02
ADDED = {"StopContainer": "timeout", "ExecSync": "timeout"}


class CriFailed(Exception):
    """`code` as gRPC spells it: NOT_FOUND, UNAVAILABLE, DEADLINE_EXCEEDED, UNIMPLEMENTED, ..."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def gone(self) -> bool:
        """There is no such container or sandbox (any more)."""
        return self.code == "NOT_FOUND"

    @property
    def down(self) -> bool:
        """Nobody answers; it says nothing about the request."""
        return self.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")


class Cri:
    """`socket`: a path, or `unix://` and a path. `async with` closes the connection."""

    def __init__(self, socket: str, *, seconds: float = SECONDS) -> None:
        self.socket = socket if socket.startswith("unix:") else f"unix://{socket}"
        self.seconds = seconds
        self._grpc: Any = importlib.import_module("grpc")
        aio: Any = importlib.import_module("grpc.aio")
        # a runtime that starts anew is met at once, and messages may hold all of a node's containers
        self._channel: Any = aio.insecure_channel(
            self.socket.replace("unix:///", "unix:/"),
            [
                ("grpc.initial_reconnect_backoff_ms", 20),
                ("grpc.min_reconnect_backoff_ms", 20),
                ("grpc.max_reconnect_backoff_ms", 1000),
                ("grpc.max_receive_message_length", 16 << 20),
                ("grpc.enable_http_proxy", 0),
            ],
        )
        self._calls: dict[str, tuple[Any, Any]] = {}
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
        await self.aclose()

    async def aclose(self) -> None:
        await self._channel.close()

    async def ready(self, seconds: float) -> Any:
        """Version, as soon as the runtime answers and does what it is asked. Raises CriFailed."""
        now = asyncio.get_running_loop().time
        end = now() + seconds
        (version, named), (status, asked) = self._calls["Version"], self._calls["Status"]
        while True:
            try:
                found = await version(named(version="v1"), wait_for_ready=True, timeout=end - now())
                await status(asked(), timeout=end - now())
                return found
            except self._grpc.RpcError as error:  # containerd tells its version before it serves the rest
                if now() >= end:
                    raise _failed(error) from None
            await asyncio.sleep(LOOK_SECONDS)  # and tells nobody when it does

    async def events(self) -> AsyncIterator[Any]:
        """GetContainerEvents, until it breaks. Raises CriFailed."""
        call, request = self._calls["GetContainerEvents"]
        try:
            async for event in call(request()):
                yield event
        except self._grpc.RpcError as error:
            raise _failed(error) from None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in self._calls:
            raise AttributeError(name)
        call, request = self._calls[name]

        async def run(**fields: Any) -> Any:
            seconds = SLOW.get(name, self.seconds)
            if name in ADDED:
                seconds = self.seconds + fields.get(ADDED[name], 0)
            try:
                return await call(request(**fields), timeout=seconds)
            except self._grpc.RpcError as error:
                raise _failed(error) from None

        setattr(self, name, run)  # found at once the next time
        return run


async def whole(call: Awaitable[T], seconds: float = 10.0) -> T:
    """A call that makes something, not left half done: who is cancelled meanwhile waits for it (so many seconds at most), and then finds
    what it has made. Raises CriFailed."""
    task = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,), timeout=seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise


def _failed(error: Any) -> CriFailed:
    return CriFailed(error.code().name, error.details() or "")
