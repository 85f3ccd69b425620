"""CRI v1 as Python classes, built at import from `cri_facts.txt`; no generated code, no protoc.

`pb.ContainerConfig(...)` is a message class, `pb.CONTAINER_RUNNING` an enum's number and `pb.Signal` all its names, `SERVICES`
what each gRPC service offers. Descriptors live in a pool of their own: another copy of the CRI API in the same process does no harm.

Source of names and numbers: k8s.io/cri-api pkg/apis/runtime/v1/api.proto
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from types import SimpleNamespace
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "runtime.v1"
_TYPES = {"s": 9, "b": 8, "B": 12, "i": 5, "l": 3, "u": 13, "U": 4, "d": 1}
_MESSAGE, _ENUM, _OPTIONAL, _REPEATED = 11, 14, 1, 3


@dataclass(frozen=True, slots=True)
class Method:
    """One remote call: message classes in and out, `streams` many of the latter."""

    name: str
    request: Any
    response: Any
    streams: bool


def _facts() -> Iterator[list[str]]:
    """The file's entries as words; an indented line continues the one before."""
    words: list[str] = []
    for line in resources.files("sampan.cri").joinpath("cri_facts.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        if not line.startswith(" "):
            if words:
                yield words
            words = []
        words += line.split()
    yield words


def _enum(file: Any, name: str, values: list[str]) -> None:
    made = file.enum_type.add(name=name)
    for number, value in enumerate(values):
        made.value.add(name=value, number=number)


def _message(file: Any, name: str, fields: list[str], enums: frozenset[str]) -> None:
    message = file.message_type.add(name=name)
    for text in fields:
        field, number, kind = text.split(":")
        made = message.field.add(name=field, number=int(number))
        made.label = _REPEATED if kind.endswith("*") or kind == "m" else _OPTIONAL
        kind = kind.rstrip("*")
        if kind == "m":
            # a map is sugar for a repeated pair, by a naming rule of protobuf's own
            entry = message.nested_type.add(name="".join(part.capitalize() for part in field.split("_")) + "Entry")
            entry.options.map_entry = True
            for index, part in enumerate(("key", "value"), 1):
                entry.field.add(name=part, number=index, label=_OPTIONAL, type=_TYPES["s"])
            made.type, made.type_name = _MESSAGE, f".{_PACKAGE}.{name}.{entry.name}"
        elif kind in _TYPES:
            made.type = _TYPES[kind]
        else:
            made.type = _ENUM if kind in enums else _MESSAGE
            made.type_name = f".{_PACKAGE}.{kind}"


def _build() -> tuple[SimpleNamespace, dict[str, dict[str, Method]]]:
    entries = list(_facts())
    enums = frozenset(words[1] for words in entries if words[0] == "enum")
    file: Any = descriptor_pb2.FileDescriptorProto(name="sampan/cri.proto", package=_PACKAGE, syntax="proto3")
    numbers: dict[str, Any] = {}
    names: list[str] = []
    for words in entries:
        if words[0] == "enum":
            _enum(file, words[1], words[2:])
            numbers[words[1]] = tuple(words[2:])
            numbers.update((value, number) for number, value in enumerate(words[2:]))
        elif words[0] != "service":
            names.append(words[0])
            _message(file, words[0], words[1:], enums)
    pool: Any = descriptor_pool.DescriptorPool()
    factory: Any = message_factory
    pool.Add(file)
    classes = {name: factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in names}
    services: dict[str, dict[str, Method]] = {}
    for words in entries:
        if words[0] == "service":
            services[words[1]] = {found.name: found for found in (_method(text, classes) for text in words[2:])}
    return SimpleNamespace(**classes, **numbers), services


def _method(text: str, classes: dict[str, Any]) -> Method:
    name, *types = text.split(":")
    bare = name.rstrip("*")
    request, response = types or (f"{bare}Request", f"{bare}Response")
    return Method(bare, classes[request], classes[response], name.endswith("*"))


#: message classes, enums (their names in order) and enums' numbers, by name
pb: Any
#: methods by service, each by name
SERVICES: dict[str, dict[str, Method]]
pb, SERVICES = _build()
