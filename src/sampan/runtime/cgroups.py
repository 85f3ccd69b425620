"""Control groups of version 1, version 2, and both at once: where they are mounted, what they count, how they go.

OCI runtimes make the groups, by themselves or through systemd; here is where those are to be, and what they tell.

Source: https://docs.kernel.org/admin-guide/cgroup-v2.html, kubelet's cadvisor (which number is which), systemd.slice(5)
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from sampan.runtime.errors import Invalid

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
    swap: int = 0
    #: periods in which there was work, and those of them in which the limit was met
    periods: int = 0
    throttled: int = 0


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


def hybrid() -> bool:
    """Version 1, with controllers left over for a version 2 beside it."""
    return not unified() and "" in mounts() and bool(_read(mounts()[""] / "cgroup.controllers").strip())


@functools.cache
def counts_hugepages() -> bool:
    return "hugetlb" in (mounts() if not unified() else _read(mounts()[""] / "cgroup.controllers").split())


@functools.cache
def counts_swap() -> bool:
    """Kernels may be told not to; a limit of swap is an error then."""
    if not unified():
        return (mounts()["memory"] / "memory.memsw.limit_in_bytes").exists()
    own = next((line[3:] for line in _read(Path("/proc/self/cgroup")).splitlines() if line.startswith("0::")), "/")
    return (mounts()[""] / own.lstrip("/") / "memory.swap.max").exists()


def by_systemd() -> bool:
    """Is systemd the one who should make groups? On version 2 it is, where it runs: nobody else may write there."""
    return unified() and Path("/run/systemd/system").is_dir()


def place(parent: str, key: str, systemd: bool) -> tuple[str, str]:
    """For a container in this parent: what OCI calls `cgroupsPath`, and the group's path. Raises Invalid."""
    if not systemd:
        if parent.endswith(".slice"):
            raise Invalid(f'cgroup parent "{parent}" is a slice, but the cgroup driver is cgroupfs')
        path = f"{parent.rstrip('/')}/{key}"
        return path, path
    name = parent.rstrip("/").rpartition("/")[2]  # of a.slice/a-b.slice the last one says all
    if not name.endswith(".slice"):
        raise Invalid(f'cgroup parent "{parent}" is not a slice, but the cgroup driver is systemd')
    return f"{name}:sampan:{key}", f"{of_slice(name)}/sampan-{key}.scope"


def of_slice(name: str) -> str:
    """The group of a slice: `a-b.slice` is in `a.slice`."""
    parts = name.removesuffix(".slice").split("-")
    if not all(parts):
        return "" if name == "-.slice" else f"/{name}"
    return "".join(f"/{'-'.join(parts[: number + 1])}.slice" for number in range(len(parts)))


def leave_root(top: Path) -> None:
    """In a container of version 2 the processes are in what looks like the root, and as long as they are, no group in it can have
    limits: they move aside, into `init`. The machine's own root, which alone has no type, is left as it is.
    """
    if not (top / "cgroup.type").exists() or not Path("/proc/self/cgroup").read_text().rstrip().endswith("0::/"):
        return
    leaf = top / "init"
    leaf.mkdir(exist_ok=True)
    while pids := _read(top / "cgroup.procs").split():  # they may be having children meanwhile
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(pid)
    for controller in _read(top / "cgroup.controllers").split():
        with contextlib.suppress(OSError):  # one that cannot be handed on is no reason to have none
            (top / "cgroup.subtree_control").write_text(f"+{controller}")


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
        swap, quota = _number(top / "memory.swap.current"), _table(top / "cpu.stat")
        cpu, rss, inactive = quota.get("usage_usec", 0) * 1000, stat.get("anon", 0), "inactive_file"
        pids = _number(top / "pids.current")
        faults = stat.get("pgfault", 0), stat.get("pgmajfault", 0)
    else:
        top = mounts()["memory"] / where
        stat = _table(top / "memory.stat")
        memory, limit = _number(top / "memory.usage_in_bytes"), _number(top / "memory.limit_in_bytes")
        swap = max(0, _number(top / "memory.memsw.usage_in_bytes") - memory)
        quota = _table(mounts()["cpu"] / where / "cpu.stat") if "cpu" in mounts() else {}
        cpu = _number(mounts()["cpuacct"] / where / "cpuacct.usage") if "cpuacct" in mounts() else 0
        rss, inactive = stat.get("total_rss", 0), "total_inactive_file"
        pids = _number(mounts()["pids"] / where / "pids.current") if "pids" in mounts() else 0
        faults = stat.get("total_pgfault", 0), stat.get("total_pgmajfault", 0)
    working = max(0, memory - stat.get(inactive, 0))
    found = quota.get("nr_periods", 0), quota.get("nr_throttled", 0)
    return Usage(cpu, memory, working, rss, *faults, limit if limit < _UNLIMITED else 0, pids, swap, *found)


def oom_kills(group: str) -> int:
    """How many of its processes were killed for memory."""
    if unified():
        return _table(mounts()[""] / group.lstrip("/") / "memory.events").get("oom_kill", 0)
    return _table(mounts()["memory"] / group.lstrip("/") / "memory.oom_control").get("oom_kill", 0)


def processes(group: str) -> set[int]:
    """Of the group itself, in any hierarchy."""
    texts = (_read(point / group.lstrip("/") / "cgroup.procs") for point in set(mounts().values()))
    return {int(word) for text in texts for word in text.split()}


def kill(group: str) -> None:
    """All of its processes."""
    for pid in processes(group):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def remove(group: str) -> None:
    """In every hierarchy, with the empty groups in it; one that has processes stays. The kernel may take its time."""
    for point in set(mounts().values()):
        top = point / group.lstrip("/")
        if top == point:
            continue
        try:
            top.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            for below, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(below)
