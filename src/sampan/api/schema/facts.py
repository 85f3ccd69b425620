"""The facts files: every type of Kubernetes 1.37 in 118 KB, as nodes.

One JSON file per group-version; one string per field: `<protobuf path><[ or {><type><flags> <extensions>`.

    "containers": "2[Container!+ m=name p=m:name"     number 2, list, required, always printed, map list by name
    "replicas":   "1i*"                               number 1, int32, pointer

Extensions: `m=` list-map keys, `a`/`s` atomic/set list, `Ma`/`Mg` atomic/granular map, `p=` strategic merge
(`m` merge, `r` replace, `k` retainKeys, then `:key`), `d=` default, `e=` enum. Packages load on first use.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
import re
from typing import Any, cast

from sampan.api.schema.nodes import Field, ListOf, MapOf, Node, Scalar, ScalarCode, Struct

_FIELD = re.compile(r"([\d.]*)(\{\[|[\[{]?)([A-Za-z][\w.]*)([!*+]*)")
_SCALARS = {code: Scalar(cast(ScalarCode, code)) for code in "silbBdqxturfo"}
_REFERENCES = {"ref(AzureDataDiskCachingReadWrite)": "ReadWrite", "ref(AzureSharedBlobDisk)": "Shared"}


def read(name: str) -> Any:
    """One facts file, parsed: `core_v1`, `_resources`, `_enums`."""
    text = (importlib.resources.files("sampan.api.schema") / "data" / f"{name}.json").read_bytes()
    return json.loads(text)


@functools.cache
def enums() -> dict[str, list[str]]:
    return cast(dict[str, list[str]], read("_enums"))


@functools.cache
def package(name: str) -> dict[str, Struct]:
    """All types of one package (`meta`, `core_v1`, ...), by name; fields are filled by `struct`."""
    return {kind: Struct(name, kind) for kind in read(name)}


@functools.cache
def _raw(name: str) -> dict[str, Any]:
    return cast(dict[str, Any], read(name))


_filled: set[tuple[str, str]] = set()


def struct(package_name: str, name: str) -> Struct:
    """One type with its fields; the types they refer to are filled too (a type may refer to itself).

    Raises KeyError when there is no such type.
    """
    out = package(package_name)[name]
    if (package_name, name) in _filled:
        return out
    _filled.add((package_name, name))
    raw = _raw(package_name)[name]
    nested = isinstance(raw.get("f"), dict)
    if nested:
        out.atomic = raw.get("m") == "a"
        out.unions = tuple(raw.get("u", ()))
        if "g" in raw:
            group, _, version = raw["g"].rpartition("/")
            out.gvk = (group, version, name)
            out.fields["kind"] = Field("kind", _SCALARS["s"])
            out.fields["apiVersion"] = Field("apiVersion", _SCALARS["s"])
    if (package_name, name) == ("meta", "DeleteOptions"):
        # served under every group-version, so that the facts name none
        out.fields["kind"] = Field("kind", _SCALARS["s"])
        out.fields["apiVersion"] = Field("apiVersion", _SCALARS["s"])
    for key, text in (raw["f"] if nested else raw).items():
        out.fields[key] = _field(package_name, key, text)
    return out


def _field(package_name: str, name: str, text: str) -> Field:
    match = _FIELD.match(text)
    assert match, (package_name, name, text)
    number, card, kind, flags = match.groups()
    words = _words(text[match.end() :])
    node: Node = _SCALARS[kind] if kind in _SCALARS else _reference(package_name, kind)
    patch = next((w[2:] for w in words if w.startswith("p=")), "")
    directives, _, patch_key = patch.partition(":")
    # for a list: marked atomic, where most without a mark are treated so
    atomic = "Ma" in words or (card == "[" and "a" in words)
    if card == "[":
        keys = next((tuple(w[2:].split(",")) for w in words if w.startswith("m=")), ())
        node = ListOf(node, "map" if keys else "set" if "s" in words else "atomic", keys)
    elif card:
        node = MapOf(ListOf(node) if card == "{[" else node, "Ma" in words)
    enum = next((w[2:] for w in words if w.startswith("e=")), "")
    default = next((w[2:] for w in words if w.startswith("d=")), None)
    return Field(
        name,
        node,
        required="!" in flags,
        pointer="*" in flags,
        always="+" in flags,
        number=tuple(int(n) for n in number.split(".")) if number else (),
        patch_merge="m" in directives,
        patch_replace="r" in directives,
        retain_keys="k" in directives,
        patch_key=patch_key,
        default=_default(default) if default is not None else None,
        enum=tuple(enums().get(enum) or enums().get(f"{package_name}.{enum}") or ()) if enum else (),
        atomic=atomic,
    )


def _words(rest: str) -> list[str]:
    head, found, tail = rest.partition("d={")
    if not found:
        return rest.split()
    return [*head.split(), "d={" + tail]


def _default(text: str) -> Any:
    return _REFERENCES[text] if text in _REFERENCES else json.loads(text)


def _reference(package_name: str, kind: str) -> Struct:
    other, _, name = kind.rpartition(".")
    return struct(other or package_name, name)
