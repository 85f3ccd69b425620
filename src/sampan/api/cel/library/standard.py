"""The functions and operators of CEL itself. `&&`, `||`, `?:` and the macros are the compiler's.

Source: cel-go common/stdlib/standard.go, common/types
"""

from __future__ import annotations

import functools
import importlib
import math
import operator
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sampan.api.cel.errors import BudgetExceeded, EvaluationError
from sampan.api.cel.functions import Library
from sampan.api.cel.times import Duration, Timestamp
from sampan.api.cel.values import (
    INT_MAX,
    INT_MIN,
    MAX_SIZE,
    NONE,
    UINT_MAX,
    Optional,
    TypeValue,
    Uint,
    equal,
    map_key,
    type_name,
)

standard = Library()

# --- arithmetic -------------------------------------------------------------------------------------------------------


def add_ints(a: int, b: int) -> int:
    return _int(a + b)


def add_uints(a: int, b: int) -> int:
    return _uint(a + b)


def add_durations(a: Duration, b: Duration) -> Duration:
    return Duration.checked(a.ns + b.ns)


def add_lists(a: list[Any], b: list[Any]) -> list[Any]:
    if len(a) + len(b) > MAX_SIZE:
        raise BudgetExceeded(False)
    return [*a, *b]


def _int(value: int) -> int:
    if INT_MIN <= value <= INT_MAX:
        return value
    raise EvaluationError("integer overflow")


def _uint(value: int) -> Uint:
    if 0 <= value <= UINT_MAX:
        return Uint(value)
    raise EvaluationError("unsigned integer overflow")


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
standard.function("_-_", "subtract_int64", "int, int -> int", lambda a, b: _int(a - b))
standard.function("_-_", "subtract_uint64", "uint, uint -> uint", lambda a, b: _uint(a - b))
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
standard.function("_*_", "multiply_int64", "int, int -> int", lambda a, b: _int(a * b))
standard.function("_*_", "multiply_uint64", "uint, uint -> uint", lambda a, b: _uint(a * b))
standard.function("_*_", "multiply_double", "double, double -> double", _float(operator.mul))
standard.function("_/_", "divide_int64", "int, int -> int", lambda a, b: _int(_divide(a, b)))
standard.function("_/_", "divide_uint64", "uint, uint -> uint", lambda a, b: Uint(_divide(a, b)))
standard.function("_/_", "divide_double", "double, double -> double", _float(_divide_doubles))
standard.function("_%_", "modulo_int64", "int, int -> int", _modulo)
standard.function("_%_", "modulo_uint64", "uint, uint -> uint", lambda a, b: Uint(_modulo(a, b)))
standard.function("-_", "negate_int64", "int -> int", lambda a: _int(-a))
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
        standard.function(_name, f"{_word}_{_kinds}", f"{_pair} -> bool", _call)


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

# --- conversions ------------------------------------------------------------------------------------------------------

_DIGITS = re.compile(r"[+-]?\d+", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?|nan", re.ASCII | re.IGNORECASE)
_BOOLS = dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True) | dict.fromkeys(
    ("0", "f", "F", "false", "FALSE", "False"), False
)


def _unconvertible(source: str, target: str) -> EvaluationError:
    return EvaluationError(f"type conversion error from '{source}' to '{target}'")


def format_double(value: float) -> str:
    """As Go's `%g` with the fewest digits."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole.lstrip("0")) + int(exponent or 0)
    if not whole.lstrip("0"):
        point = int(exponent or 0) - (len(fraction) - len(fraction.lstrip("0")))
    digits = digits.rstrip("0") or "0"
    sign = "-" if value < 0 else ""
    power = point - 1
    if power < -4 or power >= 6:
        head = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
        return f"{sign}{head}e{'-' if power < 0 else '+'}{abs(power):02d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if point >= len(digits):
        return sign + digits + "0" * (point - len(digits))
    return f"{sign}{digits[:point]}.{digits[point:]}"


def show(value: Any) -> str:
    """As Go prints a value in a message."""
    kind = type(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is float:
        return format_double(value)
    return str(int(value)) if kind is Uint else str(value)


def _int_of_double(value: float) -> int:
    if not -9223372036854775808.0 < value < 9223372036854775808.0:
        raise EvaluationError("integer overflow")
    return int(value)


def _uint_of_double(value: float) -> Uint:
    if not -1.0 < value < 18446744073709551616.0:
        raise EvaluationError("unsigned integer overflow")
    return Uint(int(value))


def _int_of_string(text: str) -> int:
    if not _DIGITS.fullmatch(text) or len(text) > 40 or not INT_MIN <= int(text) <= INT_MAX:
        raise _unconvertible("string", "int")
    return int(text)


def _uint_of_string(text: str) -> Uint:
    if not text.isascii() or not text.isdigit() or len(text) > 40 or int(text) > UINT_MAX:
        raise _unconvertible("string", "uint")
    return Uint(int(text))


def _double_of_string(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise _unconvertible("string", "double")
    return float(text)


def _bool_of_string(text: str) -> bool:
    if text not in _BOOLS:
        raise _unconvertible("string", "bool")
    return _BOOLS[text]


def _string_of_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from None


def _timestamp_of_string(text: str) -> Timestamp:
    try:
        return Timestamp.parse(text)
    except ValueError:
        raise _unconvertible("string", "google.protobuf.Timestamp") from None


def _duration_of_string(text: str) -> Duration:
    try:
        return Duration.parse(text)
    except ValueError:
        raise _unconvertible("string", "google.protobuf.Duration") from None


def _same(value: Any) -> Any:
    return value


_CONVERSIONS: tuple[tuple[str, str, str, Callable[..., Any]], ...] = (
    ("int", "int64_to_int64", "int", _same),
    ("int", "uint64_to_int64", "uint", lambda a: _int(int(a))),
    ("int", "double_to_int64", "double", _int_of_double),
    ("int", "string_to_int64", "string", _int_of_string),
    ("int", "timestamp_to_int64", "timestamp", lambda a: a.ns // 1_000_000_000),
    ("int", "duration_to_int64", "duration", lambda a: a.ns),
    ("uint", "uint64_to_uint64", "uint", _same),
    ("uint", "int64_to_uint64", "int", _uint),
    ("uint", "double_to_uint64", "double", _uint_of_double),
    ("uint", "string_to_uint64", "string", _uint_of_string),
    ("double", "double_to_double", "double", _same),
    ("double", "int64_to_double", "int", float),
    ("double", "uint64_to_double", "uint", float),
    ("double", "string_to_double", "string", _double_of_string),
    ("bool", "bool_to_bool", "bool", _same),
    ("bool", "string_to_bool", "string", _bool_of_string),
    ("string", "string_to_string", "string", _same),
    ("string", "bool_to_string", "bool", show),
    ("string", "int64_to_string", "int", str),
    ("string", "uint64_to_string", "uint", show),
    ("string", "double_to_string", "double", format_double),
    ("string", "bytes_to_string", "bytes", _string_of_bytes),
    ("string", "timestamp_to_string", "timestamp", str),
    ("string", "duration_to_string", "duration", str),
    ("bytes", "bytes_to_bytes", "bytes", _same),
    ("bytes", "string_to_bytes", "string", str.encode),
    ("timestamp", "timestamp_to_timestamp", "timestamp", _same),
    ("timestamp", "string_to_timestamp", "string", _timestamp_of_string),
    ("timestamp", "int64_to_timestamp", "int", lambda a: Timestamp.checked(a * 1_000_000_000)),
    ("duration", "duration_to_duration", "duration", _same),
    ("duration", "string_to_duration", "string", _duration_of_string),
    ("duration", "int64_to_duration", "int", Duration),
)
for _name, _id, _from, _convert in _CONVERSIONS:
    standard.function(_name, _id, f"{_from} -> {_name}", _convert)
standard.function("dyn", "to_dyn", "A -> dyn", _same)
standard.function("type", "type", "A -> type(A)", lambda value: TypeValue(type_name(value)))

# --- times ------------------------------------------------------------------------------------------------------------


def _part(read: Callable[[datetime], int]) -> tuple[Callable[[Timestamp], int], Callable[[Timestamp, str], int]]:
    return (lambda when: read(when.local(""))), (lambda when, zone: read(when.local(zone)))


for _name, _id, _read in (
    ("getFullYear", "timestamp_to_year", lambda at: at.year),
    ("getMonth", "timestamp_to_month", lambda at: at.month - 1),
    ("getDayOfYear", "timestamp_to_day_of_year", lambda at: at.timetuple().tm_yday - 1),
    ("getDayOfMonth", "timestamp_to_day_of_month", lambda at: at.day - 1),
    ("getDate", "timestamp_to_day_of_month_1_based", lambda at: at.day),
    ("getDayOfWeek", "timestamp_to_day_of_week", lambda at: at.isoweekday() % 7),
    ("getHours", "timestamp_to_hours", lambda at: at.hour),
    ("getMinutes", "timestamp_to_minutes", lambda at: at.minute),
    ("getSeconds", "timestamp_to_seconds", lambda at: at.second),
):
    _plain, _zoned = _part(_read)
    standard.member(_name, _id, "timestamp -> int", _plain)
    standard.member(_name, f"{_id}_with_tz", "timestamp, string -> int", _zoned)
standard.member(
    "getMilliseconds", "timestamp_to_milliseconds", "timestamp -> int", lambda at: at.nanosecond // 1_000_000
)
standard.member(
    "getMilliseconds",
    "timestamp_to_milliseconds_with_tz",
    "timestamp, string -> int",
    lambda at, zone: at.nanosecond // 1_000_000,
)
for _name, _id, _unit in (
    ("getHours", "duration_to_hours", 3_600_000_000_000),
    ("getMinutes", "duration_to_minutes", 60_000_000_000),
    ("getSeconds", "duration_to_seconds", 1_000_000_000),
    ("getMilliseconds", "duration_to_milliseconds", 1_000_000),
):
    standard.member(_name, _id, "duration -> int", lambda span, unit=_unit: _divide(span.ns, unit))

# the types of `?:`; the compiler evaluates only the branch that is asked for
standard.function("_?_:_", "conditional", "bool, A, A -> A", lambda chosen, yes, no: yes if chosen else no)
