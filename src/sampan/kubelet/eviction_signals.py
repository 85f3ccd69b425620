"""When a node is short of something: thresholds, what is observed, and which of the thresholds that meets. Pure.

Source: kubernetes pkg/kubelet/eviction/{helpers,types}.go, eviction/api/types.go
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sampan.kubelet.machine import binary, threshold_bytes

Obj = dict[str, Any]
MEMORY, ALLOCATABLE = "memory.available", "allocatableMemory.available"
PIDS = "pid.available"
#: what is short, by signal
RESOURCES = {
    MEMORY: "memory",
    ALLOCATABLE: "memory",
    "nodefs.available": "ephemeral-storage",
    "imagefs.available": "ephemeral-storage",
    "containerfs.available": "ephemeral-storage",
    "nodefs.inodesFree": "inodes",
    "imagefs.inodesFree": "inodes",
    "containerfs.inodesFree": "inodes",
    PIDS: "pids",
}
CONDITIONS = {
    "memory": "MemoryPressure",
    "ephemeral-storage": "DiskPressure",
    "inodes": "DiskPressure",
    "pids": "PIDPressure",
}


@dataclass(frozen=True, slots=True)
class Threshold:
    """`value`: an amount, or percents of what there is. `grace`: seconds it must hold; 0: a hard one. `reclaim`: how much more than the
    threshold must be free before it is done with."""

    signal: str
    value: str
    grace: float = 0.0
    reclaim: str = ""

    @property
    def resource(self) -> str:
        return RESOURCES[self.signal]

    @property
    def condition(self) -> str:
        return CONDITIONS[self.resource]


@dataclass(frozen=True, slots=True)
class Observation:
    available: int
    capacity: int


def thresholds(
    hard: Mapping[str, str],
    soft: Mapping[str, str] | None = None,
    grace: Mapping[str, float] | None = None,
    reclaim: Mapping[str, str] | None = None,
    *,
    allocatable: bool = True,
) -> list[Threshold]:
    """`grace`: of the soft ones, in seconds. `allocatable`: pods together are held to a limit, which is watched like the machine's.
    Raises ValueError for signals that there are not, and soft ones without grace."""
    least = reclaim or {}
    out = [Threshold(signal, value, 0.0, least.get(signal, "")) for signal, value in hard.items()]
    for signal, value in (soft or {}).items():
        if signal not in (grace or {}):
            raise ValueError(f"grace period must be specified for the soft eviction threshold {signal}")
        out.append(Threshold(signal, value, float((grace or {})[signal]), least.get(signal, "")))
    if unknown := [each.signal for each in out if each.signal not in RESOURCES]:
        raise ValueError(f"unsupported eviction signal {unknown[0]}")
    # 0% and 100% are how a threshold is switched off
    out = [each for each in out if each.value not in ("0%", "100%")]
    if allocatable:
        out += [
            Threshold(ALLOCATABLE, each.value, 0.0, each.reclaim)
            for each in out
            if each.signal == MEMORY and not each.grace
        ]
    return out


def observe(summary: Obj, pods_memory: tuple[int, int] | None = None) -> dict[str, Observation]:
    """From `/stats/summary`. `pods_memory`: what all pods together use of memory, and may."""
    node = summary["node"]
    out: dict[str, Observation] = {}
    memory = node.get("memory") or {}
    if "availableBytes" in memory:
        out[MEMORY] = Observation(memory["availableBytes"], memory["availableBytes"] + memory["workingSetBytes"])
    if pods_memory is not None:
        used, limit = pods_memory
        out[ALLOCATABLE] = Observation(max(0, limit - used), limit)
    runtime = node.get("runtime") or {}
    systems = {"nodefs": node.get("fs"), "imagefs": runtime.get("imageFs"), "containerfs": runtime.get("containerFs")}
    for name, found in systems.items():
        if found and found.get("capacityBytes"):
            out[f"{name}.available"] = Observation(found["availableBytes"], found["capacityBytes"])
            # some file systems have no fixed number of inodes, and say 0
            if found.get("inodes"):
                out[f"{name}.inodesFree"] = Observation(found["inodesFree"], found["inodes"])
    processes = node.get("rlimit") or {}
    if processes.get("maxpid"):
        out[PIDS] = Observation(processes["maxpid"] - processes["curproc"], processes["maxpid"])
    return out


def met(wanted: Iterable[Threshold], seen: Mapping[str, Observation], *, with_reclaim: bool = False) -> list[Threshold]:
    out = []
    for each in wanted:
        found = seen.get(each.signal)
        if found is None:
            continue
        least = threshold_bytes(each.value, found.capacity)
        if with_reclaim and each.reclaim:
            least += threshold_bytes(each.reclaim, found.capacity)
        if found.available < least:
            out.append(each)
    return out


def first(which: Iterable[Threshold]) -> Threshold | None:
    """The one to act on: memory before all else, for nothing else can wait for it."""
    return min(which, key=lambda each: each.resource != "memory", default=None)


def about(resource: str, which: Iterable[Threshold], seen: Mapping[str, Observation]) -> str:
    """How much of it there is, and should be."""
    for each in which:
        found = seen.get(each.signal)
        if each.resource == resource and found is not None:
            least = threshold_bytes(each.value, found.capacity)
            if resource in ("memory", "ephemeral-storage"):
                return f"Threshold quantity: {binary(least)}, available: {binary(found.available)}. "
            return f"Threshold quantity: {least}, available: {found.available}. "
    return ""
