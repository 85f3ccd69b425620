"""Types of an expression: every node gets its own, every call the overloads that fit.

Unification as upstream does it: a type parameter is bound by the first argument that meets it, and widened to `dyn`
where a later one asks for that.

Source: cel-go checker/{checker,types,env,errors}.go, cel/validator.go
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
from sampan.api.cel.errors import EvaluationError, Issue
from sampan.api.cel.functions import Overload
from sampan.api.cel.times import Duration, Timestamp
from sampan.api.cel.types import Type, is_optional
from sampan.api.cel.values import TypeValue

Bindings = dict[str, Type]
#: what can be null besides null itself
_NULLABLE = frozenset(("object", "timestamp", "duration"))
_SCALAR = frozenset(("int", "uint", "double", "bool", "string", "bytes", "timestamp", "duration", "dyn"))
_PLAIN = frozenset(("int", "uint", "double", "bool", "string", "bytes", "list", "map"))
#: what can be sorted
_ORDERED = frozenset(("int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes"))
_OPEN = frozenset(("dyn", "error"))

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
        self._bound: Bindings = {}
        self._fresh = 0
        self._typed: list[Node] = []
        #: literals of mixed types: told only when nothing else is wrong, and fine as arguments of `format`
        self._mixed: list[Issue] = []
        self._formats = 0

    def check(self, node: Node) -> Type:
        """Types the whole tree; `issues` has what is wrong with it."""
        self._check(node)
        for found in self._typed:
            found.type = self._resolve(found.type, final=True)
        if not self.issues:
            self.issues += self._mixed
            self._check_constants(self._typed)
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
        operand = self._resolve(self._check(node.operand))
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
            self._assign(types.Dyn, of)
        elif of.kind not in _OPEN:
            self._issue(node, f"type '{self._shown(of)}' does not support field selection", at)
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
            if overload.member != member or len(params) != len(args) or _plainly_different(args, params):
                continue
            if overload.generic:
                renamed: Bindings = {}
                params = tuple(self._instance(param, renamed) for param in params)
                returned = self._instance(returned, renamed)
            if not self._assign_all(args, params):
                continue
            node.overloads.append(overload)
            for arg, param in zip(args, params, strict=True):
                if param.params and self._resolve(arg).kind == "dyn":
                    # what is in it may be anything, whatever the other arguments are
                    self._widen(param)
            returned = self._resolve(returned)
            if result is None:
                result = returned
            elif result.kind != "dyn" and result != returned:
                result = types.Dyn
        if result is None:
            shown = [self._shown(arg) for arg in args]
            applied = f"{shown[0]}.({', '.join(shown[1:])})" if member else f"({', '.join(shown)})"
            return self._issue(node, f"found no matching overload for '{node.name}' applied to '{applied}'")
        if node.name == "_+_" and node.overloads[0].id == "add_list" and len(node.overloads) == 1:
            # a list of type set or map stays one when something is added to it
            left = self._resolve(args[0])
            return left if left.merge != "atomic" and left == result else result
        return result

    def _logical(self, node: Logical) -> Type:
        for arg in node.args:
            if not self._assign(self._check(arg), types.Bool):
                self._issue(arg, f"expected type 'bool' but found '{self._shown(arg.type)}'")
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
            if not self._assign(wanted, given):
                self._issue(
                    node,
                    f"expected type of field '{name}' is '{self._shown(wanted)}' but provided type is '{self._shown(given)}'",
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
        resolved = self._resolve(type)
        if is_optional(resolved):
            return resolved.element
        if resolved.kind not in _OPEN:
            shown = self._shown(resolved)
            self._issue(node, f"expected type 'optional_type({shown})' but found '{shown}'")
        return resolved

    def _join(self, parts: Sequence[tuple[Node, Type]]) -> Type:
        """The type of all the parts of a literal: that of each, or dyn."""
        joined: Type | None = None
        mixed = False
        for node, type in parts:
            if joined is None:
                joined = type
            elif self._assign(joined, type):
                if not _less_specific(self._resolve(joined), self._resolve(type)):
                    joined = type
            else:
                first, now = self._resolve(parts[0][1]), self._resolve(type)
                if not mixed and not self._formats and (first.kind, first.name) != (now.kind, now.name):
                    mixed = True
                    shown = f"expected type '{self._shown(first)}' but found '{self._shown(now)}'"
                    self._mixed.append(Issue(node.at, shown))
                joined = types.Dyn
        return joined or self._variable()

    # --- macros -------------------------------------------------------------------------------------------------------

    def _fold(self, node: Fold) -> Type:
        over = self._resolve(self._check(node.over))
        first = second = types.Dyn
        if over.kind in ("list", "map"):
            first, second = over.key, over.element
            if over.kind == "list" and node.second:
                first = types.Int
        elif over.kind in ("dyn", "error", "param"):
            self._assign(types.Dyn, over)
        else:
            self._issue(
                node.over,
                f"expression of type '{self._shown(over)}' cannot be range of a comprehension (must be list, map, or dynamic)",
            )
            first = second = types.Error
        self._scopes.append({node.first: first, node.second: second} if node.second else {node.first: first})
        if node.condition is not None:
            self._expect_bool(node.condition)
        body = self._resolve(self._check(node.body)) if node.kind not in ("all", "exists", "exists_one") else types.Bool
        if node.kind in ("all", "exists", "exists_one"):
            self._expect_bool(node.body)
        self._scopes.pop()
        if node.kind == "sortBy":
            return self._sort_by(node, over, body)
        if node.kind == "transformMap":
            return types.MapType(first, body)
        if node.kind == "transformMapEntry":
            if body.kind not in ("map", "dyn", "error"):
                shown = f"(map(_var0, _var1), {self._shown(body)})"
                self._issue(node, f"found no matching overload for 'cel.@mapInsert' applied to '{shown}'")
            return types.MapType(body.key, body.element) if body.kind == "map" else types.MapType(types.Dyn, types.Dyn)
        return types.Bool if node.kind in ("all", "exists", "exists_one") else types.ListType(body)

    def _sort_by(self, node: Fold, over: Type, key: Type) -> Type:
        if over.kind == "list" and key.kind in _ORDERED:
            return over
        if over.kind in _OPEN or key.kind in _OPEN:
            return types.ListType(types.Dyn)
        shown = f"{self._shown(over)}.(list({self._shown(key)}))"
        return self._issue(node, f"found no matching overload for '@sortByAssociatedKeys' applied to '{shown}'")

    def _expect_bool(self, node: Node) -> None:
        found = self._check(node)
        if not self._assign(types.Bool, found):
            self._issue(node, f"expected type 'bool' but found '{self._shown(found)}'")

    def _bind(self, node: Bind) -> Type:
        over = self._resolve(self._check(node.over))
        if not is_optional(over) and over.kind not in _OPEN:
            name = "optFlatMap" if node.flat else "optMap"
            self._issue(node, f"found no matching overload for '{name}' applied to '{self._shown(over)}.(dyn)'")
        self._scopes.append({node.name: over.element if is_optional(over) else types.Dyn})
        body = self._resolve(self._check(node.body))
        self._scopes.pop()
        if not node.flat:
            return types.OptionalType(body)
        if not is_optional(body) and body.kind not in _OPEN:
            shown = f"(bool, {self._shown(body)}, optional_type({self._shown(body)}))"
            self._issue(node, f"found no matching overload for '_?_:_' applied to '{shown}'")
        return body

    # --- unification --------------------------------------------------------------------------------------------------

    def _variable(self) -> Type:
        self._fresh += 1
        return types.Param(f"_var{self._fresh - 1}")

    def _instance(self, type: Type, renamed: Bindings) -> Type:
        """The type with fresh parameters, the same ones for the same `renamed`."""
        if type.kind == "param":
            return renamed.setdefault(type.name, self._variable())
        if not type.params:
            return type
        return Type(type.kind, type.name, tuple(self._instance(param, renamed) for param in type.params))

    def _assign(self, to: Type, given: Type) -> bool:
        """Whether the two unify; binds type parameters if so."""
        return self._assign_all((to,), (given,))

    def _assign_all(self, to: Sequence[Type], given: Sequence[Type]) -> bool:
        trial = _Trial(self._bound)
        for a, b in zip(to, given, strict=True):
            if a.kind == b.kind and a.kind in _SCALAR:
                continue
            if not _assignable(trial, a, b):
                return False
        if trial.new:
            self._bound.update(trial.new)
        return True

    def _widen(self, type: Type) -> None:
        for param in type.params:
            if param.kind == "param":
                self._bound[param.name] = types.Dyn
            else:
                self._widen(param)

    def _resolve(self, type: Type, final: bool = False) -> Type:
        """Bound parameters replaced; free ones by dyn when `final`."""
        if type.kind == "param":
            bound = self._bound.get(type.name)
            if bound is None:
                return types.Dyn if final else type
            return self._resolve(bound, final)
        if not type.params:
            return type
        params = tuple(self._resolve(param, final) for param in type.params)
        if params == type.params and all(a is b for a, b in zip(params, type.params, strict=True)):
            return type
        return Type(type.kind, type.name, params, type.max_elements, type.min_size, type.fields, type.merge, type.keys)

    def _shown(self, type: Type) -> str:
        return str(self._resolve(type, final=True))

    # --- constants ----------------------------------------------------------------------------------------------------

    def _check_constants(self, nodes: Sequence[Node]) -> None:
        """Constant durations, timestamps, regular expressions and format strings must be right already."""
        for node in nodes:
            if isinstance(node, Call) and node.name in _CONSTANT_CHECKS and node.args:
                _CONSTANT_CHECKS[node.name](self, node)

    def _check_duration(self, node: Call) -> None:
        arg = node.args[0]
        if isinstance(arg, Constant) and isinstance(arg.value, str) and not _readable(Duration.parse, arg.value):
            self._issue(arg, "invalid duration argument")

    def _check_timestamp(self, node: Call) -> None:
        arg = node.args[0]
        if isinstance(arg, Constant) and isinstance(arg.value, str) and not _readable(Timestamp.parse, arg.value):
            self._issue(arg, "invalid timestamp argument")

    def _check_pattern(self, node: Call) -> None:
        arg = node.args[-1]
        if isinstance(arg, Constant) and isinstance(arg.value, str):
            from sampan.api.cel.library.standard import pattern_of

            try:
                pattern_of(arg.value)
            except EvaluationError:
                self._issue(arg, "invalid matches argument")

    def _check_format(self, node: Call) -> None:
        items, text = node.args[0], node.target
        if isinstance(items, ListNode) and isinstance(text, Constant) and isinstance(text.value, str):
            from sampan.api.cel.library.formatting import format_problem

            problem = format_problem(text.value, [item.type for item in items.items])
            if problem is not None:
                place, message = problem
                self._issue(node if place is None else items.items[place], message)


def _plainly_different(args: Sequence[Type], params: Sequence[Type]) -> bool:
    """Seen at a glance, for the many overloads of the operators (a generator would take twice as long)."""
    for arg, param in zip(args, params, strict=True):  # noqa: SIM110
        if arg.kind != param.kind and arg.kind in _PLAIN and param.kind in _PLAIN:
            return True
    return False


class _Trial:
    """Bindings on top of those that stand, kept only when everything fits."""

    __slots__ = ("_base", "new")

    def __init__(self, base: Bindings) -> None:
        self._base = base
        self.new: Bindings = {}

    def get(self, name: str) -> Type | None:
        return self.new.get(name) or self._base.get(name)


def _readable(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def qualified_name(node: Node) -> str:
    """`a.b.c` when the node is that, otherwise nothing."""
    names: list[str] = []
    while isinstance(node, Select) and not node.test and not node.optional:
        names.append(node.name)
        node = node.operand
    return ".".join((node.name, *reversed(names))) if isinstance(node, Ident) else ""


def _assignable(bound: _Trial, to: Type, given: Type) -> bool:
    if given.kind == "param":
        already = bound.get(given.name)
        if already is not None:
            if _less_specific(to, already) and _absent(given, to):
                bound.new[given.name] = to
                return True
            return _assignable(bound, to, already)
        if _absent(given, to):
            bound.new[given.name] = to
            return True
    if to.kind == "param":
        already = bound.get(to.name)
        if already is not None:
            return _assignable(bound, already, given)
        if _absent(to, given):
            bound.new[to.name] = given
            return True
    if to.kind in _OPEN or given.kind in _OPEN:
        return True
    if given.kind == "null" or to.kind == "null":
        other = to if given.kind == "null" else given
        return other.kind == "null" or other.kind in _NULLABLE
    if to.kind != given.kind:
        return False
    if to.kind == "type":
        return True
    if to.name != given.name or len(to.params) != len(given.params):
        return False
    return all(_assignable(bound, a, b) for a, b in zip(to.params, given.params, strict=True))


def _less_specific(a: Type, b: Type) -> bool:
    """Whether `a` is `b`, or `b` with a `dyn` somewhere."""
    if a.kind in ("dyn", "param"):
        return True
    if b.kind in ("dyn", "param") or a.kind != b.kind or a.name != b.name or len(a.params) != len(b.params):
        return False
    return all(map(_less_specific, a.params, b.params))


def _absent(param: Type, within: Type) -> bool:
    if within.kind == "param":
        return within.name != param.name
    return all(_absent(param, inner) for inner in within.params)


_CONSTANT_CHECKS: dict[str, Callable[[Checker, Call], None]] = {
    "duration": Checker._check_duration,
    "timestamp": Checker._check_timestamp,
    "matches": Checker._check_pattern,
    "format": Checker._check_format,
}
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
