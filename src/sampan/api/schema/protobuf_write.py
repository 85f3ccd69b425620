"""Kubernetes' protobuf, written by the field numbers in the facts: byte for byte what upstream's generated code writes.

Fields stand in the order of their numbers and maps in the order of their keys. What is no pointer in Go is always written,
zero or not; a pointer, list or map only when it holds something. TypeMeta stands in the envelope alone. Each message is
compiled once into closures that fill a copy of its zero, so that only fields that are set cost anything.

Source: k8s.io/api/core/v1/generated.pb.go; k8s.io/apimachinery/pkg/runtime/types_proto.go, util/intstr,
api/resource/quantity_proto.go, apis/meta/v1/{time,micro_time}_proto.go
"""

from __future__ import annotations

import base64
import functools
import struct as binary
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from sampan.api import durations, times
from sampan.api.schema.nodes import Field, ListOf, MapOf, Node, Scalar, Struct
from sampan.api.schema.protobuf import DURATION, MAGIC, VERBS, Table, table_of

#: a value, or a whole message, without its tag
Encode = Callable[[Any], bytes]
_BYTE = tuple(bytes([number]) for number in range(128))
_MASK = (1 << 64) - 1
#: the end of every envelope: neither content encoding nor content type
_END = b"\x1a\x00\x22\x00"


def encode(node: Struct, obj: dict[str, Any]) -> bytes:
    """The message of one canonical object."""
    return encoder(node)(obj)


def enveloped(api_version: str, kind: str, parts: list[bytes]) -> list[bytes]:
    """A body: the envelope of an object whose message is `parts`, joined."""
    meta = field(1, api_version.encode()) + field(2, kind.encode())
    length = sum(map(len, parts))
    return [b"%b%b\x12%b" % (MAGIC, field(1, meta), varint(length)), *parts, _END]


def items(number: int, messages: Iterable[bytes], size: int = 240_000) -> list[bytes]:
    """A repeated field of many messages, in pieces of about `size` bytes."""
    out: list[bytes] = []
    tag, length = _tag(number, 2), 0
    piece: list[bytes] = []
    for message in messages:
        piece += (tag, varint(len(message)), message)
        length += len(message)
        if length > size:
            out.append(b"".join(piece))
            piece, length = [], 0
    if piece:
        out.append(b"".join(piece))
    return out


def event(kind: str, body: bytes) -> bytes:
    """A framed WatchEvent: its length in four bytes, the type, and the object in its envelope as a RawExtension."""
    message = field(1, kind.encode()) + field(2, field(1, body))
    return len(message).to_bytes(4, "big") + message


def field(number: int, data: bytes) -> bytes:
    """A string, bytes or message with its tag and length."""
    return _tag(number, 2) + varint(len(data)) + data


def varint(number: int) -> bytes:
    if number < 128:
        return _BYTE[number] if number >= 0 else varint(number & _MASK)
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


@functools.cache
def _tag(number: int, wire: int) -> bytes:
    return varint(number << 3 | wire)


def encoder(node: Struct) -> Encode:
    """The compiled writer of one type."""
    found: Encode | None = node.memo.get("protobuf")
    if found is None:
        found = node.memo["protobuf"] = _special(node) or _message(table_of(node))
    return found


def _message(table: Table) -> Encode:
    zero: list[bytes] = []
    #: where the field stands, and what writes it; of a string, which most are, the tag
    known: dict[str, tuple[int, bytes, Encode]] = {}
    inlined: list[tuple[int, bytes, frozenset[str], Encode]] = []
    for slot, number in enumerate(sorted(table)):
        found = table[number]
        if isinstance(found, dict):
            write = _message(found)
            inlined.append((slot, _tag(number, 2), _names(found), write))
            zero.append(field(number, write({})))
        else:
            text = isinstance(found.node, Scalar) and found.node.code == "s"
            known[found.name] = (slot, _tag(number, 2) if text else b"", _writer(found, number))
            zero.append(_zero(found, number))

    def message(value: Any) -> bytes:
        out = zero.copy()
        for name, item in value.items():
            entry = known.get(name)
            if entry is None or item is None:
                continue
            slot, tag, write = entry
            if tag:
                data = item.encode()
                length = len(data)
                out[slot] = tag + (_BYTE[length] if length < 128 else varint(length)) + data
            else:
                out[slot] = write(item)
        for slot, tag, names, write in inlined:
            inner = {name: value[name] for name in names & value.keys()}
            if inner:
                data = write(inner)
                out[slot] = tag + varint(len(data)) + data
        return b"".join(out)

    return message


def _names(table: Table) -> frozenset[str]:
    out: set[str] = set()
    for found in table.values():
        out |= _names(found) if isinstance(found, dict) else {found.name}
    return frozenset(out)


def _zero(found: Field, number: int) -> bytes:
    """What is written of a field that is not set."""
    node = found.node
    if found.pointer or isinstance(node, (ListOf, MapOf)):
        return b""
    if isinstance(node, Struct):
        return field(number, encoder(node)({}))
    match node.code:
        case "B":
            return b""
        case "q":
            return field(number, _quantity("0"))
        case "x":
            return field(number, _int_or_string(0))
        case "d":
            return _tag(number, 1) + bytes(8)
        case "b" | "i" | "l":
            return _tag(number, 0) + b"\0"
        case _:
            return field(number, b"")


def _writer(found: Field, number: int) -> Encode:
    """Writes a field with its tag."""
    node = found.node
    if isinstance(node, MapOf):
        return _map(_tag(number, 2), _tagged(2, node.value))
    if not isinstance(node, ListOf):
        return _tagged(number, node)
    write = _tagged(number, node.element)
    empty = _tag(number, 2) + b"\0"
    return lambda value: b"".join([empty if item is None else write(item) for item in value])


def _map(tag: bytes, write: Encode) -> Encode:
    def entries(value: Any) -> bytes:
        out: list[bytes] = []
        for key in sorted(value):
            name, item = key.encode(), value[key]
            entry = b"\x0a" + varint(len(name)) + name + (b"\x12\0" if item is None else write(item))
            out += (tag, varint(len(entry)), entry)
        return b"".join(out)

    return entries


def _tagged(number: int, node: Node) -> Encode:
    if isinstance(node, ListOf):  # a map's value
        write = _tagged(1, node.element)
        return _long(number, lambda value: b"".join([write(item) for item in value]))
    if isinstance(node, Struct):
        return _struct(_tag(number, 2), node)
    assert isinstance(node, Scalar)
    if node.code == "s":
        return _string(_tag(number, 2))
    if node.code in "il":
        tag = _tag(number, 0)
        return lambda value: tag + varint(value)
    if node.code == "b":
        yes, no = _tag(number, 0) + b"\1", _tag(number, 0) + b"\0"
        return lambda value: yes if value else no
    if node.code == "d":
        tag = _tag(number, 1)
        return lambda value: tag + binary.pack("<d", value)
    return _long(number, _BODIES[node.code])


def _string(tag: bytes) -> Encode:
    def string(value: Any) -> bytes:
        data = value.encode()
        length = len(data)
        return tag + (_BYTE[length] if length < 128 else varint(length)) + data  # type: ignore[no-any-return]

    return string


def _struct(tag: bytes, node: Struct) -> Encode:
    write: Encode | None = None

    def struct(value: Any) -> bytes:
        nonlocal write
        if write is None:
            write = encoder(node)
        data = write(value)
        length = len(data)
        return tag + (_BYTE[length] if length < 128 else varint(length)) + data

    return struct


def _long(number: int, write: Encode) -> Encode:
    tag = _tag(number, 2)

    def long(value: Any) -> bytes:
        data = write(value)
        return tag + varint(len(data)) + data

    return long


@functools.lru_cache(maxsize=4096)
def _quantity(text: str) -> bytes:
    return field(1, text.encode())


def _int_or_string(value: Any) -> bytes:
    if isinstance(value, str):
        return b"\x08\x01\x10\x00" + field(3, value.encode())
    return b"\x08\x00\x10" + varint(value) + b"\x1a\x00"


@functools.lru_cache(maxsize=4096)
def _time(text: str) -> bytes:
    return b"\x08" + varint(int(times.parse_time(text) // 1)) + b"\x10\x00"


def _micro_time(text: str) -> bytes:
    head, _, fraction = text.rstrip("Z").partition(".")
    nanos = int(fraction.ljust(9, "0")) if fraction else 0
    return b"\x08" + varint(int(times.parse_time(head + "Z"))) + b"\x10" + varint(nanos)


def _duration(text: Any) -> bytes:
    return b"\x08" + varint(round(durations.seconds(text or "0") * 1e9))


def _raw(value: Any) -> bytes:
    return field(1, orjson.dumps(value))


_BODIES: dict[str, Encode] = {
    "B": base64.b64decode,
    "q": _quantity,
    "x": _int_or_string,
    "t": _time,
    "u": _micro_time,
    "r": _raw,
    "f": _raw,
    "o": _raw,
}


def _special(node: Struct) -> Encode | None:
    """Types whose JSON is not that of their fields."""
    if node is DURATION:
        return _duration
    if node is VERBS:
        return lambda value: b"".join([field(1, item.encode()) for item in value])
    if node.package != "apiextensions_v1":
        return None
    if node.name == "JSON":
        return lambda value: _raw(value) if value is not None else b""
    either = {
        "JSONSchemaPropsOrBool": (b"\x08\x01", 2),
        "JSONSchemaPropsOrArray": (b"", 1),
        "JSONSchemaPropsOrStringArray": (b"", 1),
    }
    if node.name not in either:
        return None
    head, number = either[node.name]

    def write(value: Any) -> bytes:
        from sampan.api.schema import facts

        schema = encoder(facts.struct("apiextensions_v1", "JSONSchemaProps"))
        if isinstance(value, dict):
            return head + field(number, schema(value))
        if isinstance(value, bool):
            return b"\x08\x01" if value else b"\x08\x00"
        return b"".join([field(2, item.encode() if isinstance(item, str) else schema(item)) for item in value])

    return write
