"""JSON values in the words of Go, which upstream's patch errors print them in.

Source: Go's fmt package (`%v`, `%#v`), reflect.Type.String
"""

from __future__ import annotations

from typing import Any

from sampan.api.customresource.values import go_number
from sampan.api.field import go_quote

_TYPES = {
    dict: "map[string]interface {}", list: "[]interface {}", str: "string", bool: "bool", int: "int64",
    float: "float64", type(None): "<nil>",
}  # fmt: skip


def go_text(value: Any) -> str:
    """`%v`: `map[a:1 b:[x y]]`."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_text(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(go_text, value)) + "]"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return go_number(value) if isinstance(value, float) else str(value)


def go_syntax(value: Any) -> str:
    """`%#v`: `map[string]interface {}{"a":1}`."""
    if isinstance(value, dict):
        return (
            go_type(value) + "{" + ", ".join(f"{go_quote(key)}:{go_syntax(value[key])}" for key in sorted(value)) + "}"
        )
    if isinstance(value, list):
        return go_type(value) + "{" + ", ".join(map(go_syntax, value)) + "}"
    return go_quote(value) if isinstance(value, str) else go_text(value)


def go_type(value: Any) -> str:
    return _TYPES[type(value)]


def go_word(value: Any) -> str:
    """What encoding/json calls a value that it cannot unmarshal."""
    words = {dict: "object", list: "array", str: "string", bool: "bool", int: "number", float: "number"}
    return words.get(type(value), "null")
