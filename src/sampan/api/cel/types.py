"""The types of CEL, with what Kubernetes declares about sizes beside them.

`str(type)` is how messages print it. Sizes (`max_elements`: characters, items or entries; `min_size`: the fewest bytes
of JSON) serve the cost estimate only and do not make types different.

Source: cel-go common/types/types.go, k8s.io/apiserver/pkg/cel/types.go
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal[
    "bool", "int", "uint", "double", "string", "bytes", "null", "timestamp", "duration", "dyn", "error",
    "list", "map", "object", "opaque", "type", "param",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Type:
    """A type. `name` is set for objects, opaque types and type parameters, `params` for list, map, opaque and type."""

    kind: Kind
    name: str = ""
    params: tuple[Type, ...] = ()
    max_elements: int | None = field(default=None, compare=False)
    min_size: int = field(default=0, compare=False)
    fields: dict[str, DeclField] | None = field(default=None, compare=False, repr=False)
    #: the `x-kubernetes-list-type` of a list, and the keys of one of type map
    merge: Literal["atomic", "set", "map"] = field(default="atomic", compare=False)
    keys: tuple[str, ...] = field(default=(), compare=False)
    nullable: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        if self.kind == "timestamp":
            return "timestamp"
        name = self.name or self.kind
        if name == "error":
            return "!error!"
        return f"{name}({', '.join(map(str, self.params))})" if self.params else name

    @property
    def element(self) -> Type:
        """Of a list its items, of a map its values, of an optional what is in it."""
        return self.params[-1] if self.params else Dyn

    @property
    def key(self) -> Type:
        return self.params[0] if self.params else Dyn


@dataclass(frozen=True, slots=True)
class DeclField:
    """A field of an object: `name` as expressions write it (escaped), `json` as it stands in the object."""

    name: str
    type: Type
    json: str = ""
    required: bool = False
    default: Any = None
    #: null is a value of it, not its absence (the variables of a policy)
    nulls: bool = False

    @property
    def wire(self) -> str:
        return self.json or self.name


Bool = Type("bool", min_size=4)
Int = Type("int", min_size=1)
Uint = Type("uint", min_size=1)
Double = Type("double", min_size=1)
String = Type("string", min_size=2)
Bytes = Type("bytes", min_size=2)
Null = Type("null", name="null", min_size=4)
Timestamp = Type("timestamp", min_size=20)
Duration = Type("duration", min_size=4)
Dyn = Type("dyn", min_size=1)
Error = Type("error")


def ListType(
    element: Type,
    max_elements: int | None = None,
    merge: Literal["atomic", "set", "map"] = "atomic",
    keys: tuple[str, ...] = (),
) -> Type:
    return Type("list", params=(element,), max_elements=max_elements, min_size=2, merge=merge, keys=keys)


def MapType(key: Type, value: Type, max_elements: int | None = None) -> Type:
    return Type("map", params=(key, value), max_elements=max_elements, min_size=2)


def ObjectType(name: str, fields: dict[str, DeclField], min_size: int = 2) -> Type:
    """`fields` may be filled later, where a type refers to itself."""
    return Type("object", name=name, fields=fields, min_size=min_size)


def OptionalType(of: Type) -> Type:
    return Type("opaque", name="optional_type", params=(of,))


def OpaqueType(name: str) -> Type:
    return Type("opaque", name=name)


def TypeType(of: Type = Dyn) -> Type:
    return Type("type", params=(of,))


def Param(name: str) -> Type:
    """A type parameter of a function's declaration."""
    return Type("param", name=name)


def is_optional(type: Type) -> bool:
    return type.kind == "opaque" and type.name == "optional_type"
