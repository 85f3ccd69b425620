"""Structural schemas: every field is declared once, with its type, outside of `allOf`, `anyOf`, `oneOf` and `not`.

Source: apiextensions-apiserver/pkg/apiserver/schema/{validation,complete}.go
"""

from __future__ import annotations

import importlib
from typing import Any

from sampan.api.customresource.validate import pattern
from sampan.api.field import ErrorList, Path

Schema = dict[str, Any]
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_JUNCTORS = ("anyOf", "allOf", "oneOf")
#: what belongs outside of the junctors, with what upstream says of it inside
_OUTSIDE = (
    ("type", "must be empty to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("externalDocs", "must be undefined to be structural"),
    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
    ("x-kubernetes-validations", "must be empty to be structural"),
)


def check_structural(schema: Schema, path: Path) -> ErrorList:
    """Errors in the order upstream prints them: by their text."""
    out = ErrorList()
    _node(schema, "root", path, out)
    _complete(schema, schema, path, path, out)
    return ErrorList(sorted(out, key=str))


def _node(schema: Schema, level: str, path: Path, out: ErrorList) -> None:
    kind = schema.get("type", "")
    items = schema.get("items")
    if kind == "array" and items is None:
        out.required(path / "items", "must be specified")
    if isinstance(items, dict):
        _node(items, "item", path / "items", out)
    properties: dict[str, Schema] = schema.get("properties") or {}
    for name, sub in properties.items():
        _node(sub, "field", path / "properties" @ name, out)
    additional = schema.get("additionalProperties")
    embedded = bool(schema.get("x-kubernetes-embedded-resource"))
    if additional is not None:
        if level == "root":
            out.forbidden(path / "additionalProperties", "must not be used at the root")
        if isinstance(additional, dict):
            _node(additional, "field", path / "additionalProperties", out)
        if embedded:
            detail = "must not be used if x-kubernetes-embedded-resource is set"
            out.forbidden(path / "additionalProperties", detail)
    _extensions(schema, path, out)
    _values(schema, level, path, out, _is_int_or_string(schema), _is_int_or_string((schema.get("allOf") or [{}])[0]))
    _type(schema, kind, level, path, out)
    _resource(schema, properties, level, path, out)
    if embedded and not properties and not schema.get("x-kubernetes-preserve-unknown-fields"):
        detail = (
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        )
        out.required(path / "properties", detail)


def _is_int_or_string(schema: Schema) -> bool:
    return bool(schema.get("anyOf") == _INT_OR_STRING)


def _type(schema: Schema, kind: str, level: str, path: Path, out: ErrorList) -> None:
    if schema.get("x-kubernetes-embedded-resource") and kind != "object":
        detail = "must be object if x-kubernetes-embedded-resource is true"
        if kind:
            out.invalid(path / "type", kind, detail)
        else:
            out.required(path / "type", detail)
    elif not kind and not any(
        schema.get(name) for name in ("x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields")
    ):
        where = {"root": "at the root", "item": "for specified array items", "field": "for specified object fields"}
        out.required(path / "type", f"must not be empty {where[level]}")
    if level == "root" and kind and kind != "object":
        out.invalid(path / "type", kind, "must be object at the root")


def _resource(schema: Schema, properties: dict[str, Schema], level: str, path: Path, out: ErrorList) -> None:
    """`kind`, `apiVersion` and `metadata` of a resource."""
    if level != "root" and not schema.get("x-kubernetes-embedded-resource"):
        return
    for name in ("kind", "apiVersion"):
        if name in properties and properties[name].get("type") != "string":
            out.invalid(path / "properties" @ name / "type", properties[name].get("type", ""), "must be string")
    meta = properties.get("metadata")
    if meta is None:
        return
    here = path / "properties" @ "metadata"
    if meta.get("type", "") != "object":
        out.invalid(here / "type", meta.get("type", ""), "must be object")
    if level == "root":
        rest = {key: value for key, value in meta.items() if key not in ("type", "default", "description") and value}
        if set(rest.get("properties") or {"": 0}) <= {"name", "generateName"}:
            rest.pop("properties", None)
        if rest or meta.get("description"):
            detail = "must not specify anything other than name and generateName, but metadata is implicitly specified"
            out.forbidden(here, detail)


def _extensions(schema: Schema, path: Path, out: ErrorList) -> None:
    if schema.get("x-kubernetes-int-or-string"):
        for name in ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"):
            if schema.get(name):
                out.invalid(path / name, True, "must be false if x-kubernetes-int-or-string is true")


def _values(
    schema: Schema, level: str, path: Path, out: ErrorList, skip_any: bool = False, skip_first: bool = False
) -> None:
    for junctor in _JUNCTORS:
        if junctor == "anyOf" and skip_any:
            continue
        for index, sub in enumerate(schema.get(junctor) or ()):
            _nested(sub, level, path / junctor @ index, out, junctor == "allOf" and skip_first and index == 0)
    if isinstance(schema.get("not"), dict):
        _nested(schema["not"], level, path / "not", out)
    if schema.get("pattern"):
        problem = bad_pattern(schema["pattern"])
        if problem:
            detail = f"must be a valid regular expression, but isn't: {problem}"
            out.invalid(path / "pattern", schema["pattern"], detail)


def bad_pattern(text: str) -> str:
    """Why RE2 refuses a pattern (empty: it does not)."""
    re2: Any = importlib.import_module("re2")

    try:
        pattern(text)
    except re2.error as error:
        why = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error.args[0])
        return f"error parsing regexp: {why}"
    return ""


def _nested(schema: Schema, level: str, path: Path, out: ErrorList, skip_any: bool = False) -> None:
    _values(schema, level, path, out, skip_any)
    if isinstance(schema.get("items"), dict):
        _nested(schema["items"], level, path / "items", out)
    for name, sub in (schema.get("properties") or {}).items():
        _nested(sub, "field", path / "properties" @ name, out)
    if schema.get("additionalProperties") is not None:
        out.forbidden(path / "additionalProperties", "must be undefined to be structural")
    for name, detail in _OUTSIDE:
        if schema.get(name) not in (None, "", False, []):
            out.forbidden(path / name, detail)
    if "metadata" in (schema.get("properties") or {}):
        out.forbidden(path / "properties" @ "metadata", "must not be specified in a nested context")


def _complete(value: Schema, schema: Schema, at: Path, path: Path, out: ErrorList) -> None:
    """What the junctors of `value` speak of is declared in `schema`."""
    if isinstance(value.get("not"), dict):
        _complete_nested(value["not"], schema, at, path / "not", out)
    for junctor in ("allOf", "anyOf", "oneOf"):
        for index, sub in enumerate(value.get(junctor) or ()):
            _complete_nested(sub, schema, at, path / junctor @ index, out)
    if value is schema:
        _complete_below(schema, at, path, out)


def _complete_below(schema: Schema, at: Path, path: Path, out: ErrorList) -> None:
    if isinstance(schema.get("items"), dict):
        _complete(schema["items"], schema["items"], at / "items", path / "items", out)
    for name, sub in (schema.get("properties") or {}).items():
        _complete(sub, sub, at / "properties" @ name, path / "properties" @ name, out)
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        _complete(additional, additional, at / "additionalProperties", path / "additionalProperties", out)


def _complete_nested(value: Schema, schema: Schema | None, at: Path, path: Path, out: ErrorList) -> None:
    if schema is None:
        out.required(at, f"because it is defined in {path}")
        return
    if isinstance(value.get("not"), dict):
        _complete_nested(value["not"], schema, at, path / "not", out)
    for junctor in ("allOf", "anyOf", "oneOf"):
        for index, sub in enumerate(value.get(junctor) or ()):
            _complete_nested(sub, schema, at, path / junctor @ index, out)
    if isinstance(value.get("items"), dict):
        items = schema.get("items")
        below = items if isinstance(items, dict) else None
        _complete_nested(value["items"], below, at / "items", path / "items", out)
    for name, sub in (value.get("properties") or {}).items():
        declared = (schema.get("properties") or {}).get(name)
        _complete_nested(sub, declared, at / "properties" @ name, path / "properties" @ name, out)
