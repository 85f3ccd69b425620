"""What evaluating costs, counted while it runs.

A `Budget` is shared by several calls; each call has a `Meter`, whose limit is what one call may cost or what is left of
the budget, whichever is less. The charge for straight code is made once for the whole stretch, before it runs; loops
check the limit on every turn.

Source: cel-go interpreter/runtimecost.go, k8s.io/apiserver/pkg/apis/cel/config.go
"""

from __future__ import annotations

from typing import Any, NoReturn

from sampan.api.cel.errors import BudgetExceeded

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

    __slots__ = ("cost", "limit", "memo", "whole_budget")

    def __init__(self, limit: int, whole_budget: bool = False) -> None:
        self.cost = 0
        self.limit = limit
        self.whole_budget = whole_budget
        self.memo: dict[int, tuple[Any, Any]] = {}

    def stop(self) -> NoReturn:
        raise BudgetExceeded(self.whole_budget)
