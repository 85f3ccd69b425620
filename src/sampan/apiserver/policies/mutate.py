"""Every MutatingAdmissionPolicy that has a binding and concerns the write changes the object in turn, by name.

Which they are is settled by the object as it came; match conditions and expressions see what those before have made of
it. A mutation that fails leaves the others: what has been changed stays changed where failures are ignored.

DEVIATION: upstream's order is that of a map, another one every time.

Source: k8s.io/apiserver/pkg/admission/plugin/policy/mutating/{dispatcher,errors}.go, policy/generic/policy_dispatcher.go
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sampan.api import cel, errors
from sampan.api.field import go_quote
from sampan.api.kind import Obj
from sampan.apiserver.admission.chain import Attributes
from sampan.apiserver.admission.changes import Rounds, keep_owners, owners, rounds
from sampan.apiserver.policies.compiled import Policies
from sampan.apiserver.policies.conditions import ConditionsFailed, Counted, hold
from sampan.apiserver.policies.invocations import Invocation, Misfit, invocations
from sampan.apiserver.policies.mutations import MutatingPolicy, Mutation, mutating_policy
from sampan.apiserver.policies.patching import Failed, make
from sampan.apiserver.policies.variables import OUT_OF_BUDGET, Lazy, OutOfBudget, activation
from sampan.apiserver.webhooks.match import Gvk, converted

#: of each mutation, variables included
BUDGET = cel.RUNTIME_BUDGET


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a policy could not do what it should. `binding` empty: it is the policy's own."""

    policy: str
    binding: str
    why: str
    reason: str = ""

    def __str__(self) -> str:
        by = (
            f"policy '{self.policy}' with binding '{self.binding}'"
            if self.binding
            else f"policy {go_quote(self.policy)}"
        )
        return f"{by} denied request: {self.why}"


class Mutator:
    def __init__(self) -> None:
        self._policies = Policies("mutatingadmissionpolicies", "mutatingadmissionpolicybindings", mutating_policy)

    async def mutate(self, attributes: Attributes) -> None:
        """Raises StatusError."""
        wanted: list[tuple[MutatingPolicy, Invocation]] = []
        problems: list[Problem] = []
        for policy in await self._policies.current(attributes.api):
            for found in await invocations(policy, attributes):
                if isinstance(found, Invocation):
                    wanted.append((policy, found))
                elif not policy.ignores_failure:
                    problems.append(_misfit(policy, found))
        if wanted:
            before = owners(attributes)
            await _dispatch(wanted, attributes, problems)
            keep_owners(attributes, before)
        if problems:
            raise _refusal(attributes, problems)


def _misfit(policy: MutatingPolicy, found: Misfit) -> Problem:
    return Problem(policy.name, found.binding.name if found.binding else "", found.why)


def _refusal(attributes: Attributes, problems: list[Problem]) -> errors.StatusError:
    out = attributes.forbidden("admission request denied by policy")
    out.message = str(problems[0])
    out.reason = problems[0].reason or out.reason
    out.details = {**(out.details or {}), "causes": [{"message": str(problem)} for problem in problems]}
    return out


async def _dispatch(
    wanted: list[tuple[MutatingPolicy, Invocation]], attributes: Attributes, problems: list[Problem]
) -> None:
    known = rounds(attributes, "policies")
    touched = False
    for policy, found in wanted:
        one = _One(policy, found, attributes, problems)
        touched |= await one.run(known)
    if touched:
        # as upstream: also those that were asked after the last change
        known.changed()
        attributes.again = True
    known.keep(attributes)


class _One:
    """One policy with one binding and one parameter."""

    def __init__(
        self, policy: MutatingPolicy, found: Invocation, attributes: Attributes, problems: list[Problem]
    ) -> None:
        self.policy = policy
        self.found = found
        self.attributes = attributes
        self._problems = problems
        self._run = attributes.api.workers.of(attributes.user.name)

    async def run(self, known: Rounds) -> bool:
        """Whether a mutation was made, of which maybe nothing came."""
        policy, attributes = self.policy, self.attributes
        values = await activation(attributes, self.found.matched, with_namespace=True)
        if policy.param_kind is not None:
            values["params"] = self.found.param
        if not await self._concerned(values) or (attributes.round and self._key() not in known.again):
            return False
        touched = False
        obj = before = values["object"]
        for mutation in policy.mutations if obj is not None else ():
            new = await self._mutated(mutation, {**values, "object": obj}, obj)
            if new is not None:
                obj, touched = new, True
        if obj != before:
            known.changed()
            attributes.obj = await converted(attributes.api, obj, self._gvk, attributes.kind)
        if policy.reinvocable:
            known.asked.add(self._key())
        return touched

    @property
    def _gvk(self) -> Gvk:
        return self.found.matched.kind

    def _key(self) -> tuple[str, ...]:
        meta = (self.found.param or {}).get("metadata") or {}
        return self.policy.name, self.found.binding.name, meta.get("namespace", ""), meta.get("name", "")

    @property
    def _size(self) -> int:
        """Of what is written, or changed."""
        call = self.attributes.call
        record = call.resource.cache.get(call.key) if self.attributes.old is not None else None
        return max(call.body_size, len(record.value) if record is not None else 0)

    def _failed(self, why: str) -> None:
        if not self.policy.ignores_failure:
            self._problems.append(Problem(self.policy.name, self.found.binding.name, why, "Invalid"))

    async def _concerned(self, values: dict[str, Any]) -> bool:
        policy = self.policy
        if not policy.conditions:
            return True
        counted = Counted(self.attributes, "policy", policy.name, "validate")
        try:
            return await hold(policy.conditions, values, policy.ignores_failure, counted)
        except ConditionsFailed as error:
            self._failed(str(error))
            return False

    async def _mutated(self, mutation: Mutation, values: dict[str, Any], obj: Obj) -> Obj | None:
        """None: it failed, which is noted. Raises StatusError."""
        began, why = time.perf_counter(), ""
        try:
            result = await self._evaluated(mutation, values)
            work = self.attributes.call.work
            return await work(self._size, make, self.attributes, mutation.patch_type, result, obj, self._gvk)
        except (Failed, cel.EvaluationError, OutOfBudget) as error:
            why = str(error)
            self._failed(why)
            return None
        except errors.StatusError as error:
            why = error.message
            raise
        finally:
            checks = self.attributes.api.metrics.mutation_checks
            checks.observe(time.perf_counter() - began, _kind_of(why), self.policy.name, self.found.binding.name)

    async def _evaluated(self, mutation: Mutation, values: dict[str, Any]) -> Any:
        expression = mutation.expression
        if expression.program is None:
            raise Failed(expression.problem)
        budget = cel.Budget(BUDGET)
        inside = {**values, "variables": Lazy(self.policy.variables, values, budget)}
        return await self._run(expression.evaluate, inside, budget)


def _kind_of(why: str) -> str:
    """As metrics call a failure."""
    if not why:
        return "no_error"
    return (
        "compile_error"
        if why.startswith("compilation")
        else "out_of_budget"
        if why == OUT_OF_BUDGET
        else "invalid_error"
    )
