"""The shape of objects, as a small tree that every part of the project walks.

Decoding, pruning, protobuf, strategic merge, server-side apply, OpenAPI and (later) custom resources all need the same
facts: which fields there are, how lists merge, what Go prints when nothing was set. They are here once. Built-in kinds
come from the facts files (`facts.py`); a CRD's schema becomes the same nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from sampan.api.frozen import frozen

#: s string, i int32, l int64, b bool, B bytes (base64), d double, q Quantity, x IntOrString, t Time (seconds),
#: u MicroTime, r RawExtension, f FieldsV1, o any JSON value
ScalarCode = Literal["s", "i", "l", "b", "B", "d", "q", "x", "t", "u", "r", "f", "o"]


@frozen
class Scalar:
    code: ScalarCode


@frozen
class ListOf:
    """`merge` is the `x-kubernetes-list-type`; `keys` the map keys of a list of type map."""

    element: Node
    merge: Literal["atomic", "set", "map"] = "atomic"
    keys: tuple[str, ...] = ()


@frozen
class MapOf:
    value: Node
    atomic: bool = False


@dataclass(slots=True, eq=False)
class Struct:
    """A message. Filled after construction, since types refer to each other (JSONSchemaProps to itself)."""

    package: str
    name: str
    fields: dict[str, Field] = field(default_factory=dict, repr=False)
    atomic: bool = False
    gvk: tuple[str, str, str] | None = None
    unions: tuple[dict[str, Any], ...] = ()
    #: fields that are not named (a CRD's `x-kubernetes-preserve-unknown-fields`)
    rest: Node | None = None
    #: reads (value, path, strict) where objects are not read by the fields: custom resources
    reader: Callable[[Any, Any, list[str] | None], Any] | None = None
    #: what those who walk it have worked out about it
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)


Node = Scalar | ListOf | MapOf | Struct


@frozen
class Field:
    """One field of a struct.

    `always`: Go prints it even when it is the zero value. `pointer`: unset and zero differ. `number`: protobuf path
    (several numbers when Go inlines a struct), empty where unknown. `patch_merge` and `patch_key`: strategic merge of a
    list; `retain_keys`: `$retainKeys` applies. `default`: declared by a marker (the others are code, in the kinds).
    """

    name: str
    node: Node
    required: bool = False
    pointer: bool = False
    always: bool = False
    number: tuple[int, ...] = ()
    patch_merge: bool = False
    patch_replace: bool = False
    retain_keys: bool = False
    patch_key: str = ""
    default: Any = None
    enum: tuple[str, ...] = ()
    atomic: bool = False


class Deduced(MapOf):
    """What has no schema: objects are owned field by field, everything else as a whole."""

    __slots__ = ()

    def __init__(self) -> None:
        object.__setattr__(self, "value", self)
        object.__setattr__(self, "atomic", False)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return "DEDUCED"


DEDUCED = Deduced()
