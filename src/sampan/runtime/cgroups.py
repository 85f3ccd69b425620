"""Control groups of version 1, version 2, and both at once: where they are mounted, what they count, how they go.

Source: https://docs.kernel.org/admin-guide/cgroup-v2.html, kubelet's cadvisor (which number is which)
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from pathlib import Path

#: "no limit" of version 1, rounded to pages
_UNLIMITED = 1 << 62


@dataclass(frozen=True, slots=True)
class Usage:
    """Counters of one group; bytes and nanoseconds."""

    cpu: int
    memory: int
    working_set: int
    rss: int
    page_faults: int
    major_page_faults: int
    limit: int
    processes: int


@functools.cache
def mounts() -> dict[str, Path]:
    """Controller (or `name=...` of version 1, `` for version 2) to mount point."""
    out: dict[str, Path] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        point = Path(left.split()[4])
        if kind == "cgroup2":
            out.setdefault("", point)
        elif kind == "cgroup":
            for option in options.split(","):
                out.setdefault(option, point)
    return out


def unified() -> bool:
    return "memory" not in mounts()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _number(path: Path) -> int:
    text = _read(path).strip()
    return int(text) if text.isdigit() else 0


def _table(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in _read(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def usage(group: str) -> Usage:
    """Of a group by its path under every mount; zeros where it is gone."""
    where = group.lstrip("/")
    if unified():
        top = mounts()[""] / where
        stat = _table(top / "memory.stat")
        memory, limit = _number(top / "memory.current"), _number(top / "memory.max")
        cpu, rss, inactive = _table(top / "cpu.stat").get("usage_usec", 0) * 1000, stat.get("anon", 0), "inactive_file"
        pids = _number(top / "pids.current")
        faults = stat.get("pgfault", 0), stat.get("pgmajfault", 0)
    else:
        top = mounts()["memory"] / where
        stat = _table(top / "memory.stat")
        memory, limit = _number(top / "memory.usage_in_bytes"), _number(top / "memory.limit_in_bytes")
        cpu = _number(mounts()["cpuacct"] / where / "cpuacct.usage") if "cpuacct" in mounts() else 0
        rss, inactive = stat.get("total_rss", 0), "total_inactive_file"
        pids = _number(mounts()["pids"] / where / "pids.current") if "pids" in mounts() else 0
        faults = stat.get("total_pgfault", 0), stat.get("total_pgmajfault", 0)
    working = max(0, memory - stat.get(inactive, 0))
    return Usage(cpu, memory, working, rss, *faults, limit if limit < _UNLIMITED else 0, pids)


def processes(group: str) -> set[int]:
    """Of the group itself, in any hierarchy."""
    texts = (_read(point / group.lstrip("/") / "cgroup.procs") for point in set(mounts().values()))
    return {int(word) for text in texts for word in text.split()}


def remove(group: str) -> None:
    """In every hierarchy, with the empty groups in it; one that has processes stays."""
    for point in set(mounts().values()):
        top = point / group.lstrip("/")
        if top == point or not top.is_dir():
            continue
        for each in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                each.rmdir()
        with contextlib.suppress(OSError):
            top.rmdir()
