"""What containers use, as CRI reports it.

CPU per second is taken between two questions, as containerd does; what a container has written is counted by `du`, and not
more often than every few seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sampan.cri import pb
from sampan.runtime import cgroups
from sampan.runtime.containers import Container

DISK_SECONDS = 10.0


class Stats:
    """`clock`: seconds since 1970."""

    def __init__(self, images: Path, *, clock: Callable[[], float]) -> None:
        self._images = images
        self._clock = clock
        self._cpu: dict[str, tuple[int, int]] = {}
        self._disk: dict[str, tuple[float, int, int]] = {}

    async def of(self, container: Container) -> Any:
        config = container.config
        used, now = cgroups.usage(container.state.cgroup), int(self._clock() * 1e9)
        attributes = pb.ContainerAttributes(
            id=container.id, metadata=config.metadata, labels=config.labels, annotations=config.annotations
        )
        size, inodes = await self._written(container)
        return pb.ContainerStats(
            attributes=attributes,
            cpu=pb.CpuUsage(
                timestamp=now, usage_core_nano_seconds=_value(used.cpu),
                usage_nano_cores=_value(self._per_second(container.id, used.cpu, now)),
            ),
            memory=pb.MemoryUsage(
                timestamp=now, working_set_bytes=_value(used.working_set), usage_bytes=_value(used.memory),
                available_bytes=_value(max(0, used.limit - used.working_set)), rss_bytes=_value(used.rss),
                page_faults=_value(used.page_faults), major_page_faults=_value(used.major_page_faults),
            ),
            writable_layer=pb.FilesystemUsage(
                timestamp=now, fs_id=pb.FilesystemIdentifier(mountpoint=str(self._images)),
                used_bytes=_value(size), inodes_used=_value(inodes),
            ),
        )  # fmt: skip

    def forget(self, key: str) -> None:
        self._cpu.pop(key, None)
        self._disk.pop(key, None)

    def _per_second(self, key: str, used: int, now: int) -> int:
        before, when = self._cpu.get(key, (used, now))
        self._cpu[key] = used, now
        return max(0, (used - before) * 10**9 // (now - when)) if now > when else 0

    async def _written(self, container: Container) -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        known = self._disk.get(container.id)
        if known is None or loop.time() - known[0] > DISK_SECONDS:
            upper = str(container.directory / "upper")
            size, inodes = await asyncio.gather(_du("--block-size=1", upper), _du("--inodes", upper))
            known = self._disk[container.id] = loop.time(), size, inodes
        return known[1], known[2]


def _value(number: int) -> Any:
    return pb.UInt64Value(value=number)


async def _du(*arguments: str) -> int:
    process = await asyncio.create_subprocess_exec(
        "du", "--summarize", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    out, _ = await process.communicate()
    first = out.split(maxsplit=1)
    return int(first[0]) if first else 0
