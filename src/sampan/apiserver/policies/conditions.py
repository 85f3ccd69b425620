"""`matchConditions` of webhooks and policies: all must hold; one that is false settles it, whatever the others say.

Source: k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions/matcher.go
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sampan.api import cel
from sampan.api.admissionregistration_v1.expressions import environment
from sampan.api.kind import Obj
from sampan.apiserver.policies.variables import Expression, OutOfBudget, compiled
from sampan.apiserver.workers import Runner


class ConditionsFailed(Exception):
    """None was false, and at least one could not be evaluated."""


def compile_conditions(raw: Sequence[Obj], *, params: bool = False) -> tuple[Expression, ...]:
    within = environment(params=params)
    return tuple(compiled(within, item.get("expression", "").strip(), cel.types.Bool) for item in raw)


async def hold(conditions: Sequence[Expression], values: Mapping[str, Any], ignores_failure: bool, run: Runner) -> bool:
    """Raises ConditionsFailed where failures are not ignored; ignored they count as false."""
    budget = cel.Budget(cel.MATCH_CONDITIONS_BUDGET)
    problems: list[str] = []
    for condition in conditions:
        try:
            if await run(condition.evaluate, values, budget) is False:
                return False
        except cel.EvaluationError as error:
            problems.append(str(error))
        except OutOfBudget as error:
            problems = [str(error)]
            break
    if not problems:
        return True
    if ignores_failure:
        return False
    distinct = list(dict.fromkeys(problems))
    raise ConditionsFailed(distinct[0] if len(distinct) == 1 else f"[{', '.join(distinct)}]")
