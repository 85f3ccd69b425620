"""The few system calls for mounts, which Python lacks, and what is mounted.

A directory of ours is mounted nowhere but here: containers have copies of their own, in namespaces of their own, so that what is
unmounted here is gone from the machine when they are.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from dataclasses import dataclass
from pathlib import Path

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_SHARED = 1, 2, 4, 8, 32, 4096, 16384, 1 << 20
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of mountinfo. `root`: which part of the file system is to be seen at `point`."""

    point: str
    root: str
    device: str
    kind: str
    optional: tuple[str, ...]


def mount(source: str, target: Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Raises OSError."""
    encoded = [os.fsencode(each) or None for each in (source, str(target), kind, data)]
    if _libc.mount(*encoded[:3], ctypes.c_ulong(flags), encoded[3]) < 0:
        _fail(f"mount {target}")


def _fail(what: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")


def bind(source: Path | str, target: Path, *, read_only: bool = False) -> None:
    mount(str(source), target, flags=MS_BIND | MS_REC)
    if read_only:
        mount("", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def tmpfs(target: Path, size: int = 0) -> None:
    """`size`: bytes; 0: as the system likes it. Its root keeps the directory's mode; what is in it is never swapped out, where the
    kernel can promise that."""
    mode = f"mode={target.stat().st_mode & 0o7777:o}"
    options = [mode, *([f"size={size}"] if size else []), *(["noswap"] if _has_noswap() else [])]
    mount("tmpfs", target, "tmpfs", data=",".join(options))


@functools.cache
def _has_noswap() -> bool:
    """Since Linux 6.4; others refuse it."""
    return tuple(int(each) for each in os.uname().release.split("-")[0].split(".")[:2]) >= (6, 4)


def unmount(target: Path | str) -> None:
    """Also when it is in use, or not mounted at all."""
    if _libc.umount2(os.fsencode(target), UMOUNT_NOFOLLOW) == 0:
        return
    if ctypes.get_errno() == errno.EBUSY and _libc.umount2(os.fsencode(target), MNT_DETACH | UMOUNT_NOFOLLOW) == 0:
        return
    if ctypes.get_errno() not in (errno.ENOENT, errno.EINVAL):  # no such file, not a mount point
        _fail(f"unmount {target}")


def mounted() -> list[Mount]:
    """All there are here, in the order they were mounted."""
    out = []
    for line in _lines():
        left, _, right = line.partition(" - ")
        words = left.split(" ")
        out.append(Mount(_plain(words[4]), _plain(words[3]), words[2], right.split(" ")[0], tuple(words[6:])))
    return out


def _lines() -> list[str]:
    return Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()


def _points() -> list[str]:
    """Where, as the kernel writes it; a node with hundreds of pods has thousands of them."""
    return [line.split(" ", 5)[4] for line in _lines()]


_CODES = (("\\", "\\134"), (" ", "\\040"), ("\t", "\\011"), ("\n", "\\012"))


def _plain(text: str) -> str:
    for letter, code in reversed(_CODES):
        text = text.replace(code, letter)
    return text


def _coded(text: str) -> str:
    for letter, code in _CODES:
        text = text.replace(letter, code)
    return text


def below(directory: Path) -> list[Path]:
    """What is mounted in a directory (not on it), the newest first: the order to unmount it in."""
    prefix = _coded(str(directory).rstrip("/") + "/")
    return [Path(_plain(point)) for point in reversed(_points()) if point.startswith(prefix)]


def is_mounted(target: Path) -> bool:
    return _coded(str(target)) in _points()


def share(directory: Path) -> bool:
    """What is mounted in `directory` is from now on passed on to the copies that containers have. True: it is mounted on itself
    for that (now, or by a kubelet before), and is to be unmounted in the end.

    Most machines share all their mounts; where `/` is private, the directory becomes a mount of its own.
    """
    path = str(directory)
    # of several at one place the last one is what is seen
    around = max((each for each in reversed(mounted()) if _holds(each.point, path)), key=lambda each: len(each.point))
    on_itself = around.point == path and around.root != "/" and path.endswith(around.root)
    if any(each.startswith("shared:") for each in around.optional):
        return on_itself
    if around.point != path:
        mount(path, directory, flags=MS_BIND | MS_REC)
        on_itself = True
    mount("", directory, flags=MS_REC | MS_SHARED)
    return on_itself


def _holds(point: str, path: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")
