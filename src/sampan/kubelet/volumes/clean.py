"""Taking a pod's volumes away again, by what is found on disk and mounted: whoever made them may be long dead.

Nothing is removed that is mounted here: first everything below is unmounted, and then no other file system is entered, so that the
contents of a node's own directories stay.

All of it is done on a thread: the kernel lets go of a mount in some ten milliseconds, and users leave trees of any size.

Source: kubernetes pkg/kubelet/kubelet_volumes.go (cleanupOrphanedPodDirs), pkg/util/removeall
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
from pathlib import Path

from sampan.kubelet.volumes import mounts
from sampan.kubelet.volumes.places import Place

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


async def volumes(place: Place) -> None:
    """Raises OSError: something is in use."""
    parts = [each for each in (place.subpaths, place.volumes, place.directory / "plugins") if each.exists()]
    if parts:
        await asyncio.to_thread(_remove, place.directory, parts)


async def everything(place: Place) -> None:
    """The volumes, and all else of the pod."""
    if place.directory.exists():
        await asyncio.to_thread(_remove, place.directory, [place.directory])


def _remove(directory: Path, parts: list[Path]) -> None:
    for each in mounts.below(directory):
        mounts.unmount(each)
    # a bind mount looks like any directory: whatever should still be there must not be entered
    if left := mounts.below(directory):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(left[0]))
    for each in parts:
        remove_tree(each)


def remove_tree(top: Path) -> None:
    """With all below, without leaving its file system. Raises OSError.

    Users make trees of any depth, with paths longer than the kernel takes: so every directory is moved to the top before its turn
    comes, and nothing is ever more than one step away.
    """
    try:
        found = os.open(top, _DIRECTORY)
    except FileNotFoundError:
        return
    try:
        if os.fstat(found).st_dev != os.lstat(top.parent).st_dev:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(top))
        _Removal(found).run()
    finally:
        os.close(found)
    os.rmdir(top)


class _Removal:
    def __init__(self, top: int) -> None:
        self._top = top
        self._device = os.fstat(top).st_dev
        self._mark = secrets.token_hex(8)
        self._count = 0

    def run(self) -> None:
        waiting = self._emptied(self._top)
        while waiting:
            name = waiting.pop()
            directory = os.open(name, _DIRECTORY, dir_fd=self._top)
            try:
                if os.fstat(directory).st_dev != self._device:
                    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), name)
                waiting += self._emptied(directory)
            finally:
                os.close(directory)
            os.rmdir(name, dir_fd=self._top)

    def _emptied(self, directory: int) -> list[str]:
        """Its files are removed; its directories are at the top now, under these names."""
        with os.scandir(directory) as entries:
            found = [(each.name, each.is_dir(follow_symlinks=False)) for each in entries]
        out = []
        for name, is_directory in found:
            if not is_directory:
                os.unlink(name, dir_fd=directory)
            elif directory == self._top:
                out.append(name)
            else:
                self._count += 1
                out.append(f"{self._mark}.{self._count}")
                os.rename(name, out[-1], src_dir_fd=directory, dst_dir_fd=self._top)
        return out
