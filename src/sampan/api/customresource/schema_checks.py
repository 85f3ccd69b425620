"""What the schema of a definition may say, beyond being structural.

Source: apiextensions-apiserver/pkg/apis/apiextensions/validation/validation.go
(ValidateCustomResourceDefinitionOpenAPISchema, specStandardValidatorV3)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sampan.api.customresource.field_path import BadFieldPath, valid_field_path
from sampan.api.field import ErrorList, Path

Schema = dict[str, Any]
TYPES = ("array", "boolean", "integer", "number", "object", "string")
REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
#: more than anything that is meant; upstream is bounded by what etcd takes (1.5 MB), and by having many cores
MAX_DEPTH, MAX_NODES, MAX_RULES = 100, 50_000, 2_000
_META = ("metadata", "kind", "apiVersion")
_UNSUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_NESTED = (("not", False), ("allOf", True), ("oneOf", True), ("anyOf", True))


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the schema we are. `no_default`: why defaults are forbidden here (None: they are not)."""

    no_default: str | None = None
    inside_meta: bool = False


def too_large(schema: Schema) -> str:
    """Why a schema is not looked at at all (empty: it is). Looked at first, so that everything else may recurse."""
    todo = [(schema, 0)]
    nodes = rules = 0
    while todo:
        here, depth = todo.pop()
        nodes += 1
        rules += len(here.get("x-kubernetes-validations") or ())
        if depth > MAX_DEPTH:
            return f"schemas may not be nested deeper than {MAX_DEPTH} levels"
        if nodes > MAX_NODES:
            return f"schemas may not have more than {MAX_NODES} parts"
        if rules > MAX_RULES:
            return f"schemas may not have more than {MAX_RULES} rules"
        for key, value in here.items():
            if key in ("properties", "patternProperties", "definitions", "dependencies") and isinstance(value, dict):
                todo.extend((sub, depth + 1) for sub in value.values() if isinstance(sub, dict))
            elif key in ("items", "additionalProperties", "additionalItems", "not") and isinstance(value, dict):
                todo.append((value, depth + 1))
            elif key in ("allOf", "anyOf", "oneOf", "items") and isinstance(value, list):
                todo.extend((sub, depth + 1) for sub in value if isinstance(sub, dict))
    return ""


def check_schema(schema: Schema, path: Path, out: ErrorList, place: Place = Place(), root: bool = True) -> None:
    _standard(schema, path, out, place)
    if schema.get("uniqueItems"):
        detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        out.forbidden(path / "uniqueItems", detail)
    additional, properties = schema.get("additionalProperties"), schema.get("properties") or {}
    if additional is not None:
        if properties and additional is not True:
            detail = "additionalProperties and properties are mutual exclusive"
            out.forbidden(path / "additionalProperties", detail)
        if isinstance(additional, dict):
            below = place
            if place.inside_meta:
                below = replace(place, no_default="inside additionalProperties applying to object metadata")
            check_schema(additional, path / "additionalProperties", out, below, False)
    for name, sub in properties.items():
        below = place
        if (root or schema.get("x-kubernetes-embedded-resource")) and name in _META:
            below = replace(below, inside_meta=True)
            if root:
                below = replace(below, no_default=f"in top-level {name}")
        check_schema(sub, path / "properties" @ name, out, below, False)
    for name, many in _NESTED:
        found = schema.get(name)
        if many:
            for index, sub in enumerate(found or ()):
                check_schema(sub, path / name @ index, out, place, False)
        elif isinstance(found, dict):
            check_schema(found, path / name, out, place, False)
    items = schema.get("items")
    if isinstance(items, dict):
        check_schema(items, path / "items", out, place, False)
    _extensions(schema, path, out)
    _lists(schema, path, out)
    for index, rule in enumerate(schema.get("x-kubernetes-validations") or ()):
        _rule(schema, rule, path / "x-kubernetes-validations" @ index, out)


def _standard(schema: Schema, path: Path, out: ErrorList, place: Place) -> None:
    kind = schema.get("type", "")
    if kind and kind not in TYPES:
        out.not_supported(path / "type", kind, TYPES)
    if schema.get("default") is not None and place.no_default is not None:
        out.forbidden(path / "default", f"must not be set {place.no_default}")
    for name in _UNSUPPORTED:
        if schema.get(name) not in (None, "", {}):
            out.forbidden(path / name, f"{name} is not supported")
    if kind == "null":
        out.forbidden(path / "type", "type cannot be set to null, use nullable as an alternative")
    if isinstance(schema.get("items"), list):
        out.forbidden(path / "items", "items must be a schema object and not an array")
    if place.inside_meta and schema.get("x-kubernetes-embedded-resource"):
        out.forbidden(path / "x-kubernetes-embedded-resource", "must not be used inside of resource meta")


def _needs_type(schema: Schema, name: str, wanted: str, path: Path, out: ErrorList) -> bool:
    kind = schema.get("type", "")
    if kind == wanted:
        return True
    detail = f"must be {wanted} if {name} is specified"
    if kind:
        out.invalid(path / "type", kind, detail)
    else:
        out.required(path / "type", detail)
    return False


def _extensions(schema: Schema, path: Path, out: ErrorList) -> None:
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        out.invalid(path / "x-kubernetes-preserve-unknown-fields", False, "must be true or undefined")
    kind = schema.get("x-kubernetes-map-type")
    if kind is not None:
        _needs_type(schema, "x-kubernetes-map-type", "object", path, out)
        if kind not in ("atomic", "granular"):
            out.not_supported(path / "x-kubernetes-map-type", kind, ("atomic", "granular"))


def _lists(schema: Schema, path: Path, out: ErrorList) -> None:
    kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys") or []
    items = schema.get("items") if isinstance(schema.get("items"), dict) else None
    if kind is not None:
        if _needs_type(schema, "x-kubernetes-list-type", "array", path, out) and kind == "set" and items is not None:
            _set_items(items, path / "items", out)
        if kind not in ("atomic", "set", "map"):
            out.not_supported(path / "x-kubernetes-list-type", kind, ("atomic", "set", "map"))
    if keys and kind != "map":
        detail = "must be map if x-kubernetes-list-map-keys is non-empty"
        if kind is None:
            out.required(path / "x-kubernetes-list-type", detail)
        else:
            out.invalid(path / "x-kubernetes-list-type", kind, detail)
    if kind == "map":
        _map_items(keys, schema, items, path, out)
    if kind in ("set", "map") and items is not None and items.get("nullable"):
        out.forbidden(path / "items" / "nullable", f"cannot be nullable when x-kubernetes-list-type is {kind}")
    if kind == "map" and items is not None:
        _keys_present(keys, items, path / "items", out)


def _set_items(items: Schema, path: Path, out: ErrorList) -> None:
    detail = "must be atomic as item of a list with x-kubernetes-list-type=set"
    kind = items.get("type")
    if kind == "array" and items.get("x-kubernetes-list-type", "atomic") != "atomic":
        out.invalid(path / "x-kubernetes-list-type", items["x-kubernetes-list-type"], detail)
    elif kind == "object" and items.get("x-kubernetes-map-type") != "atomic":
        out.invalid(path / "x-kubernetes-map-type", items.get("x-kubernetes-list-type"), detail)


def _map_items(keys: list[str], schema: Schema, items: Schema | None, path: Path, out: ErrorList) -> None:
    if not keys:
        detail = "must not be empty if x-kubernetes-list-type is map"
        out.required(path / "x-kubernetes-list-map-keys", detail)
    if schema.get("items") is None:
        out.required(path / "items", "must have a schema if x-kubernetes-list-type is map")
    if items is None:
        return
    if items.get("type", "") != "object":
        detail = "must be object if parent array's x-kubernetes-list-type is map"
        out.invalid(path / "items" / "type", items.get("type", ""), detail)
        return
    seen: set[str] = set()
    for key in keys:
        declared = (items.get("properties") or {}).get(key)
        if declared is None:
            out.invalid(path / "x-kubernetes-list-map-keys", keys, "entries must all be names of item properties")
        elif declared.get("type") in ("array", "object"):
            detail = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            out.invalid(path / "items" / "properties" @ key / "type", items["type"], detail)
        if key in seen:
            out.invalid(path / "x-kubernetes-list-map-keys", keys, "must not contain duplicate entries")
        seen.add(key)


def _keys_present(keys: list[str], items: Schema, path: Path, out: ErrorList) -> None:
    for key in keys:
        declared = (items.get("properties") or {}).get(key)
        if declared is None:
            continue
        here = path / "properties" @ key
        if key not in (items.get("required") or ()) and declared.get("default") is None:
            detail = (
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            )
            out.required(here / "default", detail)
        if declared.get("nullable"):
            detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"
            out.forbidden(here / "nullable", detail)


def _rule(schema: Schema, rule: Schema, path: Path, out: ErrorList) -> None:
    text, message = rule.get("rule", ""), rule.get("message", "")
    lines = any(char in text.strip() for char in "\r\n")
    if not text.strip():
        out.required(path / "rule", "rule is not specified")
    elif message and not message.strip():
        out.invalid(path / "message", message, "must be non-empty if specified")
    elif any(char in message.strip() for char in "\r\n"):
        out.invalid(path / "message", message, "must not contain line breaks")
    elif lines and not message.strip():
        out.required(path / "message", "message must be specified if rule contains line breaks")
    expression = rule.get("messageExpression", "")
    if expression and not expression.strip():
        out.required(path / "messageExpression", "messageExpression must be non-empty if specified")
    reason = rule.get("reason")
    if reason is not None and reason not in REASONS:
        out.not_supported(path / "reason", reason, REASONS)
    field = rule.get("fieldPath", "")
    if not field:
        return
    if not field.strip():
        out.invalid(path / "fieldPath", field, "must be non-empty if specified")
    if any(char in field for char in "\r\n"):
        out.invalid(path / "fieldPath", field, "must not contain line breaks")
    try:
        valid_field_path(field, schema)
    except BadFieldPath:
        out.invalid(path / "fieldPath", field, "must be a valid path")
