"""Whether types fit together, and what that makes of their parameters.

A type parameter is bound by the first type that meets it, and widened to `dyn` where a later one asks for that.

Source: cel-go checker/{types,mapping}.go
"""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api.cel import types
from sampan.api.cel.types import Type

Bindings = dict[str, Type]
#: what fits everything
OPEN = frozenset(("dyn", "error"))
#: what can be null besides null itself
_NULLABLE = frozenset(("object", "timestamp", "duration"))
_SCALAR = frozenset(("int", "uint", "double", "bool", "string", "bytes", "timestamp", "duration", "dyn"))
_PLAIN = frozenset(("int", "uint", "double", "bool", "string", "bytes", "list", "map"))


class Unifier:
    """The bindings of one expression."""

    def __init__(self) -> None:
        self._bound: Bindings = {}
        self._fresh = 0

    def variable(self) -> Type:
        self._fresh += 1
        return types.Param(f"_var{self._fresh - 1}")

    def instance(self, type: Type, renamed: Bindings) -> Type:
        """The type with fresh parameters, the same ones for the same `renamed`."""
        if type.kind == "param":
            return renamed.setdefault(type.name, self.variable())
        if not type.params:
            return type
        return Type(type.kind, type.name, tuple(self.instance(param, renamed) for param in type.params))

    def assign(self, to: Type, given: Type) -> bool:
        """Whether the two unify; binds type parameters if so."""
        return self.assign_all((to,), (given,))

    def assign_all(self, to: Sequence[Type], given: Sequence[Type]) -> bool:
        trial = _Trial(self._bound)
        for a, b in zip(to, given, strict=True):
            if a.kind == b.kind and a.kind in _SCALAR:
                continue
            if not _assignable(trial, a, b):
                return False
        if trial.new:
            self._bound.update(trial.new)
        return True

    def widen(self, type: Type) -> None:
        for param in type.params:
            if param.kind == "param":
                self._bound[param.name] = types.Dyn
            else:
                self.widen(param)

    def resolve(self, type: Type, final: bool = False) -> Type:
        """Bound parameters replaced; free ones by dyn when `final`."""
        if type.kind == "param":
            bound = self._bound.get(type.name)
            if bound is None:
                return types.Dyn if final else type
            return self.resolve(bound, final)
        if not type.params:
            return type
        params = tuple(self.resolve(param, final) for param in type.params)
        if params == type.params and all(a is b for a, b in zip(params, type.params, strict=True)):
            return type
        return Type(type.kind, type.name, params, type.max_elements, type.min_size, type.fields, type.merge, type.keys)

    def shown(self, type: Type) -> str:
        return str(self.resolve(type, final=True))


def plainly_different(args: Sequence[Type], params: Sequence[Type]) -> bool:
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


def _assignable(bound: _Trial, to: Type, given: Type) -> bool:
    if given.kind == "param":
        already = bound.get(given.name)
        if already is not None:
            if not _assignable(bound, to, already):
                return False
            # the more general of the two stands, with what the other has made of its parameters
            if less_specific(to, already) and _absent(given, to):
                bound.new[given.name] = to
            return True
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
    if to.kind in OPEN or given.kind in OPEN:
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


def less_specific(a: Type, b: Type) -> bool:
    """Whether `a` is `b`, or `b` with a `dyn` somewhere."""
    if a.kind in ("dyn", "param"):
        return True
    if b.kind in ("dyn", "param") or a.kind != b.kind or a.name != b.name or len(a.params) != len(b.params):
        return False
    return all(map(less_specific, a.params, b.params))


def _absent(param: Type, within: Type) -> bool:
    if within.kind == "param":
        return within.name != param.name
    return all(_absent(param, inner) for inner in within.params)
