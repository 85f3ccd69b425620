"""Exec, Attach and PortForward: CRI answers with a URL, and what is meant happens on a connection to it.

Each URL is good for one connection within a minute. The server listens on loopback alone: the kubelet of this node is its only
client, and passes on what clients say; it is started by the first who needs it.

Source: k8s.io/kubelet/pkg/cri/streaming (server.go, request_cache.go: rules, words); containerd internal/cri/server
(container_exec.go, container_attach.go, sandbox_portforward_linux.go)
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sampan.http import portforward, remotecommand
from sampan.http.errors import os_words
from sampan.http.remotecommand import SUCCESS, CommandFailed, Ends, Options, Status, exited
from sampan.http.server.listener import Server
from sampan.http.server.messages import Request, Response
from sampan.runtime import containers as states
from sampan.runtime import kernel
from sampan.runtime.commands import Commands
from sampan.runtime.containers import Container, Containers
from sampan.runtime.errors import CriError, Exhausted, Invalid, Precondition
from sampan.runtime.sandboxes import Sandbox, Sandboxes

TOKEN_SECONDS = 60.0
MAX_TOKENS = 1000
LIMIT = 256 * 1024
Serve = Callable[[Request], Response]


class Streaming:
    """Of one runtime."""

    def __init__(self, containers: Containers, sandboxes: Sandboxes) -> None:
        self._containers = containers
        self._sandboxes = sandboxes
        self._commands = Commands()
        self._tokens: OrderedDict[str, tuple[float, Serve]] = OrderedDict()
        self._server: Server | None = None
        self._starting = asyncio.Lock()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.shutdown(0)
            self._server = None

    # -- URLs ----------------------------------------------------------------------------------------------------------

    async def exec(self, request: Any) -> str:
        """Raises CriError."""
        options = _options(request, "or")
        if not request.cmd:
            raise Invalid("command can't be empty")
        container = self._running(request.container_id)
        command = list(request.cmd)

        async def run(ends: Ends) -> Status:
            code = await self._executed(container, command, options, ends)
            return exited(code, f"[{' '.join(command)}]")

        return await self._url("exec", lambda asked: remotecommand.serve(asked, options, run))

    async def attach(self, request: Any) -> str:
        """Raises CriError."""
        options = _options(request, "and")
        container = self._running(request.container_id)

        async def run(ends: Ends) -> Status:
            try:
                config = container.config
                await self._commands.attach(container.directory, ends, tty=config.tty, once=config.stdin_once)
            except CommandFailed as error:
                raise CommandFailed(f"error attaching to container: {error}") from None
            return SUCCESS

        return await self._url("attach", lambda asked: remotecommand.serve(asked, options, run))

    async def port_forward(self, request: Any) -> str:
        """Raises CriError."""
        if not request.pod_sandbox_id:
            raise Invalid("missing required pod_sandbox_id")
        sandbox = self._sandboxes.get(request.pod_sandbox_id)
        if not sandbox.state.ready:
            raise Precondition(f'sandbox container "{sandbox.id}" is not running')
        ports = list(request.port)

        async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await self._connected(sandbox, port)

        return await self._url(
            "portforward", lambda asked: portforward.serve(asked, ports, connect, pod=request.pod_sandbox_id)
        )

    async def _url(self, kind: str, serve: Serve) -> str:
        self._forget()
        if len(self._tokens) >= MAX_TOKENS:
            raise Exhausted("maximum number of in-flight requests exceeded")
        async with self._starting:
            if self._server is None:
                server = Server(self._app, ssl_context=None, hosts=("127.0.0.1",), port=0)
                await server.start()
                self._server = server
        token = secrets.token_urlsafe(16)
        self._tokens[f"/{kind}/{token}"] = (asyncio.get_running_loop().time() + TOKEN_SECONDS, serve)
        return f"http://127.0.0.1:{self._server.port}/{kind}/{token}"

    def _forget(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._tokens and next(iter(self._tokens.values()))[0] <= now:
            self._tokens.popitem(last=False)

    def _app(self, request: Request) -> Response:
        self._forget()
        found = self._tokens.pop(request.raw_path, None) if request.method in ("GET", "POST") else None
        if found is None:
            return Response(404, (("Content-Type", "text/plain; charset=utf-8"),), b"404 page not found\n")
        return found[1](request)

    # -- what they stand for -------------------------------------------------------------------------------------------

    def _running(self, key: str) -> Container:
        if not key:
            raise Invalid("missing required container_id")
        container = self._containers.get(key)
        name = states.status_name(container.state)
        if name != "CONTAINER_RUNNING":
            raise Precondition(f"container is in {name} state")
        return container

    async def _executed(self, container: Container, command: list[str], options: Options, ends: Ends) -> int:
        try:
            self._running(container.id)
            process = json.loads((container.directory / "config.json").read_text())["process"]
            process.update(args=command, terminal=options.tty)
            if options.tty and not any(each.startswith("TERM=") for each in process.get("env") or ()):
                process["env"] = [*(process.get("env") or ()), "TERM=xterm"]
            monitor = self._containers.monitor(container)
            return await self._commands.execute(monitor, container.id, container.directory, process, ends)
        except (CommandFailed, CriError) as error:
            raise CommandFailed(f"error executing command in container: {error}") from None

    async def _connected(self, sandbox: Sandbox, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """To a port of the pod on loopback, where it listens for IPv4 or else for IPv6."""
        loop, said = asyncio.get_running_loop(), []
        try:
            namespace = self._sandboxes.namespaces(sandbox).get("network", "")
        except CriError as error:
            raise CommandFailed(str(error)) from None
        for family, host, words in (
            (socket.AF_INET, "127.0.0.1", f"tcp4 127.0.0.1:{port}"),
            (socket.AF_INET6, "::1", f"tcp6 [::1]:{port}"),
        ):
            sock = None
            try:
                sock = await kernel.socket_in(Path(namespace) if namespace else None, family)
                sock.setblocking(False)
                await loop.sock_connect(sock, (host, port))
                return await asyncio.open_connection(sock=sock, limit=LIMIT)
            except OSError as error:
                said.append(f"dial {words}: connect: {os_words(error)}")
                if sock is not None:
                    sock.close()
        raise CommandFailed(
            f'failed to execute portforward in network namespace "{namespace or "host"}": '
            f'failed to connect to localhost:{port} inside namespace "{sandbox.id}", IPv4: {said[0]} IPv6 {said[1]} '
        )


def _options(request: Any, conjunction: str) -> Options:
    """Raises Invalid."""
    if not request.container_id:
        raise Invalid("missing required container_id")
    if request.tty and request.stderr:
        raise Invalid("tty and stderr cannot both be true")
    if not (request.stdin or request.stdout or request.stderr):
        raise Invalid(f"one of stdin, stdout, {conjunction} stderr must be set")
    return Options(request.stdin, request.stdout, request.stderr, request.tty)
