"""One policy on one write: which of its validations fail, and what it notes for the audit log.

DEVIATION: message expressions are evaluated for validations that fail only; upstream evaluates all of them, and charges
them to the budget.

Source: k8s.io/apiserver/pkg/admission/plugin/policy/validating/validator.go
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sampan.api import cel
from sampan.apiserver.policies.compiled import Policy, Validation
from sampan.apiserver.policies.conditions import ConditionsFailed, hold
from sampan.apiserver.policies.decisions import Failure
from sampan.apiserver.policies.variables import Lazy, OutOfBudget
from sampan.apiserver.workers import Runner

MAX_MESSAGE = 5 * 1024
BUDGET = cel.RUNTIME_BUDGET


@dataclass(slots=True)
class Verdict:
    """`broken`: audit annotations that could not be evaluated, which refuse the write whatever the binding's actions."""

    failures: list[Failure] = field(default_factory=list)
    broken: list[Failure] = field(default_factory=list)
    annotations: list[tuple[str, str]] = field(default_factory=list)


async def evaluate(policy: Policy, values: Mapping[str, Any], run: Runner) -> Verdict:
    """`values`: all variables but `variables`. `run`: evaluates without keeping others waiting."""
    verdict = Verdict()
    strict = not policy.ignores_failure
    try:
        if policy.conditions and not await hold(policy.conditions, values, policy.ignores_failure, run):
            return verdict
        budget = cel.Budget(BUDGET)
        inside = _inside(policy, values, budget)
        for index, validation in enumerate(policy.validations):
            failure = await _validate(validation, index, inside, budget, strict, run)
            if failure is not None:
                verdict.failures.append(failure)
        await _annotate(policy, values, verdict, strict, run)
    except (ConditionsFailed, OutOfBudget) as error:
        return Verdict([Failure(str(error))] if strict else [])
    return verdict


def _inside(policy: Policy, values: Mapping[str, Any], budget: cel.Budget) -> Mapping[str, Any]:
    return {**values, "variables": Lazy(policy.variables, values, budget)} if policy.variables else values


async def _validate(
    validation: Validation, index: int, values: Mapping[str, Any], budget: cel.Budget, strict: bool, run: Runner
) -> Failure | None:
    try:
        if await run(validation.expression.evaluate, values, budget) is True:
            return None
    except cel.EvaluationError as error:
        return Failure(str(error), index=index) if strict else None
    try:
        message = await _message(validation, values, budget, run)
    except OutOfBudget as error:
        return Failure(f"failed messageExpression: {error}", index=index) if strict else None
    return Failure(message, validation.reason, index)


async def _message(validation: Validation, values: Mapping[str, Any], budget: cel.Budget, run: Runner) -> str:
    """What `messageExpression` says if it says something fit to print, else `message`, else the expression."""
    if validation.message_expression is not None:
        try:
            said = await run(validation.message_expression.evaluate, values, budget)
        except cel.EvaluationError:
            said = None
        if isinstance(said, str) and (said := said.strip()) and len(said.encode()) <= MAX_MESSAGE and "\n" not in said:
            return said
    return validation.message or f"failed expression: {validation.expression.source.strip()}"


async def _annotate(policy: Policy, values: Mapping[str, Any], verdict: Verdict, strict: bool, run: Runner) -> None:
    if not policy.annotations:
        return
    budget = cel.Budget(BUDGET)
    inside = _inside(policy, values, budget)
    for key, expression in policy.annotations:
        try:
            value = await run(expression.evaluate, inside, budget)
        except cel.EvaluationError as error:
            if strict:
                verdict.broken.append(Failure(str(error)))
            continue
        if isinstance(value, str) and value.strip():
            verdict.annotations.append((key, value.strip()))
