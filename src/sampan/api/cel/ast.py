"""The tree of an expression.

Macros are nodes of their own (`Fold`), not the loops that cel-go expands them to: they run faster so, and the cost
that the loop would have is known (`cost.py`, `compiler.py`). Chains of `&&` and `||` are one node, however long.
`at` is where messages point: an offset in code points. `type` is set by the checker.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from sampan.api.cel import types

if TYPE_CHECKING:
    from sampan.api.cel.functions import Overload

FoldKind = Literal["all", "exists", "exists_one", "map", "filter", "transformMap", "transformMapEntry", "sortBy"]


@dataclass(slots=True, eq=False)
class Node:
    at: int
    type: types.Type = field(default=types.Error, init=False)


@dataclass(slots=True, eq=False)
class Constant(Node):
    value: Any
    kind: types.Type


@dataclass(slots=True, eq=False)
class Ident(Node):
    """`absolute`: written with a leading dot. `constant`: a type, found by the checker."""

    name: str
    absolute: bool = False
    constant: Any = field(default=None, init=False)


@dataclass(slots=True, eq=False)
class Select(Node):
    """`operand.name`, `operand.?name` (optional) or `has(operand.name)` (test).

    `constant`: the whole chain names a type (`net.IP`).
    """

    operand: Node
    name: str
    test: bool = False
    optional: bool = False
    constant: Any = field(default=None, init=False)


@dataclass(slots=True, eq=False)
class Call(Node):
    """`overloads` is what the checker found to fit; a namespace (`sets.contains`) has become part of `name`."""

    name: str
    target: Node | None
    args: list[Node]
    overloads: list[Overload] = field(default_factory=list, init=False)


@dataclass(slots=True, eq=False)
class Logical(Node):
    """`&&` or `||` of two or more."""

    op: Literal["&&", "||"]
    args: list[Node]
    ats: list[int]


@dataclass(slots=True, eq=False)
class ListNode(Node):
    items: list[Node]
    optional: frozenset[int] = frozenset()


@dataclass(slots=True, eq=False)
class MapNode(Node):
    """Entries: place, key, value, optional."""

    entries: list[tuple[int, Node, Node, bool]]


@dataclass(slots=True, eq=False)
class StructNode(Node):
    """`Name{field: value}`. Entries: place, field, value, optional."""

    name: str
    entries: list[tuple[int, str, Node, bool]]


@dataclass(slots=True, eq=False)
class Fold(Node):
    """A comprehension. `second` is empty unless it has two variables; `body` of `filter` is its variable, of
    `sortBy` the key to sort by."""

    kind: FoldKind
    over: Node
    first: str
    second: str
    condition: Node | None
    body: Node


@dataclass(slots=True, eq=False)
class Bind(Node):
    """`optMap` and `optFlatMap`: `body` with `name` bound to what is in the optional `over`."""

    over: Node
    name: str
    body: Node
    flat: bool
