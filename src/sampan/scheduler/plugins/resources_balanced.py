"""NodeResourcesBalancedAllocation: nodes whose resources would be used to a more like degree than they are now.

75 where the pod changes nothing of the balance, up to 100 where it makes it better, down to 50 where it makes it worse.

Source: plugins/noderesources/balanced_allocation.go (since 1.36)
"""

from __future__ import annotations

import numpy as np

from sampan.scheduler.cluster import Ints
from sampan.scheduler.framework import MAX_SCORE, Cycle, Plugin, Scores, Slots
from sampan.scheduler.plugins.resources_fit import CPU_AND_MEMORY, Weights, amount, amounts

HALF = MAX_SCORE // 2


class NodeResourcesBalancedAllocation(Plugin):
    name = "NodeResourcesBalancedAllocation"
    weight = 1
    local_score = True

    def __init__(self, resources: Weights = CPU_AND_MEMORY) -> None:
        self.resources = tuple(name for name, _ in resources)

    def score(self, cycle: Cycle, slots: Slots) -> Scores | None:
        requests = cycle.shape.requests
        if not any(requests.get(name) for name in self.resources):
            return None
        without, then = [], []
        for name in self.resources:
            allocatable, requested = amounts(cycle, name, slots, compared=False)
            if allocatable is None:
                continue
            without.append((requested - requests.get(name, 0), allocatable))
            then.append((requested, allocatable))
        return HALF + (HALF + _balance(then) - _balance(without)) // 2

    def score_one(self, cycle: Cycle, slot: int) -> int:
        if len(self.resources) != 2:
            return super().score_one(cycle, slot)
        requests = cycle.shape.requests
        if not any(requests.get(name) for name in self.resources):
            return 0
        (first, used), (second, second_used) = (amount(cycle, name, slot, compared=False) for name in self.resources)
        if first <= 0 or second <= 0:
            return HALF + HALF // 2
        then = abs(min(used / first, 1.0) - min(second_used / second, 1.0)) / 2
        used -= requests.get(self.resources[0], 0)
        second_used -= requests.get(self.resources[1], 0)
        without = abs(min(used / first, 1.0) - min(second_used / second, 1.0)) / 2
        return HALF + (HALF + int((1 - then) * MAX_SCORE) - int((1 - without) * MAX_SCORE)) // 2


def _balance(resources: list[tuple[Ints, Ints]]) -> Scores:
    """100 without the deviation of the fractions that are used; of each resource what is used and what there is."""
    fractions, present = [], []
    for used, allocatable in resources:
        there = allocatable > 0
        fractions.append(np.where(there, np.minimum(used / np.where(there, allocatable, 1), 1.0), 0.0))
        present.append(there)
    number = sum(there.astype(np.int64) for there in present)
    mean = sum(fractions) / np.maximum(number, 1)
    squares = sum(np.where(there, (used - mean) ** 2, 0.0) for used, there in zip(fractions, present, strict=True))
    deviation = np.sqrt(squares / np.maximum(number, 1))
    if len(fractions) == 2:
        # with two, half their distance: the same, but exact where a square root is not
        deviation = np.where(number == 2, np.abs(fractions[0] - fractions[1]) / 2, 0.0)
    return ((1 - np.where(number >= 2, deviation, 0.0)) * MAX_SCORE).astype(np.int64)
