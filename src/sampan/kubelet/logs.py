"""Container logs as the runtime wrote them, from file to stream: `kubectl logs` in all its forms.

A log is a line for each piece of output, `TIME stdout|stderr F|P TEXT`; a piece marked P has no end of line of its own. Files are
rotated (`0.log`, `0.log.20060102-150405`, later with `.gz`), also while they are followed: no line is lost or doubled by that.
The end is found from the end, and a follower sleeps until the kernel tells of a change.

DEVIATION: upstream shows the current file alone, and what was rotated away is lost to `kubectl logs`; here the older files go first.

Source: k8s.io/cri-client pkg/logs/{logs,tail}.go, kubernetes pkg/kubelet/logs/container_log_manager.go (names of files)
"""

from __future__ import annotations

import asyncio
import datetime
import functools
import gzip
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sampan.kubelet import inotify

CHUNK, BACK, MAX_LINE = 128 * 1024, 64 * 1024, 1 << 20
#: when the writer has closed the file, its container ends within moments; who cannot be heard of is asked after this long
SOON, LATEST = 0.02, 30.0
Write = Callable[[bytes], Awaitable[None]]
Running = Callable[[], Awaitable[bool]]


class LogError(Exception):
    """There is no log to be read; the message says why."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """`since`: seconds since 1970; `tail`: lines; `limit`: bytes; `stream`: All, Stdout or Stderr."""

    follow: bool = False
    timestamps: bool = False
    since: float | None = None
    tail: int | None = None
    limit: int | None = None
    stream: str = "All"


async def _not_running() -> bool:
    return False


async def read(path: Path, options: LogOptions, write: Write, running: Running = _not_running) -> None:
    """All that `options` ask for; `write` may wait. Following ends when `running` is no longer so. Raises LogError, OSError."""
    path = _real(path)
    lines = Lines(options)
    watch = inotify.Watch(path.parent) if options.follow else None
    files = _Files(path)
    try:
        await _past(files, lines, options, write)
        if watch is not None and not lines.full:
            await _Following(files, lines, write, watch, running).run()
    finally:
        files.close()
        if watch is not None:
            watch.close()


def _real(path: Path) -> Path:
    try:
        return path.resolve(strict=True)
    except OSError as error:
        said = (error.strerror or "").lower()
        raise LogError(f'failed to try resolving symlinks in path "{path}": lstat {error.filename}: {said}') from None


# -- lines -------------------------------------------------------------------------------------------------------------


class Lines:
    """From lines of a log file to what is shown of them. `full`: the limit is reached."""

    def __init__(self, options: LogOptions) -> None:
        self._timestamps = options.timestamps
        self._since = _stamp(options.since) if options.since is not None else b""
        self._left = options.limit if options.limit is not None else -1
        self._stream = b"" if options.stream == "All" else options.stream.lower().encode()
        self._fresh = True
        self.full = self._left == 0

    def show(self, data: bytes) -> bytes:
        """Of whole lines."""
        plain = not (self._since or self._stream)
        cut = _cut(data, self._timestamps) if plain and self._fresh else None
        if cut is not None:
            out = cut
        elif plain and not self._timestamps:
            out = _texts(data)
        else:
            out = b"".join(self._chosen(data))
        if self._left >= 0:
            out = out[: self._left]
            self._left -= len(out)
            self.full = not self._left
        return out

    def _chosen(self, data: bytes) -> Iterator[bytes]:
        for line in _split(data):
            parts = line.split(b" ", 3)
            if len(parts) != 4 or parts[1] not in (b"stdout", b"stderr"):
                continue
            time, stream, tag, text = parts
            try:
                time = fixed(time)
                if self._since and utc(time) < self._since:
                    continue
            except ValueError:
                continue
            whole = not tag.startswith(b"P")
            if self._stream and stream != self._stream:
                continue
            if self._timestamps and self._fresh:
                yield time + b" "
            self._fresh = whole
            yield text if whole else text[:-1]


def _cut(data: bytes, timestamps: bool) -> bytes | None:
    """The same for lines that are all whole and have times of one length and zone: each is cut once. None: they are not."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    if not lines:
        return b""
    zone = b"Z" if lines[0][29:30] == b"Z" else lines[0][29:35]
    shown = b"Z " if zone == b"+00:00" else zone + b" "
    head, text = zone + b" std", 29 + len(zone) + 10
    end, tag = 29 + len(head), text - 3
    if timestamps:
        out = [line[:29] + shown + line[text:] for line in lines if line[tag:text] == b" F " and line[29:end] == head]
    else:
        out = [line[text:] for line in lines if line[tag:text] == b" F " and line[29:end] == head]
    return b"\n".join(out) + b"\n" if len(out) == len(lines) else None


def _texts(data: bytes) -> bytes:
    """Where everything is wanted, of any lines."""
    out = []
    for line in data.split(b"\n"):
        parts = line.split(b" ", 3)
        if len(parts) == 4 and parts[1] in (b"stdout", b"stderr"):
            out.append(parts[3])
            if not parts[2].startswith(b"P"):
                out.append(b"\n")
    return b"".join(out)


def _split(data: bytes) -> list[bytes]:
    """At line feeds alone, which are kept."""
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def fixed(time: bytes) -> bytes:
    """A time as it is shown: nine digits of a second, `Z` for UTC. Raises ValueError."""
    if len(time) == 30 and time.endswith(b"Z"):
        return time
    if len(time) == 35 and time.endswith(b"+00:00"):
        return time[:29] + b"Z"
    zone = b"Z" if time.endswith((b"Z", b"+00:00")) else time[-6:]
    plain = time[:-1] if time.endswith(b"Z") else time[:-6]
    if len(plain) < 19 or plain[4:5] != b"-" or plain[10:11] != b"T":
        raise ValueError("no time")
    return plain[:19] + b"." + plain[20:29].ljust(9, b"0") + zone


def utc(time: bytes) -> bytes:
    """A time of `fixed` in UTC, so that bytes compare as times do. Raises ValueError."""
    if time.endswith(b"Z"):
        return time
    return _moved(time[:19], time[29:]) + time[19:29] + b"Z"


@functools.lru_cache(maxsize=256)
def _moved(second: bytes, zone: bytes) -> bytes:
    there = datetime.datetime.fromisoformat((second + zone).decode())
    return there.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()


def _stamp(seconds: float) -> bytes:
    whole = datetime.datetime.fromtimestamp(int(seconds), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{int(seconds % 1 * 1e9):09d}Z".encode()


# -- files -------------------------------------------------------------------------------------------------------------


def rotated(path: Path) -> list[Path]:
    """The older files of a log, the oldest first."""
    found = (each for each in path.parent.glob(f"{path.name}.*") if not each.name.endswith(".tmp"))
    return sorted(found, key=lambda each: each.name)


class _Files:
    """The files of one log, held open from the beginning: whatever is rotated away or removed meanwhile is still read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.open: list[IO[bytes]] = []
        self._numbers: set[int] = set()
        for each in (*rotated(path), path):
            self.add(each)
        if not self.open:
            raise LogError(f'failed to open log file "{path}": open {path}: no such file or directory')

    def add(self, path: Path) -> bool:
        """False where it is gone, or was here already under another name."""
        try:
            file: Any = gzip.GzipFile(path) if path.suffix == ".gz" else path.open("rb", buffering=0)
        except FileNotFoundError:
            return False
        number = os.fstat(file.fileno()).st_ino
        if number in self._numbers:
            file.close()
            return False
        self._numbers.add(number)
        self.open.append(file)
        return True

    def newer(self) -> bool:
        """Has the log gone on in another file than the last?"""
        try:
            return self.path.stat().st_ino not in self._numbers
        except FileNotFoundError:
            return False

    def advance(self) -> None:
        """All that has come since."""
        last = len(self.open)
        for each in (*rotated(self.path), self.path):
            # what was compressed since is another file with what we have seen
            if each.suffix != ".gz":
                self.add(each)
        for file in self.open[:last]:
            file.close()
        del self.open[:last]

    def close(self) -> None:
        for file in self.open:
            file.close()


async def _past(files: _Files, lines: Lines, options: LogOptions, write: Write) -> None:
    """What there is now; a log that grows faster than it is taken comes to an end all the same."""
    sizes = [_size(file) for file in files.open]
    first, start = (0, 0) if options.tail is None else _tail(files.open, options.tail)
    for index, file in enumerate(files.open):
        if index < first:
            continue
        at = start if index == first else 0
        file.seek(at)
        rest = b""
        while at < sizes[index] and not lines.full:
            data = file.read(min(CHUNK, sizes[index] - at))
            if not data:
                break
            at += len(data)
            whole, rest = _whole(rest + data)
            if shown := lines.show(whole):
                await write(shown)
            await asyncio.sleep(0)
        if rest and not lines.full:
            if options.follow and index == len(files.open) - 1:
                file.seek(at - len(rest))
            elif shown := lines.show(rest):
                await write(shown)


def _whole(data: bytes) -> tuple[bytes, bytes]:
    """The whole lines, and the beginning of the next; what is no log and has no lines is not kept."""
    end = data.rfind(b"\n") + 1 or (len(data) if len(data) > MAX_LINE else 0)
    return data[:end], data[end:]


def _size(file: IO[bytes]) -> int:
    # of compressed files the end is not known
    return 1 << 62 if isinstance(file, gzip.GzipFile) else os.fstat(file.fileno()).st_size


def _tail(files: list[IO[bytes]], count: int) -> tuple[int, int]:
    """In which file, and where in it, the last `count` lines begin."""
    for index in reversed(range(len(files))):
        file = files[index]
        found, start = (_forwards if isinstance(file, gzip.GzipFile) else _backwards)(file, count)
        count -= found
        if not count:
            return index, start
    return 0, 0


def _backwards(file: IO[bytes], count: int) -> tuple[int, int]:
    """How many of the lines wanted are in the file, and where they begin; a last line without end is one."""
    size = os.fstat(file.fileno()).st_size
    if not count or not size:
        return 0, size
    file.seek(size - 1)
    at = size - 1 if file.read(1) == b"\n" else size
    left = count
    while at > 0:
        begin = max(0, at - BACK)
        file.seek(begin)
        data = file.read(at - begin)
        inside = data.count(b"\n")
        if inside >= left:
            position = len(data)
            for _ in range(left):
                position = data.rfind(b"\n", 0, position)
            return count, begin + position + 1
        left -= inside
        at = begin
    return count - left + 1, 0


def _forwards(file: IO[bytes], count: int) -> tuple[int, int]:
    """The same for a file that can be read in one direction alone."""
    file.seek(0)
    feeds = 0
    while data := file.read(CHUNK):
        feeds += data.count(b"\n")
    skip = max(0, feeds - count)
    file.seek(0)
    at = 0
    while skip and (data := file.read(CHUNK)):
        inside = data.count(b"\n")
        if inside < skip:
            skip -= inside
            at += len(data)
            continue
        position = -1
        for _ in range(skip):
            position = data.find(b"\n", position + 1)
        return min(count, feeds), at + position + 1
    return min(count, feeds), at


# -- following ---------------------------------------------------------------------------------------------------------


class _Following:
    """From where the past ends."""

    def __init__(self, files: _Files, lines: Lines, write: Write, watch: inotify.Watch, running: Running) -> None:
        self._files = files
        self._lines = lines
        self._write = write
        self._watch = watch
        self._running = running

    async def run(self) -> None:
        files = self._files
        for file in files.open[:-1]:
            file.close()
        del files.open[:-1]
        ended, doubt = not await self._running(), LATEST
        while await self._rest(files.open[-1], last=ended):
            if files.newer():
                # what was written until the moment of the change is taken first
                await self._rest(files.open[-1], last=True)
                files.advance()
                while len(files.open) > 1:
                    await self._rest(files.open[0], last=True)
                    files.open.pop(0).close()
                doubt = LATEST
                continue
            if ended:
                return
            changes = await self._watch.next(doubt)
            masks = functools.reduce(int.__or__, changes.values(), 0)
            if masks & (inotify.CLOSE_WRITE | inotify.DELETE_SELF | inotify.IGNORED):
                doubt = SOON
            elif changes:
                continue
            elif doubt < LATEST:
                doubt = min(doubt * 2, LATEST)
            ended = not await self._running()

    async def _rest(self, file: IO[bytes], *, last: bool) -> bool:
        """Up to its end; a line that is only begun stays for the next time, unless this is the last. False: enough was shown."""
        rest = b""
        while not self._lines.full:
            data = file.read(CHUNK)
            if not data:
                break
            whole, rest = _whole(rest + data)
            if shown := self._lines.show(whole):
                await self._write(shown)
            await asyncio.sleep(0)
        if rest and last and not self._lines.full:
            if shown := self._lines.show(rest):
                await self._write(shown)
        elif rest:
            file.seek(-len(rest), os.SEEK_CUR)
        return not self._lines.full
