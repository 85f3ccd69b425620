"""A command in a running container, its stdio at the ends of a connection; and a look at the container's own stdio.

The OCI runtime's process stays for as long as the command runs, and ends with the command's exit code. When the client goes, a
command with a terminal is hung up on, as it would be anywhere; one without goes on, and learns from its streams.

conmon has the container's own stdio: a socket of messages, the first byte of each the stream.

Source: containerd internal/cri/server/container_execsync.go, container_attach.go (order, words); conmon src/conn_sock.c
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from pathlib import Path
from typing import Any

from sampan.http.remotecommand import CommandFailed, Ends, Source
from sampan.runtime import files
from sampan.runtime.conmon import Conmon, last_error
from sampan.runtime.stdio import Console, Pipes, Started, Stdio, Terminal, drop

log = logging.getLogger("runtime")
#: what conmon takes at once
CONMON_PIECE = 8192
CONMON_STDOUT, CONMON_STDERR = 2, 3
#: how soon to look again for a command that speaks before its pid is known
PID_SECONDS = 0.002
SIZE_SECONDS, SIZE_AGAIN_SECONDS = 0.05, 0.5
#: what a container may still say to a client whose stdin has ended, while its own goes on
DETACH_SECONDS = 0.25


class Commands:
    """`execute` and `attach`; what clients left behind is kept until it ends."""

    def __init__(self) -> None:
        self._left: set[asyncio.Task[None]] = set()

    async def execute(self, conmon: Conmon, key: str, bundle: Path, process: dict[str, Any], ends: Ends) -> int:
        """The exit code. Raises CommandFailed if it cannot be run, ConnectionError if the client goes."""
        number = f"exec-{os.urandom(8).hex()}"
        spec, pid_file, said = (bundle / f"{number}.{suffix}" for suffix in ("json", "pid", "log"))
        spec.write_text(json.dumps(process))
        stdio: Stdio
        if not process["terminal"]:
            stdio = Pipes(ends)
        elif conmon.runtime.name == "crun":
            stdio = Console(bundle, number)
        else:
            stdio = Terminal()
        command = conmon.command(
            f"--log={said}", "--log-format=json", "exec", "--process", str(spec), "--pid-file", str(pid_file),
            *stdio.arguments, key,
        )  # fmt: skip
        try:
            try:
                child = await asyncio.create_subprocess_exec(
                    *command, stdin=stdio.theirs[0], stdout=stdio.theirs[1], stderr=stdio.theirs[2]
                )
            finally:
                stdio.close_theirs()
            await stdio.opened(child)
            code = await self._carry(child, stdio, ends, lambda: _started(child, pid_file))
            if not pid_file.exists():
                words = last_error(said) or f"exit status {code}"
                raise CommandFailed(f"failed to exec in container: OCI runtime exec failed: {words}")
            return code
        finally:
            stdio.close()
            for file in (spec, pid_file, said):
                file.unlink(missing_ok=True)

    async def _carry(self, child: asyncio.subprocess.Process, stdio: Stdio, ends: Ends, started: Started) -> int:
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
            if isinstance(stdio, Terminal) and child.returncode is None:
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

    async def attach(self, bundle: Path, ends: Ends, *, tty: bool, once: bool) -> None:
        """Until the container has ended; or a moment after the client's stdin has, if the container's goes on (unless `once`).
        Raises CommandFailed, ConnectionError."""
        sock = _console(bundle)
        goes_on = tty or not once
        inward = asyncio.ensure_future(_to_conmon(ends.stdin, sock, goes_on) if ends.stdin else asyncio.Event().wait())
        sizes = asyncio.ensure_future(_sizes_to_conmon(bundle, ends) if tty else _nothing())
        outward = asyncio.ensure_future(_from_conmon(sock, ends))
        gone = asyncio.ensure_future(ends.gone.wait())
        try:
            await asyncio.wait((outward, gone, inward), return_when=asyncio.FIRST_COMPLETED)
            if inward.done() and not outward.done() and not gone.done():
                await asyncio.wait(
                    (outward, gone), timeout=DETACH_SECONDS if goes_on else None, return_when=asyncio.FIRST_COMPLETED
                )
            if gone.done() and not outward.done():
                raise ConnectionResetError("the client is gone")
            if outward.done():
                outward.result()
        finally:
            for task in (inward, sizes, outward, gone):
                task.cancel()
            await asyncio.gather(inward, sizes, outward, gone, return_exceptions=True)
            sock.close()


async def _started(child: asyncio.subprocess.Process, pid_file: Path) -> bool:
    """The OCI runtime notes the command's pid right after its start; False: it ended without."""
    noted = pid_file.exists
    while not noted() and child.returncode is None:  # noqa: ASYNC110 - a moment, if at all
        await asyncio.sleep(PID_SECONDS)
    return noted()


async def _nothing() -> None:
    return


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


async def _to_conmon(source: Source, sock: socket.socket, goes_on: bool) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read():
            await files.write(sock.fileno(), data, CONMON_PIECE)
        if not goes_on:
            sock.shutdown(socket.SHUT_WR)
    await drop(source)


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
