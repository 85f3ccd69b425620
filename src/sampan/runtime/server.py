"""gRPC on a unix socket: each service is an object with one coroutine (or async generator) for each method it has.

What an object lacks is answered UNIMPLEMENTED, in the words of Go's gRPC; a CriError becomes its status, anything else
UNKNOWN with a traceback in the log. The socket is for its owner alone. Only one server may have it: a lock beside it says so,
and goes with the process however that ends.

Source: google.golang.org/grpc server.go (messages)
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import logging
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from sampan.cri import SERVICES, Method
from sampan.runtime.errors import CriError, Precondition

log = logging.getLogger("runtime")
#: the kubelet's own bound on what it sends and takes
MAX_MESSAGE = 16 << 20


class CriServer:
    """`services`: objects by the full name of the service."""

    def __init__(self, socket: Path, services: dict[str, object]) -> None:
        self._socket = socket
        self._services = services
        self._server: Any = None
        self._lock = -1

    def lock(self) -> None:
        """Raises Precondition if another process serves there."""
        if self._lock >= 0:
            return
        self._socket.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(f"{self._socket}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            self._lock = -1
            raise Precondition(f"{self._socket} is served by another process") from None

    async def start(self) -> None:
        """Raises Precondition as `lock` does."""
        self.lock()
        grpc: Any = importlib.import_module("grpc")
        aio: Any = importlib.import_module("grpc.aio")
        self._socket.unlink(missing_ok=True)
        options = [("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE)]
        self._server = aio.server(options=options)
        for name, service in self._services.items():
            handlers = {method.name: _handler(grpc, service, method) for method in SERVICES[name].values()}
            self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, handlers)])
        before = os.umask(0o177)
        try:
            self._server.add_insecure_port(f"unix:{self._socket.absolute()}")
        finally:
            os.umask(before)
        await self._server.start()

    async def stop(self, grace: float = 1.0) -> None:
        if self._server is not None:
            await self._server.stop(grace)
            self._socket.unlink(missing_ok=True)
            os.close(self._lock)
            self._server, self._lock = None, -1


def _handler(grpc: Any, service: object, method: Method) -> Any:
    call = getattr(service, method.name, None)
    make = grpc.unary_stream_rpc_method_handler if method.streams else grpc.unary_unary_rpc_method_handler
    serve = _streamed if method.streams else _answered
    behaviour = serve(grpc, method.name, call) if call is not None else _lacking(grpc, method)
    return make(
        behaviour,
        request_deserializer=method.request.FromString,
        response_serializer=method.response.SerializeToString,
    )


def _lacking(grpc: Any, method: Method) -> Callable[[Any, Any], Any]:
    async def behaviour(_: Any, context: Any) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"method {method.name} not implemented")

    return behaviour


def _answered(grpc: Any, name: str, call: Any) -> Callable[[Any, Any], Any]:
    async def behaviour(request: Any, context: Any) -> Any:
        async with _told(grpc, name, context):
            return await call(request)

    return behaviour


def _streamed(grpc: Any, name: str, call: Any) -> Callable[[Any, Any], Any]:
    async def behaviour(request: Any, context: Any) -> AsyncIterator[Any]:
        async with _told(grpc, name, context):
            replies = call(request)
            await context.send_initial_metadata(())  # says that it has begun, before there is anything to tell
            async for reply in replies:
                yield reply

    return behaviour


@contextlib.asynccontextmanager
async def _told(grpc: Any, name: str, context: Any) -> AsyncIterator[None]:
    """Errors as statuses."""
    try:
        yield
        return
    except CriError as error:
        code, text = error.code, str(error)
    except Exception as error:
        log.exception("%s failed", name)
        code, text = "UNKNOWN", f"{type(error).__name__}: {error}"
    await context.abort(getattr(grpc.StatusCode, code), text)
