"""Container logs as the runtime wrote them, from file to stream: `kubectl logs` in all its forms.

A log is a line for each piece of output, `TIME stdout|stderr F|P TEXT`; a piece marked P has no end of line of its own. Files are
rotated (`0.log`, `0.log.20060102-150405`, later with `.gz`), also while they are followed: no line is lost or doubled by that.
The end is found from the end, and a follower sleeps until the kernel tells of a change.

DEVIATION: upstream shows the current file alone, and what was rotated away is lost to `kubectl logs`; here the older files go first.

Source: k8s.io/cri-client pkg/logs/{logs,tail}.go, kubernetes pkg/kubelet/logs/container_log_manager.go (names of files)
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gzip
import itertools
import os
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import IO, cast

from sampan.kubelet import inotify
from sampan.kubelet.log_lines import Lines, LogOptions

CHUNK, BACK, MAX_LINE = 128 * 1024, 64 * 1024, 1 << 20
#: when the writer has closed the file, its container ends within moments; who cannot be heard of is asked after this long
SOON, LATEST = 0.02, 30.0
#: containerd opens the next file first, and ends with the old one moments later
CLOSED_SECONDS = 1.0
Write = Callable[[bytes], Awaitable[None]]
Running = Callable[[], Awaitable[bool]]


class LogError(Exception):
    """There is no log to be read; the message says why."""


async def _not_running() -> bool:
    return False


async def read(path: Path, options: LogOptions, write: Write, running: Running = _not_running) -> None:
    """All that `options` ask for; `write` may wait. Following ends when `running` is no longer so. Raises LogError, OSError."""
    path = _real(path)
    lines = Lines(options)
    with contextlib.ExitStack() as stack:
        # what happens from here on is heard of
        watch = stack.enter_context(inotify.Watch(path.parent)) if options.follow else None
        files = _Files(path)
        stack.callback(files.close)
        await _past(files, lines, options, write)
        if watch is not None and not lines.full:
            await _Following(files, lines, write, watch, running).run()


def _real(path: Path) -> Path:
    try:
        return path.resolve(strict=True)
    except OSError as error:
        said = (error.strerror or "").lower()
        raise LogError(f'failed to try resolving symlinks in path "{path}": lstat {error.filename}: {said}') from None


# -- files -------------------------------------------------------------------------------------------------------------


def rotated(path: Path) -> list[Path]:
    """The older files of a log, the oldest first."""
    found = {each.name for each in path.parent.glob(f"{path.name}.*") if not each.name.endswith(".tmp")}
    # one that has just been compressed is there twice for a moment
    return [
        path.with_name(name)
        for name in sorted(found)
        if name.removesuffix(".gz") == name or name.removesuffix(".gz") not in found
    ]


class _Files:
    """The files of one log, held open from the beginning: whatever is rotated away or removed meanwhile is still read.

    `open`: the oldest first; the last is the one that is written to, or was. Names tell which of the others were read already: the numbers
    of files are given to new ones as soon as nobody holds the old.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.open: list[IO[bytes]] = []
        self._read: set[str] = set()
        self._collect(_opened(path))
        if not self.open:
            raise LogError(f'failed to open log file "{path}": open {path}: no such file or directory')

    def newer(self) -> bool:
        """Has the log gone on in another file than the last?"""
        try:
            return self.path.stat().st_ino != _number(self.open[-1])
        except FileNotFoundError:
            return False

    def advance(self) -> None:
        """All that has come since the last, instead of it."""
        current = _opened(self.path)
        if current is None:
            return
        last = self.open.pop()
        unread = [each for each in rotated(self.path) if _base(each) not in self._read]
        # the last has another name by now; one that cannot be found by its number was compressed, and is the oldest unread
        own = next((each for each in unread if _is(each, last)), unread[0] if unread else None)
        if own is not None:
            self._read.add(_base(own))
        last.close()
        self._collect(current)

    def _collect(self, current: IO[bytes] | None) -> None:
        """What was rotated and not read, then `current`; that one may have been rotated, too, since it was opened."""
        names = []
        for each in rotated(self.path):
            if _base(each) not in self._read and not (current is not None and _is(each, current)):
                file = _opened(each)
                if file is not None:
                    self.open.append(file)
                    names.append(_base(each))
        if current is not None:
            self.open.append(current)
        # between its old name and the next file there is a moment without: then the last is still written to
        self._read.update(names if current is not None else names[:-1])

    def close(self) -> None:
        for file in self.open:
            file.close()


def _base(path: Path) -> str:
    return path.name.removesuffix(".gz")


def _number(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_ino


def _is(path: Path, file: IO[bytes]) -> bool:
    try:
        return path.stat().st_ino == _number(file)
    except FileNotFoundError:
        return False


def _opened(path: Path) -> IO[bytes] | None:
    try:
        return cast(IO[bytes], gzip.GzipFile(path) if path.suffix == ".gz" else path.open("rb", buffering=0))
    except FileNotFoundError:
        # or has it been compressed since it was seen?
        return None if path.suffix in (".gz", ".log") else _opened(path.with_name(f"{path.name}.gz"))


#: the line goes on in the next one
_PIECE = re.compile(rb"\S+ std(?:out|err) P\S* ")


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
    found = 0
    for end in _ends_backwards(file, size):
        if end == size:
            continue
        found += 1
        if found == count:
            return count, end
    return found + 1, 0


def _ends_backwards(file: IO[bytes], size: int) -> Iterator[int]:
    """Where lines end, the last one first. What is marked P ends none: conmon writes so whatever came without a line feed, be it that
    the line feed comes at once."""
    rest, at = b"", size
    while at > 0:
        begin = max(0, at - BACK)
        file.seek(begin)
        data = file.read(at - begin) + rest
        at = begin
        # the line in which the block begins is looked at with the block before; longer ones are none of a log
        first = (data.find(b"\n") + 1 or len(data)) if begin else 0
        if first > MAX_LINE:
            first = 0
        position = data.rfind(b"\n", first)
        while position >= 0:
            start = data.rfind(b"\n", first, position) + 1 or first
            if not _PIECE.match(data, start):
                yield begin + position + 1
            position = start - 1 if start > first else -1
        rest = data[:first]


def _forwards(file: IO[bytes], count: int) -> tuple[int, int]:
    """The same as `_backwards` for a file that can be read in one direction alone."""
    lines = sum(1 for _ in _ends_forwards(file))
    skip = lines - count
    if skip <= 0:
        return lines, 0
    return count, next(itertools.islice(_ends_forwards(file), skip - 1, None))


def _ends_forwards(file: IO[bytes]) -> Iterator[int]:
    """Where lines end, the first one first; a last line without end too."""
    file.seek(0)
    rest, begin, last = b"", 0, 0
    while data := file.read(CHUNK):
        data = rest + data
        start = 0
        while (feed := data.find(b"\n", start) + 1) > 0:
            if not _PIECE.match(data, start):
                last = begin + feed
                yield last
            start = feed
        rest, begin = data[start:], begin + start
    if begin + len(rest) > last:
        yield begin + len(rest)


# -- following ---------------------------------------------------------------------------------------------------------


class _Following:
    """From where the past ends."""

    def __init__(self, files: _Files, lines: Lines, write: Write, watch: inotify.Watch, running: Running) -> None:
        self._files = files
        self._lines = lines
        self._write = write
        self._watch = watch
        self._running = running
        #: whoever wrote the last file has closed it
        self._closed = False

    async def run(self) -> None:
        files = self._files
        for file in files.open[:-1]:
            file.close()
        del files.open[:-1]
        ended, doubt = not await self._running(), LATEST
        while await self._rest(files.open[-1], last=ended):
            if files.newer():
                # what was written until the moment of the change is taken first
                await self._until_closed()
                await self._rest(files.open[-1], last=True)
                files.advance()
                self._closed = False
                while len(files.open) > 1:
                    await self._rest(files.open[0], last=True)
                    files.open.pop(0).close()
                doubt = LATEST
                continue
            if ended:
                return
            changes = await self._heard(doubt)
            masks = functools.reduce(int.__or__, changes.values(), 0)
            if masks & (inotify.CLOSE_WRITE | inotify.DELETE_SELF | inotify.IGNORED):
                doubt = SOON
            elif changes:
                continue
            elif doubt < LATEST:
                doubt = min(doubt * 2, LATEST)
            ended = not await self._running()

    async def _heard(self, seconds: float) -> dict[str, int]:
        changes = await self._watch.next(seconds)
        closed = {name for name, mask in changes.items() if mask & inotify.CLOSE_WRITE}
        if self._files.newer():
            # that is somebody else's by now
            closed.discard(self._files.path.name)
        self._closed = self._closed or any(not name.endswith((".gz", ".tmp")) for name in closed)
        return changes

    async def _until_closed(self) -> None:
        """The last file's writer is done with it, or takes very long; what it writes meanwhile is taken."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSED_SECONDS):
                while not self._closed and await self._rest(self._files.open[-1], last=False):
                    await self._heard(CLOSED_SECONDS)

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
