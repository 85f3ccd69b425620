"""Two ways to make a control group: by directories, or by asking systemd for a slice. Version 1, version 2, and both at once.

A group is named by its parts, `("kubepods", "burstable", "pod1234")`; a driver says how the runtime is told of it (`path`).

Source: github.com/opencontainers/cgroups fs, fs2, systemd; kubernetes pkg/kubelet/cm/cgroup_manager_linux.go
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sampan.kubelet.machine import table, text
from sampan.kubelet.resources import PERIOD, Limits, weight

Name = tuple[str, ...]
Run = Callable[[list[str]], Awaitable[tuple[int, str]]]
CONTROLLERS = ("cpu", "cpuset", "memory", "pids", "io", "hugetlb")
#: how often, and how long between, a group is tried to be removed whose processes are dying
TRIES, PAUSE = 50, 0.02
#: "no limit" of version 1, rounded to pages
UNLIMITED = 1 << 62
_FILES_V1 = ("memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file")
_FILES_V2 = ("memory.current", "memory.max", "inactive_file")


@dataclass(frozen=True, slots=True)
class Used:
    """Nanoseconds of processors, and bytes now."""

    cpu: int
    usage: int
    working_set: int
    rss: int
    page_faults: int
    major_page_faults: int


class Driver(Protocol):
    def path(self, name: Name) -> str:
        """As a runtime wants to hear it; below every mount point."""

    async def create(self, name: Name, limits: Limits) -> None:
        """Or set the limits of one that is there. Raises OSError."""

    async def remove(self, name: Name) -> None:
        """With all in it; what still runs there is killed. Raises OSError."""

    def exists(self, name: Name) -> bool: ...

    def children(self, name: Name) -> Iterator[str]:
        """The last parts of the names of the groups in it."""

    def memory(self, name: Name) -> tuple[int, int] | None:
        """The working set and its limit, in bytes; None: there is none."""

    def used(self, name: Name) -> Used | None:
        """What it has used; None: nobody counts."""


class Cgroupfs:
    """`mounts`: controller to mount point; that of version 2 has no name."""

    def __init__(self, mounts: Mapping[str, Path]) -> None:
        self.mounts = mounts
        self.unified = "memory" not in mounts
        #: groups of version 1 that are known to have processors, which all that are made in them get from them
        self._with_cpus: set[Path] = set()

    def path(self, name: Name) -> str:
        return "/" + "/".join(name)

    def exists(self, name: Name) -> bool:
        return self._main(name).is_dir()

    def children(self, name: Name) -> Iterator[str]:
        with contextlib.suppress(FileNotFoundError):
            yield from (each.name for each in os.scandir(self._main(name)) if each.is_dir())

    def memory(self, name: Name) -> tuple[int, int] | None:
        top = self._main(name)
        usage, limit, inactive = _FILES_V2 if self.unified else _FILES_V1
        bound, used = text(top / limit), text(top / usage)
        if not (bound.isdigit() and used.isdigit()) or int(bound) >= UNLIMITED:
            return None
        return max(0, int(used) - table(top / "memory.stat").get(inactive, 0)), int(bound)

    def used(self, name: Name) -> Used | None:
        top = self._main(name)
        usage, _, inactive = _FILES_V2 if self.unified else _FILES_V1
        bytes_, stat = text(top / usage), table(top / "memory.stat")
        if self.unified:
            cpu = table(top / "cpu.stat").get("usage_usec", -1) * 1000
        else:
            point = self.mounts.get("cpuacct")
            counted = text(point / self.path(name)[1:] / "cpuacct.usage") if point is not None else ""
            cpu = int(counted) if counted.isdigit() else -1
        if not bytes_.isdigit() or cpu < 0:
            return None
        prefix = "" if self.unified else "total_"
        return Used(
            cpu, int(bytes_), max(0, int(bytes_) - stat.get(inactive, 0)), stat.get("anon" if self.unified else "total_rss", 0),
            stat.get(f"{prefix}pgfault", 0), stat.get(f"{prefix}pgmajfault", 0),
        )  # fmt: skip

    async def create(self, name: Name, limits: Limits) -> None:
        if self.unified:
            self._create_v2(name, limits)
        else:
            self._create_v1(name, limits)

    async def remove(self, name: Name) -> None:
        tops = [point / self.path(name)[1:] for point in set(self.mounts.values())]
        for turn in range(TRIES):
            left = [top for top in tops if not _gone(top)]
            if not left:
                return
            for pid in {pid for top in left for pid in _processes(top)}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if turn:  # the first time it is enough to look again
                await asyncio.sleep(PAUSE)
        raise OSError(16, f"cannot remove control group {self.path(name)}: {', '.join(map(str, left))}")

    def _main(self, name: Name) -> Path:
        return self.mounts["" if self.unified else "memory"] / self.path(name)[1:]

    def _create_v1(self, name: Name, limits: Limits) -> None:
        # several controllers may share a hierarchy
        for point in {point for controller, point in self.mounts.items() if controller}:
            (point / self.path(name)[1:]).mkdir(parents=True, exist_ok=True)
        if "cpuset" in self.mounts:
            self._inherit_cpus(name)

        def write(controller: str, file: str, value: int | None) -> None:
            if value is not None and controller in self.mounts:
                (self.mounts[controller] / self.path(name)[1:] / file).write_text(str(value))

        write("cpu", "cpu.shares", limits.shares)
        write("cpu", "cpu.cfs_period_us", limits.period)
        write("cpu", "cpu.cfs_quota_us", limits.quota)
        write("memory", "memory.limit_in_bytes", limits.memory)
        write("pids", "pids.max", limits.pids)

    def _inherit_cpus(self, name: Name) -> None:
        """A new group of version 1 has no processors, and can hold no process until it has."""
        top = self.mounts["cpuset"]
        for depth, part in enumerate(name, 1):
            below = top / part
            if depth < len(name) and below in self._with_cpus:
                top = below
                continue
            for file in ("cpuset.cpus", "cpuset.mems"):
                with contextlib.suppress(FileNotFoundError):
                    if not (below / file).read_text().strip():
                        (below / file).write_text((top / file).read_text())
            if depth < len(name):
                self._with_cpus.add(below)
            top = below

    def _create_v2(self, name: Name, limits: Limits) -> None:
        top = self.mounts[""]
        for part in name:
            for controller in CONTROLLERS:
                # one by one: the kernel may lack some, and takes all or none
                with contextlib.suppress(OSError):
                    (top / "cgroup.subtree_control").write_text(f"+{controller}")
            top = top / part
            top.mkdir(exist_ok=True)
        if limits.shares is not None:
            (top / "cpu.weight").write_text(str(weight(limits.shares)))
        if limits.quota is not None:
            quota = "max" if limits.quota < 0 else str(limits.quota)
            (top / "cpu.max").write_text(f"{quota} {limits.period or PERIOD}")
        if limits.memory is not None:
            (top / "memory.max").write_text(str(limits.memory))
        if limits.pids is not None:
            (top / "pids.max").write_text(str(limits.pids))


class Systemd:
    """`run` runs a command: its exit code and output. Slices are made over D-Bus, by systemd's own `busctl`."""

    def __init__(self, mounts: Mapping[str, Path], run: Run | None = None) -> None:
        self._fs = Cgroupfs(mounts)
        self._run = run or execute

    def path(self, name: Name) -> str:
        """`/kubepods.slice/kubepods-burstable.slice/...`: in a slice's name, dashes are steps."""
        words = [part.replace("-", "_") for part in name]
        return "".join(f"/{'-'.join(words[: length + 1])}.slice" for length in range(len(words)))

    def exists(self, name: Name) -> bool:
        return self._fs.exists(self._directories(name))

    def children(self, name: Name) -> Iterator[str]:
        for each in self._fs.children(self._directories(name)):
            if each.endswith(".slice"):
                # uids have dashes and no underscores
                yield each.removesuffix(".slice").rpartition("-")[2].replace("_", "-")

    def memory(self, name: Name) -> tuple[int, int] | None:
        return self._fs.memory(self._directories(name))

    def used(self, name: Name) -> Used | None:
        return self._fs.used(self._directories(name))

    async def create(self, name: Name, limits: Limits) -> None:
        unit = self._directories(name)[-1]
        wanted = self._properties(limits)
        if not self.exists(name):
            made = [*wanted, "DefaultDependencies b false", "MemoryAccounting b true", "CPUAccounting b true",
                    "TasksAccounting b true"]  # fmt: skip
            try:
                return await self._call("StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "replace", made, "0")
            except OSError as error:
                if "already" not in str(error):
                    raise
                # asked for before, or the parent of another: its directory is about to come
        if wanted:
            await self._call("SetUnitProperties", "sba(sv)", unit, "true", wanted)

    async def remove(self, name: Name) -> None:
        if self.exists(name):
            # what runs in it is in scopes below, which go with their slice
            await self._call("StopUnit", "ss", self._directories(name)[-1], "replace")
        await self._fs.remove(self._directories(name))

    def _properties(self, limits: Limits) -> list[str]:
        out = []
        new = self._fs.unified
        if limits.shares is not None:
            out.append(f"CPUWeight t {weight(limits.shares)}" if new else f"CPUShares t {limits.shares}")
        if limits.quota is not None:
            endless = (1 << 64) - 1
            # systemd counts for each second, and to ten milliseconds
            each = endless if limits.quota < 0 else limits.quota * 1_000_000 // (limits.period or PERIOD)
            each = each if each == endless else -(-each // 10_000) * 10_000
            out += [f"CPUQuotaPerSecUSec t {each}", f"CPUQuotaPeriodUSec t {limits.period or PERIOD}"]
        if limits.memory is not None:
            out.append(f"{'MemoryMax' if new else 'MemoryLimit'} t {limits.memory}")
        if limits.pids is not None:
            out.append(f"TasksMax t {limits.pids}")
        return out

    async def _call(self, method: str, signature: str, *arguments: str | list[str]) -> None:
        words: list[str] = []
        for each in arguments:
            if isinstance(each, str):
                words.append(each)
            else:
                words += [str(len(each)), *(word for one in each for word in one.split())]
        manager = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"]
        code, output = await self._run(["busctl", "call", *manager, method, signature, *words])
        if code:
            raise OSError(5, f"systemd: {method} {words[0]}: {output.strip()}")

    def _directories(self, name: Name) -> Name:
        return tuple(self.path(name)[1:].split("/"))


async def execute(command: list[str]) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace")


def _gone(top: Path) -> bool:
    """Remove what can be removed."""
    if not top.is_dir():
        return True
    for directory, _, _ in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(directory)
    return not top.is_dir()


def _processes(top: Path) -> Iterator[int]:
    for directory, _, _ in os.walk(top):
        with contextlib.suppress(OSError):
            yield from map(int, Path(directory, "cgroup.procs").read_text().split())
