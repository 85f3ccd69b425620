"""Taking a pod's volumes away again, by what is found on disk and mounted: whoever made them may be long dead.

Nothing is removed that is mounted here: first everything below is unmounted, and then no other file system is entered, so that the
contents of a node's own directories stay.

Source: kubernetes pkg/kubelet/kubelet_volumes.go (cleanupOrphanedPodDirs), pkg/util/removeall
"""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

from sampan.kubelet.volumes import mounts
from sampan.kubelet.volumes.places import Place

#: files removed between two turns of the loop
BATCH = 256


async def volumes(place: Place) -> None:
    """Raises OSError: something is in use."""
    for directory in (place.subpaths, place.volumes):
        _unmount_below(directory)
    await remove_tree(place.subpaths)
    await remove_tree(place.volumes)
    await remove_tree(place.directory / "plugins")


async def everything(place: Place) -> None:
    """The volumes, and all else of the pod."""
    _unmount_below(place.directory)
    await remove_tree(place.directory)


def _unmount_below(directory: Path) -> None:
    for each in mounts.below(directory):
        mounts.unmount(each)


async def remove_tree(top: Path) -> None:
    """With all below, without leaving its file system. Raises OSError."""
    try:
        device = os.lstat(top).st_dev
    except FileNotFoundError:
        return
    # what is mounted on `top` itself is as foreign as what is mounted below
    if device != os.lstat(top.parent).st_dev:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(top))
    await _Removal(device).run(str(top))


class _Removal:
    def __init__(self, device: int) -> None:
        self._device = device
        self._count = 0

    async def run(self, top: str) -> None:
        # depth first with a stack of our own: trees of users may be deeper than Python's
        stack = [(top, False)]
        while stack:
            path, emptied = stack.pop()
            self._count += 1
            if self._count % BATCH == 0:
                await asyncio.sleep(0)
            try:
                if emptied:
                    os.rmdir(path)
                    continue
                with os.scandir(path) as entries:
                    found = list(entries)
            except FileNotFoundError:
                continue
            stack.append((path, True))
            for each in found:
                if not each.is_dir(follow_symlinks=False):
                    await self._unlink(each.path)
                elif each.stat(follow_symlinks=False).st_dev != self._device:
                    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), each.path)
                else:
                    stack.append((each.path, False))

    async def _unlink(self, path: str) -> None:
        self._count += 1
        if self._count % BATCH == 0:
            await asyncio.sleep(0)
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
