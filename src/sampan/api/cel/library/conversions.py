"""From one type to another, and the parts of times.

Source: cel-go common/stdlib/standard.go, common/types
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sampan.api.cel.errors import EvaluationError
from sampan.api.cel.functions import Library
from sampan.api.cel.times import Duration, Timestamp
from sampan.api.cel.values import INT_MAX, INT_MIN, UINT_MAX, TypeValue, Uint, type_name

conversions = Library()


def checked_int(value: int) -> int:
    if INT_MIN <= value <= INT_MAX:
        return value
    raise EvaluationError("integer overflow")


def checked_uint(value: int) -> Uint:
    if 0 <= value <= UINT_MAX:
        return Uint(value)
    raise EvaluationError("unsigned integer overflow")


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
    if not 0.0 <= value < 18446744073709551616.0:
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
    ("int", "uint64_to_int64", "uint", lambda a: checked_int(int(a))),
    ("int", "double_to_int64", "double", _int_of_double),
    ("int", "string_to_int64", "string", _int_of_string),
    ("int", "timestamp_to_int64", "timestamp", lambda a: a.ns // 1_000_000_000),
    ("int", "duration_to_int64", "duration", lambda a: a.ns),
    ("uint", "uint64_to_uint64", "uint", _same),
    ("uint", "int64_to_uint64", "int", checked_uint),
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
    conversions.function(_name, _id, f"{_from} -> {_name}", _convert)
conversions.function("dyn", "to_dyn", "A -> dyn", _same)
conversions.function("type", "type", "A -> type(A)", lambda value: TypeValue(type_name(value)))

# --- times ------------------------------------------------------------------------------------------------------------


def _whole(ns: int, unit: int) -> int:
    """Whole units, towards zero."""
    return abs(ns) // unit * (-1 if ns < 0 else 1)


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
    conversions.member(_name, _id, "timestamp -> int", _plain)
    conversions.member(_name, f"{_id}_with_tz", "timestamp, string -> int", _zoned)
conversions.member(
    "getMilliseconds", "timestamp_to_milliseconds", "timestamp -> int", lambda at: at.nanosecond // 1_000_000
)
conversions.member(
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
    conversions.member(_name, _id, "duration -> int", lambda span, unit=_unit: _whole(span.ns, unit))
