"""Mounts below a directory: found and detached, the deepest first, so that it can be removed.

Source: proc_pid_mountinfo(5), umount2(2)
"""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path

_MNT_DETACH, _UMOUNT_NOFOLLOW, _MS_BIND = 2, 8, 4096
_OCTAL = re.compile(rb"\\([0-7]{3})")


def below(directory: Path) -> list[Path]:
    """The deepest first."""
    root = os.fsencode(directory.resolve()) + b"/"
    points = [_OCTAL.sub(lambda found: bytes([int(found[1], 8)]), line.split()[4]) for line in _lines()]
    return [Path(os.fsdecode(point)) for point in reversed(points) if point.startswith(root) or point + b"/" == root]


def _lines() -> list[bytes]:
    return Path("/proc/self/mountinfo").read_bytes().splitlines()


def detach_below(directory: Path) -> None:
    """What is busy goes as soon as it is not. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    for point in below(directory):
        if libc.umount2(os.fsencode(point), _MNT_DETACH | _UMOUNT_NOFOLLOW) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(point))


def hold_network(path: Path) -> None:
    """The network namespace that we are in, as a file. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():  # what is held cannot be touched
        path.touch(0o400)
    here = Path("/proc/self/ns/net")
    if path.stat().st_ino == here.stat().st_ino:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.umount2(os.fsencode(path), _MNT_DETACH | _UMOUNT_NOFOLLOW)  # of a namespace that is no more
    if libc.mount(os.fsencode(here), os.fsencode(path), None, ctypes.c_ulong(_MS_BIND), None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
