"""What evaluating costs, counted while it runs.

A `Budget` is shared by several calls; each call has a `Meter`, whose limit is what one call may cost or what is left of
the budget, whichever is less. The charge for straight code is made once for the whole stretch, before it runs; loops
check the limit on every turn.

Source: cel-go interpreter/runtimecost.go, k8s.io/apiserver/pkg/apis/cel/config.go
"""

from __future__ import annotations

from typing import Any, NoReturn

from sampan.api.cel.errors import BudgetExceeded
from sampan.api.cel.values import MAX_SIZE

PER_CALL_LIMIT = 1_000_000
RUNTIME_BUDGET = 10_000_000
MATCH_CONDITIONS_BUDGET = RUNTIME_BUDGET // 4


class Budget:
    """`remaining` goes down with every call."""

    __slots__ = ("remaining",)

    def __init__(self, limit: int = RUNTIME_BUDGET) -> None:
        self.remaining = limit


class Meter:
    """`memo`: lists and maps converted in this call, by the identity of what they were made from."""

    __slots__ = ("_sizes", "cost", "limit", "memo", "whole_budget")

    def __init__(self, limit: int, whole_budget: bool = False) -> None:
        self.cost = 0
        self.limit = limit
        self.whole_budget = whole_budget
        self.memo: dict[int, tuple[Any, Any]] = {}
        self._sizes: dict[int, tuple[Any, int]] = {}

    def weigh(self, made: Any) -> Any:
        """Stops a list or map of lists and maps from growing without bound.

        `[[x, x], [x, x]]` is three lists in memory and four values to compare: doubled twenty times over, a million.

        DEVIATION: upstream lets it grow.
        """
        total = len(made)
        for item in made if isinstance(made, list) else made.values():
            if type(item) is list or type(item) is dict:
                found = self._sizes.get(id(item))
                total += found[1] if found else 0
        if total > MAX_SIZE:
            self.stop()
        self._sizes[id(made)] = (made, total)
        return made

    def stop(self) -> NoReturn:
        raise BudgetExceeded(self.whole_budget)
