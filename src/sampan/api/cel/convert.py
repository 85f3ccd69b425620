"""From plain JSON to values, as the declared type says.

Only what JSON writes otherwise is touched: times, durations, bytes, doubles without a fraction. Objects stay the dicts
they are; their fields are converted when they are selected. A list or map is converted once in a call, if it has to be.
Values that have been converted pass unchanged.

Source: k8s.io/apiserver/pkg/cel/common/values.go, k8s.io/kube-openapi/pkg/validation/strfmt/duration.go
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from sampan.api.cel.errors import EvaluationError
from sampan.api.cel.meter import Meter
from sampan.api.cel.times import Duration, Timestamp
from sampan.api.cel.types import Type
from sampan.api.cel.values import equal, freeze, map_key

Converter = Callable[[Any, Meter], Any]

_PLAIN = frozenset(("bool", "string", "null", "dyn", "error", "object", "opaque", "type", "param", "uint"))
_WORDS = re.compile(r"(\d+)\s*([A-Za-zµ]+)")
_UNITS = {
    **dict.fromkeys(("ns", "nano", "nanosecond"), 1),
    **dict.fromkeys(("us", "µs", "micro", "microsecond"), 1_000),
    **dict.fromkeys(("ms", "milli", "millisecond"), 1_000_000),
    **dict.fromkeys(("s", "sec", "second"), 1_000_000_000),
    **dict.fromkeys(("m", "min", "minute"), 60_000_000_000),
    **dict.fromkeys(("h", "hr", "hour"), 3_600_000_000_000),
    **dict.fromkeys(("d", "day"), 86_400_000_000_000),
    **dict.fromkeys(("w", "wk", "week"), 604_800_000_000_000),
}


def converter(type: Type) -> Converter | None:
    """None when values of the type are used as they are."""
    kind = type.kind
    if kind in _PLAIN:
        return None
    if kind in _SCALARS:
        return _SCALARS[kind]
    inner = converter(type.element)
    if inner is None:
        return None
    return functools.partial(_items if kind == "list" else _entries, inner)


def _items(inner: Converter, value: Any, meter: Meter) -> Any:
    found = meter.memo.get(id(value))
    if found is None:
        if not isinstance(value, list):
            return value
        found = meter.memo[id(value)] = (value, [inner(item, meter) for item in value])
        meter.memo[id(found[1])] = (found[1], found[1])
    return found[1]


def _entries(inner: Converter, value: Any, meter: Meter) -> Any:
    found = meter.memo.get(id(value))
    if found is None:
        if not isinstance(value, Mapping):
            return value
        found = meter.memo[id(value)] = (value, {key: inner(item, meter) for key, item in value.items()})
        meter.memo[id(found[1])] = (found[1], found[1])
    return found[1]


def _timestamp(value: Any, _: Meter) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return Timestamp.parse_date(value) if len(value) == 10 else Timestamp.parse(value)
    except ValueError as error:
        raise EvaluationError(f"Invalid date-time format: {error}") from None


def _duration(value: Any, _: Meter) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return Duration.parse(value)
    except ValueError as error:
        parts = _WORDS.findall(value)
        if not parts or any(unit.lower().rstrip("s") not in _UNITS and unit not in _UNITS for _, unit in parts):
            raise EvaluationError(f"Invalid duration: {error}") from None
        return Duration.checked(
            sum(int(count[:20]) * (_UNITS.get(unit) or _UNITS[unit.lower().rstrip("s")]) for count, unit in parts)
        )


def _bytes(value: Any, _: Meter) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise EvaluationError(f"Invalid bytes: {error}") from None


def _double(value: Any, _: Meter) -> Any:
    return float(value) if type(value) is int else value


def _int(value: Any, _: Meter) -> Any:
    return int(value) if type(value) is float and value.is_integer() else value


_SCALARS: dict[str, Converter] = {
    "timestamp": _timestamp, "duration": _duration, "bytes": _bytes, "double": _double, "int": _int,
}  # fmt: skip

# --- lists that are sets or maps --------------------------------------------------------------------------------------

Comparison = Callable[[Any, Any], bool]


def comparison(type: Type) -> Comparison:
    """`equal`, unless somewhere in the type a list is a set or a map: there the order does not count."""
    return _comparison(type, frozenset()) or equal


def _comparison(type: Type, above: frozenset[int]) -> Comparison | None:
    if type.kind == "list":
        inner = _comparison(type.element, above)
        if type.merge == "set":
            return _equal_sets
        if type.merge == "map" and type.keys:
            return functools.partial(_equal_list_maps, _identity(type), inner or equal)
        return functools.partial(_equal_lists, inner) if inner else None
    if type.kind == "map":
        inner = _comparison(type.element, above)
        return functools.partial(_equal_maps, inner) if inner else None
    if type.kind == "object" and type.fields and id(type.fields) not in above:
        below = above | {id(type.fields)}
        fields = {
            field.wire: found for field in type.fields.values() if (found := _comparison(field.type, below)) is not None
        }
        return functools.partial(_equal_objects, fields) if fields else None
    return None


def _equal_sets(a: Any, b: Any) -> bool:
    return len(a) == len(b) and set(map(freeze, a)) == set(map(freeze, b))


def _identity(type: Type) -> Callable[[Any], Any]:
    """What tells the items of a list of type map apart. Keys are named as in JSON."""
    keys = type.keys
    return lambda item: tuple(freeze(item.get(key)) for key in keys) if isinstance(item, Mapping) else freeze(item)


def _equal_list_maps(identity: Callable[[Any], Any], inner: Comparison, a: Any, b: Any) -> bool:
    if len(a) != len(b):
        return False
    found = {identity(item): item for item in b}
    return all((key := identity(item)) in found and inner(item, found[key]) for item in a)


def _equal_lists(inner: Comparison, a: Any, b: Any) -> bool:
    return len(a) == len(b) and all(map(inner, a, b))


def _equal_maps(inner: Comparison, a: Mapping[Any, Any], b: Mapping[Any, Any]) -> bool:
    return len(a) == len(b) and all(key in b and inner(value, b[key]) for key, value in a.items())


def _equal_objects(fields: Mapping[str, Comparison], a: Mapping[Any, Any], b: Mapping[Any, Any]) -> bool:
    return len(a) == len(b) and all(key in b and fields.get(key, equal)(value, b[key]) for key, value in a.items())


def joined(type: Type) -> Callable[[Any, Any], list[Any]] | None:
    """`+` of a list that is a set (the union) or a map (what is on the right replaces)."""
    if type.kind != "list" or type.merge == "atomic":
        return None
    identity = _identity(type) if type.merge == "map" else freeze

    def join(a: Any, b: Any) -> list[Any]:
        out = {identity(item): item for item in a}
        for item in b:
            key = identity(item)
            if type.merge == "map" or key not in out:
                out[key] = item
        return list(out.values())

    return join


def deep(value: Any, type: Type, meter: Meter) -> Any:
    """A value that leaves the sight of its type (`dyn(self)`): converted to the bottom, fields named as in expressions.

    DEVIATION: behind `dyn`, a list of type set or map is compared as any list.
    """
    found = meter.memo.get(~id(value))
    if found is None:
        found = meter.memo[~id(value)] = (value, _deep(value, type, meter))
    return found[1]


def _deep(value: Any, type: Type, meter: Meter) -> Any:
    if isinstance(value, Mapping) and type.kind == "object" and type.fields:
        named = {field.wire: field for field in type.fields.values()}
        out = {}
        for key, item in value.items():
            field = named.get(key)
            if field is None:
                out[key] = item
            elif item is not None:
                out[field.name] = _deep(item, field.type, meter)
        return out
    if isinstance(value, list) and type.kind == "list" and _structured(type.element):
        return [_deep(item, type.element, meter) for item in value]
    if isinstance(value, Mapping) and type.kind == "map" and _structured(type.element):
        return {map_key(key): _deep(item, type.element, meter) for key, item in value.items()}
    convert = converter(type)
    return convert(value, meter) if convert else value


def _structured(type: Type) -> bool:
    return type.kind in ("object", "list", "map") or converter(type) is not None
