"""Values as Go sees them: what their JSON type is called, when two are the same, how numbers print."""

from __future__ import annotations

from typing import Any

from sampan.api.field import ErrorList, FieldError


def json_type(value: Any) -> str:
    if value is None:
        return "null"
    kind = value.__class__
    if kind is dict:
        return "object"
    if kind is list:
        return "array"
    if kind is str:
        return "string"
    return "boolean" if kind is bool else "integer" if kind is int else "number"


def same(a: Any, b: Any) -> bool:
    """Deeply equal, where Python's `1 == True == 1.0` does not count."""
    return bool(a == b) and _same_types(a, b)


def _same_types(a: Any, b: Any) -> bool:
    if a.__class__ is not b.__class__:
        return False
    if a.__class__ is dict:
        return all(_same_types(value, b[key]) for key, value in a.items())
    if a.__class__ is list:
        return all(map(_same_types, a, b))
    return True


def go_number(value: float) -> str:
    """`%v` of a float64."""
    if (isinstance(value, int) or value.is_integer()) and abs(value) < 1e21:
        return str(int(value))
    text = repr(float(value))
    if "e" in text:
        mantissa, _, exponent = text.partition("e")
        return f"{mantissa.removesuffix('.0')}e{exponent[0] if exponent[0] in '+-' else '+'}{exponent.lstrip('+-').zfill(2)}"
    return text.removesuffix(".0")


def add(out: ErrorList, kind: str, path: str, value: Any, detail: str) -> None:
    out.append(FieldError(kind, path, value, detail))
