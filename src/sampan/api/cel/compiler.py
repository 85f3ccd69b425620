"""A checked tree to Python closures.

Each node becomes a function of the frame: a list whose first item is the `Meter`, followed by the variables and what
loops bind. What the types already tell is decided here, not at run time: which overload, which comparison, whether a
value needs conversion. Costs that are certain are summed up and charged in one go by what runs the code: the program,
the right side of `&&`, a branch, a loop's turn. What is left inside the closures is what depends on sizes.

Names, selections and indexes are `attribute`s, as in cel-go: standing alone as a branch of `?:` or as an index, the
first step of one is free.

Source: cel-go interpreter/{planner,interpretable,attributes,runtimecost}.go
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sampan.api.cel import folds, types
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
from sampan.api.cel.closures import (
    UNSET,
    Code,
    Frame,
    caller,
    converted,
    converted_optional,
    function,
    many,
    membership,
    opened,
    optional_step,
    presence,
    same_hashed,
    step,
    two,
)
from sampan.api.cel.convert import comparison, converter, deep
from sampan.api.cel.cost import LIST_COST, MAP_COST, STRUCT_COST, equality_cost, runtime_cost
from sampan.api.cel.errors import EvaluationError
from sampan.api.cel.library.conversions import show
from sampan.api.cel.types import Type, is_optional
from sampan.api.cel.values import NONE, Made, Optional, equal, fits, go_type, map_key, to_json

#: overloads that are computed at compile time when their argument is constant
_CONVERSIONS = frozenset(("int", "uint", "double", "bool", "string", "bytes", "timestamp", "duration"))
#: kinds whose values Python compares as CEL does, when both sides are of the same kind
_SIMPLE = frozenset(("bool", "int", "uint", "double", "timestamp", "duration"))
#: kinds that may be lists and maps
_NESTED = frozenset(("list", "map", "dyn", "opaque", "param"))


class Compiler:
    """`slots`: how long the frame must be, known when everything is compiled."""

    def __init__(self, variables: Mapping[str, Type]) -> None:
        self._places = {name: place for place, name in enumerate(variables, 1)}
        self._scopes: list[dict[str, int]] = [self._places]
        self.slots = len(variables) + 1

    def compile(self, node: Node) -> Code:
        return _COMPILES[type(node)](self, node)

    def bind(self, name: str) -> int:
        """A new place in the frame for a loop's variable; `unbind` ends its scope."""
        self._scopes.append({name: self.slots})
        self.slots += 1
        return self.slots - 1

    def unbind(self, count: int) -> None:
        del self._scopes[-count:]

    # --- names and fields ---------------------------------------------------------------------------------------------

    def _literal(self, node: Constant) -> Code:
        return _constant(node.value)

    def _ident(self, node: Ident) -> Code:
        if node.constant is not None:
            return _constant(node.constant)
        scopes = self._scopes[:1] if node.absolute else reversed(self._scopes)
        place = next(scope[node.name] for scope in scopes if node.name in scope)
        name = node.name
        if place > len(self._places):
            return Code(lambda frame: frame[place], 1, attribute=True)

        def variable(frame: Frame) -> Any:
            value = frame[place]
            if value is UNSET:
                raise EvaluationError(f"no such attribute(s): {name}")
            return value

        return Code(variable, 1, attribute=True)

    def _select(self, node: Select) -> Code:
        if node.constant is not None:
            return _constant(node.constant)
        of = node.operand.type
        operand = self.compile(node.operand)
        run = operand.run
        inside = of.element if is_optional(of) else of
        name, convert, typed = node.name, None, False
        if inside.kind == "object" and inside.fields is not None:
            field = inside.fields[node.name]
            name, typed = field.wire, not field.nulls
            convert = converter(field.type)
        if node.test:
            return Code(presence(run, name, typed), operand.cost)
        if is_optional(of) or node.optional:
            select = optional_step(run, name, typed)
            if convert is not None:
                select = converted_optional(select, convert)
        else:
            select = step(run, name, typed)
            if convert is not None:
                select = converted(select, convert)
        return Code(select, operand.cost + (1 if operand.attribute else 2), attribute=True)

    def _index(self, node: Call) -> Code:
        target, index = self.compile(node.args[0]), self.compile(node.args[1])
        call = caller(node, [target, index])
        cost = target.cost + (1 if target.attribute else 2)
        if not index.known:
            cost += index.cost - 1 if index.attribute else index.cost
        return Code(call, cost, attribute=True)

    # --- calls --------------------------------------------------------------------------------------------------------

    def _call(self, node: Call) -> Code:
        special = _SPECIAL.get(node.name)
        if special is not None:
            return special(self, node)
        args = [self.compile(arg) for arg in ((node.target, *node.args) if node.target else node.args)]
        if len(args) == 1 and args[0].known and node.name in _CONVERSIONS:
            try:
                return _constant(caller(node, args)([None]))
            except EvaluationError:
                pass  # it fails when it is evaluated
        cost = sum(arg.cost for arg in args)
        call = caller(node, args)
        price = runtime_cost(node.name, node.overloads)
        if price is None:
            return Code(call, cost + 1)
        runs = [arg.run for arg in args]
        of_values = function(node)
        joins = node.overloads[0].id == "add_list" and node.type.element.kind in _NESTED

        def priced(frame: Frame) -> Any:
            meter = frame[0]
            try:
                values = [run(frame) for run in runs]
                result = of_values(*values)
            except EvaluationError:
                meter.cost += 1
                raise
            meter.cost += price(values, result)
            if joins:
                meter.weigh(result)
            if meter.cost > meter.limit:
                meter.over()
            return result

        return Code(priced, cost)

    def _conditional(self, node: Call) -> Code:
        condition, yes, no = map(self.compile, node.args)
        test, left, right = condition.run, yes.run, no.run
        # an attribute's own step is free here
        yes_cost, no_cost = yes.cost - yes.attribute, no.cost - no.attribute

        def choose(frame: Frame) -> Any:
            chosen = test(frame)
            if chosen is True:
                frame[0].cost += yes_cost
                return left(frame)
            if chosen is False:
                frame[0].cost += no_cost
                return right(frame)
            raise EvaluationError("no such overload")

        return Code(choose, condition.cost, attribute=yes.attribute and no.attribute)

    def _equality(self, node: Call) -> Code:
        left, right = map(self.compile, node.args)
        a, b = left.run, right.run
        cost = left.cost + right.cost
        wanted = node.name == "_==_"
        kind, other = node.args[0].type, node.args[1].type
        if kind.kind == other.kind and kind.kind in _SIMPLE:
            if wanted:
                return Code(lambda frame: a(frame) == b(frame), cost + 1)
            return Code(lambda frame: a(frame) != b(frame), cost + 1)
        price = equality_cost
        if kind.kind == other.kind == "string":

            def strings(frame: Frame) -> bool:
                try:
                    x, y = a(frame), b(frame)
                except EvaluationError:
                    frame[0].cost += 1
                    raise
                frame[0].cost += price(x, y)
                return (x == y) is wanted

            return Code(strings, cost)
        same = comparison(kind if kind.kind != "dyn" else other)

        def equality(frame: Frame) -> bool:
            try:
                x, y = a(frame), b(frame)
            except EvaluationError:
                frame[0].cost += 1
                raise
            frame[0].cost += price(x, y)
            if type(x) is type(y):
                return same(x, y) is wanted
            return equal(x, y) is wanted

        return Code(equality, cost)

    def _in(self, node: Call) -> Code:
        value, items = map(self.compile, node.args)
        a, b = value.run, items.run
        cost = value.cost + items.cost
        if items.known and isinstance(items.constant, list):
            return Code(membership(a, items.constant), cost)
        where = node.args[1].type
        if len(node.overloads) == 1 and where.kind == "list" and same_hashed(node.args[0].type, where.element):

            def contains(frame: Frame) -> bool:
                needle, found = a(frame), b(frame)
                frame[0].cost += len(found)
                return needle in found

            return Code(contains, cost)
        call = caller(node, [value, items])
        if where.kind == "list":

            def slow(frame: Frame) -> Any:
                found = b(frame)
                frame[0].cost += len(found)
                if frame[0].cost > frame[0].limit:
                    frame[0].over()
                return call(frame)

            return Code(slow, cost)
        return Code(call, cost + 1)

    def _dyn(self, node: Call) -> Code:
        arg = self.compile(node.args[0])
        of, run = node.args[0].type, arg.run
        if of.kind in ("dyn", "string", "bool", "int", "null") or arg.known:
            return Code(run, arg.cost + 1 if not arg.known else 0, arg.constant)
        return Code(lambda frame: deep(run(frame), of, frame[0]), arg.cost + 1)

    def _logical(self, node: Logical) -> Code:
        parts = [self.compile(arg) for arg in node.args]
        decides = node.op == "||"
        if len(parts) == 2:
            return Code(two(parts[0].run, parts[1].run, parts[1].cost, decides), parts[0].cost)
        return Code(many([(part.run, part.cost) for part in parts], decides), parts[0].cost)

    # --- literals -----------------------------------------------------------------------------------------------------

    def _list(self, node: ListNode) -> Code:
        items = [self.compile(item) for item in node.items]
        if all(item.known for item in items) and not node.optional:
            return _constant([item.constant for item in items])
        runs = [item.run for item in items]
        cost = sum(item.cost for item in items) + LIST_COST
        nested = any(item.type.kind in _NESTED for item in node.items)
        if not node.optional:
            if nested:
                return Code(lambda frame: frame[0].weigh([run(frame) for run in runs]), cost)
            return Code(lambda frame: [run(frame) for run in runs], cost)
        optional = node.optional

        def build(frame: Frame) -> Any:
            out: list[Any] = []
            for place, run in enumerate(runs):
                value = run(frame)
                if place in optional:
                    if opened(value) is NONE:
                        continue
                    value = value.value
                out.append(value)
            return frame[0].weigh(out) if nested else out

        return Code(build, cost)

    def _map(self, node: MapNode) -> Code:
        parts = [(self.compile(key), self.compile(value), optional) for _, key, value, optional in node.entries]
        cost = sum(key.cost + value.cost for key, value, _ in parts) + MAP_COST
        runs = [(key.run, value.run, optional) for key, value, optional in parts]
        known = all(key.known and value.known for key, value, _ in parts) and not any(part[2] for part in parts)
        nested = not known and any(entry[2].type.kind in _NESTED for entry in node.entries)

        def build(frame: Frame) -> Any:
            out: dict[Any, Any] = {}
            for key_run, value_run, optional in runs:
                key = key_run(frame)
                place = map_key(key)
                if place in out:
                    raise EvaluationError(f"Failed with repeated key: {show(key)}")
                value = value_run(frame)
                if optional:
                    if opened(value) is NONE:
                        continue
                    value = value.value
                out[place] = value
            return frame[0].weigh(out) if nested else out

        if known:
            try:
                return _constant(build([None]))
            except EvaluationError:
                pass  # it fails when it is evaluated
        return Code(build, cost)

    def _struct(self, node: StructNode) -> Code:
        fields, made_of = node.type.fields, node.type.name
        parts = [
            (name, self.compile(value), types.Dyn if fields is None else fields[name].type, optional)
            for _, name, value, optional in node.entries
        ]
        runs = [(name, value.run, wanted, optional) for name, value, wanted, optional in parts]

        def build(frame: Frame) -> dict[str, Any]:
            out: dict[str, Any] = Made.of(made_of) if fields is None else {}
            for name, run, wanted, optional in runs:
                value = run(frame)
                if optional:
                    if opened(value) is NONE:
                        continue
                    value = value.value
                if not fits(value, wanted):
                    raise EvaluationError(f"unexpected type {go_type(value)} for {made_of}Type '{name}' field")
                # objects are JSON throughout, those that expressions make too
                out[name] = to_json(value)
            return out

        return Code(build, sum(value.cost for _, value, _, _ in parts) + STRUCT_COST)

    # --- macros -------------------------------------------------------------------------------------------------------

    def _fold(self, node: Fold) -> Code:
        over = self.compile(node.over)
        first = self.bind(node.first)
        second = self.bind(node.second) if node.second else 0
        condition = self.compile(node.condition) if node.condition is not None else None
        body = self.compile(node.body)
        self.unbind(2 if second else 1)
        nested = node.body.type.kind in _NESTED
        loop = folds.Loop(over.run, first, second, body.run, body.cost, condition.run if condition else None, nested)
        base = over.cost + 1  # the range, and `__result__` at the end
        if node.kind in ("all", "exists"):
            # `@not_strictly_false(__result__)`, with a `!` for exists, then `__result__` again
            return Code(folds.quantifier(loop, node.kind == "exists"), base)
        if node.kind == "exists_one":
            return Code(folds.exactly_one(loop), base + 1)
        filter_cost = condition.cost if condition else 0
        if node.kind == "sortBy":
            # the list is bound to a name (an empty loop), and that is read twice
            return Code(folds.sort_by(loop), over.cost + 3)
        if node.kind in ("map", "filter"):
            return Code(folds.build_list(loop, filter_cost), base)
        return Code(folds.build_map(loop, filter_cost, whole_entries=node.kind == "transformMapEntry"), base)

    def _bind(self, node: Bind) -> Code:
        over = self.compile(node.over)
        place = self.bind(node.name)
        body = self.compile(node.body)
        self.unbind(1)
        run, inner, cost, flat = over.run, body.run, body.cost, node.flat

        def bound(frame: Frame) -> Any:
            optional = opened(run(frame))
            if optional is NONE:
                return NONE
            frame[place] = optional.value
            frame[0].cost += cost
            return inner(frame) if flat else Optional(inner(frame))

        # target.hasValue() ? optional.of(body) : optional.none(), and target.value() that is bound
        return Code(bound, 2 * over.cost + 3)


def _constant(value: Any) -> Code:
    return Code(lambda frame: value, 0, value)


_COMPILES: dict[type[Node], Callable[[Compiler, Any], Code]] = {
    Constant: Compiler._literal,
    Ident: Compiler._ident,
    Select: Compiler._select,
    Call: Compiler._call,
    Logical: Compiler._logical,
    ListNode: Compiler._list,
    MapNode: Compiler._map,
    StructNode: Compiler._struct,
    Fold: Compiler._fold,
    Bind: Compiler._bind,
}
_SPECIAL: dict[str, Callable[[Compiler, Any], Code]] = {
    "_?_:_": Compiler._conditional,
    "_==_": Compiler._equality,
    "_!=_": Compiler._equality,
    "_[_]": Compiler._index,
    "_[?_]": Compiler._index,
    "@in": Compiler._in,
    "dyn": Compiler._dyn,
}
