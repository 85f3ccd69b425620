"""The functions and operators of CEL itself. `&&`, `||`, `?:` and the macros are the compiler's.

Source: cel-go common/stdlib/standard.go, common/types
"""

from __future__ import annotations

import functools
import importlib
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from sampan.api.cel.errors import BudgetExceeded, EvaluationError
from sampan.api.cel.functions import Library
from sampan.api.cel.library.conversions import checked_int, checked_uint, format_double, show
from sampan.api.cel.times import Duration, Timestamp
from sampan.api.cel.values import (
    INT_MIN,
    MAX_SIZE,
    NONE,
    Optional,
    Uint,
    equal,
    map_key,
    type_name,
)

standard = Library()

# --- arithmetic -------------------------------------------------------------------------------------------------------


def add_ints(a: int, b: int) -> int:
    return checked_int(a + b)


def add_uints(a: int, b: int) -> int:
    return checked_uint(a + b)


def add_durations(a: Duration, b: Duration) -> Duration:
    return Duration.checked(a.ns + b.ns)


def add_lists(a: list[Any], b: list[Any]) -> list[Any]:
    if len(a) + len(b) > MAX_SIZE:
        raise BudgetExceeded(False)
    return [*a, *b]


def _divide(a: int, b: int) -> int:
    """Towards zero, as Go."""
    if b == 0:
        raise EvaluationError("division by zero")
    quotient = abs(int(a)) // abs(int(b))
    return -quotient if (a < 0) != (b < 0) else quotient


def _modulo(a: int, b: int) -> int:
    """The sign is the dividend's, as in Go."""
    if b == 0:
        raise EvaluationError("modulus by zero")
    if a == INT_MIN and b == -1:
        raise EvaluationError("integer overflow")
    rest = abs(int(a)) % abs(int(b))
    return -rest if a < 0 else rest


def _divide_doubles(a: float, b: float) -> float:
    if b == 0:
        if a == 0 or math.isnan(a):
            return math.nan
        return math.inf if (a > 0) == (math.copysign(1, b) > 0) else -math.inf
    return a / b


def _float(call: Callable[[float, float], float]) -> Callable[[float, float], float]:
    def checked(a: float, b: float) -> float:
        try:
            return call(a, b)
        except OverflowError:
            return math.inf

    return checked


standard.function("_+_", "add_int64", "int, int -> int", add_ints)
standard.function("_+_", "add_uint64", "uint, uint -> uint", add_uints)
standard.function("_+_", "add_double", "double, double -> double", operator.add)
standard.function("_+_", "add_string", "string, string -> string", operator.add)
standard.function("_+_", "add_bytes", "bytes, bytes -> bytes", operator.add)
standard.function("_+_", "add_list", "list(A), list(A) -> list(A)", add_lists)
standard.function(
    "_+_",
    "add_timestamp_duration",
    "timestamp, duration -> timestamp",
    lambda a, b: Timestamp.checked(a.ns + b.ns, a.offset),
)
standard.function(
    "_+_",
    "add_duration_timestamp",
    "duration, timestamp -> timestamp",
    lambda a, b: Timestamp.checked(a.ns + b.ns, b.offset),
)
standard.function("_+_", "add_duration_duration", "duration, duration -> duration", add_durations)
standard.function("_-_", "subtract_int64", "int, int -> int", lambda a, b: checked_int(a - b))
standard.function("_-_", "subtract_uint64", "uint, uint -> uint", lambda a, b: checked_uint(a - b))
standard.function("_-_", "subtract_double", "double, double -> double", operator.sub)
standard.function(
    "_-_",
    "subtract_timestamp_timestamp",
    "timestamp, timestamp -> duration",
    lambda a, b: Duration.checked(a.ns - b.ns),
)
standard.function(
    "_-_",
    "subtract_timestamp_duration",
    "timestamp, duration -> timestamp",
    lambda a, b: Timestamp.checked(a.ns - b.ns, a.offset),
)
standard.function(
    "_-_", "subtract_duration_duration", "duration, duration -> duration", lambda a, b: Duration.checked(a.ns - b.ns)
)
standard.function("_*_", "multiply_int64", "int, int -> int", lambda a, b: checked_int(a * b))
standard.function("_*_", "multiply_uint64", "uint, uint -> uint", lambda a, b: checked_uint(a * b))
standard.function("_*_", "multiply_double", "double, double -> double", _float(operator.mul))
standard.function("_/_", "divide_int64", "int, int -> int", lambda a, b: checked_int(_divide(a, b)))
standard.function("_/_", "divide_uint64", "uint, uint -> uint", lambda a, b: Uint(_divide(a, b)))
standard.function("_/_", "divide_double", "double, double -> double", _float(_divide_doubles))
standard.function("_%_", "modulo_int64", "int, int -> int", _modulo)
standard.function("_%_", "modulo_uint64", "uint, uint -> uint", lambda a, b: Uint(_modulo(a, b)))
standard.function("-_", "negate_int64", "int -> int", lambda a: checked_int(-a))
standard.function("-_", "negate_double", "double -> double", operator.neg)
standard.function("!_", "logical_not", "bool -> bool", operator.not_)

# --- comparing --------------------------------------------------------------------------------------------------------

standard.function("_==_", "equals", "A, A -> bool", equal)
standard.function("_!=_", "not_equals", "A, A -> bool", lambda a, b: not equal(a, b))

_ORDERED = ("bool", "int64", "uint64", "double", "string", "bytes", "timestamp", "duration")
_ACROSS = (
    ("int64_double", "int, double"), ("int64_uint64", "int, uint"), ("uint64_double", "uint, double"),
    ("uint64_int64", "uint, int"), ("double_int64", "double, int"), ("double_uint64", "double, uint"),
)  # fmt: skip
for _name, _word, _call in (
    ("_<_", "less", operator.lt),
    ("_<=_", "less_equals", operator.le),
    ("_>_", "greater", operator.gt),
    ("_>=_", "greater_equals", operator.ge),
):
    for _kind in _ORDERED:
        _type = _kind.removesuffix("64")
        standard.function(_name, f"{_word}_{_kind}", f"{_type}, {_type} -> bool", _call)
    for _kinds, _pair in _ACROSS:
        # ints are compared with doubles as doubles, beyond 2^53 too
        _across = (lambda a, b, call=_call: call(float(a), float(b))) if "double" in _kinds else _call
        standard.function(_name, f"{_word}_{_kinds}", f"{_pair} -> bool", _across)


# --- lists and maps ---------------------------------------------------------------------------------------------------


def in_list(value: Any, items: Any) -> bool:
    return any(equal(value, item) for item in items)


def in_map(key: Any, entries: Mapping[Any, Any]) -> bool:
    return map_key(key) in entries


def index_list(items: Any, index: Any) -> Any:
    if type(index) is not int:
        if isinstance(index, float) and not index.is_integer():
            raise EvaluationError(f"unsupported index value {format_double(index)} in list")
        if not isinstance(index, int | float) or type(index) is bool:
            raise EvaluationError(f"unsupported index type '{type_name(index)}' in list")
        index = int(index)
    if 0 <= index < len(items):
        return items[index]
    raise EvaluationError(f"index out of bounds: {index}")


def index_map(entries: Mapping[Any, Any], key: Any) -> Any:
    try:
        return entries[map_key(key)]
    except KeyError:
        raise EvaluationError(f"no such key: {show(key)}") from None


def index_optional_list(items: Any, index: int) -> Optional:
    return Optional(items[index]) if 0 <= index < len(items) else NONE


def index_optional_map(entries: Mapping[Any, Any], key: Any) -> Optional:
    found = map_key(key)
    return Optional(entries[found]) if found in entries else NONE


def _through(call: Callable[[Any, Any], Optional]) -> Callable[[Optional, Any], Optional]:
    return lambda optional, key: NONE if optional is NONE else call(optional.value, key)


standard.function("@in", "in_list", "A, list(A) -> bool", in_list)
standard.function("@in", "in_map", "A, map(A, B) -> bool", in_map)
standard.function("_[_]", "index_list", "list(A), int -> A", index_list)
standard.function("_[_]", "index_map", "map(A, B), A -> B", index_map)
standard.function(
    "_[_]", "optional_list_index_int", "optional(list(V)), int -> optional(V)", _through(index_optional_list)
)
standard.function(
    "_[_]", "optional_map_index_value", "optional(map(K, V)), K -> optional(V)", _through(index_optional_map)
)
standard.function("_[?_]", "list_optindex_optional_int", "list(V), int -> optional(V)", index_optional_list)
standard.function(
    "_[?_]",
    "optional_list_optindex_optional_int",
    "optional(list(V)), int -> optional(V)",
    _through(index_optional_list),
)
standard.function("_[?_]", "map_optindex_optional_value", "map(K, V), K -> optional(V)", index_optional_map)
standard.function(
    "_[?_]",
    "optional_map_optindex_optional_value",
    "optional(map(K, V)), K -> optional(V)",
    _through(index_optional_map),
)
for _kind in ("string", "bytes", "list(A)", "map(A, B)"):
    _id = _kind.partition("(")[0]
    standard.function("size", f"size_{_id}", f"{_kind} -> int", len)
    standard.member("size", f"{_id}_size", f"{_kind} -> int", len)

# --- strings ----------------------------------------------------------------------------------------------------------


def matches(text: str, pattern: str) -> bool:
    return pattern_of(pattern).search(text) is not None


@functools.lru_cache(maxsize=512)
def pattern_of(pattern: str) -> Any:
    """Compiled by RE2, imported late: it takes a while. Raises EvaluationError."""
    re2: Any = importlib.import_module("re2")
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        shown = reason.decode() if isinstance(reason, bytes) else reason
        raise EvaluationError(f"error parsing regexp: {shown}") from None


standard.member("contains", "contains_string", "string, string -> bool", operator.contains)
standard.member("startsWith", "starts_with_string", "string, string -> bool", str.startswith)
standard.member("endsWith", "ends_with_string", "string, string -> bool", str.endswith)
standard.member("matches", "matches_string", "string, string -> bool", matches)
standard.function("matches", "matches", "string, string -> bool", matches)

# the types of `?:`; the compiler evaluates only the branch that is asked for
standard.function("_?_:_", "conditional", "bool, A, A -> A", lambda chosen, yes, no: yes if chosen else no)
