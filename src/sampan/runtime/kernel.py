"""The few system calls that Python lacks, and threads that use them: mounts, namespaces, inotify.

Namespaces and working directories belong to threads here: `on_own_thread` runs a function on one that ends with it, so that
nothing it changed is seen by anyone else.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND = 2, 4, 8, 4096
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
CLONE_FS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWNET = 0x200, 0x4000000, 0x8000000, 0x40000000
IN_CLOSE_WRITE, IN_MOVED_TO = 0x8, 0x80
_NAMESPACES = {"net": CLONE_NEWNET, "ipc": CLONE_NEWIPC, "uts": CLONE_NEWUTS}
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_libc = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def mount(source: str, target: Path | str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    encoded = [os.fsencode(each) if each is not None else None for each in (source, str(target), kind, data)]
    _check(_libc.mount(*encoded[:3], ctypes.c_ulong(flags), encoded[3]), f"mount {target}")


def unmount(target: Path | str) -> None:
    """Also when it is in use, or not mounted at all."""
    if _libc.umount2(os.fsencode(target), MNT_DETACH | UMOUNT_NOFOLLOW) < 0:
        number = ctypes.get_errno()
        if number not in (2, 22):  # no such file, not a mount point
            raise OSError(number, f"unmount {target}: {os.strerror(number)}")


async def on_own_thread(function: Callable[[], T]) -> T:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            result = function()
        except BaseException as error:
            loop.call_soon_threadsafe(_fail, done, error)
        else:
            loop.call_soon_threadsafe(_succeed, done, result)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        return await asyncio.shield(done)
    finally:
        thread.join()  # it has ended, or is about to


def _succeed(done: asyncio.Future[T], result: T) -> None:
    if not done.cancelled():
        done.set_result(result)


def _fail(done: asyncio.Future[T], error: BaseException) -> None:
    if not done.cancelled():
        done.set_exception(error)


async def pin_namespaces(directory: Path, kinds: list[str], hostname: str, sysctls: dict[str, str]) -> None:
    """New ones, held by bind mounts in `directory`, with no process in them; loopback is up. Raises OSError."""

    def make() -> None:
        directory.mkdir(parents=True, exist_ok=True)
        flags = 0
        for kind in kinds:
            flags |= _NAMESPACES[kind]
        _check(_libc.unshare(flags), "unshare")
        if "uts" in kinds and hostname:
            socket.sethostname(hostname)
        if "net" in kinds:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
        for name, value in sysctls.items():
            Path("/proc/sys", *name.split(".")).write_text(value)
        for kind in kinds:
            (directory / kind).touch()
            mount(f"/proc/thread-self/ns/{kind}", directory / kind, None, MS_BIND)

    if kinds:
        await on_own_thread(make)


async def in_network(namespace: Path, function: Callable[[], T]) -> T:
    """Its result, when run where that network is. Raises OSError."""

    def run() -> T:
        file = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.setns(file, CLONE_NEWNET), f"setns {namespace}")
        finally:
            os.close(file)
        return function()

    return await on_own_thread(run)


async def socket_in(namespace: Path | None, family: int) -> socket.socket:
    """A stream socket that belongs to a network namespace; None: to ours. Raises OSError."""
    if namespace is None:
        return socket.socket(family, socket.SOCK_STREAM)
    return await in_network(namespace, lambda: socket.socket(family, socket.SOCK_STREAM))


def unpin_namespaces(directory: Path) -> None:
    for kind in _NAMESPACES:
        unmount(directory / kind)
        (directory / kind).unlink(missing_ok=True)


async def mount_overlay(directory: Path, layers: list[Path]) -> None:
    """`layers`, the lowest first, become `directory/rootfs`, writable. Raises OSError."""
    for name in ("upper", "work", "rootfs", "l"):
        (directory / name).mkdir(exist_ok=True)
    for number, layer in enumerate(reversed(layers)):
        (directory / "l" / str(number)).symlink_to(layer)
    lower = ":".join(map(str, range(len(layers))))

    def make() -> None:
        # the kernel takes a page of options: short names, relative to a working directory of this thread's own
        _check(_libc.unshare(CLONE_FS), "unshare")
        os.chdir(directory / "l")
        mount("overlay", "../rootfs", "overlay", 0, f"lowerdir={lower},upperdir=../upper,workdir=../work")

    if layers:
        await on_own_thread(make)
    else:
        mount(str(directory / "upper"), directory / "rootfs", None, MS_BIND)


class Watcher:
    """Tells the names of files that come into a directory, each when it is complete."""

    def __init__(self, directory: Path, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._file = _check(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")
        wanted = IN_CLOSE_WRITE | IN_MOVED_TO
        _check(_libc.inotify_add_watch(self._file, os.fsencode(directory), wanted), f"inotify_add_watch {directory}")
        asyncio.get_running_loop().add_reader(self._file, self._read)

    def _read(self) -> None:
        data = os.read(self._file, 65536)
        while data:
            *_, length = struct.unpack_from("iIII", data)
            name, data = data[16 : 16 + length], data[16 + length :]
            self._tell(os.fsdecode(name.rstrip(b"\0")))

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._file)
        os.close(self._file)
