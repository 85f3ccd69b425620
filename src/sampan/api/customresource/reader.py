"""Pruning and defaulting, compiled: one walk makes a clean copy of what a client sent or the store holds.

What the schema does not know goes (and is reported), nulls of fields that are not nullable are as if they were not
there, and defaults fill in what is missing. Wrong types are left for validation to name. `metadata`, and that of embedded
resources, is read as every kind's is.

Source: apiextensions-apiserver/pkg/apiserver/schema/{pruning,defaulting,objectmeta}/algorithm.go
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sampan.api.schema import facts
from sampan.api.schema.decode import Strict, WrongType, reader

Schema = dict[str, Any]
#: value, its path, where to report unknown fields
Read = Callable[[Any, str, Strict], Any]
TYPE_META = ("apiVersion", "kind", "metadata")


def clone(value: Any) -> Any:
    """A deep copy of JSON."""
    if value.__class__ is dict:
        return {key: clone(item) for key, item in value.items()}
    return [clone(item) for item in value] if value.__class__ is list else value


def keep(value: Any, path: str, strict: Strict) -> Any:
    return value


def compile_reader(schema: Schema, *, resource: bool = False) -> Read:
    """`resource`: kind, apiVersion and metadata are there without being in the schema."""
    return _compile(schema, resource) or keep


def _compile(schema: Schema, resource: bool = False) -> Read | None:
    """None: the value is taken as it is."""
    resource = resource or bool(schema.get("x-kubernetes-embedded-resource"))
    if "items" in schema:
        return _list(schema["items"])
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        return _map(additional)
    properties = schema.get("properties") or {}
    preserve = bool(schema.get("x-kubernetes-preserve-unknown-fields")) or additional is True
    if not properties and not resource and (preserve or schema.get("type") != "object"):
        return None
    return _object(properties, preserve, resource)


def _object(properties: dict[str, Schema], preserve: bool, resource: bool) -> Read:
    known: dict[str, tuple[Read | None, bool]] = {}
    defaults: list[tuple[str, Any]] = []
    for name, schema in properties.items():
        if resource and name in TYPE_META:
            continue
        read = _compile(schema)
        default = schema.get("default")
        known[name] = (read, bool(schema.get("nullable")))
        if default is not None:
            defaults.append((name, clone(default) if read is None else read(clone(default), "", None)))
    if resource:
        known["metadata"] = (_metadata, False)
        known["apiVersion"] = known["kind"] = (None, False)

    def read_object(value: Any, path: str, strict: Strict) -> Any:
        if value.__class__ is not dict:
            return value
        out = {}
        for key, item in value.items():
            found = known.get(key)
            if found is None:
                if preserve:
                    out[key] = item
                elif strict is not None:
                    strict.append(f'unknown field "{path}.{key}"' if path else f'unknown field "{key}"')
            elif item is None:
                if found[1]:
                    out[key] = None
            elif found[0] is None:
                out[key] = item
            else:
                out[key] = found[0](item, f"{path}.{key}" if path else key, strict)
        for key, default in defaults:
            if key not in out:
                out[key] = clone(default) if default.__class__ in (dict, list) else default
        return out

    return read_object


def _metadata(value: Any, path: str, strict: Strict) -> Any:
    if value.__class__ is not dict:
        raise WrongType(f"{path}: must be an object")
    return reader(facts.struct("meta", "ObjectMeta"))(value, path, strict)


def _list(items: Schema) -> Read | None:
    read = _compile(items)
    default, nullable = items.get("default"), bool(items.get("nullable"))
    if read is None and default is None:
        return None

    def read_list(value: Any, path: str, strict: Strict) -> Any:
        if value.__class__ is not list:
            return value
        out = []
        for index, item in enumerate(value):
            if item is None and default is not None and not nullable:
                item = clone(default)
            out.append(item if read is None or item is None else read(item, f"{path}[{index}]", strict))
        return out

    return read_list


def _map(values: Schema) -> Read | None:
    read = _compile(values)
    nullable = bool(values.get("nullable"))

    def read_map(value: Any, path: str, strict: Strict) -> Any:
        if value.__class__ is not dict:
            return value
        return {
            key: item if read is None or item is None else read(item, f"{path}.{key}" if path else key, strict)
            for key, item in value.items()
            if item is not None or nullable
        }

    return read_map
