"""Types of an expression: every node gets its own, every call the overloads that fit.

Source: cel-go checker/{checker,env,errors}.go
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sampan.api.cel import types
from sampan.api.cel.ast import (
    Bind,
    Call,
    Constant,
    Fold,
    Ident,
    ListNode,
    Logical,
    MapNode,
    Node,
    Select,
    StructNode,
)
from sampan.api.cel.constants import check_constants
from sampan.api.cel.errors import Issue
from sampan.api.cel.functions import Overload
from sampan.api.cel.types import Type, is_optional
from sampan.api.cel.unify import OPEN, Bindings, Unifier, less_specific, plainly_different
from sampan.api.cel.values import TypeValue

#: what can be sorted
_ORDERED = frozenset(("int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes"))

#: the names of types as expressions write them
TYPE_NAMES: dict[str, Type] = {
    "bool": types.Bool, "int": types.Int, "uint": types.Uint, "double": types.Double, "string": types.String,
    "bytes": types.Bytes, "null_type": types.Null, "list": types.ListType(types.Dyn),
    "map": types.MapType(types.Dyn, types.Dyn), "type": types.TypeType(), "dyn": types.Dyn,
    "google.protobuf.Timestamp": types.Timestamp, "google.protobuf.Duration": types.Duration,
    "optional_type": types.OptionalType(types.Dyn),
}  # fmt: skip


class Checker:
    def __init__(
        self,
        variables: Mapping[str, Type],
        functions: Mapping[str, Sequence[Overload]],
        names: Mapping[str, Type],
    ) -> None:
        self.issues: list[Issue] = []
        self.used: set[str] = set()
        self._scopes: list[Mapping[str, Type]] = [variables]
        self._functions = functions
        self._names = names
        self._types = Unifier()
        self._typed: list[Node] = []
        #: literals of mixed types: told only when nothing else is wrong, and fine as arguments of `format`
        self._mixed: list[Issue] = []
        self._formats = 0

    def check(self, node: Node) -> Type:
        """Types the whole tree; `issues` has what is wrong with it."""
        self._check(node)
        for found in self._typed:
            found.type = self._types.resolve(found.type, final=True)
        if not self.issues:
            self.issues += self._mixed
            self.issues += check_constants(self._typed)
        return node.type

    def _check(self, node: Node) -> Type:
        node.type = _CHECKS[type(node)](self, node)
        self._typed.append(node)
        return node.type

    def _issue(self, node: Node, message: str, at: int | None = None) -> Type:
        self.issues.append(Issue(node.at if at is None else at, message))
        return types.Error

    # --- names and fields ---------------------------------------------------------------------------------------------

    def _literal(self, node: Constant) -> Type:
        return node.kind

    def _lookup(self, name: str) -> Type | None:
        for scope in reversed(self._scopes):
            if name in scope:
                if scope is self._scopes[0]:
                    self.used.add(name)
                return scope[name]
        return None

    def _ident(self, node: Ident) -> Type:
        found = None if node.absolute else self._lookup(node.name)
        if found is None and node.name in self._scopes[0]:
            self.used.add(node.name)
            found = self._scopes[0][node.name]
        if found is not None:
            return found
        named = self._names.get(node.name)
        if named is None:
            shown = f".{node.name}" if node.absolute else node.name
            return self._issue(node, f"undeclared reference to '{shown}' (in container '')")
        node.constant = TypeValue(node.name)
        return types.TypeType(named)

    def _select(self, node: Select) -> Type:
        qualified = qualified_name(node)
        if qualified in self._names and not node.test and self._lookup(qualified.partition(".")[0]) is None:
            node.constant = TypeValue(qualified)
            return types.TypeType(self._names[qualified])
        operand = self._types.resolve(self._check(node.operand))
        of = operand.element if is_optional(operand) else operand
        result = self._field(node, of, node.name)
        if node.test:
            return types.Bool
        return types.OptionalType(result) if is_optional(operand) or node.optional else result

    def _field(self, node: Node, of: Type, name: str, at: int | None = None) -> Type:
        if of.kind == "map":
            return of.element
        if of.kind == "object":
            if of.fields is None:
                return types.Dyn
            field = of.fields.get(name)
            return field.type if field else self._issue(node, f"undefined field '{name}'", at)
        if of.kind == "param":
            self._types.assign(types.Dyn, of)
        elif of.kind not in OPEN:
            self._issue(node, f"type '{self._types.shown(of)}' does not support field selection", at)
        return types.Dyn

    # --- calls --------------------------------------------------------------------------------------------------------

    def _call(self, node: Call) -> Type:
        self._formats += node.name == "format"
        for arg in node.args:
            self._check(arg)
        self._formats -= node.name == "format"
        args = [arg.type for arg in node.args]
        member = False
        if node.target is not None:
            qualified = qualified_name(node.target)
            if qualified and f"{qualified}.{node.name}" in self._functions:
                node.name, node.target = f"{qualified}.{node.name}", None
            else:
                args.insert(0, self._check(node.target))
                member = True
        overloads = self._functions.get(node.name)
        if overloads is None:
            return self._issue(node, f"undeclared reference to '{node.name}' (in container '')")
        return self._overload(node, overloads, args, member)

    def _overload(self, node: Call, overloads: Sequence[Overload], args: list[Type], member: bool) -> Type:
        result: Type | None = None
        for overload in overloads:
            params, returned = overload.params, overload.result
            if overload.member != member or len(params) != len(args) or plainly_different(args, params):
                continue
            if overload.generic:
                renamed: Bindings = {}
                params = tuple(self._types.instance(param, renamed) for param in params)
                returned = self._types.instance(returned, renamed)
            if not self._types.assign_all(args, params):
                continue
            node.overloads.append(overload)
            for arg, param in zip(args, params, strict=True):
                if param.params and self._types.resolve(arg).kind == "dyn":
                    # what is in it may be anything, whatever the other arguments are
                    self._types.widen(param)
            returned = self._types.resolve(returned)
            if result is None:
                result = returned
            elif result.kind != "dyn" and result != returned:
                result = types.Dyn
        if result is None:
            shown = [self._types.shown(arg) for arg in args]
            applied = f"{shown[0]}.({', '.join(shown[1:])})" if member else f"({', '.join(shown)})"
            return self._issue(node, f"found no matching overload for '{node.name}' applied to '{applied}'")
        if node.name == "_+_" and node.overloads[0].id == "add_list" and len(node.overloads) == 1:
            # a list of type set or map stays one when something is added to it
            left = self._types.resolve(args[0])
            return left if left.merge != "atomic" and left == result else result
        return result

    def _logical(self, node: Logical) -> Type:
        for arg in node.args:
            if not self._types.assign(self._check(arg), types.Bool):
                self._issue(arg, f"expected type 'bool' but found '{self._types.shown(arg.type)}'")
        return types.Bool

    # --- literals -----------------------------------------------------------------------------------------------------

    def _list(self, node: ListNode) -> Type:
        items = []
        for index, item in enumerate(node.items):
            type = self._check(item)
            items.append((item, self._unwrapped(item, type) if index in node.optional else type))
        return types.ListType(self._join(items))

    def _map(self, node: MapNode) -> Type:
        keys, values = [], []
        for _, key, value, optional in node.entries:
            keys.append((key, self._check(key)))
            type = self._check(value)
            values.append((value, self._unwrapped(value, type) if optional else type))
        return types.MapType(self._join(keys), self._join(values))

    def _struct(self, node: StructNode) -> Type:
        named = self._named_type(node.name)
        if named is None or named.kind != "object":
            for _, _, value, _ in node.entries:
                self._check(value)
            if named is None:
                return self._issue(node, f"undeclared reference to '{node.name}' (in container '')")
            return self._issue(node, f"'{node.name}' is not a message type")
        for at, name, value, optional in node.entries:
            given = self._check(value)
            if optional:
                given = self._unwrapped(value, given)
            wanted = self._field(node, named, name, at)
            if not self._types.assign(wanted, given):
                self._issue(
                    node,
                    f"expected type of field '{name}' is '{self._types.shown(wanted)}' but provided type is '{self._types.shown(given)}'",
                    at,
                )
        return named

    def _named_type(self, name: str) -> Type | None:
        """A type by its name. An object without declared fields has types of its own below it (`Object.spec`)."""
        found = self._names.get(name)
        if found is None:
            root = self._names.get(name.partition(".")[0])
            if root is not None and root.kind == "object" and root.fields is None:
                return Type("object", name=name, fields=None)
        return found

    def _unwrapped(self, node: Node, type: Type) -> Type:
        resolved = self._types.resolve(type)
        if is_optional(resolved):
            return resolved.element
        if resolved.kind not in OPEN:
            shown = self._types.shown(resolved)
            self._issue(node, f"expected type 'optional_type({shown})' but found '{shown}'")
        return resolved

    def _join(self, parts: Sequence[tuple[Node, Type]]) -> Type:
        """The type of all the parts of a literal: that of each, or dyn."""
        joined: Type | None = None
        mixed = False
        for node, type in parts:
            if joined is None:
                joined = type
            elif self._types.assign(joined, type):
                if not less_specific(self._types.resolve(joined), self._types.resolve(type)):
                    joined = type
            else:
                first, now = self._types.resolve(parts[0][1]), self._types.resolve(type)
                if not mixed and not self._formats and (first.kind, first.name) != (now.kind, now.name):
                    mixed = True
                    shown = f"expected type '{self._types.shown(first)}' but found '{self._types.shown(now)}'"
                    self._mixed.append(Issue(node.at, shown))
                joined = types.Dyn
        return joined or self._types.variable()

    # --- macros -------------------------------------------------------------------------------------------------------

    def _fold(self, node: Fold) -> Type:
        over = self._types.resolve(self._check(node.over))
        first = second = types.Dyn
        if over.kind in ("list", "map"):
            first, second = over.key, over.element
            if over.kind == "list" and node.second:
                first = types.Int
        elif over.kind in ("dyn", "error", "param"):
            self._types.assign(types.Dyn, over)
        else:
            self._issue(
                node.over,
                f"expression of type '{self._types.shown(over)}' cannot be range of a comprehension (must be list, map, or dynamic)",
            )
            first = second = types.Error
        self._scopes.append({node.first: first, node.second: second} if node.second else {node.first: first})
        if node.condition is not None:
            self._expect_bool(node.condition)
        body = (
            self._types.resolve(self._check(node.body))
            if node.kind not in ("all", "exists", "exists_one")
            else types.Bool
        )
        if node.kind in ("all", "exists", "exists_one"):
            self._expect_bool(node.body)
        self._scopes.pop()
        if node.kind == "sortBy":
            return self._sort_by(node, over, body)
        if node.kind == "transformMap":
            return types.MapType(first, body)
        if node.kind == "transformMapEntry":
            if body.kind not in ("map", "dyn", "error"):
                shown = f"(map(_var0, _var1), {self._types.shown(body)})"
                self._issue(node, f"found no matching overload for 'cel.@mapInsert' applied to '{shown}'")
            return types.MapType(body.key, body.element) if body.kind == "map" else types.MapType(types.Dyn, types.Dyn)
        return types.Bool if node.kind in ("all", "exists", "exists_one") else types.ListType(body)

    def _sort_by(self, node: Fold, over: Type, key: Type) -> Type:
        if over.kind == "list" and key.kind in _ORDERED:
            return over
        if over.kind in OPEN or key.kind in OPEN:
            return types.ListType(types.Dyn)
        shown = f"{self._types.shown(over)}.(list({self._types.shown(key)}))"
        return self._issue(node, f"found no matching overload for '@sortByAssociatedKeys' applied to '{shown}'")

    def _expect_bool(self, node: Node) -> None:
        found = self._check(node)
        if not self._types.assign(types.Bool, found):
            self._issue(node, f"expected type 'bool' but found '{self._types.shown(found)}'")

    def _bind(self, node: Bind) -> Type:
        over = self._types.resolve(self._check(node.over))
        if not is_optional(over) and over.kind not in OPEN:
            name = "optFlatMap" if node.flat else "optMap"
            self._issue(node, f"found no matching overload for '{name}' applied to '{self._types.shown(over)}.(dyn)'")
        self._scopes.append({node.name: over.element if is_optional(over) else types.Dyn})
        body = self._types.resolve(self._check(node.body))
        self._scopes.pop()
        if not node.flat:
            return types.OptionalType(body)
        if not is_optional(body) and body.kind not in OPEN:
            shown = f"(bool, {self._types.shown(body)}, optional_type({self._types.shown(body)}))"
            self._issue(node, f"found no matching overload for '_?_:_' applied to '{shown}'")
        return body


def qualified_name(node: Node) -> str:
    """`a.b.c` when the node is that, otherwise nothing."""
    names: list[str] = []
    while isinstance(node, Select) and not node.test and not node.optional:
        names.append(node.name)
        node = node.operand
    return ".".join((node.name, *reversed(names))) if isinstance(node, Ident) else ""


_CHECKS: dict[type[Node], Callable[[Checker, Any], Type]] = {
    Constant: Checker._literal,
    Ident: Checker._ident,
    Select: Checker._select,
    Call: Checker._call,
    Logical: Checker._logical,
    ListNode: Checker._list,
    MapNode: Checker._map,
    StructNode: Checker._struct,
    Fold: Checker._fold,
    Bind: Checker._bind,
}
