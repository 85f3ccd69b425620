"""A version's schema as the OpenAPI documents show it.

Source: apiextensions-apiserver/pkg/controller/openapi/builder/builder.go; pkg/apiserver/schema/kubeopenapi.go
"""

from __future__ import annotations

from typing import Any

from sampan.api.customresource.formats import FORMATS, NUMBERS
from sampan.api.field import go_quote
from sampan.api.kind import Obj

Schema = dict[str, Any]
#: what Swagger 2.0 has no word for
_NOT_IN_V2 = ("anyOf", "oneOf", "allOf", "not", "nullable")
_TYPE_META = {
    "apiVersion": "The versioned schema this representation of an object follows.",
    "kind": "The REST resource this object represents, in CamelCase.",
    "metadata": "Standard object's metadata.",
}


def v3_schema(schema: Schema) -> Schema:
    """Everything, defaults included."""
    return {key: _below(key, value, v3_schema) for key, value in schema.items()}


def v2_schema(schema: Schema) -> Schema:
    """Without what Swagger 2.0 cannot say; where that leaves a wrong picture, with less than the whole."""
    if schema.get("x-kubernetes-int-or-string") or schema.get("nullable"):
        # clients that validate by this document would refuse one of the forms
        return {key: value for key, value in schema.items() if key.startswith("x-") or key == "description"}
    out = {key: _below(key, value, v2_schema) for key, value in schema.items() if key not in _NOT_IN_V2}
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        # kubectl 1.20 and older take a list of known fields for the only ones
        for name in ("items", "properties"):
            out.pop(name, None)
        if not schema.get("x-kubernetes-embedded-resource"):
            out.pop("type", None)
    return out


def _below(key: str, value: Any, each: Any) -> Any:
    if key == "properties" and isinstance(value, dict):
        return {name: each(sub) for name, sub in value.items()}
    if key in ("items", "additionalProperties", "not") and isinstance(value, dict):
        return each(value)
    if key in ("allOf", "anyOf", "oneOf"):
        return [each(sub) for sub in value]
    return value


def root_schema(schema: Schema, gvk: tuple[str, str, str], meta_ref: str, *, v2: bool) -> Schema:
    """The schema of the kind: with kind, apiVersion and metadata as all kinds have them, unless all fields are welcome:
    clients that validate by the document of version 2 take a list of fields for the only ones."""
    group, version, kind = gvk
    known = [{"group": group, "kind": kind, "version": version}]
    if not schema or (v2 and schema.get("x-kubernetes-preserve-unknown-fields")):
        return {"type": "object", "x-kubernetes-group-version-kind": known}
    out = (v2_schema if v2 else v3_schema)(schema)
    properties = dict(out.get("properties") or {})
    for name in ("apiVersion", "kind"):
        properties[name] = {"description": _TYPE_META[name], "type": "string"}
    reference = {"$ref": meta_ref}
    text = {"description": _TYPE_META["metadata"]}
    properties["metadata"] = {**text, **reference} if v2 else {**text, "allOf": [reference]}
    out["properties"] = dict(sorted(properties.items()))
    out["type"] = "object"
    out["x-kubernetes-group-version-kind"] = known
    return out


def list_schema(gvk: tuple[str, str, str], list_kind: str, item_ref: str, list_meta_ref: str, *, v2: bool) -> Schema:
    group, version, kind = gvk
    reference = {"$ref": list_meta_ref}
    item = {"$ref": item_ref}
    return {
        "description": f"{list_kind} is a list of {kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"description": _TYPE_META["apiVersion"], "type": "string"},
            "items": {"description": "The objects of this list.", "type": "array", "items": item},
            "kind": {"description": _TYPE_META["kind"], "type": "string"},
            "metadata": reference if v2 else {"allOf": [reference]},
        },
        "x-kubernetes-group-version-kind": [{"group": group, "kind": list_kind, "version": version}],
    }


def definition_name(gvk: tuple[str, str, str]) -> str:
    """`com.example.stable.v1.CronTab`."""
    group, version, kind = gvk
    return f"{'.'.join(reversed(group.split('.')))}.{version}.{kind}"


def unknown_formats(spec: Obj) -> list[str]:
    found: dict[str, None] = {}

    def walk(schema: Any) -> None:
        if not isinstance(schema, dict):
            return
        name = schema.get("format", "")
        if name and name not in FORMATS and name not in NUMBERS:
            found[f"unrecognized format {go_quote(name)}"] = None
        for sub in (schema.get("properties") or {}).values():
            walk(sub)
        for key in ("items", "additionalProperties", "not"):
            walk(schema.get(key))
        for key in ("allOf", "anyOf", "oneOf"):
            for sub in schema.get(key) or ():
                walk(sub)

    for version in spec.get("versions") or ():
        walk((version.get("schema") or {}).get("openAPIV3Schema"))
    return list(found)
