"""Request bodies before they have a type: JSON, YAML or protobuf, and what kind they say they are.

Source: k8s.io/apimachinery/pkg/runtime/serializer/{json,protobuf}; apiserver handlers/rest.go (transformDecodeError)
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import orjson

from sampan.api import errors
from sampan.api.schema import protobuf
from sampan.api.schema.nodes import Struct

Gvk = tuple[str, str, str]
Resolve = Callable[[str, str, str], Struct | None]
JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
#: orjson writes no more than 254 levels
MAX_DEPTH, TOO_DEEP = 250, "the object is nested too deeply"
_ESCAPED_COLON = re.compile(rb"\\u003[aA]")
SCHEME = '"pkg/api/legacyscheme/scheme.go:30"'


def read_body(
    data: bytes, content_type: str, *, default_gvk: Gvk, resolve: Resolve, want_duplicates: bool
) -> tuple[dict[str, Any], Gvk, list[str]]:
    """The parsed object, its kind, and `duplicate field "..."` texts. Raises 400, 415."""
    media = content_type.split(";")[0].strip().lower() or JSON
    duplicates: list[str] = []
    if media == PROTOBUF:
        raw = _protobuf(data, default_gvk, resolve)
    elif media in (JSON, YAML, "text/yaml"):
        try:
            raw, found = (_json(data), None) if media == JSON else _json_or_yaml(data)
        except errors.StatusError as error:
            raise unrecognized(data, default_gvk, error.message) from None
        if not isinstance(raw, dict):
            said = f"couldn't get version/kind; json parse error: json: cannot unmarshal {_word(raw)} into Go value"
            raise unrecognized(data, default_gvk, said)
        _shallow(data, raw)
        if want_duplicates:
            duplicates = duplicate_fields(data, raw) if found is None else found
    else:
        raise errors.unsupported_media_type((JSON, YAML, PROTOBUF))
    return raw, _gvk(raw, default_gvk, resolve, data), duplicates


def parse_json(data: bytes) -> Any:
    """Raises 400."""
    return _shallow(data, _json(data))


def _json(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise errors.bad_request(f"couldn't get version/kind; json parse error: {error}") from None


def _shallow(data: bytes, parsed: Any) -> Any:
    """Most bodies have not even so many brackets as would make them too deep."""
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH:
        check_depth(parsed)
    return parsed


def check_depth(value: Any) -> None:
    """Raises 400 for what other parts of the server could not walk through."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(MAX_DEPTH + 1):
        level = [
            item
            for outer in level
            for item in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(item, (dict, list))
        ]
        if not level:
            return
    raise errors.bad_request(TOO_DEEP)


def parse_yaml(data: bytes) -> Any:
    """JSON or YAML. Raises 400."""
    return _shallow(data, _json_or_yaml(data)[0])


def _json_or_yaml(data: bytes) -> tuple[Any, list[str] | None]:
    """Duplicate fields are known of YAML alone. Raises 400."""
    try:
        return orjson.loads(data), None
    except orjson.JSONDecodeError:
        import yaml

        from sampan.api.schema.yaml import load

        try:
            return load(data)
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            said = str(error).replace("\n", " ")
            raise errors.bad_request(f"error decoding YAML: {said}") from None


def _protobuf(data: bytes, default_gvk: Gvk, resolve: Resolve) -> dict[str, Any]:
    try:
        api_version, kind, raw = protobuf.envelope(data)
        group, _, version = api_version.rpartition("/")
        struct = resolve(group, version, kind) if kind else resolve(*default_gvk)
        if struct is None:
            raise _not_registered(group, version, kind)
        out = protobuf.message(struct, raw)
    except protobuf.Malformed as error:
        raise unrecognized(data, default_gvk, str(error)) from None
    return {"apiVersion": api_version, "kind": kind, **out} if kind else out


def _gvk(raw: dict[str, Any], default: Gvk, resolve: Resolve, data: bytes) -> Gvk:
    api_version, kind = raw.get("apiVersion"), raw.get("kind")
    if not isinstance(api_version, str | None) or not isinstance(kind, str | None):
        said = "couldn't get version/kind; json parse error: json: cannot unmarshal value into Go struct field .kind of type string"
        raise unrecognized(data, default, said)
    if not api_version and not kind:
        return default
    if not kind:
        kind = default[2]
    if not api_version:
        group, version = default[:2]
    else:
        group, _, version = api_version.rpartition("/")
    if resolve(group, version, kind) is None:
        raise _not_registered(group, version, kind, default[2])
    return group, version, kind


def _not_registered(group: str, version: str, kind: str, expected: str = "") -> errors.StatusError:
    shown = f"{group}/{version}" if group else version
    why = f'no kind "{kind}" is registered for version "{shown}" in scheme {SCHEME}'
    return errors.bad_request(f'{kind} in version "{version}" cannot be handled as a {expected or kind}: {why}')


def unrecognized(data: bytes, expected: Gvk, why: str) -> errors.StatusError:
    kind = expected[2]
    summary = "empty" if not data else data[:30].hex() + (" ..." if len(data) > 30 else "")
    text = f"the object provided is unrecognized (must be of type {kind}): {why} ({summary})"
    return errors.bad_request(text)


def _word(value: Any) -> str:
    return {list: "array", str: "string", bool: "bool", int: "number", float: "number"}.get(type(value), "null")


def duplicate_fields(data: bytes, parsed: dict[str, Any]) -> list[str]:
    """Keys given twice. Almost always there are none, and counting colons shows it, if none is written as an escape."""
    again = orjson.dumps(parsed)
    if again == data or (data.count(b":") == again.count(b":") and not _ESCAPED_COLON.search(data)):
        return []
    found: list[str] = []

    class Pairs(dict[str, Any]):
        twice: tuple[str, ...] = ()

    def build(pairs: list[tuple[str, Any]]) -> Pairs:
        out = Pairs()
        twice = []
        for key, value in pairs:
            if key in out:
                twice.append(key)
            out[key] = value
        out.twice = tuple(dict.fromkeys(twice))
        return out

    def walk(value: Any, path: str) -> None:
        if isinstance(value, Pairs):
            found.extend(f'duplicate field "{path}{key}"' for key in value.twice)
            for key, item in value.items():
                walk(item, f"{path}{key}.")
        elif isinstance(value, list):
            for index, item in enumerate(value):
                walk(item, f"{path[:-1]}[{index}].")

    try:
        walk(json.loads(data, object_pairs_hook=build), "")
    except (ValueError, RecursionError):
        return []
    return found
