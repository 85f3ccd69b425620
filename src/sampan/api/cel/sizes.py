"""Ranges of costs and sizes, and the arithmetic of upstream's estimates.

Source: cel-go checker/cost.go, ext/lists.go
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from sampan.api.cel.cost import LIST_COST, STRING_FACTOR
from sampan.api.cel.types import Type

MAX = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """Units between `min` and `max`; what would not fit in a uint64 is its maximum. Sizes are counted so too."""

    min: int
    max: int

    def __add__(self, other: CostEstimate) -> CostEstimate:
        return CostEstimate(min(self.min + other.min, MAX), min(self.max + other.max, MAX))

    def __mul__(self, other: CostEstimate) -> CostEstimate:
        return CostEstimate(min(self.min * other.min, MAX), min(self.max * other.max, MAX))

    def __or__(self, other: CostEstimate) -> CostEstimate:
        """The range over both."""
        return CostEstimate(min(self.min, other.min), max(self.max, other.max))

    def times(self, factor: float) -> CostEstimate:
        return CostEstimate(_times(self.min, factor), _times(self.max, factor))


def _times(value: int, factor: float) -> int:
    return min(ceil(float(value) * factor), MAX)


def exactly(value: int) -> CostEstimate:
    return CostEstimate(value, value)


Size = CostEstimate
UNKNOWN = CostEstimate(0, MAX)
ZERO, ONE = exactly(0), exactly(1)


def allocating(factor: float, size: Size) -> CostEstimate:
    return size.times(factor) + exactly(1 + LIST_COST)


def self_compare(size: Size, element: Type) -> CostEstimate:
    factor = 2 + (STRING_FACTOR if element.kind in ("string", "bytes") else 0)
    return allocating(factor, size * size)


def replaced(size: Size, old: Size, new: Size) -> Size:
    """The shortest and the longest that replacing can give."""
    if old.min == 0:
        # an empty string is found around every character
        most = (size.max + 1) * new.max + size.max
    elif new.max <= old.min:
        most = size.max
    else:
        most = ceil(size.max / old.min) * new.max
    if old.max == 0:
        least = (size.min + 1) * new.min + size.min
    elif old.max <= new.min:
        least = size.min
    else:
        least = ceil(size.min / old.max) * new.min
    return Size(min(least, MAX), min(most, MAX))
