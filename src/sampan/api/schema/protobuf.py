"""Kubernetes' protobuf bodies, read by the field numbers in the facts.

kubectl and client-go send typed objects this way. A body is `k8s\\0`, then a `runtime.Unknown`: the kind and version,
and the object's own message. The result is the JSON form of the object, which then goes the way of every body.

Source: k8s.io/apimachinery/pkg/runtime/generated.proto, serializer/protobuf/protobuf.go
"""

from __future__ import annotations

import base64
import struct as binary
from collections.abc import Iterator
from typing import Any

import orjson

from sampan.api import durations, times
from sampan.api.schema.nodes import Field, ListOf, MapOf, Node, Scalar, Struct

MAGIC = b"k8s\x00"
MAX_DEPTH = 200
_BY_HAND = {"GroupResource": ((1,), (2,))}
#: metav1.Duration, which is text in JSON
DURATION = Struct("meta", "Duration", {"duration": Field("duration", Scalar("l"), number=(1,))})

#: metav1.Verbs: in Go a type of its own, which a list becomes a message by
VERBS = Struct("meta", "Verbs", {"items": Field("items", ListOf(Scalar("s")), number=(1,))})


class Malformed(ValueError):
    """Bytes that are no message of the expected type."""


def envelope(data: bytes) -> tuple[str, str, bytes]:
    """apiVersion, kind, and the object's bytes. Raises Malformed."""
    if not data.startswith(MAGIC):
        raise Malformed("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    version, kind, raw = "", "", b""
    for number, _, value in fields(data[len(MAGIC) :]):
        if number == 1 and isinstance(value, bytes):
            for inner, _, text in fields(value):
                if isinstance(text, bytes):
                    if inner == 1:
                        version = _text(text)
                    elif inner == 2:
                        kind = _text(text)
        elif number == 2 and isinstance(value, bytes):
            raw = value
    return version, kind, raw


def _varint(data: bytes, at: int) -> tuple[int, int]:
    out = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed("unexpected EOF")
        byte = data[at]
        at += 1
        out |= (byte & 0x7F) << shift
        if byte < 0x80:
            return out & 0xFFFFFFFFFFFFFFFF, at
        shift += 7


def fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Number, wire type and value, one after the other. Raises Malformed."""
    at, end = 0, len(data)
    while at < end:
        # most numbers have one byte
        tag = data[at]
        at += 1
        if tag > 127:
            tag, at = _varint(data, at - 1)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise Malformed("proto: illegal tag 0")
        if wire in (1, 5):
            value: int | bytes = data[at : at + (8 if wire == 1 else 4)]
            at += 8 if wire == 1 else 4
            if at > end:
                raise Malformed("unexpected EOF")
        elif wire in (0, 2):
            length = data[at] if at < end else 128
            at += 1
            if length > 127:
                length, at = _varint(data, at - 1)
            value = length
            if wire == 2:
                value = data[at : at + length]
                at += length
                if at > end:
                    raise Malformed("unexpected EOF")
        else:
            raise Malformed(f"proto: illegal wireType {wire}")
        yield number, wire, value


#: number -> field, or a nested table where Go inlines a message
Table = dict[int, Any]
_tables: dict[int, tuple[Struct, Table]] = {}


def table_of(message: Struct) -> Table:
    """The fields of one message by their numbers.

    DEVIATION: `derivedAttributes` of device requests (alpha) has no number yet: it is neither read from nor written to protobuf.
    """
    found = _tables.get(id(message))
    if found is not None:
        return found[1]
    table: Table = _either(message)
    by_hand = iter(_BY_HAND.get(message.name, ()))
    for field in message.fields.values():
        path = field.number or (next(by_hand, ()) if message.name in _BY_HAND else ())
        here = table
        for number in path[:-1]:
            here = here.setdefault(number, {})
        if path:
            here[path[-1]] = _OTHERS.get((message.package, message.name, field.name), field)
    _tables[id(message)] = (message, table)
    return table


#: fields whose type in protobuf is not that of their JSON
_OTHERS = {
    ("metrics_v1beta1", "NodeMetrics", "window"): Field("window", DURATION),
    ("metrics_v1beta1", "PodMetrics", "window"): Field("window", DURATION),
    ("meta", "APIResource", "verbs"): Field("verbs", VERBS, pointer=True),
}


def _either(message: Struct) -> Table:
    """The fields of the types of apiextensions whose JSON is that of one of them (`_unwrap`)."""
    if message.package != "apiextensions_v1" or not message.name.startswith("JSONSchemaPropsOr"):
        return {}
    from sampan.api.schema import facts

    schema = facts.struct("apiextensions_v1", "JSONSchemaProps")
    if message.name == "JSONSchemaPropsOrBool":
        return {1: Field("allows", Scalar("b")), 2: Field("schema", schema, pointer=True)}
    other = ("jSONSchemas", schema) if message.name == "JSONSchemaPropsOrArray" else ("property", Scalar("s"))
    return {1: Field("schema", schema, pointer=True), 2: Field(other[0], ListOf(other[1]))}


def message(node: Struct, data: bytes) -> dict[str, Any]:
    """The JSON form of one message. Raises Malformed."""
    out: dict[str, Any] = {}
    _read(table_of(node), data, out, 0)
    return out


def _read(table: Table, data: bytes, out: dict[str, Any], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Malformed("message is nested too deeply")
    for number, wire, value in fields(data):
        field = table.get(number)
        if field is None:
            continue
        if isinstance(field, dict):
            if isinstance(value, bytes):
                _read(field, value, out, depth + 1)
            continue
        node = field.node
        if value.__class__ is bytes and node.__class__ is Scalar and node.code == "s":
            out[field.name] = _text(value)
        elif isinstance(node, ListOf):
            target = out.setdefault(field.name, [])
            if isinstance(node.element, Scalar) and node.element.code in "ilb" and wire == 2:
                target.extend(_packed(node.element, value))
            else:
                target.append(_value(node.element, wire, value, depth))
        elif isinstance(node, MapOf):
            key, item = _entry(node.value, value, depth)
            out.setdefault(field.name, {})[key] = item
        else:
            out[field.name] = _value(node, wire, value, depth)


def _packed(node: Scalar, value: int | bytes) -> Iterator[Any]:
    assert isinstance(value, bytes)
    at = 0
    while at < len(value):
        number, at = _varint(value, at)
        yield _integer(node.code, number)


def _entry(node: Node, value: int | bytes, depth: int) -> tuple[str, Any]:
    if not isinstance(value, bytes):
        raise Malformed("map entry is not a message")
    key, item = "", None
    for number, wire, part in fields(value):
        if number == 1 and isinstance(part, bytes):
            key = _text(part)
        elif number == 2:
            if isinstance(node, ListOf) and isinstance(part, bytes):
                item = [_value(node.element, inner, text, depth) for _, inner, text in fields(part)]
            else:
                item = _value(node, wire, part, depth)
    if item is None:
        item = _zero(node)
    return key, item


def _zero(node: Node) -> Any:
    if isinstance(node, Scalar):
        return {"s": "", "i": 0, "l": 0, "b": False, "B": "", "q": "0"}.get(node.code)
    return [] if isinstance(node, ListOf) else {}


def _integer(code: str, value: int) -> int | bool:
    if code == "b":
        return value != 0
    return value - (1 << 64) if value >= 1 << 63 else value


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Malformed("string field contains invalid UTF-8") from None


def _value(node: Node, wire: int, value: int | bytes, depth: int) -> Any:
    if isinstance(node, Struct):
        if not isinstance(value, bytes) or wire != 2:
            raise Malformed(f"proto: wrong wireType = {wire} for field {node.name}")
        if node.name == "JSON" and node.package == "apiextensions_v1":
            return _raw(value)
        out: dict[str, Any] = {}
        _read(table_of(node), value, out, depth + 1)
        return _unwrap(node, out)
    assert isinstance(node, Scalar)
    code = node.code
    if code in "ilb":
        if not isinstance(value, int):
            raise Malformed(f"proto: wrong wireType = {wire}")
        return _integer(code, value)
    if not isinstance(value, bytes):
        raise Malformed(f"proto: wrong wireType = {wire}")
    if code == "s":
        return _text(value)
    if code == "B":
        return base64.b64encode(value).decode()
    if code == "d":
        if len(value) != 8:
            raise Malformed("unexpected EOF")
        return binary.unpack("<d", value)[0]
    parts = {number: part for number, _, part in fields(value)}
    if code == "q":
        text = parts.get(1, b"")
        return _text(text) if isinstance(text, bytes) and text else "0"
    if code == "x":
        if parts.get(1, 0) == 1:
            text = parts.get(3, b"")
            return _text(text) if isinstance(text, bytes) else ""
        number = parts.get(2, 0)
        return _integer("i", number) if isinstance(number, int) else 0
    if code in "tu":
        return _time(code, parts)
    return _raw(value)


def _time(code: str, parts: dict[int, int | bytes]) -> str | None:
    seconds, nanos = parts.get(1, 0), parts.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int):
        raise Malformed("wrong wireType in a time")
    if not parts:
        return None
    epoch = int(_integer("l", seconds))
    if not -62135596800 <= epoch <= 253402300799:
        raise Malformed("time is out of range")
    text = times.format_time(epoch)
    return text if code == "t" else f"{text[:-1]}.{int(_integer('i', nanos)) // 1000 % 1_000_000:06}Z"


def _raw(value: bytes) -> Any:
    raw = next((part for number, _, part in fields(value) if number == 1), b"")
    if not isinstance(raw, bytes) or not raw:
        return None
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"embedded JSON: {error}") from None


def _unwrap(node: Struct, out: dict[str, Any]) -> Any:
    """`JSONSchemaPropsOrBool` and its like, back in their JSON form."""
    if node is DURATION:
        return durations.text(out.get("duration", 0))
    if node is VERBS:
        return out.get("items", [])
    if node.name == "JSONSchemaPropsOrBool":
        return out["schema"] if "schema" in out else out.get("allows", False)
    if node.name == "JSONSchemaPropsOrArray":
        return out["schema"] if "schema" in out else out.get("jSONSchemas", [])
    if node.name == "JSONSchemaPropsOrStringArray":
        return out["schema"] if "schema" in out else out.get("property", [])
    return out
