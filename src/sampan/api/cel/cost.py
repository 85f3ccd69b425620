"""What calls cost at run time.

The numbers are upstream's, to the unit: rules that pass under its limits pass here, and the other way round. Whatever is
not named costs 1. `estimate.py` has what they may cost at most.

Source: cel-go common/cost.go, interpreter/runtimecost.go (costCall), k8s.io/apiserver/pkg/cel/library/cost.go
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any

from sampan.api.cel.functions import Overload
from sampan.api.cel.values import size_of

LIST_COST, MAP_COST, STRUCT_COST = 10, 30, 40
#: of a character walked over, and of one of a regular expression
STRING_FACTOR, REGEX_FACTOR = 0.1, 0.25
AUTHORIZATION_COST = 350_000

Price = Callable[[Sequence[Any], Any], int]


def walk(size: int, times: int = 1) -> int:
    return ceil(size * times * STRING_FACTOR)


def equality_cost(a: Any, b: Any) -> int:
    x, y = size_of(a), size_of(b)
    return ceil((x if x < y else y) * STRING_FACTOR)


def regex_cost(text: int, pattern: int) -> int:
    return ceil((1.0 + text) * STRING_FACTOR) * ceil(pattern * REGEX_FACTOR)


def selector_cost(length: int) -> int:
    """A requirement for every two characters, a list and a struct for each."""
    return LIST_COST + walk(length) + ceil(length * 0.5) * (LIST_COST + STRUCT_COST)


def traversal(value: Any) -> int:
    """The cost of walking a tree."""
    kind = type(value)
    if kind is str:
        return int(len(value.encode("utf-8", "surrogatepass")) * STRING_FACTOR)
    if kind is bytes:
        return int(len(value) * STRING_FACTOR)
    if isinstance(value, list):
        return sum(map(traversal, value))
    if isinstance(value, Mapping):
        return sum(traversal(key) + traversal(item) for key, item in value.items())
    return 1


def _first(args: Sequence[Any], _: Any) -> int:
    return ceil(size_of(args[0]) * STRING_FACTOR)


def _first_twice(args: Sequence[Any], _: Any) -> int:
    return ceil(size_of(args[0]) * 2 * STRING_FACTOR)


def _result_twice(_: Sequence[Any], result: Any) -> int:
    return ceil(size_of(result) * 2 * STRING_FACTOR)


def _both(args: Sequence[Any], _: Any) -> int:
    return ceil((size_of(args[0]) + size_of(args[1])) * STRING_FACTOR)


def _lesser(args: Sequence[Any], _: Any) -> int:
    return equality_cost(args[0], args[1])


def _regex(args: Sequence[Any], _: Any) -> int:
    return regex_cost(size_of(args[0]), size_of(args[1]))


def _contains(args: Sequence[Any], _: Any) -> int:
    return ceil(size_of(args[0]) * STRING_FACTOR) * ceil(size_of(args[1]) * STRING_FACTOR)


def _tree(args: Sequence[Any], _: Any) -> int:
    return traversal(args[0])


def self_compare_cost(items: Sequence[Any]) -> int:
    """Sorting, and finding duplicates: every item with every other."""
    factor = 2 + (STRING_FACTOR if items and isinstance(items[0], str | bytes) else 0)
    return _allocating(factor, len(items) ** 2)


def _allocating(factor: float, size: int) -> int:
    return int(size * factor) + 1 + LIST_COST


def _result_list(_: Sequence[Any], result: Any) -> int:
    return _allocating(1, size_of(result))


def _flatten(args: Sequence[Any], _: Any) -> int:
    return _allocating(args[1] if len(args) > 1 else 1, size_of(args[0]))


def _self_compare(args: Sequence[Any], _: Any) -> int:
    return self_compare_cost(args[0])


def _add_lists(_: Sequence[Any], result: Any) -> int:
    """DEVIATION: upstream joins lists without copying; past a thousand items, a copy is charged for."""
    size = len(result)
    return 1 if size <= 1000 else size // 100


def _sets(factor: int) -> Price:
    return lambda args, _: size_of(args[0]) * size_of(args[1]) * factor + 1


def _fixed(cost: int) -> Price:
    return lambda args, result: cost


def _cidr_contains(text: bool, whole_range: bool) -> Price:
    def price(args: Sequence[Any], _: Any) -> int:
        size, other = args[0].size, size_of(args[1])
        cost = walk(size, 2) + (walk(size) + 1 if whole_range else 0)
        return cost + walk(other) if text else cost

    return price


def _format(args: Sequence[Any], _: Any) -> int:
    return regex_cost(size_of(args[1]), args[0].regex_size)


_BY_NAME: dict[str, Price] = {
    "check": _fixed(AUTHORIZATION_COST),
    **dict.fromkeys(("fieldSelector", "labelSelector"), lambda args, _: selector_cost(size_of(args[1]))),
    **dict.fromkeys(("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"), _tree),
    **dict.fromkeys(
        ("url", "lowerAscii", "upperAscii", "substring", "trim", "jsonpatch.escapeKey", "cidr", "isIP", "isCIDR", "ip",
         "quantity", "isQuantity", "semver", "isSemver"), _first,
    ),
    **dict.fromkeys(("replace", "split", "ip.isCanonical"), _first_twice),
    "join": _result_twice,
    **dict.fromkeys(("find", "findAll"), _regex),
    "validate": _format,
}  # fmt: skip
_BY_ID: dict[str, Price] = {
    **dict.fromkeys(
        ("starts_with_string", "ends_with_string", "string_to_bytes", "bytes_to_string", "strings_quote", "string_format"),
        _first,
    ),
    **dict.fromkeys(("add_string", "add_bytes"), _both),
    **dict.fromkeys(
        (f"{word}_{kind}" for word in ("less", "less_equals", "greater", "greater_equals") for kind in ("string", "bytes")),
        _lesser,
    ),
    "matches_string": _regex,
    "add_list": _add_lists,
    **dict.fromkeys(("list_slice", "list_reverse", "lists_range"), _result_list),
    **dict.fromkeys(("list_flatten", "list_flatten_int"), _flatten),
    "list_distinct": _self_compare,
    "list_sets_contains_list": _sets(1),
    "list_sets_intersects_list": _sets(1),
    "list_sets_equivalent_list": _sets(2),
    "contains_string": _contains,
    "cidr_contains_ip_string": _cidr_contains(text=True, whole_range=False),
    "cidr_contains_ip_ip": _cidr_contains(text=False, whole_range=False),
    "cidr_contains_cidr_string": _cidr_contains(text=True, whole_range=True),
    "cidr_contains_cidr": _cidr_contains(text=False, whole_range=True),
}  # fmt: skip


def runtime_cost(name: str, overloads: Sequence[Overload]) -> Price | None:
    """None when it is always 1."""
    one = overloads[0].id if len(overloads) == 1 else ""
    if one == "cidr_ip":
        return None
    if name == "sort":
        return _self_compare
    return _BY_NAME.get(name) or _BY_ID.get(one)
