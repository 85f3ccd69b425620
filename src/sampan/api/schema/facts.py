"""The facts files: every type of Kubernetes 1.37 in 118 KB, as nodes.

One JSON file per group-version; one string per field: `<protobuf path><[ or {><type><flags> <extensions>`.

    "containers": "2[Container!+ m=name p=m:name"     number 2, list, required, always printed, map list by name
    "replicas":   "1i*"                               number 1, int32, pointer

Extensions: `m=` list-map keys, `a`/`s` atomic/set list, `Ma`/`Mg` atomic/granular map, `p=` strategic merge
(`m` merge, `r` replace, `k` retainKeys, then `:key`), `d=` default, `e=` enum. Packages load on first use, and a type
reads its fields when they are first asked for: of most types a server is never asked.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from pathlib import Path
from typing import Any, cast

from sampan.api.schema.nodes import Field, ListOf, MapOf, Node, Scalar, ScalarCode, Struct

_FIELD = re.compile(r"([\d.]*)(\{\[|[\[{]?)([A-Za-z][\w.]*)([!*+]*)")
_SCALARS = {code: Scalar(cast(ScalarCode, code)) for code in "silbBdqxturfo"}
_REFERENCES = {"ref(AzureDataDiskCachingReadWrite)": "ReadWrite", "ref(AzureSharedBlobDisk)": "Shared"}


def read(name: str) -> Any:
    """One facts file, parsed: `core_v1`, `_resources`, `_enums`."""
    return json.loads((Path(__file__).parent / "data" / f"{name}.json").read_bytes())


@functools.cache
def enums() -> dict[str, list[str]]:
    return cast(dict[str, list[str]], read("_enums"))


class _Message(Struct):
    """A struct that fills itself from its facts when first looked into. Types refer to each other and to themselves;
    none is filled for being referred to."""

    __slots__ = ("_raw",)

    def __init__(self, package_name: str, name: str, raw: dict[str, Any]) -> None:
        self.package, self.name, self._raw = package_name, name, raw
        self.rest = self.reader = None
        self.memo = {}

    def __getattr__(self, name: str) -> Any:
        """Reached only while the slots are empty."""
        if name not in _FILLED:
            raise AttributeError(name)
        try:
            raw = self._raw
        except AttributeError:  # another thread has filled it meanwhile
            return object.__getattribute__(self, name)
        nested = isinstance(raw.get("f"), dict)
        self.atomic, self.unions, self.gvk = False, (), None
        texts = raw
        if nested:
            texts = raw["f"]
            self.atomic = raw.get("m") == "a"
            self.unions = tuple(raw.get("u", ()))
            if "g" in raw:
                group, _, version = raw["g"].rpartition("/")
                self.gvk = (group, version, self.name)
        fields: dict[str, Field] = {}
        # DeleteOptions is served under every group-version, so that the facts name none
        if self.gvk is not None or (self.package, self.name) == ("meta", "DeleteOptions"):
            fields["kind"] = Field("kind", _SCALARS["s"])
            fields["apiVersion"] = Field("apiVersion", _SCALARS["s"])
        for key, text in texts.items():
            fields[key] = _field(self.package, key, text)
        self.fields = fields
        with contextlib.suppress(AttributeError):
            del self._raw
        return object.__getattribute__(self, name)


_FILLED = frozenset({"fields", "atomic", "gvk", "unions"})


@functools.cache
def package(name: str) -> dict[str, Struct]:
    """All types of one package (`meta`, `core_v1`, ...), by name."""
    return {kind: _Message(name, kind, raw) for kind, raw in read(name).items()}


def struct(package_name: str, name: str) -> Struct:
    """One type. Raises KeyError when there is no such type."""
    return package(package_name)[name]


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
