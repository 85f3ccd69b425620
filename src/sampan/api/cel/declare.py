"""Types from schemas: a CRD's structural schema, or the struct of a built-in kind.

The sizes are upstream's estimates: what a schema does not bound is bounded by what fits in a request.

Source: k8s.io/apiserver/pkg/cel/common/schemas.go, k8s.io/apiserver/pkg/cel/limits.go,
k8s.io/apiserver/pkg/admission/plugin/policy/validating/typechecking.go
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sampan.api.cel import types
from sampan.api.cel.escaping import escape
from sampan.api.cel.types import DeclField, Type

if TYPE_CHECKING:
    from sampan.api.schema.nodes import Node, Struct

MAX_REQUEST_BYTES = 3 * 1024 * 1024
_ANY_STRING = MAX_REQUEST_BYTES - 2
_MAX_DURATION, _DATE, _MAX_DATE_TIME = 32, 12, 32
_MIN_DURATION, _MIN_DATE_TIME = 3, 21
_META = {
    "kind": {"type": "string"},
    "apiVersion": {"type": "string"},
    "metadata": {"type": "object", "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}}},
}


def declare_schema(schema: Mapping[str, Any], *, root: bool = False, name: str = "selfType") -> Type | None:
    """The type of a structural schema; None where expressions cannot see it (no type, unknown fields only).

    `root`: the schema is that of a whole resource, so apiVersion, kind and metadata's names are there.
    """
    if schema.get("x-kubernetes-int-or-string"):
        return _sized(types.Dyn, _string_length(schema, _ANY_STRING), 1)
    if root:
        schema = {**schema, "properties": {**_properties(schema), **_META}}
    kind = schema.get("type")
    if kind == "array":
        return _array(schema, name)
    if kind == "object":
        return _object(schema, name)
    if kind == "string":
        return _string(schema)
    return {"boolean": types.Bool, "number": types.Double, "integer": types.Int}.get(kind or "")


def _properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found = schema.get("properties")
    return found if isinstance(found, Mapping) else {}


def _sized(type: Type, max_elements: int, min_size: int) -> Type:
    return dataclasses.replace(type, max_elements=max_elements, min_size=min_size)


def _bound(schema: Mapping[str, Any], key: str) -> int | None:
    found = schema.get(key)
    return max(int(found), 0) if isinstance(found, int | float) else None


def _string_length(schema: Mapping[str, Any], otherwise: int) -> int:
    """In bytes: `maxLength` counts characters, of up to four bytes."""
    found = _bound(schema, "maxLength")
    return otherwise if found is None else found * 4


def _child(schema: Any, name: str) -> Type | None:
    if not isinstance(schema, Mapping):
        return None
    found = declare_schema(schema, root=bool(schema.get("x-kubernetes-embedded-resource")), name=name)
    return dataclasses.replace(found, nullable=True) if found and schema.get("nullable") else found


def _array(schema: Mapping[str, Any], name: str) -> Type | None:
    element = _child(schema.get("items"), f"{name}.@idx")
    if element is None:
        return None
    most = _bound(schema, "maxItems")
    if most is None:
        most = (MAX_REQUEST_BYTES - 2) // (element.min_size + 1)
    merge = schema.get("x-kubernetes-list-type", "atomic")
    return types.ListType(element, most, merge, tuple(schema.get("x-kubernetes-list-map-keys") or ()))


def _object(schema: Mapping[str, Any], name: str) -> Type | None:
    more = schema.get("additionalProperties")
    if isinstance(more, Mapping):
        value = _child(more, f"{name}.@prop")
        if value is None:
            return None
        most = _bound(schema, "maxProperties")
        if most is None:
            most = (MAX_REQUEST_BYTES - 2) // (value.min_size + 6)
        return types.MapType(types.String, value, most)
    required = frozenset(schema.get("required") or ())
    fields: dict[str, DeclField] = {}
    smallest = 2
    for json, inner in _properties(schema).items():
        escaped = escape(json)
        type = _child(inner, f"{name}.{escaped or json}")
        if type is None:
            continue
        default = inner.get("default")
        if escaped is not None:
            fields[escaped] = DeclField(escaped, type, json, json in required, default)
        if json in required and default is None:
            smallest += len(json) + type.min_size + 4
    return types.ObjectType(name, fields, smallest)


def _string(schema: Mapping[str, Any]) -> Type:
    format = schema.get("format")
    if format == "byte":
        most = _bound(schema, "maxLength")
        return _sized(types.Bytes, _ANY_STRING if most is None else most, 2)
    if format == "duration":
        return _sized(types.Duration, _MAX_DURATION, _MIN_DURATION)
    if format == "date":
        return _sized(types.Timestamp, _DATE, _DATE)
    if format == "date-time":
        return _sized(types.Timestamp, _MAX_DATE_TIME, _MIN_DATE_TIME)
    choices = [choice for choice in schema.get("enum") or () if isinstance(choice, str)]
    longest = max((len(choice.encode()) for choice in choices), default=0) if schema.get("enum") else _ANY_STRING
    return _sized(types.String, _string_length(schema, longest), 2)


# --- built-in kinds ---------------------------------------------------------------------------------------------------

_SCALARS: dict[str, Type] = {
    "s": types.String, "i": types.Int, "l": types.Int, "b": types.Bool, "B": types.Bytes, "d": types.Double,
    "q": types.String, "x": types.Dyn, "t": types.Timestamp, "u": types.Timestamp, "r": types.Dyn, "f": types.Dyn,
    "o": types.Dyn,
}  # fmt: skip


def declare_struct(struct: Struct) -> Type:
    """The type of a built-in kind. Fields that expressions cannot name are left out."""
    return _struct(struct, {})


def _struct(struct: Struct, known: dict[str, Type]) -> Type:
    name = f"{struct.package}.{struct.name}"
    found = known.get(name)
    if found is not None:
        return found
    fields: dict[str, DeclField] = {}
    # known before its fields are: types refer to each other
    declared = known[name] = types.ObjectType(name, fields)
    for json, field in struct.fields.items():
        escaped = escape(json)
        if escaped is not None:
            fields[escaped] = DeclField(escaped, _node(field.node, known), json, field.required)
    return declared


def _node(node: Node, known: dict[str, Type]) -> Type:
    from sampan.api.schema.nodes import ListOf, MapOf, Scalar

    if isinstance(node, Scalar):
        return _SCALARS[node.code]
    if isinstance(node, ListOf):
        return types.ListType(_node(node.element, known), None, node.merge, node.keys)
    if isinstance(node, MapOf):
        return types.MapType(types.String, _node(node.value, known))
    return _struct(node, known)
