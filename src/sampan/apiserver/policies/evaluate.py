"""One policy on one write: which of its validations fail, and what it notes for the audit log.

DEVIATION: message expressions are evaluated for validations that fail only; upstream evaluates all of them, and charges
them to the budget.

Source: k8s.io/apiserver/pkg/admission/plugin/policy/validating/validator.go
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sampan.api import cel
from sampan.apiserver.admission.chain import Attributes
from sampan.apiserver.policies.conditions import ConditionsFailed, Counted, hold
from sampan.apiserver.policies.decisions import Failure, Problem
from sampan.apiserver.policies.validations import ValidatingPolicy, Validation
from sampan.apiserver.policies.variables import Lazy, OutOfBudget
from sampan.apiserver.workers import Runner

MAX_MESSAGE = 5 * 1024
BUDGET = cel.RUNTIME_BUDGET


@dataclass(slots=True)
class Verdict:
    """`broken`: audit annotations that could not be evaluated, which refuse the write whatever the binding's actions.
    `ignored`: what could not be evaluated, where the policy ignores failures."""

    failures: list[Failure] = field(default_factory=list)
    ignored: list[Failure] = field(default_factory=list)
    broken: list[Failure] = field(default_factory=list)
    annotations: list[tuple[str, str]] = field(default_factory=list)


async def evaluate(policy: ValidatingPolicy, values: Mapping[str, Any], attributes: Attributes) -> Verdict:
    """`values`: all variables but `variables`."""
    verdict = Verdict()
    strict = not policy.ignores_failure
    #: evaluates without keeping others waiting
    run = attributes.api.workers.of(attributes.user.name)
    try:
        if policy.conditions:
            counted = Counted(attributes, "policy", policy.name, "validate")
            if not await hold(policy.conditions, values, policy.ignores_failure, counted):
                return verdict
        budget = cel.Budget(BUDGET)
        inside = _inside(policy, values, budget)
        for index, validation in enumerate(policy.validations):
            failure = await _validate(validation, index, inside, budget, run)
            if failure is not None:
                ignored = not strict and failure.problem != "no_error"
                (verdict.ignored if ignored else verdict.failures).append(failure)
        await _annotate(policy, values, verdict, strict, run)
    except (ConditionsFailed, OutOfBudget) as error:
        problem: Problem = "out_of_budget" if isinstance(error, OutOfBudget) else "invalid_error"
        failed = [Failure(str(error), problem=problem)]
        return Verdict(failed) if strict else Verdict(ignored=failed)
    return verdict


def _inside(policy: ValidatingPolicy, values: Mapping[str, Any], budget: cel.Budget) -> Mapping[str, Any]:
    return {**values, "variables": Lazy(policy.variables, values, budget)} if policy.variables else values


async def _validate(
    validation: Validation, index: int, values: Mapping[str, Any], budget: cel.Budget, run: Runner
) -> Failure | None:
    began = time.perf_counter()
    try:
        if await run(validation.expression.evaluate, values, budget) is True:
            return None
    except cel.EvaluationError as error:
        problem: Problem = "invalid_error" if validation.expression.program is not None else "compile_error"
        return Failure(str(error), "", index, time.perf_counter() - began, problem)
    took = time.perf_counter() - began
    try:
        message = await _message(validation, values, budget, run)
    except OutOfBudget as error:
        return Failure(f"failed messageExpression: {error}", "", index, took, "out_of_budget")
    return Failure(message, validation.reason, index, took)


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


async def _annotate(
    policy: ValidatingPolicy, values: Mapping[str, Any], verdict: Verdict, strict: bool, run: Runner
) -> None:
    if not policy.annotations:
        return
    budget = cel.Budget(BUDGET)
    inside = _inside(policy, values, budget)
    for key, expression in policy.annotations:
        try:
            value = await run(expression.evaluate, inside, budget)
        except cel.EvaluationError as error:
            if strict:
                verdict.broken.append(Failure(str(error), problem="invalid_error"))
            continue
        if isinstance(value, str) and value.strip():
            verdict.annotations.append((key, value.strip()))
