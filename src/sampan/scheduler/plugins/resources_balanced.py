"""NodeResourcesBalancedAllocation: nodes whose resources would be used to a like degree.

Source: plugins/noderesources/balanced_allocation.go
"""

from __future__ import annotations

import numpy as np

from sampan.scheduler.framework import MAX_SCORE, Cycle, Plugin, Scores, Slots
from sampan.scheduler.plugins.resources_fit import CPU_AND_MEMORY, Weights, amount, amounts


class NodeResourcesBalancedAllocation(Plugin):
    name = "NodeResourcesBalancedAllocation"
    weight = 1
    local_score = True

    def __init__(self, resources: Weights = CPU_AND_MEMORY) -> None:
        self.resources = tuple(name for name, _ in resources)

    def score(self, cycle: Cycle, slots: Slots) -> Scores | None:
        if not any(cycle.shape.requests.get(name) for name in self.resources):
            return None
        fractions, present = [], []
        for name in self.resources:
            allocatable, requested = amounts(cycle, name, slots, compared=False)
            if allocatable is None:
                continue
            there = allocatable > 0
            used = np.minimum(requested / np.where(there, allocatable, 1), 1.0)
            fractions.append(np.where(there, used, 0.0))
            present.append(there)
        number = sum(there.astype(np.int64) for there in present)
        total = sum(fractions)
        mean = total / np.maximum(number, 1)
        squares = sum(np.where(there, (used - mean) ** 2, 0.0) for used, there in zip(fractions, present, strict=True))
        deviation = np.sqrt(squares / np.maximum(number, 1))
        if len(fractions) == 2:
            # with two, half their distance: the same, but exact where a square root is not
            deviation = np.where(number == 2, np.abs(fractions[0] - fractions[1]) / 2, 0.0)
        return ((1 - np.where(number >= 2, deviation, 0.0)) * MAX_SCORE).astype(np.int64)

    def score_one(self, cycle: Cycle, slot: int) -> int:
        if len(self.resources) != 2:
            return super().score_one(cycle, slot)
        requests = cycle.shape.requests
        if not any(requests.get(name) for name in self.resources):
            return 0
        found = [amount(cycle, name, slot, compared=False) for name in self.resources]
        (first, first_used), (second, second_used) = found
        if first <= 0 or second <= 0:
            return MAX_SCORE
        deviation = abs(min(first_used / first, 1.0) - min(second_used / second, 1.0)) / 2
        return int((1 - deviation) * MAX_SCORE)
