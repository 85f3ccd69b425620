"""What expressions see of one write.

`Activation` holds the values; `variables` of a policy are computed when an expression first asks for one, and once for
all expressions that share the activation.

Source: k8s.io/apiserver/pkg/admission/plugin/cel/{activation,composition,condition}.go
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sampan.api import cel, errors
from sampan.api.admissionregistration_v1.expressions import compile
from sampan.api.kind import Obj
from sampan.apiserver.admission.chain import Attributes
from sampan.apiserver.webhooks.match import Matched, converted
from sampan.apiserver.webhooks.review import request_of

#: what of a Namespace's metadata expressions may see
_SHOWN = (
    "name", "generateName", "namespace", "labels", "annotations", "creationTimestamp", "deletionGracePeriodSeconds",
    "deletionTimestamp", "generation", "resourceVersion", "finalizers",
)  # fmt: skip
OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"


class OutOfBudget(Exception):
    """The budget that all expressions share is spent."""

    def __init__(self) -> None:
        super().__init__(OUT_OF_BUDGET)


@dataclass(frozen=True, slots=True)
class Expression:
    """`program` None: it does not compile any more, `problem` says why."""

    source: str
    program: cel.Program | None
    problem: str = ""

    def evaluate(self, values: Mapping[str, Any], budget: cel.Budget) -> Any:
        """Raises cel.EvaluationError in upstream's words, OutOfBudget."""
        if self.program is None:
            raise cel.EvaluationError(f"compilation error: {self.problem}")
        try:
            return self.program.evaluate(values, budget)
        except cel.EvaluationError as error:
            if isinstance(error, cel.BudgetExceeded) and error.whole_budget:
                raise OutOfBudget from None
            raise cel.EvaluationError(f"expression '{self.source}' resulted in error: {error}") from None


def compiled(environment: cel.Environment, source: str, *expect: cel.types.Type) -> Expression:
    try:
        return Expression(source, compile(environment, source, *expect))
    except cel.CompileError as error:
        return Expression(source, None, str(error))


class Lazy(Mapping[str, Any]):
    """The `variables` of a policy."""

    def __init__(self, expressions: Mapping[str, Expression], values: Mapping[str, Any], budget: cel.Budget) -> None:
        self._expressions = expressions
        self._values = values
        self._budget = budget
        self._known: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name in self._known:
            return self._known[name]
        expression = self._expressions[name]
        if expression.program is None:
            raise cel.EvaluationError(f'composited variable "{name}" fails to compile: {expression.problem}')
        try:
            value = expression.program.evaluate({**self._values, "variables": self}, self._budget)
        except cel.EvaluationError as error:
            if isinstance(error, cel.BudgetExceeded) and error.whole_budget:
                raise OutOfBudget from None
            raise cel.EvaluationError(f'composited variable "{name}" fails to evaluate: {error}') from None
        self._known[name] = value
        return value

    def __contains__(self, name: object) -> bool:
        return name in self._expressions

    def __iter__(self) -> Iterator[str]:
        return iter(self._expressions)

    def __len__(self) -> int:
        return len(self._expressions)


async def activation(attributes: Attributes, matched: Matched, *, with_namespace: bool) -> dict[str, Any]:
    """All values but `params` and `variables`. Raises 404 when the namespace is not there."""
    from sampan.apiserver.policies.authorizer import authorizer_of

    api = attributes.api
    return {
        "object": await converted(api, attributes.obj, attributes.kind, matched.kind),
        "oldObject": await converted(api, attributes.old, attributes.kind, matched.kind),
        "request": request_of(attributes, matched.resource, matched.kind),
        "namespaceObject": _namespace(attributes) if with_namespace else None,
        "authorizer": authorizer_of(attributes),
    }


def _namespace(attributes: Attributes) -> Obj | None:
    """Of a namespaced object; a Namespace is in none."""
    name = attributes.namespace
    if not name or attributes.kind == ("", "v1", "Namespace"):
        return None
    record = attributes.api.namespaces.get(name)
    if record is None:
        raise errors.not_found("", "namespaces", name)
    full = record.obj()
    meta = {key: full["metadata"][key] for key in _SHOWN if key in full["metadata"]}
    return {"metadata": meta, "spec": full.get("spec", {}), "status": full.get("status", {})}
