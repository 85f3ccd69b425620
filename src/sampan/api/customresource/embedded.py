"""Objects within objects (`x-kubernetes-embedded-resource`): they say what they are, and their metadata is metadata.

Source: apiextensions-apiserver/pkg/apiserver/schema/objectmeta/validation.go
"""

from __future__ import annotations

from typing import Any

from sampan.api import names
from sampan.api.customresource.values import add
from sampan.api.field import ErrorList, Path
from sampan.api.validation.meta import validate_object_meta

Schema = dict[str, Any]


def has_embedded(schema: Schema) -> bool:
    if schema.get("x-kubernetes-embedded-resource"):
        return True
    below = [*(schema.get("properties") or {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return any(has_embedded(item) for item in below if isinstance(item, dict))


def check_embedded(schema: Schema, value: Any, path: str, out: ErrorList) -> None:
    if value.__class__ is dict:
        if schema.get("x-kubernetes-embedded-resource"):
            _check_resource(value, path, out)
        additional = schema.get("additionalProperties")
        properties = schema.get("properties") or {}
        for key, item in value.items():
            if item.__class__ not in (dict, list):
                continue
            if key in properties:
                check_embedded(properties[key], item, f"{path}.{key}" if path else key, out)
            elif isinstance(additional, dict):
                check_embedded(additional, item, f"{path}[{key}]", out)
    elif value.__class__ is list and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            check_embedded(schema["items"], item, f"{path}[{index}]", out)


def _check_resource(value: dict[str, Any], path: str, out: ErrorList) -> None:
    kind, version = value.get("kind"), value.get("apiVersion")
    if not kind:
        add(out, "FieldValueRequired", f"{path}.kind", "", "must not be empty")
    elif not isinstance(kind, str):
        add(out, "FieldValueInvalid", f"{path}.kind", kind, "must be a string")
    else:
        for problem in names.is_dns1035_label(kind.lower()):
            detail = "may have mixed case, but should otherwise match: " + problem
            add(out, "FieldValueInvalid", f"{path}.kind", kind, detail)
    if not version:
        add(out, "FieldValueRequired", f"{path}.apiVersion", "", "must not be empty")
    elif not isinstance(version, str) or version.count("/") > 1:
        detail = "must be a string" if not isinstance(version, str) else f"unexpected GroupVersion string: {version}"
        add(out, "FieldValueInvalid", f"{path}.apiVersion", version, detail)
    meta = value.get("metadata")
    if isinstance(meta, dict):
        # a name is not needed inside of another object, and neither is a namespace
        whole = {"name": "fake-name", **meta, "namespace": ""}
        out.extend(validate_object_meta(whole, False, _any_name, Path(path, "metadata") if path else Path("metadata")))


def _any_name(name: str, generate: bool) -> list[str]:
    return []
