"""Images that nobody uses are removed when the disk they are on becomes full, those that were not used for longest first.

From `high` percent on until it is down at `low`. Images that are younger than two minutes stay (somebody may be about to use them), and so
do pinned ones and those of any container that is still there.

Source: kubernetes pkg/kubelet/images/image_gc_manager.go
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.cri import pb
from sampan.kubelet import usage
from sampan.kubelet.cri import Cri, CriFailed

log = logging.getLogger("sampan.kubelet")
Obj = dict[str, Any]
SECONDS = 300.0
#: available and all of it, in bytes. Raises CriFailed
Disk = Callable[[], Awaitable[tuple[int, int]]]


@dataclass(slots=True)
class _Known:
    """Seconds of the loop's time."""

    detected: float
    size: int
    pinned: bool
    used: float = 0.0


class ImageGc:
    """`event`: a type, reason and message about the node."""

    def __init__(
        self,
        cri: Cri,
        event: Callable[[str, str, str], None],
        *,
        high: int = 85,
        low: int = 80,
        min_seconds: float = 120.0,
        disk: Disk | None = None,
    ) -> None:
        self._cri = cri
        self._event = event
        self._high, self._low = high, low
        self._min_seconds = min_seconds
        self._disk = disk or self._image_disk
        self._known: dict[str, _Known] = {}
        self._sandbox: str | None = None

    async def run(self) -> None:
        failed = False
        while True:
            try:
                await self.collect()
                failed = False
            except CriFailed as error:
                log.error("Image garbage collection failed: %s", error)
                # the runtime may be starting: only a second time in a row is worth an event
                if failed:
                    self._event("Warning", "ImageGCFailed", str(error))
                failed = True
            await asyncio.sleep(SECONDS)

    async def collect(self) -> None:
        """Raises CriFailed."""
        await self._detect()
        available, capacity = await self._disk()
        if capacity == 0:
            self._event("Warning", "InvalidDiskCapacity", "invalid capacity 0 on image filesystem")
            return
        used = 100 - available * 100 // capacity
        if self._high == 100 or used < self._high:
            return
        wanted = capacity * (100 - self._low) // 100 - available
        log.info(
            "disk usage on image filesystem is over the high threshold: %d%% of %d%%, freeing %d bytes",
            used,
            self._high,
            wanted,
        )
        freed = await self._free(wanted)
        if freed < wanted:
            self._event(
                "Warning",
                "FreeDiskSpaceFailed",
                f"Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, "
                f"but only found {freed} bytes eligible to free.",
            )

    async def delete_unused(self) -> None:
        """All of them, when the node is short of space. Raises CriFailed."""
        await self._free(None)

    async def _image_disk(self) -> tuple[int, int]:
        found = (await self._cri.ImageFsInfo()).image_filesystems
        stat = usage.file_system(Path(found[0].fs_id.mountpoint), "") if found else {}
        return stat.get("availableBytes", 0), stat.get("capacityBytes", 0)

    async def _detect(self) -> set[str]:
        """What there is, and the ids of those in use."""
        now = asyncio.get_running_loop().time()
        containers, images = await asyncio.gather(self._cri.ListContainers(), self._cri.ListImages())
        named = {
            name for each in containers.containers for name in (each.image_ref, each.image_id, each.image.image) if name
        }
        named.add(await self._sandbox_image())
        used = set()
        known: dict[str, _Known] = {}
        for image in images.images:
            found = known[image.id] = self._known.get(image.id) or _Known(now, image.size, image.pinned)
            found.size, found.pinned = image.size, image.pinned
            if named & {image.id, *image.repo_tags, *image.repo_digests}:
                used.add(image.id)
                found.used = now
        self._known = known
        return used

    async def _sandbox_image(self) -> str:
        """That of sandboxes, which containerd did not pin before 1.7; empty where there is none."""
        if self._sandbox is None:
            config = json.loads((await self._cri.Status(verbose=True)).info.get("config") or "{}")
            self._sandbox = str(config.get("sandboxImage") or "")
        return self._sandbox

    async def _free(self, wanted: int | None) -> int:
        """At least so many bytes, or all; how many it were."""
        now = asyncio.get_running_loop().time()
        used = await self._detect()
        freed = 0
        for key, image in sorted(self._known.items(), key=lambda item: (item[1].used, item[1].detected)):
            if wanted is not None and freed >= wanted:
                break
            if key in used or image.pinned or now - image.detected < self._min_seconds:
                continue
            log.info("removing image %s of %d bytes", key, image.size)
            try:
                await self._cri.RemoveImage(image=pb.ImageSpec(image=key))
            except CriFailed as error:
                if error.down:
                    raise
                log.warning("cannot remove image %s: %s", key, error)
                continue
            del self._known[key]
            freed += image.size
        return freed
