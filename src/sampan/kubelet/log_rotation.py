"""Logs of containers do not grow for ever: a file that has become too long is put aside and the container gets a new one.

    0.log                           written now
    0.log.20261128-171500           the last one, whole, for those who are reading it
    0.log.20261128-171000.gz        older ones

Source: kubernetes pkg/kubelet/logs/container_log_manager.go
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sampan.cri import pb
from sampan.kubelet.cri import Cri, CriFailed
from sampan.kubelet.resources import whole

log = logging.getLogger("sampan.kubelet")
SECONDS = 10.0
PIECE = 128 * 1024
GZIP = 16 + zlib.MAX_WBITS


class LogRotation:
    """`max_files`: of each container, the one that is written included. `clock`: seconds since 1970."""

    def __init__(self, cri: Cri, *, max_size: str = "10Mi", max_files: int = 5, clock: Callable[[], float]) -> None:
        if max_files <= 1:
            raise ValueError(f"invalid MaxFiles {max_files}, must be > 1")
        self._cri = cri
        self._max_size = whole(max_size)
        self._max_files = max_files
        self._clock = clock
        self._paths: dict[str, Path] = {}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(SECONDS)
            try:
                await self.look()
            except CriFailed as error:
                log.warning("cannot rotate container logs: %s", error)

    async def look(self) -> None:
        """All that run. Raises CriFailed."""
        state = pb.ContainerStateValue(state=pb.CONTAINER_RUNNING)
        found = (await self._cri.ListContainers(filter=pb.ContainerFilter(state=state))).containers
        self._paths = {each.id: self._paths[each.id] for each in found if each.id in self._paths}
        for each in found:
            try:
                await self._look(each.id)
            except (OSError, CriFailed) as error:
                log.error("cannot rotate the log of container %s: %s", each.id, error)

    async def _look(self, container: str) -> None:
        path = self._paths.get(container)
        if path is None:
            status = (await self._cri.ContainerStatus(container_id=container)).status
            if not status.log_path:
                return
            path = self._paths[container] = Path(status.log_path)
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            # somebody has moved it away, or an earlier rotation stopped half way
            await self._cri.ReopenContainerLog(container_id=container)
            return
        if self._max_size <= 0 or size < self._max_size:
            return
        await self._rotate(container, path)

    async def _rotate(self, container: str, path: Path) -> None:
        kept = _clean(path)
        for each in kept[: max(0, len(kept) - (self._max_files - 2))]:
            each.unlink()
            kept = kept[1:]
        for each in kept:
            if each.suffix != ".gz":
                await compress(each)
        stamp = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y%m%d-%H%M%S")
        aside = path.with_name(f"{path.name}.{stamp}")
        os.rename(path, aside)
        try:
            await self._cri.ReopenContainerLog(container_id=container)
        except CriFailed:
            # it goes on writing into the file that it has open: that one must be found under its name
            if not os.access(path, os.F_OK):
                os.rename(aside, path)
            raise


def _clean(path: Path) -> list[Path]:
    """What it was rotated into, the oldest first; leftovers of what was broken off are removed."""
    found = sorted(path.parent.glob(f"{path.name}.*"))
    names = {each.name for each in found}
    kept = []
    for each in found:
        if each.suffix == ".tmp" or f"{each.name}.gz" in names:
            each.unlink()
        else:
            kept.append(each)
    return kept


async def compress(path: Path) -> None:
    """To `path` with `.gz`, whole or not at all; in pieces, for the kubelet has more to do."""
    made = path.with_name(f"{path.name}.tmp")
    packer = zlib.compressobj(wbits=GZIP)
    try:
        with path.open("rb") as source, made.open("wb") as target:
            os.fchmod(target.fileno(), os.fstat(source.fileno()).st_mode & 0o777)
            while data := source.read(PIECE):
                target.write(packer.compress(data))
                await asyncio.sleep(0)
            target.write(packer.flush())
        os.rename(made, path.with_name(f"{path.name}.gz"))
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(made)
        raise
    os.unlink(path)
