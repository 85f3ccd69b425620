"""What evaluating costs, counted while it runs.

A `Budget` is shared by several calls; each call has a `Meter`, whose limit is what one call may cost or what is left of
the budget, whichever is less. The charge for straight code is made once for the whole stretch, before it runs; loops
check the limit on every turn.

Source: cel-go interpreter/runtimecost.go, k8s.io/apiserver/pkg/apis/cel/config.go
"""

from __future__ import annotations

from typing import Any, NoReturn

from sampan.api import pace
from sampan.api.cel.errors import BudgetExceeded
from sampan.api.cel.values import MAX_SIZE

PER_CALL_LIMIT = 1_000_000
RUNTIME_BUDGET = 10_000_000
MATCH_CONDITIONS_BUDGET = RUNTIME_BUDGET // 4
#: what so much costs takes about a millisecond
_STRETCH = 1000


class Budget:
    """`remaining` goes down with every call."""

    __slots__ = ("remaining",)

    def __init__(self, limit: int = RUNTIME_BUDGET) -> None:
        self.remaining = limit


class Meter:
    """`most`: what the call may cost; `limit`: what it may cost until `over` is called, which may raise it.

    `memo`: lists and maps converted in this call, by the identity of what they were made from.
    """

    __slots__ = ("_pace", "_sizes", "cost", "limit", "memo", "most", "whole_budget")

    def __init__(self, most: int, whole_budget: bool = False) -> None:
        self.cost = 0
        self.most = most
        self._pace = pace.current.get()
        self.limit = most if self._pace is None else min(most, _STRETCH)
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

    def over(self) -> None:
        """The limit is reached: the end, or a pause. Raises BudgetExceeded, and what the pace raises."""
        if self.cost > self.most or self._pace is None:
            self.stop()
        self._pace.pause()
        self.limit = min(self.most, self.cost + _STRETCH)

    def stop(self) -> NoReturn:
        raise BudgetExceeded(self.whole_budget)
