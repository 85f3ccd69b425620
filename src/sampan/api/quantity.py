"""Quantities: `100m`, `1Gi`, `1e3`, exactly as Go's `resource.Quantity` reads, rounds and prints them.

A quantity keeps the way of writing it was given in (binary, decimal or exponent suffixes) but not its digits: the
canonical form has no fraction and the largest suffix that allows that. Nothing finer than a nano is kept (rounded up),
nothing above 2^63-1 (capped).

Source: k8s.io/apimachinery/pkg/api/resource/{quantity,suffix,scale_int}.go
"""

from __future__ import annotations

import functools
import re
from fractions import Fraction
from math import ceil, floor

WRONG_FORMAT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
WRONG_NUMBER = "unable to parse numeric part of quantity"
WRONG_SUFFIX = "unable to parse quantity's suffix"
_SHAPE = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?([eEinumkKMGTP]*)([-+]?\d*)", re.ASCII)
_BINARY = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_SUFFIX = {power: suffix for suffix, power in _DECIMAL.items()}
_MAX = (1 << 63) - 1
_MAX_TEXT = 4096


@functools.lru_cache(maxsize=8192)
def _parsed(text: str) -> tuple[Fraction, str]:
    """The value, and its format: binary, decimal or exponent."""
    if not text:
        raise ValueError(WRONG_FORMAT)
    if len(text) > _MAX_TEXT:
        raise ValueError(WRONG_NUMBER)
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise ValueError(WRONG_FORMAT)
    sign, whole, fraction, letters, digits = match.groups()
    if not whole and not fraction:
        raise ValueError(WRONG_FORMAT)
    scale, style = _suffix(letters, digits)
    number = Fraction(int((whole or "0") + (fraction or "")), 10 ** len(fraction or ""))
    value = number * scale
    if sign == "-":
        value = -value
    return _bounded(value), style


def _suffix(letters: str, digits: str) -> tuple[Fraction, str]:
    if letters in _BINARY and not digits:
        return Fraction(1 << (10 * (_BINARY.index(letters) + 1))), "binary"
    if letters in _DECIMAL and not digits:
        return Fraction(10) ** _DECIMAL[letters], "decimal"
    if letters in ("e", "E") and digits.lstrip("+-"):
        power = int(digits)
        if abs(power) > 1000:
            raise ValueError(WRONG_SUFFIX)
        return Fraction(10) ** power, "exponent"
    raise ValueError(WRONG_SUFFIX)


def _bounded(value: Fraction) -> Fraction:
    nano = value * 10**9
    if nano.denominator != 1:
        value = Fraction(ceil(nano) if nano > 0 else floor(nano), 10**9)
    return max(min(value, Fraction(_MAX)), Fraction(-_MAX))


def parse(text: str | int | float) -> Fraction:
    """The exact value. Raises ValueError with upstream's message."""
    return _parsed(_text(text))[0]


def _text(value: str | int | float) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        raise ValueError(WRONG_FORMAT)
    return repr(value) if isinstance(value, float) else str(value)


@functools.lru_cache(maxsize=8192)
def _canonical(text: str) -> str:
    return _format(*_parsed(text))


def canonical(text: str | int | float) -> str:
    """As Go prints it. Raises ValueError."""
    return _canonical(_text(text))


def _format(value: Fraction, style: str) -> str:
    if value == 0:
        return "0"
    if style == "binary" and (value.denominator != 1 or -1024 < value < 1024):
        style = "decimal"
    if style == "binary":
        units, power = int(value), 0
        while units % 1024 == 0 and power < len(_BINARY):
            units //= 1024
            power += 1
        return f"{units}{_BINARY[power - 1] if power else ''}"
    power = 0
    number = value
    while number.denominator != 1:
        number *= 1000
        power -= 3
    whole = int(number)
    while whole % 1000 == 0 and power < 18:
        whole //= 1000
        power += 3
    if style == "exponent":
        return f"{whole}e{power}" if power else str(whole)
    return f"{whole}{_SUFFIX[power]}"


def compare(a: str | int | float, b: str | int | float) -> int:
    """-1, 0 or 1."""
    left, right = parse(a), parse(b)
    return (left > right) - (left < right)


def round_up_milli(text: str | int | float) -> str:
    """Rounded up to thousandths, as ResourceLists are on the way in."""
    value, style = _parsed(_text(text))
    milli = value * 1000
    if milli.denominator == 1:
        return canonical(text)
    return _format(Fraction(ceil(milli), 1000), style)


def add(a: str | int | float, b: str | int | float) -> str:
    """The sum, written as `a` is (as `b`, when `a` is zero)."""
    left, style = _parsed(_text(a))
    right, other = _parsed(_text(b))
    return _format(_bounded(left + right), other if left == 0 else style)


def sub(a: str | int | float, b: str | int | float) -> str:
    """The difference, written as `a` is (as `b`, when `a` is zero)."""
    left, style = _parsed(_text(a))
    right, other = _parsed(_text(b))
    return _format(_bounded(left - right), other if left == 0 else style)
