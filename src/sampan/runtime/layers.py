"""From a compressed blob to a layer in the store: unpacked by a child process, checked, put in place.

A layer that several images want at once is fetched once. Children are few, so that a pull leaves the machine to its pods.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from sampan.runtime import apart
from sampan.runtime.errors import Invalid, Unavailable
from sampan.runtime.store import LayerInfo, Store, delete

#: writes the compressed layer into this file
Fetch = Callable[[Path], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one layer may come to, and how much of the disk stays free whatever images say."""

    layer_bytes: int = 64 << 30
    layer_entries: int = 2_000_000
    keep_free: int = 512 << 20
    downloads: int = 3
    unpackers: int = 2


class Layers:
    def __init__(self, store: Store, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self._downloads = asyncio.Semaphore(limits.downloads)
        self._unpackers = asyncio.Semaphore(limits.unpackers)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, int] = {}

    async def ensure(self, diff_id: str, size: int, fetch: Fetch) -> None:
        """The layer is in the store afterwards. `size`: of the blob. Raises CriError."""
        if self._store.has_layer(diff_id):
            return
        task = self._running.get(diff_id)
        if task is None or task.done():
            task = self._running[diff_id] = asyncio.create_task(self._make(diff_id, size, fetch))
        self._waiting[diff_id] = self._waiting.get(diff_id, 0) + 1
        try:
            await asyncio.shield(task)
        finally:
            self._waiting[diff_id] -= 1
            if not self._waiting[diff_id]:
                # the last one who wanted it went away: a pull that was called off stops working
                del self._waiting[diff_id]
                self._running.pop(diff_id, None)
                task.cancel()

    async def _make(self, diff_id: str, size: int, fetch: Fetch) -> None:
        work = self._store.ingest / uuid.uuid4().hex
        (work / "fs").mkdir(parents=True)
        (work / "fs").chmod(0o755)
        blob = work / "blob"
        try:
            async with self._downloads:
                if size > self._room():
                    raise Unavailable(f"failed to copy: {size} bytes: no space left on device")
                await fetch(blob)
            async with self._unpackers:
                info = await self._unpack(blob, work / "fs", diff_id)
            blob.unlink()
            self._store.put_layer(diff_id, work, info)
        finally:
            if work.exists():
                await delete(work)

    def _room(self) -> int:
        disk = os.statvfs(self._store.ingest)
        return max(0, min(self._limits.layer_bytes, disk.f_bavail * disk.f_frsize - self._limits.keep_free))

    async def _unpack(self, blob: Path, target: Path, diff_id: str) -> LayerInfo:
        limits = str(self._room()), str(self._limits.layer_entries)
        failed = f"failed to extract layer {diff_id}"
        found = await apart.run("sampan.runtime.unpack", str(blob), str(target), *limits, failed=failed)
        if found["diff_id"] != diff_id:
            raise Invalid(f"wrong diff id calculated on extraction {found['diff_id']!r}, expected {diff_id!r}")
        return LayerInfo(found["size"], found["inodes"])
