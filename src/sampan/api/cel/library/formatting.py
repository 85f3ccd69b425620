"""`"%s of %d".format([...])`.

Source: cel-go ext/formatting.go (fixed and scientific numbers as golang.org/x/text prints them for en_US)
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from sampan.api.cel.errors import BudgetExceeded, EvaluationError
from sampan.api.cel.library.conversions import format_double
from sampan.api.cel.times import Duration, Timestamp
from sampan.api.cel.types import Type
from sampan.api.cel.values import MAX_SIZE, TypeValue, Uint, from_key, type_name

_CLAUSE = re.compile(r"%(?:(%)|(?:\.(\d*))?(.?))", re.DOTALL)
_QUOTED = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"',
}  # fmt: skip
_PRECISION, _MAX_PRECISION = 6, 100
_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _wrong(what: str) -> Callable[[Any], EvaluationError]:
    return lambda value: EvaluationError(f"error during formatting: {what}, was given {type_name(value)}")


def _wrong_for(letter: str) -> Callable[[Any], EvaluationError]:
    return lambda value: _wrong(_KINDS[letter][1])(value)


_wrong_string, _wrong_decimal, _wrong_fixed, _wrong_scientific = map(_wrong_for, "sdfe")
_wrong_binary, _wrong_hex, _wrong_octal = map(_wrong_for, "bxo")


def format_string(text: str, args: list[Any]) -> str:
    """Raises EvaluationError for a clause that is unknown, does not fit its argument or has none."""
    used = made = 0

    def clause(match: re.Match[str]) -> str:
        nonlocal used, made
        percent, digits, letter = match.groups()
        if percent:
            return "%"
        if not letter:
            raise EvaluationError("could not parse formatting clause: unexpected end of string")
        if used >= len(args):
            raise EvaluationError(f"index {used} out of range")
        value = args[used]
        used += 1
        precision = _PRECISION if digits is None else int((digits or "0")[:9])
        if precision > _MAX_PRECISION:
            raise EvaluationError(
                f"could not parse formatting clause: precision {precision} exceeds maximum allowed precision {_MAX_PRECISION}"
            )
        formatter = _CLAUSES.get(letter)
        if formatter is None:
            raise EvaluationError(f'could not parse formatting clause: unrecognized formatting clause "{letter}"')
        out = formatter(value, precision)
        made += len(out)
        if made > 10 * MAX_SIZE:
            raise BudgetExceeded(False)
        return out

    return _CLAUSE.sub(clause, text)


def _is_int(value: Any) -> bool:
    return type(value) is int or type(value) is Uint


def _string(value: Any, _: int = 0) -> str:
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if value is None:
        return "null"
    if _is_int(value):
        return str(int(value))
    if kind is float:
        return format_double(value)
    if kind is bytes:
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from None
    if kind is Timestamp or kind is Duration or kind is TypeValue:
        return str(value) if kind is not TypeValue else value.name
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, Mapping):
        pairs = sorted((_literal(from_key(key)), _literal(item)) for key, item in value.items())
        return "{" + ", ".join(f"{key}:{item}" for key, item in pairs) + "}"
    raise _wrong_string(value)


def _literal(value: Any) -> str:
    """As it would be written in CEL."""
    kind = type(value)
    if kind is str:
        return quote(value)
    if kind is bytes:
        return "b" + quote(_string(value))
    if kind is Timestamp or kind is Duration:
        return f'{"timestamp" if kind is Timestamp else "duration"}("{value}")'
    if kind is float:
        if math.isfinite(value):
            return f"{value:.{_PRECISION}f}"
        return f'"{format_double(value)}"'
    return _string(value)


def quote(text: str) -> str:
    """In double quotes, as Go writes it."""
    return f'"{"".join(_QUOTED.get(letter, letter) for letter in text)}"'


def _decimal(value: Any, _: int) -> str:
    if not _is_int(value):
        raise _wrong_decimal(value)
    return str(int(value))


def _number(value: Any, wrong: Callable[[Any], EvaluationError]) -> float:
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    if type(value) is not float:
        raise wrong(value)
    return value


def _not_finite(number: float) -> str:
    return "NaN" if math.isnan(number) else "∞" if number > 0 else "-∞"


def _fixed(value: Any, precision: int) -> str:
    number = _number(value, _wrong_fixed)
    return f"{number:,.{precision}f}" if math.isfinite(number) else _not_finite(number)


def _scientific(value: Any, precision: int) -> str:
    number = _number(value, _wrong_scientific)
    if not math.isfinite(number):
        return _not_finite(number)
    mantissa, _, exponent = f"{number:.{precision}e}".partition("e")
    return f"{mantissa}\u202f×\u202f10{exponent.lstrip('+').translate(_SUPERSCRIPT)}"


def _signed(value: int, digits: str) -> str:
    return f"-{digits}" if value < 0 else digits


def _binary(value: Any, _: int) -> str:
    if not isinstance(value, int):
        raise _wrong_binary(value)
    return _signed(value, f"{abs(int(value)):b}")


def _octal(value: Any, _: int) -> str:
    if not _is_int(value):
        raise _wrong_octal(value)
    return _signed(value, f"{abs(int(value)):o}")


def _hex(value: Any, _: int) -> str:
    if isinstance(value, str):
        return value.encode().hex()
    if isinstance(value, bytes):
        return value.hex()
    if not _is_int(value):
        raise _wrong_hex(value)
    return _signed(value, f"{abs(int(value)):x}")


_CLAUSES: dict[str, Callable[[Any, int], str]] = {
    "s": _string, "d": _decimal, "f": _fixed, "e": _scientific, "b": _binary, "o": _octal, "x": _hex,
    "X": lambda value, precision: _hex(value, precision).upper(),
}  # fmt: skip


#: what each clause takes, and what it says of the rest
_KINDS: dict[str, tuple[frozenset[str], str]] = {
    "s": (
        frozenset(("string", "bool", "bytes", "int", "uint", "double", "map", "list", "type", "duration", "timestamp", "null")),
        "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps",
    ),
    "d": (frozenset(("int", "uint")), "decimal clause can only be used on integers"),
    "f": (frozenset(("double", "string")), "fixed-point clause can only be used on doubles"),
    "e": (frozenset(("double", "string")), "scientific clause can only be used on doubles"),
    "b": (frozenset(("int", "uint", "bool")), "only integers and bools can be formatted as binary"),
    "x": (frozenset(("int", "uint", "string", "bytes")), "only integers, byte buffers, and strings can be formatted as hex"),
    "o": (frozenset(("int", "uint")), "octal clause can only be used on integers"),
}  # fmt: skip


def format_problem(text: str, args: list[Type]) -> tuple[int | None, str] | None:
    """What is wrong with a constant format string, and with which argument (None: with all of it)."""
    used = 0
    for match in _CLAUSE.finditer(text):
        percent, _, letter = match.groups()
        if percent:
            continue
        if not letter:
            return None, "could not parse formatting clause: unexpected end of string"
        if used >= len(args):
            return None, f"index {used} out of range"
        if letter not in _CLAUSES:
            return None, f'could not parse formatting clause: unrecognized formatting clause "{letter}"'
        kinds, what = _KINDS[letter.lower()]
        given = args[used]
        if given.kind not in ("dyn", "error", "param") and given.kind not in kinds:
            return used, f"error during formatting: {what}, was given {given}"
        used += 1
    if len(args) > used:
        return None, f"too many arguments supplied to string.format (expected {used}, got {len(args)})"
    return None
