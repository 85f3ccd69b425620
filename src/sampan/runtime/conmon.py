"""Containers that outlive us: conmon holds the stdio, writes the log and the exit code; an OCI runtime does the rest.

conmon is started once for each container, forks away and answers on a pipe with the container's pid. From then on it is known
by files alone: its exit file, an `oom` file, a control pipe, an attach socket. Whoever comes after us finds them all.

Source: https://github.com/containers/conmon (options, files), runc(8)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.runtime import cgroups
from sampan.runtime.errors import CriError, Timeout
from sampan.runtime.oci import OciRuntime

#: what ExecSync keeps of each stream; the rest is read and forgotten
MAX_OUTPUT = 16 << 20
CREATE_SECONDS = 120.0
FIFO_SECONDS = 10.0
#: how long a finished command's children may keep its output open
DRAIN_SECONDS = 2.0
SCRUB_PATIENCE, SCRUB_TURNS = 10, 50
log = logging.getLogger("runtime")


@dataclass(frozen=True, slots=True)
class Output:
    stdout: bytes
    stderr: bytes
    code: int


class Conmon:
    """`run`: a directory that need not survive the machine."""

    def __init__(self, run: Path, runtime: OciRuntime, conmon: str = "conmon") -> None:
        self.runtime = runtime
        self._conmon = conmon
        self.root = run / "oci" / runtime.name
        self.exits = run / "exits"

    def open(self) -> None:
        for each in (self.root, self.exits):
            each.mkdir(parents=True, exist_ok=True)

    def command(self, *arguments: str) -> list[str]:
        """A call of the OCI runtime."""
        return [self.runtime.program, *self.runtime.arguments, "--root", str(self.root), *arguments]

    async def create(self, key: str, bundle: Path, *, log: str, tty: bool, stdin: bool, stdin_once: bool) -> int:
        """The pid of the container's first process, which waits for `start`. Raises CriError."""
        errors = bundle / "oci.log"
        command = [
            self._conmon, "--api-version", "1", "-c", key, "-u", key, "-n", key, "-r", self.runtime.program,
            *(f"--runtime-arg={each}" for each in self.runtime.arguments), "--runtime-arg=--root", f"--runtime-arg={self.root}", f"--runtime-arg=--log={errors}",
            "--runtime-arg=--log-format=json", "-b", str(bundle), "-p", str(bundle / "pid"), "-P", str(bundle / "conmon.pid"),
            "--persist-dir", str(bundle), "--exit-dir", str(self.exits), "-l", f"k8s-file:{log}" if log else "none",
            "--log-level", "warning", "--full-attach", "--no-sync-log",
        ]  # fmt: skip
        command += ["-t"] if tty else []
        command += ["-i"] if stdin else []
        command += ["--leave-stdin-open"] if stdin and not stdin_once else []
        answer, theirs = os.pipe()
        begin, ours = os.pipe()
        env = {**os.environ, "_OCI_SYNCPIPE": str(theirs), "_OCI_STARTPIPE": str(begin)}
        with (bundle / "conmon.log").open("ab") as said, os.fdopen(answer, "rb", 0) as answers:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command, pass_fds=(theirs, begin), env=env, cwd=bundle, start_new_session=True,
                    stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said,
                )  # fmt: skip
            except OSError as error:
                raise CriError(f"{self._conmon}: {error.strerror}") from None
            finally:
                os.close(theirs)
                os.close(begin)
                os.write(ours, b"\0")
                os.close(ours)
            line = await _line(answers)
            await process.wait()
        try:
            found = json.loads(line)
            pid = int(found.get("pid", found.get("data", -1)))
        except (ValueError, TypeError, AttributeError):
            found, pid = {}, -1
        if pid <= 0:
            words = last_error(errors) or str(found.get("message", "")) or (bundle / "conmon.log").read_text()[-400:]
            raise CriError(f"OCI runtime create failed: {words.strip()}")
        return pid

    async def start(self, key: str) -> None:
        """`runc start` reads one byte of a pipe, after it has come into being for 20 ms: we can do that, too. Raises CriError."""
        fifo = self.root / key / "exec.fifo"
        if self.runtime.name == "runc" and await _opened(fifo):
            fifo.unlink()
        else:
            await self._must("start", key)

    async def run(self, key: str, bundle: Path) -> int:
        """The pid of a process that needs no monitor: it has no stdio, and nobody asks for its code. Raises CriError."""
        errors, nothing = bundle / "oci.log", asyncio.subprocess.DEVNULL
        child = await asyncio.create_subprocess_exec(
            *self.command(f"--log={errors}", "--log-format=json"),
            "run", "--detach", "--pid-file", str(bundle / "pid"), "--bundle", str(bundle), key,
            stdin=nothing, stdout=nothing, stderr=nothing,
        )  # fmt: skip
        if await child.wait():
            raise CriError(f"OCI runtime run failed: {last_error(errors)}")
        return int((bundle / "pid").read_text())

    async def delete(self, key: str, group: str) -> None:
        """Whatever runs of it is killed."""
        if cgroups.processes(group):
            await self._call("delete", "--force", key)
        else:
            # all that the OCI runtime would do, without starting it for that
            shutil.rmtree(self.root / key, ignore_errors=True)
        await asyncio.to_thread(cgroups.remove, group)
        (self.exits / key).unlink(missing_ok=True)

    async def scrub(self, key: str, group: str) -> None:
        """Nothing is left of a start that its starter did not live to see the end of, conmon on its way included."""
        left: set[int] = set()
        for turn in range(SCRUB_TURNS):
            await self._call("delete", "--force", key)
            left = cgroups.processes(group) | _named(key)
            if not left:
                await self.delete(key, group)
                return
            # at first they may come to their end by themselves, conmon with an exit file
            for pid in cgroups.processes(group) if turn < SCRUB_PATIENCE else left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.05)
        log.warning("container %s: processes %s are left of a start that was cut short", key, sorted(left))

    async def update(self, key: str, resources: dict[str, Any]) -> None:
        await self._must("update", "--resources", "-", key, given=json.dumps(resources).encode())

    def exit(self, key: str) -> tuple[int, float] | None:
        """The exit code, and when; None while it runs."""
        file = self.exits / key
        try:
            text, when = file.read_text().strip(), file.stat().st_mtime
        except FileNotFoundError:
            return None
        return (int(text), when) if text.isdigit() else None

    @staticmethod
    def monitor(key: str, bundle: Path) -> int:
        """The pid of the container's conmon; 0 if it is gone."""
        try:
            pid = int((bundle / "conmon.pid").read_text())
            # the number may be somebody else's by now
            return pid if key.encode() in Path(f"/proc/{pid}/cmdline").read_bytes() else 0
        except (OSError, ValueError):
            return 0

    def reopen_log(self, bundle: Path) -> None:
        """Raises OSError if conmon is gone."""
        control = os.open(bundle / "ctl", os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(control, b"2 0 0\n")
        finally:
            os.close(control)

    async def exec(self, key: str, bundle: Path, process: dict[str, Any], timeout: float | None) -> Output:
        """Raises Timeout after having killed it, CriError if it cannot be run."""
        number = f"exec-{os.urandom(8).hex()}"
        spec, pid_file = bundle / f"{number}.json", bundle / f"{number}.pid"
        spec.write_text(json.dumps(process))
        try:
            child = await asyncio.create_subprocess_exec(
                *self.command(f"--log={bundle / f'{number}.log'}", "--log-format=json"),
                "exec", "--process", str(spec), "--pid-file", str(pid_file), key,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert child.stdout is not None and child.stderr is not None
            kept: tuple[list[bytes], list[bytes]] = [], []
            reading = [
                asyncio.ensure_future(_bounded(*pair)) for pair in zip((child.stdout, child.stderr), kept, strict=True)
            ]
            try:
                async with asyncio.timeout(timeout):
                    code = await child.wait()
                    await asyncio.wait(reading, timeout=DRAIN_SECONDS)
            except (TimeoutError, asyncio.CancelledError) as error:
                _kill_exec(pid_file, child)
                await child.wait()
                if isinstance(error, TimeoutError):
                    assert timeout is not None
                    raise Timeout(f"command timed out: timeout {timeout:g}s exceeded") from None
                raise
            finally:
                for each in reading:
                    each.cancel()
            out, err = map(b"".join, kept)
            if not pid_file.exists():
                words = last_error(bundle / f"{number}.log") or err.decode(errors="replace").strip()
                raise CriError(f"failed to exec in container: OCI runtime exec failed: {words}")
            return Output(out, err, code)
        finally:
            for suffix in ("json", "pid", "log"):
                (bundle / f"{number}.{suffix}").unlink(missing_ok=True)

    async def _must(self, *arguments: str, given: bytes | None = None) -> None:
        code, words = await self._call(*arguments, given=given)
        if code:
            raise CriError(f"OCI runtime {arguments[0]} failed: {words}")

    async def _call(self, *arguments: str, given: bytes | None = None) -> tuple[int, str]:
        child = await asyncio.create_subprocess_exec(
            *self.command(*arguments),
            stdin=asyncio.subprocess.DEVNULL if given is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, err = await child.communicate(given)
        return child.returncode or 0, err.decode(errors="replace").strip()


def _named(key: str) -> set[int]:
    """Processes that have this ID among their arguments: conmon, and the OCI runtime that it started."""
    out = set()
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if key.encode() in (each / "cmdline").read_bytes().split(b"\0"):
                out.add(int(each.name))
    return out


async def _opened(fifo: Path) -> bool:
    """Has the process at its other end gone on? It holds that end until it is the container's own program, and so do we: a signal
    that came earlier would meet runc.
    """
    loop = asyncio.get_running_loop()
    try:
        file = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    news, said = asyncio.Event(), b""

    def look() -> None:
        nonlocal said
        data = os.read(file, 16)
        said += data
        if not data:
            loop.remove_reader(file)
            news.set()

    loop.add_reader(file, look)
    try:
        with contextlib.suppress(TimeoutError):  # one that is slow to become its program has begun all the same
            async with asyncio.timeout(FIFO_SECONDS):
                await news.wait()
    finally:
        loop.remove_reader(file)
        os.close(file)
    return bool(said)


async def _line(file: Any) -> bytes:
    """What conmon answers; empty if it goes without."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
    try:
        async with asyncio.timeout(CREATE_SECONDS):
            return await reader.readline()
    except TimeoutError:
        raise CriError("conmon does not answer") from None
    finally:
        transport.close()


async def _bounded(stream: asyncio.StreamReader, kept: list[bytes]) -> None:
    left = MAX_OUTPUT
    while data := await stream.read(1 << 16):
        if left > 0:
            kept.append(data[:left])
            left -= len(data)


def _kill_exec(pid_file: Path, child: asyncio.subprocess.Process) -> None:
    """The runtime that waits for the command is alive, so that the pid is still the command's."""
    try:
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
    except (OSError, ValueError):
        if child.returncode is None:
            child.kill()


def last_error(log: Path) -> str:
    """runc's own words."""
    try:
        lines: Sequence[str] = log.read_text().splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and found.get("level") in ("error", "fatal"):
            return str(found.get("msg", ""))
    return ""
