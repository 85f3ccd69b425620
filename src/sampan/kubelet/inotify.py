"""Word from the kernel that something in a directory has changed: no polling, no threads.

    with Watch(directory) as watch:
        changes = await watch.next(10.0)       # {name: mask}; empty after ten seconds without any

What was not read yet is kept by name, so that a burst costs one entry a file; `overflow` stands for names that were lost.

Source: inotify(7)
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from pathlib import Path
from types import TracebackType

MODIFY, CLOSE_WRITE, MOVED_FROM, MOVED_TO = 0x2, 0x8, 0x40, 0x80
CREATE, DELETE, DELETE_SELF, OVERFLOW, IGNORED = 0x100, 0x200, 0x400, 0x4000, 0x8000
CHANGES = MODIFY | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF
_HEAD = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """Of one directory, from the moment it is made. Raises OSError where there is none. Close it."""

    def __init__(self, directory: Path, mask: int = CHANGES) -> None:
        self._changes: dict[str, int] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._file = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        if _libc.inotify_add_watch(self._file, os.fsencode(directory), mask) < 0:
            number = ctypes.get_errno()
            os.close(self._file)
            raise OSError(number, os.strerror(number), str(directory))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._file, self._read)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Idempotent."""
        if self._file >= 0:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    @property
    def lost(self) -> bool:
        """The kernel had to drop events: look at everything."""
        return bool(self._changes.get("", 0) & OVERFLOW)

    async def next(self, seconds: float | None = None) -> dict[str, int]:
        """What happened since it was last asked, at once if something did; by the name in the directory, `` for itself."""
        if not self._changes:
            self._waiter = self._loop.create_future()
            try:
                async with asyncio.timeout(seconds):
                    await self._waiter
            except TimeoutError:
                return {}
            finally:
                self._waiter = None
        changes, self._changes = self._changes, {}
        return changes

    def _read(self) -> None:
        try:
            data = os.read(self._file, 1 << 16)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            _, mask, _, length = _HEAD.unpack_from(data, at)
            at += _HEAD.size
            name = os.fsdecode(data[at : at + length].rstrip(b"\0"))
            at += length
            self._changes[name] = self._changes.get(name, 0) | mask
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
