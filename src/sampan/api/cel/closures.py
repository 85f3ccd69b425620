"""The functions that expressions are compiled to: selecting, calling, `&&` and `||`.

Source: cel-go interpreter/{interpretable,attributes,dispatcher}.go
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sampan.api.cel.ast import Call
from sampan.api.cel.convert import joined
from sampan.api.cel.errors import FAILURES, BudgetExceeded, EvaluationError
from sampan.api.cel.functions import Overload
from sampan.api.cel.library.standard import index_list
from sampan.api.cel.types import Type
from sampan.api.cel.values import NONE, Optional, equal, fits

Frame = list[Any]
Run = Callable[[Frame], Any]
UNSET = object()
#: kinds that Python's sets and lists compare as CEL does, when both sides are of the same kind
_HASHED = frozenset(("string", "int", "uint"))


@dataclass(slots=True)
class Code:
    """`cost`: what is certain, for the caller to charge. `constant` is set when the value is known."""

    run: Run
    cost: int = 0
    constant: Any = UNSET
    attribute: bool = False

    @property
    def known(self) -> bool:
        return self.constant is not UNSET


def opened(value: Any) -> Optional:
    if isinstance(value, Optional):
        return value
    raise EvaluationError("no such overload")


# --- selecting --------------------------------------------------------------------------------------------------------


def step(run: Run, name: str, typed: bool) -> Run:
    """`typed`: the operand is an object, where null means absent."""
    if typed:

        def field(frame: Frame) -> Any:
            value = run(frame)
            try:
                found = value[name]
            except (KeyError, TypeError):
                found = None
            if found is None:
                raise EvaluationError(f"no such key: {name}")
            return found

        return field

    def key(frame: Frame) -> Any:
        value = run(frame)
        try:
            return value[name]
        except KeyError:
            raise EvaluationError(f"no such key: {name}") from None
        except TypeError:
            if isinstance(value, Optional):
                return through(value, name, False)
            if isinstance(value, list):
                raise EvaluationError("unsupported index type 'string' in list") from None
            raise EvaluationError(f"no such key: {name}") from None

    return key


def through(value: Any, name: str, typed: bool) -> Optional:
    if isinstance(value, Optional):
        if value is NONE:
            return NONE
        value = value.value
    if not isinstance(value, Mapping) or name not in value:
        return NONE
    found = value[name]
    return NONE if typed and found is None else Optional(found)


def optional_step(run: Run, name: str, typed: bool) -> Run:
    return lambda frame: through(run(frame), name, typed)


def converted(run: Run, convert: Callable[[Any, Any], Any]) -> Run:
    return lambda frame: convert(run(frame), frame[0])


def converted_optional(run: Run, convert: Callable[[Any, Any], Any]) -> Run:
    def converted(frame: Frame) -> Any:
        optional = run(frame)
        return optional if optional is NONE else Optional(convert(optional.value, frame[0]))

    return converted


def presence(run: Run, name: str, typed: bool) -> Run:
    def present(frame: Frame) -> bool:
        value = run(frame)
        if isinstance(value, Optional):
            value = value.value
        if not isinstance(value, Mapping):
            return False
        return value.get(name) is not None if typed else name in value

    return present


# --- calling ----------------------------------------------------------------------------------------------------------


def function(node: Call) -> Callable[..., Any]:
    """What to call with the values: the overload itself where the types leave no doubt."""
    args = [arg.type for arg in ((node.target, *node.args) if node.target else node.args)]
    overloads = node.overloads
    if len(overloads) == 1:
        if overloads[0].id == "add_list":
            join = joined(args[0])
            if join is not None:
                return join
        if all(_sure(given, param) for given, param in zip(args, overloads[0].params, strict=True)):
            return overloads[0].call
    return _dispatch(tuple(overloads))


def _sure(given: Type, param: Type) -> bool:
    return given.kind not in ("dyn", "error", "param") or param.kind in ("dyn", "param")


def _dispatch(overloads: tuple[Overload, ...]) -> Callable[..., Any]:
    def dispatch(*values: Any) -> Any:
        for overload in overloads:
            if all(map(fits, values, overload.params)):
                return overload.call(*values)
        if overloads[0].name == "_[_]":
            return _index_dynamic(*values)
        raise EvaluationError("no such overload")

    return dispatch


def _index_dynamic(value: Any, index: Any) -> Any:
    """An index whose type nobody knew: whole doubles and uints index lists too."""
    if isinstance(value, list):
        return index_list(value, index)
    raise EvaluationError("no such overload")


def caller(node: Call, args: list[Code]) -> Run:
    call = function(node)
    if len(args) == 1:
        only = args[0].run
        return lambda frame: call(only(frame))
    if len(args) == 2:
        first, second = args[0].run, args[1].run
        if args[1].known:
            constant = args[1].constant
            return lambda frame: call(first(frame), constant)
        return lambda frame: call(first(frame), second(frame))
    runs = [arg.run for arg in args]
    return lambda frame: call(*[run(frame) for run in runs])


def same_hashed(a: Type, b: Type) -> bool:
    return a.kind == b.kind and a.kind in _HASHED


def membership(run: Run, items: list[Any]) -> Run:
    """In a constant list. Of the hashable kinds, only True and False could be taken for numbers."""
    if all(type(item) is not bool and isinstance(item, str | int | float) for item in items):
        found = frozenset(items)

        def quick(frame: Frame) -> bool:
            value = run(frame)
            return isinstance(value, str | int | float) and type(value) is not bool and value in found

        return quick
    return lambda frame: any(equal(value, item) for value in (run(frame),) for item in items)


# --- && and || --------------------------------------------------------------------------------------------------------


def two(left: Run, right: Run, right_cost: int, decides: bool) -> Run:
    """`decides` is the value that settles it: False for `&&`, True for `||`. It wins over an error on the other side."""

    def both(frame: Frame) -> bool:
        failed: Exception | None = None
        try:
            value = left(frame)
            if value is decides:
                return bool(decides)
            if value is not (not decides):
                failed = EvaluationError("no such overload")
        except BudgetExceeded:
            raise
        except FAILURES as error:
            failed = error
        frame[0].cost += right_cost
        if failed is None:
            value = right(frame)
            if value is True or value is False:
                return value
            raise EvaluationError("no such overload")
        try:
            if right(frame) is decides:
                return bool(decides)
        except BudgetExceeded:
            raise
        except FAILURES:
            pass  # the error on the left is the one that is told
        raise failed

    return both


def many(parts: list[tuple[Run, int]], decides: bool) -> Run:
    first, *others = parts
    rest = [(first[0], 0), *others]

    def every(frame: Frame) -> bool:
        failed: Exception | None = None
        meter = frame[0]
        for run, cost in rest:
            meter.cost += cost
            try:
                value = run(frame)
                if value is decides:
                    return bool(decides)
                if value is not (not decides) and failed is None:
                    failed = EvaluationError("no such overload")
            except BudgetExceeded:
                raise
            except FAILURES as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return not decides

    return every
