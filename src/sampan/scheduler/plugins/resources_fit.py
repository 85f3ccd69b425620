"""NodeResourcesFit: what is requested must be left; scored by one of three strategies.

Source: plugins/noderesources/{fit,least_allocated,most_allocated,requested_to_capacity_ratio,resource_allocation}.go
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sampan.scheduler.changes import (
    ADD,
    ASSIGNED_POD,
    DELETE,
    NODE,
    NODE_ALLOCATABLE,
    POD_SCALE_DOWN,
    TARGET_POD,
    Change,
    Hint,
)
from sampan.scheduler.cluster import Ints
from sampan.scheduler.framework import MAX_SCORE, At, Codes, Cycle, Plugin, Scores, Slots
from sampan.scheduler.shape import PodInfo, Shape

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
    local_filter = local_score = True

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

    def hints(self) -> list[Hint]:
        return [
            Hint(ASSIGNED_POD, DELETE | POD_SCALE_DOWN, self._frees),
            Hint(TARGET_POD, POD_SCALE_DOWN),
            Hint(NODE, ADD | NODE_ALLOCATABLE, self._larger),
        ]

    def _frees(self, pod: PodInfo, change: Change) -> bool:
        """Its place alone is something too: the node may have had too many pods."""
        if change.actions & DELETE:
            return True
        before, after = change.old.shape.requests, change.new.shape.requests
        return any(after.get(name, 0) < before.get(name, 0) for name, _ in self.wanted(pod.shape))

    def _larger(self, pod: PodInfo, change: Change) -> bool:
        """The pod fits on the node while that is empty, and more is there than was."""
        wanted, now = [("pods", 1), *self.wanted(pod.shape)], change.new.allocatable
        if any(now.get(name, 0) < amount for name, amount in wanted):
            return False
        return change.is_new or any(now.get(name, 0) > change.old.allocatable.get(name, 0) for name, _ in wanted)

    def wanted(self, shape: Shape) -> list[tuple[str, int]]:
        """The resources that are asked for, in the order of their bits: bit 0 is for the number of pods."""
        kept: list[tuple[str, int]] | None = shape.memo.get(self)
        if kept is None:
            order = {"cpu": 0, "memory": 1, "ephemeral-storage": 2}
            asked = [
                (name, amount) for name, amount in shape.requests.items() if amount > 0 and not self._ignores(name)
            ]
            kept = shape.memo[self] = sorted(asked, key=lambda item: (order.get(item[0], 3), item[0]))
        return kept

    def _ignores(self, resource: str) -> bool:
        """Only extended resources can be ignored."""
        group, slash, _ = resource.partition("/")
        if not slash or "kubernetes.io/" in resource or resource.startswith("requests."):
            return False
        return resource in self.ignored or group in self.groups

    def filter_at(self, cycle: Cycle, at: At) -> Codes | None:
        cluster = cycle.cluster
        out: Codes = (cluster.pods_here[at] >= cluster.pods_allowed[at]).astype(np.int32)
        for bit, (name, amount) in enumerate(self.wanted(cycle.shape), 1):
            row = cluster.row(name)
            allocatable = cluster.allocatable[row, at]
            lacks = cluster.requested[row, at] + amount > allocatable
            if lacks.any():
                out |= lacks.astype(np.int32) << bit
                out |= (amount > allocatable).astype(np.int32) << NEVER
        return out

    def filter_one(self, cycle: Cycle, slot: int) -> int:
        cluster = cycle.cluster
        out = int(cluster.pods_here.item(slot) >= cluster.pods_allowed.item(slot))
        for bit, (name, amount) in enumerate(self.wanted(cycle.shape), 1):
            row = cluster.row(name)
            allocatable = cluster.allocatable.item(row, slot)
            if cluster.requested.item(row, slot) + amount > allocatable:
                out |= 1 << bit
                if amount > allocatable:
                    out |= 1 << NEVER
        return out

    def reasons(self, cycle: Cycle, code: int) -> tuple[str, ...]:
        out = [TOO_MANY_PODS] if code & 1 else []
        wanted = self.wanted(cycle.shape)
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

    def score_one(self, cycle: Cycle, slot: int) -> int:
        kind = self.strategy.kind
        if kind == "RequestedToCapacityRatio":
            return super().score_one(cycle, slot)
        total = weights = 0
        for name, weight in self.strategy.resources:
            allocatable, requested = amount(cycle, name, slot, compared=True)
            if not allocatable:
                continue
            if kind == "MostAllocated":
                total += min(requested, allocatable) * MAX_SCORE // allocatable * weight
            elif requested <= allocatable:
                total += (allocatable - requested) * MAX_SCORE // allocatable * weight
            weights += weight
        return total // weights if weights else 0

    def _value(self, requested: Ints, capacity: Ints) -> Ints:
        over = requested > capacity
        match self.strategy.kind:
            case "LeastAllocated":
                return np.where(over, 0, (capacity - requested) * MAX_SCORE // capacity)
            case "MostAllocated":
                return np.minimum(requested, capacity) * MAX_SCORE // capacity
        utilization = np.where(over, 100, requested * 100 // capacity)
        return broken_line(self.strategy.shape, utilization)

    def unresolvable(self, cycle: Cycle, code: int) -> bool:
        return bool(code >> NEVER)


def broken_line(shape: tuple[tuple[int, int], ...], at: Ints) -> Ints:
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


def amount(cycle: Cycle, name: str, slot: int, *, compared: bool) -> tuple[int, int]:
    """As `amounts`, of one slot; nothing is allocatable of what nobody asks for."""
    cluster, shape = cycle.cluster, cycle.shape
    asked = shape.requests.get(name, 0)
    if not asked and ("/" in name or name.startswith("hugepages-")):
        return 0, 0
    row = cluster.row(name)
    if compared and row < 2:
        return cluster.allocatable.item(row, slot), cluster.compared.item(row, slot) + shape.compared[row]
    return cluster.allocatable.item(row, slot), cluster.requested.item(row, slot) + asked
