"""A command in a running container, its stdio at the ends of a connection; and a look at the container's own stdio.

The OCI runtime's process stays for as long as the command runs: it copies stdio and ends with the command's exit code. A
terminal is one of ours, which it joins to the command's own; it is told by SIGWINCH when the size has changed. When the client
goes, a command with a terminal is hung up on, as it would be anywhere; one without goes on, and learns from its streams.

conmon has the container's own stdio: a socket of messages, the first byte of each the stream.

Source: containerd internal/cri/server/container_execsync.go, container_attach.go (order, words); conmon src/conn_sock.c
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import logging
import os
import signal
import socket
import struct
import termios
import tty
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from sampan.http.remotecommand import BULK, BULK_SECONDS, CommandFailed, Ends, Sink, Source
from sampan.runtime import files
from sampan.runtime.conmon import Conmon, last_error

log = logging.getLogger("runtime")
#: what conmon takes at once
CONMON_PIECE = 8192
CONMON_STDOUT, CONMON_STDERR = 2, 3
#: how runc and crun begin when they tell of a command that cannot be run, besides in their log
RUNTIME_SAYS = (b"exec failed: ", b"crun: ")
MAX_WORDS = 16 * 1024
SIZE_SECONDS, SIZE_AGAIN_SECONDS = 0.05, 0.5


class Commands:
    """`execute` and `attach`; what clients left behind is kept until it ends."""

    def __init__(self) -> None:
        self._left: set[asyncio.Task[None]] = set()

    async def execute(self, conmon: Conmon, key: str, bundle: Path, process: dict[str, Any], ends: Ends) -> int:
        """The exit code. Raises CommandFailed if it cannot be run, ConnectionError if the client goes."""
        number = f"exec-{os.urandom(8).hex()}"
        spec, pid_file, said = (bundle / f"{number}.{suffix}" for suffix in ("json", "pid", "log"))
        spec.write_text(json.dumps(process))
        command = conmon.command(
            f"--log={said}", "--log-format=json", "exec", "--process", str(spec), "--pid-file", str(pid_file), key
        )
        stdio = _Terminal() if process["terminal"] else _Pipes(ends)
        try:
            try:
                child = await asyncio.create_subprocess_exec(
                    *command, stdin=stdio.theirs[0], stdout=stdio.theirs[1], stderr=stdio.theirs[2]
                )
            finally:
                stdio.close_theirs()
            code = await self._carry(child, stdio, ends, pid_file.exists)
            if not pid_file.exists():
                words = last_error(said) or f"exit status {code}"
                raise CommandFailed(f"failed to exec in container: OCI runtime exec failed: {words}")
            return code
        finally:
            stdio.close()
            for file in (spec, pid_file, said):
                file.unlink(missing_ok=True)

    async def _carry(
        self, child: asyncio.subprocess.Process, stdio: _Terminal | _Pipes, ends: Ends, started: Callable[[], bool]
    ) -> int:
        """Bytes both ways until the command has ended and all that it said is written."""
        inward = [asyncio.ensure_future(each) for each in stdio.inward(ends, child)]
        outward = [asyncio.ensure_future(each) for each in stdio.outward(ends, started)]
        gone = asyncio.ensure_future(ends.gone.wait())
        ended = asyncio.ensure_future(child.wait())
        try:
            saying = {*outward, ended}
            while saying and not gone.done():
                done, _ = await asyncio.wait({*saying, gone}, return_when=asyncio.FIRST_COMPLETED)
                saying -= done
                for each in done - {gone}:
                    each.result()
            if saying:
                raise ConnectionResetError("the client is gone")
            return ended.result()
        except BaseException:
            if isinstance(stdio, _Terminal) and child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.send_signal(signal.SIGHUP)
            self._leave(child)
            raise
        finally:
            for task in (*inward, *outward, gone, ended):
                task.cancel()
            await asyncio.gather(*inward, *outward, gone, ended, return_exceptions=True)

    def _leave(self, child: asyncio.subprocess.Process) -> None:
        """Nobody waits for it any more but us."""

        async def wait() -> None:
            await child.wait()

        task = asyncio.ensure_future(wait())
        self._left.add(task)
        task.add_done_callback(self._left.discard)

    async def attach(self, bundle: Path, ends: Ends, *, tty: bool) -> None:
        """Until the container has ended. Raises CommandFailed, ConnectionError."""
        sock = _console(bundle)
        inward = asyncio.ensure_future(_to_conmon(ends.stdin, sock) if ends.stdin else _nothing())
        sizes = asyncio.ensure_future(_sizes_to_conmon(bundle, ends) if tty else _nothing())
        outward = asyncio.ensure_future(_from_conmon(sock, ends))
        gone = asyncio.ensure_future(ends.gone.wait())
        try:
            await asyncio.wait((outward, gone), return_when=asyncio.FIRST_COMPLETED)
            if not outward.done():
                raise ConnectionResetError("the client is gone")
            outward.result()
        finally:
            for task in (inward, sizes, outward, gone):
                task.cancel()
            await asyncio.gather(inward, sizes, outward, gone, return_exceptions=True)
            sock.close()


async def _nothing() -> None:
    return


# -- stdio of a command ------------------------------------------------------------------------------------------------


class _Pipes:
    """One for each stream that is wanted; `theirs` are for the command."""

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
                await _drop(source)
        finally:
            self._ours.remove(self._stdin)
            os.close(self._stdin)

    def outward(self, ends: Ends, started: Callable[[], bool]) -> list[Coroutine[Any, Any, None]]:
        sinks = {1: ends.stdout, 2: ends.stderr}
        return [_copy(file, sinks[number], started) for number, file in self._outputs.items()]

    def close_theirs(self) -> None:
        for file in self.theirs:
            os.close(file)

    def close(self) -> None:
        for file in self._ours:
            os.close(file)
        self._ours.clear()


class _Terminal:
    """One of ours; it translates nothing, for the command's own does."""

    def __init__(self) -> None:
        self._file, theirs = os.openpty()
        tty.setraw(theirs)
        os.set_blocking(self._file, False)
        self.theirs = (theirs, theirs, theirs)

    def inward(self, ends: Ends, child: asyncio.subprocess.Process) -> list[Coroutine[Any, Any, None]]:
        return [self._resize(ends, child), *([self._feed(ends.stdin)] if ends.stdin is not None else [])]

    async def _feed(self, source: Source) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read():
                await files.write(self._file, data)
        await _drop(source)

    async def _resize(self, ends: Ends, child: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ConnectionError):
            async for width, height in ends.sizes():
                fcntl.ioctl(self._file, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
                with contextlib.suppress(ProcessLookupError):
                    child.send_signal(signal.SIGWINCH)

    def outward(self, ends: Ends, started: Callable[[], bool]) -> list[Coroutine[Any, Any, None]]:
        return [_copy(self._file, ends.stdout, started)]

    def close_theirs(self) -> None:
        os.close(self.theirs[0])

    def close(self) -> None:
        os.close(self._file)


async def _copy(file: int, sink: Sink | None, started: Callable[[], bool]) -> None:
    """What may be the OCI runtime's own words is held back until it is known that the command was started."""
    held = b""
    while data := await files.read(file):
        if len(held) < MAX_WORDS and (held or data.startswith(RUNTIME_SAYS)):
            held += data
            continue
        if sink is not None:
            await sink.write(held + data)
        held = b""
        if len(data) >= BULK:
            await asyncio.sleep(BULK_SECONDS)
    if held and sink is not None and started():
        await sink.write(held)


async def _drop(source: Source) -> None:
    with contextlib.suppress(ConnectionError):
        while await source.read():
            continue


# -- the container's own stdio -----------------------------------------------------------------------------------------


def _console(bundle: Path) -> socket.socket:
    """Raises CommandFailed."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    directory = os.open(bundle, os.O_PATH | os.O_DIRECTORY)
    try:
        sock.connect(f"/proc/self/fd/{directory}/attach")  # the whole path may be longer than an address can be
    except OSError as error:
        sock.close()
        raise CommandFailed(f"failed to attach container: {(error.strerror or '').lower()}") from None
    finally:
        os.close(directory)
    sock.setblocking(False)
    return sock


async def _from_conmon(sock: socket.socket, ends: Ends) -> None:
    while message := await files.read(sock.fileno(), files.PIECE):
        sink = {CONMON_STDOUT: ends.stdout, CONMON_STDERR: ends.stderr}.get(message[0])
        if sink is not None:
            await sink.write(message[1:])


async def _to_conmon(source: Source, sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read():
            await files.write(sock.fileno(), data, CONMON_PIECE)
        sock.shutdown(socket.SHUT_WR)
    await _drop(source)


async def _sizes_to_conmon(bundle: Path, ends: Ends) -> None:
    """Of two that come together conmon takes the first one twice: each is given time, and the last one is said again."""
    sizes: list[tuple[int, int]] = []
    more = asyncio.Event()

    async def read() -> None:
        async for size in ends.sizes():
            sizes[:] = [size]
            more.set()

    reading = asyncio.ensure_future(read())
    try:
        while True:
            await more.wait()
            more.clear()
            _size_to_conmon(bundle, *sizes[0])
            await asyncio.sleep(SIZE_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SIZE_AGAIN_SECONDS):
                    await more.wait()
            if not more.is_set():
                _size_to_conmon(bundle, *sizes[0])
    except OSError:
        log.debug("a container's monitor is gone")
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def _size_to_conmon(bundle: Path, width: int, height: int) -> None:
    control = os.open(bundle / "ctl", os.O_WRONLY | os.O_NONBLOCK)
    try:
        os.write(control, f"1 {height} {width}\n".encode())
    finally:
        os.close(control)
