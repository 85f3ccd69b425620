"""The loops of macros, each with the cost that cel-go's expansion of it would have.

`__result__` is an identifier and costs 1 each time it is read; the test before every turn
(`@not_strictly_false(__result__)`) costs 2, with a `!` in it 3.

Source: cel-go parser/macro.go, ext/comprehensions.go, interpreter/interpretable.go (evalFold)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sampan.api.cel.cost import LIST_COST, self_compare_cost
from sampan.api.cel.errors import FAILURES, BudgetExceeded, EvaluationError
from sampan.api.cel.library.lists import sorted_by
from sampan.api.cel.values import entries, from_key, map_key

Frame = list[Any]
Run = Callable[[Frame], Any]
_END = object()


@dataclass(frozen=True, slots=True)
class Loop:
    """`first` and `second` are the variables' places in the frame; no second one is 0. `nested`: the body may be a list."""

    over: Run
    first: int
    second: int
    body: Run
    cost: int
    condition: Run | None
    nested: bool

    def turns(self, frame: Frame) -> Iterator[Any]:
        """Binds the variables for each turn."""
        value = self.over(frame)
        first, second = self.first, self.second
        if not second:
            for item in entries(value):
                frame[first] = item
                yield item
        elif isinstance(value, Mapping):
            for key, item in value.items():
                frame[first], frame[second] = from_key(key), item
                yield item
        elif isinstance(value, list):
            for index, item in enumerate(value):
                frame[first], frame[second] = index, item
                yield item
        else:
            raise EvaluationError("no such overload")


def quantifier(loop: Loop, exists: bool) -> Run:
    """`all` and `exists`: one decisive element settles it, whatever failed before."""
    body, first = loop.body, loop.first
    test = 3 if exists else 2
    step = test + 1 + loop.cost
    over = loop.over
    decides = exists
    simple = not loop.second

    def run(frame: Frame) -> bool:
        failed: Exception | None = None
        meter = frame[0]
        items = iter(entries(over(frame))) if simple else loop.turns(frame)
        for item in items:
            if simple:
                frame[first] = item
            meter.cost += step
            if meter.cost > meter.limit:
                meter.over()
            try:
                value = body(frame)
                if value is decides:
                    if next(items, _END) is not _END:
                        meter.cost += test
                    return exists
                if value is not (not decides) and failed is None:
                    failed = EvaluationError("no such overload")
            except BudgetExceeded:
                raise
            except FAILURES as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return not exists

    return run


def exactly_one(loop: Loop) -> Run:
    body, cost = loop.body, loop.cost

    def run(frame: Frame) -> bool:
        found = 0
        meter = frame[0]
        for _ in loop.turns(frame):
            meter.cost += cost
            value = body(frame)
            if value is True:
                found += 1
                meter.cost += 2
            elif value is not False:
                raise EvaluationError("no such overload")
            if meter.cost > meter.limit:
                meter.over()
        return found == 1

    return run


def build_list(loop: Loop, filter_cost: int) -> Run:
    """`map`, `filter` and `transformList`: `__result__ + [body]`."""
    body, condition = loop.body, loop.condition
    step = 1 + LIST_COST + 1 + loop.cost

    def run(frame: Frame) -> Any:
        out: list[Any] = []
        meter = frame[0]
        for _ in loop.turns(frame):
            meter.cost += filter_cost
            if condition is None or _chosen(condition(frame)):
                meter.cost += step
                out.append(body(frame))
            if meter.cost > meter.limit:
                meter.over()
        return meter.weigh(out) if loop.nested else out

    return run


def sort_by(loop: Loop) -> Run:
    """`@sortByAssociatedKeys` of the list and what `map` makes of it."""
    over = loop.over
    keys_of = build_list(loop, 0)

    def run(frame: Frame) -> Any:
        items = over(frame)
        if not isinstance(items, list):
            raise EvaluationError("no such overload")
        keys = keys_of(frame)
        meter = frame[0]
        meter.cost += self_compare_cost(keys)
        if meter.cost > meter.limit:
            meter.over()
        return sorted_by(items, keys)

    return run


def build_map(loop: Loop, filter_cost: int, whole_entries: bool) -> Run:
    """`transformMap` and `transformMapEntry`: `cel.@mapInsert(__result__, ...)`."""
    body, condition, first = loop.body, loop.condition, loop.first
    # the call and `__result__`, and the key where it is an argument
    step = (2 if whole_entries else 3) + loop.cost

    def run(frame: Frame) -> Any:
        out: dict[Any, Any] = {}
        meter = frame[0]
        for _ in loop.turns(frame):
            meter.cost += filter_cost
            if condition is None or _chosen(condition(frame)):
                meter.cost += step
                value = body(frame)
                if whole_entries:
                    _insert(out, value)
                else:
                    out[map_key(frame[first])] = value
            if meter.cost > meter.limit:
                meter.over()
        return meter.weigh(out) if loop.nested else out

    return run


def _insert(out: dict[Any, Any], entry: Any) -> None:
    if not isinstance(entry, Mapping):
        raise EvaluationError("no such overload")
    for key, item in entry.items():
        if key in out:
            raise EvaluationError(f"insert failed: key {from_key(key)} already exists")
        out[key] = item


def _chosen(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise EvaluationError("no such overload")
