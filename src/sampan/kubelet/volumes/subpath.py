"""A part of a volume as a container's mount, and nothing outside of the volume.

Who writes into a volume may put symbolic links there, and exchange them at any moment. So a path is walked from the volume's root one
step at a time, following no link, and what was found is mounted by its open file, at a place that only we write to.

Source: kubernetes pkg/volume/util/subpath/subpath_linux.go
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from sampan.kubelet.volumes import mounts

_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Escapes(OSError):
    """The path leads out of the volume, or something on it is a link."""


def make(base: Path, path: str, mode: int) -> None:
    """Directories along `path` below `base` that are not there yet. Raises OSError."""
    top = os.path.realpath(base)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    there = 0
    while there < len(parts) and os.path.lexists(os.path.join(top, *parts[: there + 1])):
        there += 1
    begun = _within(os.path.realpath(os.path.join(top, *parts[:there])), top)
    current = _open(top, begun)
    try:
        for part in parts[there:]:
            try:
                os.mkdir(part, mode, dir_fd=current)
            except FileExistsError:
                made = False
            else:
                made = True
            following = os.open(part, _STEP | os.O_DIRECTORY, dir_fd=current)
            os.close(current)
            current = following
            if made:  # whatever the umask says
                os.chmod(f"/proc/self/fd/{current}", mode)
    finally:
        os.close(current)


def bind(base: Path, path: str, target: Path) -> Path:
    """What is at `path` below `base`, mounted at `target`. Raises OSError."""
    top = os.path.realpath(base)
    found = _open(top, _within(os.path.realpath(os.path.join(top, path), strict=True), top))
    try:
        if mounts.is_mounted(target):
            if os.path.samestat(os.fstat(found), target.stat()):
                return target
            mounts.unmount(target)
        target.parent.mkdir(0o750, parents=True, exist_ok=True)
        _stand_in(target, stat.S_ISDIR(os.fstat(found).st_mode))
        mounts.bind(f"/proc/self/fd/{found}", target)
    finally:
        os.close(found)
    return target


def _stand_in(target: Path, directory: bool) -> None:
    """A mount needs something of its kind to be mounted on."""
    if target.exists() and target.is_dir() != directory:
        target.rmdir() if target.is_dir() else target.unlink()
    if directory:
        target.mkdir(0o750, exist_ok=True)
    else:
        target.touch(0o640)


def _within(path: str, top: str) -> list[str]:
    """The steps from `top` to `path`."""
    if path == top:
        return []
    if not path.startswith(top.rstrip("/") + "/"):
        raise Escapes(f'subpath "{path}" not within volume path "{top}"')
    return path[len(top.rstrip("/")) + 1 :].split("/")


def _open(top: str, steps: list[str]) -> int:
    """By its number; no step may be a link (any more)."""
    current = os.open(top, _STEP)
    try:
        for step in steps:
            following = os.open(step, _STEP, dir_fd=current)
            os.close(current)
            current = following
            if stat.S_ISLNK(os.fstat(current).st_mode):
                raise Escapes(f'unexpected symlink found "{step}"')
    except BaseException:
        os.close(current)
        raise
    return current
