"""Lists of type set hold nothing twice, lists of type map no two items with the same keys.

Source: apiextensions-apiserver/pkg/apiserver/schema/listtype/validation.go
"""

from __future__ import annotations

from typing import Any

import orjson

from sampan.api.customresource.values import add
from sampan.api.field import ErrorList

Schema = dict[str, Any]


def has_unique_lists(schema: Schema) -> bool:
    """Whether there is anything to check at all."""
    if schema.get("x-kubernetes-list-type") in ("set", "map"):
        return True
    below = [*(schema.get("properties") or {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return any(has_unique_lists(item) for item in below if isinstance(item, dict))


def check_lists(schema: Schema, value: Any, path: str, out: ErrorList) -> None:
    if value.__class__ is dict:
        additional = schema.get("additionalProperties")
        if isinstance(additional, dict):
            for key, item in value.items():
                check_lists(additional, item, f"{path}[{key}]", out)
        properties = schema.get("properties")
        if properties:
            for key, item in value.items():
                if key in properties and item.__class__ in (dict, list):
                    check_lists(properties[key], item, f"{path}.{key}" if path else key, out)
    elif value.__class__ is list:
        kind = schema.get("x-kubernetes-list-type")
        if kind == "set":
            for index in _repeated(value):
                add(out, "FieldValueDuplicate", f"{path}[{index}]", value[index], "")
        elif kind == "map":
            _check_map(schema.get("x-kubernetes-list-map-keys") or (), value, path, out)
        items = schema.get("items")
        if isinstance(items, dict):
            for index, item in enumerate(value):
                if item.__class__ in (dict, list):
                    check_lists(items, item, f"{path}[{index}]", out)


def _check_map(keys: Any, value: list[Any], path: str, out: ErrorList) -> None:
    for index, item in enumerate(value):
        if item is not None and item.__class__ is not dict:
            add(out, "FieldValueInvalid", f"{path}[{index}]", item, "must be an object for an array of list-type map")
            return
    found = [{key: item[key] for key in keys if key in item} if item else {} for item in value]
    for index in _repeated(found):
        add(out, "FieldValueDuplicate", f"{path}[{index}]", found[index], "")


def _repeated(items: list[Any]) -> list[int]:
    """Where something stands for the second time."""
    seen: dict[bytes, int] = {}
    out = []
    for index, item in enumerate(items):
        text = orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
        times = seen.get(text, 0)
        if times == 1:
            out.append(index)
        seen[text] = times + 1
    return out
