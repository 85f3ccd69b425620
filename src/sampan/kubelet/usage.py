"""What the machine uses as a whole: processors, memory, network, file systems, processes; read from the kernel when asked.

Source: kubernetes/pkg/kubelet/stats/{cri_stats_provider,helper}.go, cadvisor (the root cgroup's numbers)
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.kubelet import machine
from sampan.kubelet.cgroup_drivers import Used

Obj = dict[str, Any]
_TICK = 10**9 // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Nanoseconds and bytes since boot, or now."""

    cpu: int
    available: int
    usage: int
    working_set: int
    rss: int
    page_faults: int
    major_page_faults: int
    swap: int
    swap_available: int


def read(proc: Path = Path("/proc")) -> Usage:
    """Of the root control group where it counts (version 1), else of the whole kernel."""
    memory = {name: size * 1024 for name, size in machine.table(proc / "meminfo").items()}
    events = machine.table(proc / "vmstat")
    points = machine.mounts(proc)
    total = memory.get("MemTotal", 0)
    stat = machine.table(points["memory"] / "memory.stat") if "memory" in points else {}
    if stat:
        usage = int(machine.text(points["memory"] / "memory.usage_in_bytes") or 0)
        inactive, rss = stat.get("total_inactive_file", 0), stat.get("total_rss", 0)
    else:
        usage = total - memory.get("MemFree", 0)
        inactive, rss = memory.get("Inactive(file)", 0), memory.get("AnonPages", 0)
    working = max(0, usage - inactive)
    swap = memory.get("SwapTotal", 0) - memory.get("SwapFree", 0)
    counted = machine.text(points["cpuacct"] / "cpuacct.usage") if "cpuacct" in points else ""
    return Usage(
        int(counted) if counted.isdigit() else _busy(proc), max(0, total - working), usage, working, rss,
        events.get("pgfault", 0), events.get("pgmajfault", 0), swap, memory.get("SwapFree", 0),
    )  # fmt: skip


def own() -> Used:
    """Of this process."""
    found = resource.getrusage(resource.RUSAGE_SELF)
    pages = machine.text(Path("/proc/self/statm")).split()
    resident = int(pages[1]) * os.sysconf("SC_PAGE_SIZE") if len(pages) > 1 else 0
    cpu = int((found.ru_utime + found.ru_stime) * 1e9)
    return Used(cpu, resident, resident, resident, found.ru_minflt + found.ru_majflt, found.ru_majflt)


def _busy(proc: Path) -> int:
    """Nanoseconds of all processors that were neither idle nor waiting for a disk."""
    words = machine.text(proc / "stat").partition("\n")[0].split()[1:9]
    counts = [int(word) for word in words]
    return (sum(counts) - sum(counts[3:5])) * _TICK if len(counts) == 8 else 0


def file_system(path: Path, when: str) -> Obj:
    """All of the file system that `path` is on."""
    try:
        found = os.statvfs(path)
    except OSError:
        return {"time": when}
    size = found.f_frsize
    return {
        "time": when,
        "availableBytes": found.f_bavail * size,
        "capacityBytes": found.f_blocks * size,
        "usedBytes": (found.f_blocks - found.f_bfree) * size,
        "inodesFree": found.f_ffree,
        "inodes": found.f_files,
        "inodesUsed": found.f_files - found.f_ffree,
    }


def interfaces(proc: Path = Path("/proc")) -> list[Obj]:
    """The network interfaces of the namespace we are in, without loopback."""
    out = []
    for line in machine.text(proc / "self/net/dev").splitlines()[2:]:
        name, _, numbers = line.partition(":")
        fields = numbers.split()
        if name.strip() != "lo" and len(fields) >= 11:
            values = {"rxBytes": fields[0], "rxErrors": fields[2], "txBytes": fields[8], "txErrors": fields[10]}
            out.append({"name": name.strip(), **{key: int(value) for key, value in values.items()}})
    return out


def default_interface(proc: Path = Path("/proc")) -> str:
    """Through which the default route goes."""
    for line in machine.text(proc / "self/net/route").splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == fields[7] == "00000000":
            return fields[0]
    return ""


def processes(proc: Path = Path("/proc")) -> tuple[int, int]:
    """How many there may be, and how many there are."""
    limits = [machine.text(proc / "sys/kernel" / name) for name in ("pid_max", "threads-max")]
    running = machine.text(proc / "loadavg").split()[3:4]
    return min((int(each) for each in limits if each.isdigit()), default=0), int(
        running[0].partition("/")[2]
    ) if running else 0


def directory_size(paths: list[Path]) -> tuple[int, int]:
    """Bytes on disk and entries of flat directories, as of container logs."""
    size = count = 0
    for path in paths:
        try:
            with os.scandir(path) as found:
                for entry in found:
                    try:
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
                        count += 1
                    except OSError:
                        continue
        except OSError:
            continue
    return size, count
