"""Lists: Kubernetes' own functions (version 1), the extension (version 3) and sets.

Source: k8s.io/apiserver/pkg/cel/library/lists.go, cel-go ext/{lists,sets}.go
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

from sampan.api.cel.errors import BudgetExceeded, EvaluationError
from sampan.api.cel.functions import Library
from sampan.api.cel.library.standard import add_durations, add_ints, add_uints
from sampan.api.cel.times import Duration
from sampan.api.cel.values import MAX_SIZE, NONE, Optional, Uint, equal, freeze

lists = Library()
_COMPARABLE = ("int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes")
_SUMS: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {
    "int": (add_ints, 0),
    "uint": (add_uints, Uint(0)),
    "double": (operator.add, 0.0),
    "duration": (add_durations, Duration(0)),
}


def _extreme(choose: Callable[[Any], Any], name: str) -> Callable[[list[Any]], Any]:
    def extreme(items: list[Any]) -> Any:
        if not items:
            raise EvaluationError(f"{name} called on empty list")
        return choose(items)

    return extreme


def _is_sorted(items: list[Any]) -> bool:
    return all(map(operator.le, items, items[1:]))


def _index_of(items: list[Any], value: Any) -> int:
    return next((place for place, item in enumerate(items) if equal(item, value)), -1)


def _last_index_of(items: list[Any], value: Any) -> int:
    return next((place for place in range(len(items) - 1, -1, -1) if equal(items[place], value)), -1)


def _includes(target: Any, value: Any) -> bool:
    if isinstance(target, list):
        return any(equal(item, value) for item in target)
    return equal(target, value)


for _type in _COMPARABLE:
    lists.member("isSorted", f"list_{_type}_is_sorted_bool", f"list({_type}) -> bool", _is_sorted)
    lists.member("max", f"list_{_type}_max_{_type}", f"list({_type}) -> {_type}", _extreme(max, "max"))
    lists.member("min", f"list_{_type}_min_{_type}", f"list({_type}) -> {_type}", _extreme(min, "min"))
for _type, (_add, _zero) in _SUMS.items():
    lists.member(
        "sum",
        f"list_{_type}_sum_{_type}",
        f"list({_type}) -> {_type}",
        lambda items, add=_add, zero=_zero: functools.reduce(add, items, zero),
    )
lists.member("indexOf", "list_a_index_of_int", "list(A), A -> int", _index_of)
lists.member("lastIndexOf", "list_a_last_index_of_int", "list(A), A -> int", _last_index_of)
lists.member("includes", "list_includes_dyn_dyn", "dyn, dyn -> bool", _includes)

# --- the extension ----------------------------------------------------------------------------------------------------


def _slice(items: list[Any], start: int, end: int) -> list[Any]:
    if start < 0 or end < 0:
        raise EvaluationError(f"cannot slice({start}, {end}), negative indexes not supported")
    if start > end:
        raise EvaluationError(f"cannot slice({start}, {end}), start index must be less than or equal to end index")
    if len(items) < end:
        raise EvaluationError(f"cannot slice({start}, {end}), list is length {len(items)}")
    return items[start:end]


def _flatten(items: list[Any], depth: int = 1) -> list[Any]:
    if depth < 0:
        raise EvaluationError("level must be non-negative")
    out: list[Any] = []
    for item in items:
        if isinstance(item, list) and depth:
            out.extend(_flatten(item, depth - 1))
            if len(out) > MAX_SIZE:
                raise BudgetExceeded(False)
        else:
            out.append(item)
    return out


def _distinct(items: list[Any]) -> list[Any]:
    return list({freeze(item): item for item in reversed(items)}.values())[::-1] if items else []


def _sorted(items: list[Any]) -> list[Any]:
    if items and any(type(item) is not type(items[0]) for item in items):
        raise EvaluationError("list elements must have the same type")
    return sorted(items)


def sorted_by(items: list[Any], keys: list[Any]) -> list[Any]:
    if keys and any(type(key) is not type(keys[0]) for key in keys):
        raise EvaluationError("list elements must have the same type")
    return [items[place] for place in sorted(range(len(items)), key=keys.__getitem__)]


def _range(count: int) -> list[int]:
    if count > MAX_SIZE:
        raise BudgetExceeded(False)
    return list(range(count))


lists.member("slice", "list_slice", "list(T), int, int -> list(T)", _slice)
lists.member("flatten", "list_flatten", "list(list(T)) -> list(T)", _flatten)
lists.member("flatten", "list_flatten_int", "list(dyn), int -> list(dyn)", _flatten)
lists.member("distinct", "list_distinct", "list(T) -> list(T)", _distinct)
lists.member("reverse", "list_reverse", "list(T) -> list(T)", lambda items: items[::-1])
lists.member("first", "list_first", "list(T) -> optional(T)", lambda items: Optional(items[0]) if items else NONE)
lists.member("last", "list_last", "list(T) -> optional(T)", lambda items: Optional(items[-1]) if items else NONE)
lists.function("lists.range", "lists_range", "int -> list(int)", _range)
for _type in _COMPARABLE:
    lists.member("sort", f"list_{_type}_sort", f"list({_type}) -> list({_type})", _sorted)

# --- sets -------------------------------------------------------------------------------------------------------------


def _contains(items: list[Any], part: list[Any]) -> bool:
    return set(map(freeze, items)) >= set(map(freeze, part))


lists.function("sets.contains", "list_sets_contains_list", "list(T), list(T) -> bool", _contains)
lists.function(
    "sets.equivalent",
    "list_sets_equivalent_list",
    "list(T), list(T) -> bool",
    lambda a, b: set(map(freeze, a)) == set(map(freeze, b)),
)
lists.function(
    "sets.intersects",
    "list_sets_intersects_list",
    "list(T), list(T) -> bool",
    lambda a, b: not set(map(freeze, a)).isdisjoint(map(freeze, b)),
)
