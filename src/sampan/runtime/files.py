"""Reading and writing descriptors that are ready now and then: pipes, terminals, sockets that keep messages apart.

No buffer stands between them and whoever asks: nothing is read before it is wanted, and nothing that was read is lost when the
other side goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os

PIECE = 256 * 1024
PIPE_BYTES = 1 << 20


async def read(file: int, size: int = PIECE) -> bytes:
    """Something, or nothing at the end. `file` does not block."""
    while True:
        try:
            return os.read(file, size)
        except BlockingIOError:
            await readable(file)
        except OSError as error:
            # EIO: a terminal whose other side nobody has open any more
            if error.errno in (errno.EIO, errno.ECONNRESET):
                return b""
            raise


async def write(file: int, data: bytes, piece: int = PIECE) -> None:
    """All of it, in messages of at most `piece`. Raises OSError if nobody can have it."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(file, view[:piece]) :]
        except BlockingIOError:
            await writable(file)


async def readable(file: int) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(file, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(file)


async def writable(file: int) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_writer(file, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(file)


def pipe() -> tuple[int, int]:
    """Read and write end; a large one, where the kernel allows it."""
    ends = os.pipe()
    with contextlib.suppress(OSError):
        fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return ends
