"""The v2 document as gnostic's protobuf, for kubectl up to 1.28 and Helm up to 3.12.

Only what our document contains is encoded. Vendor extensions carry their value as YAML, and JSON is YAML.

Source of the field numbers: google/gnostic openapiv2/OpenAPIv2.proto
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from sampan.api.schema.protobuf_write import field, varint

Json = dict[str, Any]
_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8}


def _text(number: int, value: str) -> bytes:
    return field(number, value.encode()) if value else b""


def _texts(number: int, values: Iterable[str]) -> bytes:
    return b"".join(field(number, value.encode()) for value in values)


def _flag(number: int, value: bool) -> bytes:
    return varint(number << 3) + b"\x01" if value else b""


def _any(value: Any) -> bytes:
    return _text(2, orjson.dumps(value).decode())


def _extensions(number: int, owner: Json) -> bytes:
    named = ((key, value) for key, value in owner.items() if key.startswith("x-"))
    return b"".join(field(number, _text(1, key) + field(2, _any(value))) for key, value in named)


def document(doc: Json) -> bytes:
    """`openapi.v2.Document`."""
    info = _text(1, doc["info"]["title"]) + _text(2, doc["info"]["version"])
    paths = b"".join(field(2, _text(1, path) + field(2, _path(item))) for path, item in doc["paths"].items())
    types = b"".join(field(1, _text(1, name) + field(2, _schema(item))) for name, item in doc["definitions"].items())
    return _text(1, doc["swagger"]) + field(2, info) + field(8, paths) + field(9, types)


def more(paths: Json, definitions: Json) -> bytes:
    """Further paths and definitions: appended to a document they are merged into it, as protobuf has it."""
    listed = b"".join(field(2, _text(1, path) + field(2, _path(item))) for path, item in paths.items())
    types = b"".join(field(1, _text(1, name) + field(2, _schema(item))) for name, item in definitions.items())
    return field(8, listed) + field(9, types)


def _schema(schema: Json) -> bytes:
    out = (
        _text(1, schema.get("$ref", "")) + _text(2, schema.get("format", "")) + _text(4, schema.get("description", ""))
    )
    if "default" in schema:
        out += field(5, _any(schema["default"]))
    out += _texts(19, schema.get("required", ()))
    out += b"".join(field(20, _any(value)) for value in schema.get("enum", ()))
    if "additionalProperties" in schema:
        more = schema["additionalProperties"]
        out += field(21, field(1, _schema(more)) if isinstance(more, dict) else _flag(2, more))
    if "type" in schema:
        out += field(22, _text(1, schema["type"]))
    if "items" in schema:
        out += field(23, field(1, _schema(schema["items"])))
    if "properties" in schema:
        named = schema["properties"].items()
        out += field(25, b"".join(field(1, _text(1, name) + field(2, _schema(item))) for name, item in named))
    return out + _extensions(31, schema)


def _path(item: Json) -> bytes:
    out = b"".join(field(_METHODS[method], _operation(item[method])) for method in _METHODS if method in item)
    return out + b"".join(field(9, field(1, _parameter(parameter))) for parameter in item.get("parameters", ()))


def _operation(operation: Json) -> bytes:
    out = _texts(1, operation["tags"]) + _text(5, operation["operationId"])
    out += _texts(6, operation["produces"]) + _texts(7, operation["consumes"])
    out += b"".join(field(8, field(1, _parameter(item))) for item in operation.get("parameters", ()))
    replies = b"".join(
        field(1, _text(1, code) + field(2, field(1, _reply(reply)))) for code, reply in operation["responses"].items()
    )
    return out + field(9, replies) + _texts(10, operation["schemes"]) + _extensions(13, operation)


def _reply(reply: Json) -> bytes:
    schema = field(2, field(1, _schema(reply["schema"]))) if "schema" in reply else b""
    return _text(1, reply["description"]) + schema


def _parameter(parameter: Json) -> bytes:
    """`openapi.v2.Parameter`."""
    name, required = parameter["name"], bool(parameter.get("required"))
    where = parameter["in"]
    if where == "body":
        body = _text(2, name) + _text(3, where) + _flag(4, required) + field(5, _schema(parameter["schema"]))
        return field(1, body)
    kind, unique = parameter["type"], bool(parameter.get("uniqueItems"))
    if where == "path":
        inner = _flag(1, required) + _text(2, where) + _text(4, name) + _text(5, kind) + _flag(19, unique)
        return field(2, field(4, inner))
    inner = _flag(1, required) + _text(2, where) + _text(4, name) + _text(6, kind) + _flag(20, unique)
    return field(2, field(3, inner))
