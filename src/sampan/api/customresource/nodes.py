"""A CRD's schema as the nodes that server-side apply and managedFields walk.

Source: k8s.io/kube-openapi/pkg/schemaconv (which fields are granular, which atomic)
"""

from __future__ import annotations

from typing import Any, Literal

from sampan.api.customresource.reader import compile_reader
from sampan.api.schema import facts
from sampan.api.schema.nodes import DEDUCED, Field, ListOf, MapOf, Node, Scalar, Struct

Schema = dict[str, Any]
_ANY, _TEXT = Scalar("o"), Scalar("s")


def kind_struct(gvk: tuple[str, str, str], schema: Schema) -> Struct:
    """The struct of a kind, which reads objects by its schema."""
    out = _struct(schema, resource=True)
    out.package, out.name, out.gvk = "", gvk[2], gvk
    out.reader = compile_reader(schema, resource=True)
    return out


def _struct(schema: Schema, resource: bool = False) -> Struct:
    preserve = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("additionalProperties") is True
    out = Struct("", "", atomic=schema.get("x-kubernetes-map-type") == "atomic", rest=DEDUCED if preserve else None)
    required = schema.get("required") or ()
    for name, sub in (schema.get("properties") or {}).items():
        out.fields[name] = Field(name, _node(sub), required=name in required, default=sub.get("default"))
    if resource:
        out.fields["kind"] = Field("kind", _TEXT)
        out.fields["apiVersion"] = Field("apiVersion", _TEXT)
        out.fields["metadata"] = Field("metadata", facts.struct("meta", "ObjectMeta"))
    return out


def _node(schema: Schema) -> Node:
    embedded = bool(schema.get("x-kubernetes-embedded-resource"))
    if "items" in schema:
        kind: Literal["atomic", "set", "map"] = schema.get("x-kubernetes-list-type") or "atomic"
        return ListOf(_node(schema["items"]), kind, tuple(schema.get("x-kubernetes-list-map-keys") or ()))
    if isinstance(schema.get("additionalProperties"), dict):
        return MapOf(_node(schema["additionalProperties"]), schema.get("x-kubernetes-map-type") == "atomic")
    if schema.get("properties") or embedded:
        return _struct(schema, embedded)
    if schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("additionalProperties") is True:
        return _ANY if schema.get("x-kubernetes-map-type") == "atomic" else DEDUCED
    return _ANY
