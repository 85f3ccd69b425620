"""Environments make programs of expressions; programs are evaluated on plain JSON.

    environment = Environment({"self": declare_schema(schema)})
    program = environment.compile("self.replicas <= self.max")
    program.evaluate({"self": {"replicas": 1, "max": 3}})

An environment is immutable: what it compiles depends on nothing else, so results may be cached.

Source: cel-go cel/{env,program}.go, k8s.io/apiserver/pkg/cel/environment/base.go
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from sampan.api.cel import types
from sampan.api.cel.ast import Ident, Logical, Node
from sampan.api.cel.checker import TYPE_NAMES, Checker
from sampan.api.cel.closures import UNSET, Code
from sampan.api.cel.compiler import Compiler
from sampan.api.cel.convert import Converter, converter
from sampan.api.cel.errors import BudgetExceeded, CompileError, EvaluationError, Issue, compile_error
from sampan.api.cel.estimate import Estimator
from sampan.api.cel.functions import Library, Overload, merge
from sampan.api.cel.grammar import MAX_DEPTH
from sampan.api.cel.library import kubernetes, opaque_types
from sampan.api.cel.meter import PER_CALL_LIMIT, Budget, Meter
from sampan.api.cel.parser import parse
from sampan.api.cel.sizes import CostEstimate
from sampan.api.cel.types import Type
from sampan.api.pace import Handover

Functions = Mapping[str, Sequence[Overload]]


class Environment:
    """Variables with their types, and functions: the Kubernetes libraries and what `functions` adds.

    `names`: types that expressions may name (`type(x) == name`) or make (`Object{...}`).
    """

    __slots__ = ("_functions", "_names", "variables")

    def __init__(
        self,
        variables: Mapping[str, Type],
        functions: Library | None = None,
        names: Mapping[str, Type] | None = None,
        *,
        _base: Functions | None = None,
        _names: Mapping[str, Type] | None = None,
    ) -> None:
        self.variables: dict[str, Type] = dict(variables)
        base = kubernetes() if _base is None else _base
        self._functions: Functions = base
        if functions:
            self._functions = {
                **base, **{name: (*base.get(name, ()), *added) for name, added in merge(functions).items()}
            }  # fmt: skip
        self._names = {**(_base_names() if _names is None else _names), **(names or {})}

    def extend(
        self,
        variables: Mapping[str, Type],
        functions: Library | None = None,
        names: Mapping[str, Type] | None = None,
    ) -> Environment:
        """The same with more, or with other types for the same names."""
        return Environment({**self.variables, **variables}, functions, names, _base=self._functions, _names=self._names)

    def compile(self, source: str, expect: Type | Sequence[Type] | None = None) -> Program:
        """Raises CompileError. `expect`: the type, or one of the types, that the result must have."""
        try:
            return self._compile(source, expect)
        except RecursionError:
            issue = Issue(0, f"expression recursion limit exceeded: {MAX_DEPTH}")
            raise compile_error(source, [issue]) from None

    def _compile(self, source: str, expect: Type | Sequence[Type] | None) -> Program:
        tree, issues = parse(source)
        if tree is None:
            raise compile_error(source[:1000] if len(source) > 200_000 else source, issues)
        checker = Checker(self.variables, self._functions, self._names)
        result = checker.check(tree)
        if checker.issues:
            raise compile_error(source, checker.issues)
        if expect is not None:
            wanted = [expect] if isinstance(expect, Type) else list(expect)
            if result not in wanted and types.Dyn not in wanted:
                raise CompileError(f"must evaluate to {_listed(wanted)} but got {_named(result)}", wrong_type=True)
        compiler = Compiler(self.variables)
        code = compiler.compile(tree)
        return Program(source, tree, code, compiler.slots, self.variables, frozenset(checker.used))


def _listed(wanted: Sequence[Type]) -> str:
    if len(wanted) == 1:
        return _named(wanted[0])
    return f"one of [{' '.join(map(_named, wanted))}]"


def _named(type: Type) -> str:
    return "null_type" if type.kind == "null" else str(type)


@functools.cache
def _base_names() -> dict[str, Type]:
    return {**TYPE_NAMES, **{type.name: type for type in opaque_types()}}


class Program:
    """A compiled expression. `type` is that of its result."""

    __slots__ = ("_code", "_estimate", "_inputs", "_slots", "_tree", "_used", "_variables", "source", "type")

    def __init__(
        self, source: str, tree: Node, code: Code, slots: int, variables: Mapping[str, Type], used: frozenset[str]
    ) -> None:
        self.source = source
        self.type = tree.type
        self._tree = tree
        self._code = code
        self._slots = slots
        self._used = used
        self._variables = variables
        self._estimate: CostEstimate | None = None
        self._inputs: list[tuple[int, str, Converter | None]] = [
            (place, name, converter(type)) for place, (name, type) in enumerate(variables.items(), 1) if name in used
        ]

    @property
    def estimate(self) -> CostEstimate:
        """What one evaluation may cost, from the sizes that the types declare."""
        if self._estimate is None:
            self._estimate = Estimator(self._variables).cost(self._tree)
        return self._estimate

    @property
    def needs(self) -> tuple[str, ...]:
        """Variables of type bool without which the result is false, whatever else there is: those that it joins by `&&`."""
        joined = self._tree.args if isinstance(self._tree, Logical) and self._tree.op == "&&" else [self._tree]
        named = [node.name for node in joined if isinstance(node, Ident)]
        return tuple(name for name in named if self._variables.get(name) == types.Bool)

    def uses(self, name: str) -> bool:
        """Whether it refers to the variable."""
        return name in self._used

    def evaluate(self, values: Mapping[str, Any], budget: Budget | None = None) -> Any:
        """The result, in Python's terms (`values.py`; `to_json` makes JSON of it).

        Raises EvaluationError; BudgetExceeded when this call or the whole budget is used up. Handed over, it costs
        nothing.
        """
        limit, whole = PER_CALL_LIMIT, False
        if budget is not None and budget.remaining < limit:
            limit, whole = budget.remaining, True
        meter = Meter(limit, whole)
        frame: list[Any] = [UNSET] * self._slots
        frame[0] = meter
        code = self._code
        meter.cost = code.cost
        try:
            for place, name, convert in self._inputs:
                if name in values:
                    value = values[name]
                    frame[place] = value if convert is None else convert(value, meter)
            result = code.run(frame)
            if meter.cost > limit:
                meter.stop()
            if budget is not None and meter.cost > budget.remaining:
                # what it has asked for (variables) has had its share
                raise BudgetExceeded(whole_budget=True)
            return result
        except (TypeError, AttributeError) as error:
            # a value is not of the type that it was declared with
            raise EvaluationError("no such overload") from error
        except RecursionError:
            raise EvaluationError("evaluation is nested too deeply") from None
        except Handover:
            meter.cost = 0
            raise
        finally:
            if budget is not None:
                budget.remaining -= meter.cost
