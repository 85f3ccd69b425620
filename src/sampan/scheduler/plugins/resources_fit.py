"""NodeResourcesFit: what is requested must be left; scored by one of three strategies.

Source: plugins/noderesources/{fit,least_allocated,most_allocated,requested_to_capacity_ratio,resource_allocation}.go
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sampan.scheduler.cluster import Ints
from sampan.scheduler.framework import MAX_SCORE, Codes, Cycle, Plugin, Scores, Slots

Weights = Sequence[tuple[str, int]]
CPU_AND_MEMORY: Weights = (("cpu", 1), ("memory", 1))
#: bit of a code: more is asked for than the node has when it is empty
NEVER = 30
TOO_MANY_PODS = "Too many pods"


@dataclass(frozen=True, slots=True)
class Strategy:
    """`kind`: LeastAllocated, MostAllocated or RequestedToCapacityRatio; `shape`: its (utilization, score) points, the
    score 0 to 10."""

    kind: str = "LeastAllocated"
    resources: tuple[tuple[str, int], ...] = tuple(CPU_AND_MEMORY)
    shape: tuple[tuple[int, int], ...] = ((0, 0), (100, 10))


class NodeResourcesFit(Plugin):
    name = "NodeResourcesFit"
    weight = 1

    def __init__(
        self,
        strategy: Strategy | None = None,
        ignored: frozenset[str] = frozenset(),
        groups: frozenset[str] = frozenset(),
    ) -> None:
        """`ignored`, `groups`: extended resources (or all of a domain) that are not filtered by."""
        self.strategy = strategy or Strategy()
        self.ignored = ignored
        self.groups = groups

    def wanted(self, cycle: Cycle) -> list[tuple[str, int]]:
        """The resources that are asked for, in the order of their bits: bit 0 is for the number of pods."""
        order = {"cpu": 0, "memory": 1, "ephemeral-storage": 2}
        asked = [
            (name, amount)
            for name, amount in cycle.shape.requests.items()
            if amount > 0 and name not in self.ignored and name.partition("/")[0] not in self.groups
        ]
        return sorted(asked, key=lambda item: (order.get(item[0], 3), item[0]))

    def filter(self, cycle: Cycle) -> Codes | None:
        cluster = cycle.cluster
        out: Codes = (cluster.pods_here + 1 > cluster.pods_allowed).astype(np.int32)
        for bit, (name, amount) in enumerate(self.wanted(cycle), 1):
            row = cluster.row(name)
            lacks = cluster.requested[row] + amount > cluster.allocatable[row]
            out |= lacks.astype(np.int32) << bit
            out |= (amount > cluster.allocatable[row]).astype(np.int32) << NEVER
        return out

    def reasons(self, cycle: Cycle, code: int) -> tuple[str, ...]:
        out = [TOO_MANY_PODS] if code & 1 else []
        wanted = self.wanted(cycle)
        out.extend(f"Insufficient {name}" for bit, (name, _) in enumerate(wanted, 1) if code >> bit & 1)
        return tuple(out)

    def score(self, cycle: Cycle, slots: Slots) -> Scores | None:
        strategy = self.strategy
        total = np.zeros(len(slots), np.int64)
        weights = np.zeros(len(slots), np.int64)
        for name, weight in strategy.resources:
            allocatable, requested = amounts(cycle, name, slots, compared=True)
            if allocatable is None:
                continue
            there = allocatable > 0
            safe = np.where(there, allocatable, 1)
            value = self._value(requested, safe)
            if strategy.kind == "RequestedToCapacityRatio":
                # a resource that scores nothing has no weight
                there &= value > 0
            total += np.where(there, value * weight, 0)
            weights += np.where(there, weight, 0)
        safe_weights = np.maximum(weights, 1)
        if strategy.kind == "RequestedToCapacityRatio":
            return np.where(weights > 0, np.floor(total / safe_weights + 0.5), 0).astype(np.int64)
        return np.where(weights > 0, total // safe_weights, 0)

    def _value(self, requested: Ints, capacity: Ints) -> Ints:
        over = requested > capacity
        match self.strategy.kind:
            case "LeastAllocated":
                return np.where(over, 0, (capacity - requested) * MAX_SCORE // capacity)
            case "MostAllocated":
                return np.minimum(requested, capacity) * MAX_SCORE // capacity
        utilization = np.where(over, 100, requested * 100 // capacity)
        return _broken_line(self.strategy.shape, utilization)

    def unresolvable(self, cycle: Cycle, code: int) -> bool:
        return bool(code >> NEVER)


def _broken_line(shape: tuple[tuple[int, int], ...], at: Ints) -> Ints:
    """Between two points in whole numbers, as Go divides: towards zero."""
    points = [(x, y * (MAX_SCORE // 10)) for x, y in shape]
    out = np.full(len(at), points[-1][1], np.int64)
    for (x0, y0), (x1, y1) in zip(reversed(points[:-1]), reversed(points[1:]), strict=True):
        between = y0 + np.trunc((y1 - y0) * (at - x0) / (x1 - x0)).astype(np.int64)
        out = np.where(at <= x1, between, out)
    return np.where(at <= points[0][0], points[0][1], out)


def amounts(cycle: Cycle, name: str, slots: Slots, *, compared: bool) -> tuple[Ints | None, Ints]:
    """Allocatable, and what would be requested with the pod there; None for a resource that nobody asks for.

    `compared`: CPU and memory as nodes are compared by, with defaults for pods that request none.
    """
    cluster, shape = cycle.cluster, cycle.shape
    basic = name in ("cpu", "memory")
    if not shape.requests.get(name) and ("/" in name or name.startswith("hugepages-")):
        return None, np.zeros(0, np.int64)
    row = cluster.row(name)
    if compared and basic:
        index = 0 if name == "cpu" else 1
        return cluster.allocatable[row, slots], cluster.compared[index, slots] + shape.compared[index]
    return cluster.allocatable[row, slots], cluster.requested[row, slots] + shape.requests.get(name, 0)
