"""`matchConditions` of webhooks and policies: all must hold; one that is false settles it, whatever the others say.

Source: k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions/matcher.go
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sampan.api import cel
from sampan.api.admissionregistration_v1.expressions import environment
from sampan.api.kind import Obj
from sampan.apiserver.admission.chain import Attributes
from sampan.apiserver.policies.variables import Expression, OutOfBudget, compiled
from sampan.apiserver.workers import Runner


class ConditionsFailed(Exception):
    """None was false, and at least one could not be evaluated."""


def compile_conditions(raw: Sequence[Obj], *, params: bool = False) -> tuple[Expression, ...]:
    within = environment(params=params)
    return tuple(compiled(within, item.get("expression", "").strip(), cel.types.Bool) for item in raw)


class Counted:
    """Evaluates for one write, and notes what came of it. `of`: `webhook` or `policy`, `kind`: `admit`, `validating`
    or `validate`."""

    def __init__(self, attributes: Attributes, of: str, name: str, kind: str) -> None:
        self.run = attributes.api.workers.of(attributes.user.name)
        self._metrics = attributes.api.metrics.admission
        self._labels = (of, name, attributes.operation, kind)
        self._began = time.perf_counter()

    def ended(self, holds: bool, failed: bool) -> None:
        self._metrics.condition_times.observe(time.perf_counter() - self._began, *self._labels)
        if failed:
            self._metrics.condition_errors.add(*self._labels)
        elif not holds:
            self._metrics.condition_exclusions.add(*self._labels)


async def hold(
    conditions: Sequence[Expression], values: Mapping[str, Any], ignores_failure: bool, counted: Counted
) -> bool:
    """Raises ConditionsFailed where failures are not ignored; ignored they count as false."""
    problems = await _problems(conditions, values, counted.run)
    counted.ended(problems == [], bool(problems))
    if problems is None:
        return False
    if not problems:
        return True
    if ignores_failure:
        return False
    distinct = list(dict.fromkeys(problems))
    raise ConditionsFailed(distinct[0] if len(distinct) == 1 else f"[{', '.join(distinct)}]")


async def _problems(conditions: Sequence[Expression], values: Mapping[str, Any], run: Runner) -> list[str] | None:
    """Why some could not be evaluated; None: one is false."""
    budget = cel.Budget(cel.MATCH_CONDITIONS_BUDGET)
    problems: list[str] = []
    for condition in conditions:
        try:
            if await run(condition.evaluate, values, budget) is False:
                return None
        except cel.EvaluationError as error:
            problems.append(str(error))
        except OutOfBudget as error:
            return [str(error)]
    return problems
