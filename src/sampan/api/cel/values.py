"""What expressions compute with.

Python's own values wherever they say enough: bool, int (int64), float, str, bytes, None, list, and dict for both maps and
objects, so that JSON needs no conversion. The rest is here: `Uint`, `Timestamp`, `Duration`, `Optional`, `TypeValue`.
Python takes True for 1; `equal` and `map_key` do not.

Source: cel-go common/types
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping
from typing import Any

from sampan.api.cel import types
from sampan.api.cel.errors import EvaluationError
from sampan.api.cel.times import Duration, Timestamp

INT_MIN, INT_MAX, UINT_MAX = -(1 << 63), (1 << 63) - 1, (1 << 64) - 1

#: Lists with more items, and strings with ten times as many characters, cannot be walked over within the limit of one
#: call; they are not even made.
MAX_SIZE = 1_000_000


class Uint(int):
    """An unsigned int. Arithmetic on it gives plain ints, which the operators wrap again."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{int(self)}u"


class Optional:
    """A value, or none (`NONE`)."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "optional.none()" if self is NONE else f"optional.of({self.value!r})"


NONE = Optional(None)


class TypeValue:
    """A type as a value; two are equal when their names are."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TypeValue) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return self.name


class Made(dict[str, Any]):
    """An object that an expression has made of a type whose fields are not known (`Object.spec{...}`): JSON, and the name
    of its type. Two are equal only when their types are."""

    __slots__ = ("made_of",)
    made_of: str

    @classmethod
    def of(cls, name: str) -> Made:
        made = cls()
        made.made_of = name
        return made


class Opaque:
    """What the libraries add: `type_name` and, where two of them may be equal, `__eq__`."""

    __slots__ = ()
    type_name = ""


class _BoolKey:
    """True or False as the key of a dict, where it must not be 1 or 0."""

    __slots__ = ("value",)

    def __init__(self, value: bool) -> None:
        self.value = value


_TRUE, _FALSE = _BoolKey(True), _BoolKey(False)


def map_key(key: Any) -> Any:
    """The key of the dict for a CEL key. Other numbers than ints find ints, as in CEL."""
    kind = type(key)
    if kind is str or kind is int:
        return key
    if kind is bool:
        return _TRUE if key else _FALSE
    if kind is float or kind is Uint:
        return key
    raise EvaluationError("unsupported key type")


def from_key(key: Any) -> Any:
    return key.value if type(key) is _BoolKey else key


_NAMES = {
    bool: "bool", int: "int", Uint: "uint", float: "double", str: "string", bytes: "bytes", type(None): "null_type",
    list: "list", tuple: "list", dict: "map", Timestamp: "google.protobuf.Timestamp", Duration: "google.protobuf.Duration",
    Optional: "optional_type", TypeValue: "type",
}  # fmt: skip


def type_name(value: Any) -> str:
    name = _NAMES.get(type(value))
    if name is not None:
        return name
    if isinstance(value, Opaque):
        return value.type_name
    if isinstance(value, Made):
        return value.made_of
    return "map" if isinstance(value, Mapping) else type(value).__name__


_GO_NAMES = {
    bool: "bool", int: "int64", Uint: "uint64", float: "float64", str: "string", bytes: "[]uint8",
    type(None): "structpb.NullValue", list: "[]ref.Val", dict: "map[ref.Val]ref.Val", Timestamp: "time.Time",
    Duration: "time.Duration",
}  # fmt: skip


def go_type(value: Any) -> str:
    """What cel-go has it as (`%T`), where that is one of Go's own."""
    return _GO_NAMES.get(type(value)) or type_name(value)


_NUMBERS = frozenset((int, Uint, float))
_SCALARS = frozenset((bool, int, Uint, float, str, bytes, type(None), Timestamp, Duration, TypeValue))


def equal(a: Any, b: Any) -> bool:
    """CEL's `==`: numbers across types, otherwise never across types."""
    kind, other = type(a), type(b)
    if kind is other:
        if kind in _SCALARS:
            return bool(a == b)
        if kind is list:
            # what Python finds different is different; what it finds equal may still be True and 1
            return a is b or (a == b and all(map(equal, a, b)))
        if kind is dict:
            return a is b or (a == b and _equal_maps(a, b))
        if kind is Optional:
            return (a is NONE) == (b is NONE) and equal(a.value, b.value)
        if kind is Made:
            return a.made_of == b.made_of and _equal_maps(a, b)
        return bool(a == b)
    if kind in _NUMBERS and other in _NUMBERS:
        return float(a) == float(b) if kind is float or other is float else int(a) == int(b)
    if kind is Made or other is Made:
        return False
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return _equal_maps(a, b)
    if kind is tuple or other is tuple:
        return isinstance(a, list | tuple) and isinstance(b, list | tuple) and equal(list(a), list(b))
    return False


def _equal_maps(a: Mapping[Any, Any], b: Mapping[Any, Any]) -> bool:
    if len(a) != len(b):
        return False
    return all(key in b and equal(value, b[key]) for key, value in a.items())


def freeze(value: Any) -> Any:
    """Something hashable that is the same for equal values: sets of values are compared by it."""
    kind = type(value)
    if kind is str or kind in _NUMBERS:
        return value
    if kind is list or kind is tuple:
        return ("list", *map(freeze, value))
    if isinstance(value, Mapping):
        return ("map", frozenset((freeze(from_key(key)), freeze(item)) for key, item in value.items()))
    if kind is Optional:
        return ("optional", value is NONE, freeze(value.value))
    return (kind.__name__, value)


def size_of(value: Any) -> int:
    """As the cost is counted: whatever has no size counts 1."""
    kind = type(value)
    if kind is str or kind is list or kind is dict or kind is bytes:
        return len(value)
    return len(value) if isinstance(value, Mapping | tuple) else 1


def to_json(value: Any) -> Any:
    """A result as JSON-like Python, in which objects still know what they were made of. Raises EvaluationError for what
    JSON cannot say."""
    kind = type(value)
    if value is None or kind is str or kind is bool or kind is int:
        return value
    if kind is float:
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if kind is Uint:
        return int(value)
    if kind is bytes:
        return base64.b64encode(value).decode()
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if kind is Made:
        return value
    if isinstance(value, Mapping):
        return {str(_json_key(key)): to_json(item) for key, item in value.items()}
    if kind is Timestamp or kind is Duration:
        return str(value)
    if kind is Optional:
        return None if value is NONE else to_json(value.value)
    if hasattr(value, "to_json"):
        return value.to_json()
    raise EvaluationError(f"unsupported conversion from '{type_name(value)}' to JSON")


def _json_key(key: Any) -> Any:
    key = from_key(key)
    return ("true" if key else "false") if type(key) is bool else key


def fits(value: Any, type: types.Type) -> bool:
    """Whether a value that was not known before now is of a type that a function asks for."""
    kind = type.kind
    if kind in ("dyn", "param", "error"):
        return True
    check = _FITS.get(kind)
    if check is not None:
        return isinstance(value, check) and (kind != "int" or value.__class__ is int)
    if kind == "map":
        return isinstance(value, Mapping)
    if kind == "object":
        return isinstance(value, Mapping) or (isinstance(value, Opaque) and value.type_name == type.name)
    return type_name(value) == type.name


_FITS: dict[str, Any] = {
    "bool": bool, "int": int, "uint": Uint, "double": float, "string": str, "bytes": bytes, "null": type(None),
    "timestamp": Timestamp, "duration": Duration, "list": (list, tuple), "type": TypeValue,
}  # fmt: skip


def entries(value: Any) -> Iterable[Any]:
    """What a loop goes over: items of a list, keys of a map."""
    kind = type(value)
    if kind is list:
        return value  # type: ignore[no-any-return]  # the kind was just looked at
    if isinstance(value, Mapping):
        return [from_key(key) for key in value]
    if kind is tuple:
        return value  # type: ignore[no-any-return]  # the kind was just looked at
    raise EvaluationError("no such overload")
