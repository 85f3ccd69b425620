"""How a function is declared: a library is a dict of names to overloads.

    library = Library()
    library.member("charAt", "string_char_at_int", "string, int -> string", char_at)

The signature is written in CEL's own words; single capitals are type parameters. An implementation gets values of the
types that it declares, and raises EvaluationError.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sampan.api.cel import types
from sampan.api.cel.types import Type

Implementation = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Overload:
    """`generic`: it has type parameters."""

    id: str
    name: str
    params: tuple[Type, ...]
    result: Type
    member: bool
    call: Implementation
    generic: bool = False


class Library(dict[str, list[Overload]]):
    """Functions by name."""

    def function(self, name: str, id: str, signature: str, call: Implementation) -> None:
        self._add(name, id, signature, call, member=False)

    def member(self, name: str, id: str, signature: str, call: Implementation) -> None:
        self._add(name, id, signature, call, member=True)

    def _add(self, name: str, id: str, signature: str, call: Implementation, member: bool) -> None:
        params, result = _signature(signature)
        overload = Overload(id, name, params, result, member, call, generic=any(map(_has_params, (*params, result))))
        self.setdefault(name, []).append(overload)


def merge(*libraries: Library) -> dict[str, tuple[Overload, ...]]:
    out: dict[str, tuple[Overload, ...]] = {}
    for library in libraries:
        for name, overloads in library.items():
            out[name] = (*out.get(name, ()), *overloads)
    return out


_NAMED = {
    "bool": types.Bool, "int": types.Int, "uint": types.Uint, "double": types.Double, "string": types.String,
    "bytes": types.Bytes, "null": types.Null, "timestamp": types.Timestamp, "duration": types.Duration,
    "dyn": types.Dyn, "type": types.TypeType(),
}  # fmt: skip
_WORD = re.compile(r"[\w.]+|[(),]|->")


@functools.cache
def _signature(text: str) -> tuple[tuple[Type, ...], Type]:
    words = _WORD.findall(text)
    arrow = words.index("->")
    params: list[Type] = []
    place = 0
    while place < arrow:
        type, place = _read(words, place)
        params.append(type)
        place += place < arrow  # the comma
    return tuple(params), _read(words, arrow + 1)[0]


def _read(words: list[str], place: int) -> tuple[Type, int]:
    word = words[place]
    place += 1
    if word in _NAMED:
        return _NAMED[word], place
    inner: list[Type] = []
    if place < len(words) and words[place] == "(":
        while words[place] != ")":
            type, place = _read(words, place + 1)
            inner.append(type)
        place += 1
    if word == "list":
        return types.ListType(inner[0]), place
    if word == "map":
        return types.MapType(inner[0], inner[1]), place
    if word == "optional":
        return types.OptionalType(inner[0]), place
    if word == "type":
        return types.TypeType(inner[0]), place
    if len(word) == 1:
        return types.Param(word), place
    # Kubernetes declares its own types as objects without fields
    return Type("object", name=word, fields={}), place


def _has_params(type: Type) -> bool:
    return type.kind == "param" or any(map(_has_params, type.params))
