"""What containers and pods use, as CRI reports it.

CPU per second is taken between two questions, as containerd does. What a container has written is counted by walking through it,
on a thread, and the longer that takes the more seldom: an idle node stays idle, however often it is asked.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sampan.cri import pb
from sampan.runtime import cgroups, kernel
from sampan.runtime.containers import Container, is_running
from sampan.runtime.sandboxes import Sandbox, Sandboxes

DISK_SECONDS = 10.0
#: of the time at most one part in so many is spent on walking
DISK_SHARE = 50
MAX_ENTRIES = 2_000_000
BLOCK = 512


class Stats:
    """`clock`: seconds since 1970."""

    def __init__(self, images: Path, sandboxes: Sandboxes, *, clock: Callable[[], float]) -> None:
        self._images = images
        self._sandboxes = sandboxes
        self._clock = clock
        self._cpu: dict[str, tuple[int, int]] = {}
        #: by container: when to look again, bytes, inodes
        self._disk: dict[str, tuple[float, int, int]] = {}
        self._walking = asyncio.Lock()

    async def of(self, container: Container) -> Any:
        config, used, now = container.config, cgroups.usage(container.state.cgroup), self._now()
        attributes = pb.ContainerAttributes(
            id=container.id, metadata=config.metadata, labels=config.labels, annotations=config.annotations
        )
        size, inodes = await self.written(container)
        return pb.ContainerStats(
            attributes=attributes, cpu=self._cpu_usage(container.id, used, now), memory=_memory(used, now),
            writable_layer=pb.FilesystemUsage(
                timestamp=now, fs_id=pb.FilesystemIdentifier(mountpoint=str(self._images)),
                used_bytes=value(size), inodes_used=value(inodes),
            ),
            swap=pb.SwapUsage(timestamp=now, swap_usage_bytes=value(used.swap)),
        )  # fmt: skip

    async def of_pod(self, sandbox: Sandbox, containers: list[Container]) -> Any:
        config, now = sandbox.config, self._now()
        # the pod's group may be everyone's, where the caller named none
        used = cgroups.usage(sandbox.state.cgroup)
        attributes = pb.PodSandboxAttributes(
            id=sandbox.id, metadata=config.metadata, labels=config.labels, annotations=config.annotations
        )
        linux = pb.LinuxPodSandboxStats(
            cpu=self._cpu_usage(sandbox.id, used, now), memory=_memory(used, now),
            process=pb.ProcessUsage(timestamp=now, process_count=value(used.processes)),
            containers=[await self.of(each) for each in containers if is_running(each)],
        )  # fmt: skip
        interfaces = await self.interfaces(sandbox)
        if interfaces:
            linux.network.timestamp = now
            linux.network.default_interface.CopyFrom(interfaces[0])
            linux.network.interfaces.extend(interfaces[1:])
        return pb.PodSandboxStats(attributes=attributes, linux=linux)

    async def interfaces(self, sandbox: Sandbox) -> list[Any]:
        """Of the pod's own network, the first one first."""
        namespace = self._sandboxes.network_namespace(sandbox)
        if namespace is None:
            return []
        try:
            text = await kernel.in_network(namespace, lambda: Path("/proc/thread-self/net/dev").read_text())
        except OSError:  # it is going at this moment
            return []
        found = []
        for line in text.splitlines()[2:]:
            name, _, rest = line.partition(":")
            numbers = [int(word) for word in rest.split()]
            if name.strip() != "lo":
                found.append(
                    pb.NetworkInterfaceUsage(
                        name=name.strip(),
                        rx_bytes=value(numbers[0]),
                        rx_errors=value(numbers[2]),
                        tx_bytes=value(numbers[8]),
                        tx_errors=value(numbers[10]),
                    )
                )
        return sorted(found, key=lambda each: (each.name != "eth0", each.name))

    def forget(self, key: str) -> None:
        self._cpu.pop(key, None)
        self._disk.pop(key, None)

    def _now(self) -> int:
        return int(self._clock() * 1e9)

    def _cpu_usage(self, key: str, used: cgroups.Usage, now: int) -> Any:
        before, when = self._cpu.get(key, (used.cpu, now))
        self._cpu[key] = used.cpu, now
        rate = max(0, (used.cpu - before) * 10**9 // (now - when)) if now > when else 0
        return pb.CpuUsage(timestamp=now, usage_core_nano_seconds=value(used.cpu), usage_nano_cores=value(rate))

    async def written(self, container: Container) -> tuple[int, int]:
        """Bytes and inodes of its writable layer, as they were a while ago."""
        loop = asyncio.get_running_loop()
        async with self._walking:
            known = self._disk.get(container.id)
            if known is None or loop.time() >= known[0]:
                began = loop.time()
                size, inodes = await asyncio.to_thread(_walk, container.directory / "upper")
                again = began + max(DISK_SECONDS, DISK_SHARE * (loop.time() - began))
                known = self._disk[container.id] = again, size, inodes
        return known[1], known[2]


def value(number: int) -> Any:
    return pb.UInt64Value(value=number)


def _memory(used: cgroups.Usage, now: int) -> Any:
    return pb.MemoryUsage(
        timestamp=now, working_set_bytes=value(used.working_set), usage_bytes=value(used.memory),
        available_bytes=value(max(0, used.limit - used.working_set)), rss_bytes=value(used.rss),
        page_faults=value(used.page_faults), major_page_faults=value(used.major_page_faults),
    )  # fmt: skip


def _walk(top: Path) -> tuple[int, int]:
    """What is in the way of being written or removed is left out; files with several names count once."""
    size, left = 0, [str(top)]
    seen: set[int] = set()
    while left and len(seen) < MAX_ENTRIES:
        try:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    found = entry.stat(follow_symlinks=False)
                    if found.st_ino not in seen:
                        seen.add(found.st_ino)
                        size += found.st_blocks * BLOCK
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
        except OSError:
            continue
    return size, len(seen) + 1
