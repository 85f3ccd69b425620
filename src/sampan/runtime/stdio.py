"""The three streams of a command that an OCI runtime runs for us: pipes, or a terminal.

A terminal is one of ours, which runc joins to the command's own, and is told by SIGWINCH when the size has changed. crun does not
pass sizes on; it hands the command's own terminal over instead.

Source: runc docs/terminals.md; crun(1)
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import socket
import struct
import termios
import tty
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from sampan.http.remotecommand import BULK, BULK_SECONDS, Ends, Sink, Source
from sampan.runtime import files

#: has the command begun? False: it never will
Started = Callable[[], Awaitable[bool]]


class Stdio(abc.ABC):
    """`theirs` are for the OCI runtime, and so are `arguments`."""

    arguments: tuple[str, ...] = ()
    theirs: tuple[int, ...]

    async def opened(self, child: asyncio.subprocess.Process) -> None:  # noqa: B027 - most have them at once
        """Ours are there, or never will be."""

    @abc.abstractmethod
    def inward(self, ends: Ends, child: asyncio.subprocess.Process) -> list[Coroutine[Any, Any, None]]: ...

    @abc.abstractmethod
    def outward(self, ends: Ends, started: Started) -> list[Coroutine[Any, Any, None]]: ...

    def close_theirs(self) -> None:
        for file in set(self.theirs):
            os.close(file)

    @abc.abstractmethod
    def close(self) -> None: ...


class Pipes(Stdio):
    """One for each stream that is wanted."""

    def __init__(self, ends: Ends) -> None:
        self._ours: list[int] = []
        self._stdin, self._outputs = -1, {}
        theirs = []
        for number, wanted in enumerate((ends.stdin, ends.stdout, ends.stderr)):
            if wanted is None:
                theirs.append(os.open("/dev/null", os.O_RDWR))
                continue
            read, write = files.pipe()
            ours = write if number == 0 else read
            theirs.append(read if number == 0 else write)
            os.set_blocking(ours, False)
            self._ours.append(ours)
            if number == 0:
                self._stdin = ours
            else:
                self._outputs[number] = ours
        self.theirs = tuple(theirs)

    def inward(self, ends: Ends, child: asyncio.subprocess.Process) -> list[Coroutine[Any, Any, None]]:
        return [self._feed(ends.stdin)] if ends.stdin is not None else []

    async def _feed(self, source: Source) -> None:
        """A command need not read to the end, and its client not send to it."""
        try:
            while data := await source.read():
                await files.write(self._stdin, data)
        except OSError as error:
            if error.errno == errno.EPIPE:
                await drop(source)
        finally:
            self._ours.remove(self._stdin)
            os.close(self._stdin)

    def outward(self, ends: Ends, started: Started) -> list[Coroutine[Any, Any, None]]:
        sinks = {1: ends.stdout, 2: ends.stderr}
        return [_copy(file, sinks[number], started) for number, file in self._outputs.items()]

    def close(self) -> None:
        for file in self._ours:
            os.close(file)
        self._ours.clear()


class Terminal(Stdio):
    """One of ours. runc takes from the command's own terminal that it ends lines with `\\r\\n`, and leaves that to this one;
    a shell that was quick to remember how it found its own gives it back. So the kernel does it in neither, and we do
    wherever it is not done yet."""

    def __init__(self) -> None:
        self._file, theirs = os.openpty()
        tty.setraw(theirs)
        settings = termios.tcgetattr(theirs)
        settings[1] &= ~termios.ONLCR  # runc turns its being heeded on again
        termios.tcsetattr(theirs, termios.TCSANOW, settings)
        os.set_blocking(self._file, False)
        self.theirs = (theirs, theirs, theirs)

    def inward(self, ends: Ends, child: asyncio.subprocess.Process) -> list[Coroutine[Any, Any, None]]:
        return [self._resize(ends, child), *([self._feed(ends.stdin)] if ends.stdin is not None else [])]

    async def _feed(self, source: Source) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read():
                await files.write(self._file, data)
        await drop(source)

    async def _resize(self, ends: Ends, child: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ConnectionError):
            async for width, height in ends.sizes():
                fcntl.ioctl(self._file, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
                with contextlib.suppress(ProcessLookupError):
                    child.send_signal(signal.SIGWINCH)  # by default ignored

    def outward(self, ends: Ends, started: Started) -> list[Coroutine[Any, Any, None]]:
        return [_copy(self._file, EndsOfLines(ends.stdout) if ends.stdout is not None else None, started)]

    def close(self) -> None:
        os.close(self._file)


class Console(Terminal):
    """The command's own terminal: crun does not pass sizes on, but hands it over on a socket."""

    def __init__(self, bundle: Path, name: str) -> None:
        self._file = -1
        self._path = bundle / f"{name}.sock"
        self._directory = os.open(bundle, os.O_PATH | os.O_DIRECTORY)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # the whole path may be longer than an address can be
        self._socket.bind(f"/proc/self/fd/{self._directory}/{self._path.name}")
        self._socket.listen(1)
        self._socket.setblocking(False)
        self.arguments = ("--tty", f"--console-socket=/proc/{os.getpid()}/fd/{self._directory}/{self._path.name}")
        self.theirs = tuple(os.open("/dev/null", os.O_RDWR) for _ in range(3))

    async def opened(self, child: asyncio.subprocess.Process) -> None:
        ended, sent = asyncio.ensure_future(child.wait()), asyncio.ensure_future(self._received())
        await asyncio.wait((ended, sent), return_when=asyncio.FIRST_COMPLETED)
        if not sent.done():
            sent.cancel()
        await asyncio.gather(sent, return_exceptions=True)
        ended.cancel()

    async def _received(self) -> None:
        sock, _ = await asyncio.get_running_loop().sock_accept(self._socket)
        with sock:
            await files.readable(sock.fileno())
            _, (self._file,), _, _ = socket.recv_fds(sock, 4096, 1)
        os.set_blocking(self._file, False)

    def inward(self, ends: Ends, child: asyncio.subprocess.Process) -> list[Coroutine[Any, Any, None]]:
        return super().inward(ends, child) if self._file >= 0 else []

    def outward(self, ends: Ends, started: Started) -> list[Coroutine[Any, Any, None]]:
        return [_copy(self._file, ends.stdout, started)] if self._file >= 0 else []

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        os.close(self._directory)
        self._socket.close()
        self._path.unlink(missing_ok=True)


class EndsOfLines:
    """A sink in which every line ends with `\\r\\n`, as on a terminal."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._half = False

    async def write(self, data: bytes) -> None:
        out = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        if self._half and data.startswith(b"\n"):
            out = out[1:]
        self._half = data.endswith(b"\r") if data else self._half
        await self._sink.write(out)

    def end(self) -> None:
        self._sink.end()


async def _copy(file: int, sink: Sink | None, started: Started) -> None:
    """Where the command never was, what is said is the OCI runtime's, and is told elsewhere."""
    first = True
    while data := await files.read(file):
        if sink is not None and (not first or await started()):
            await sink.write(data)
        first = False
        if len(data) >= BULK:
            await asyncio.sleep(BULK_SECONDS)


async def drop(source: Source) -> None:
    with contextlib.suppress(ConnectionError):
        while await source.read():
            continue
