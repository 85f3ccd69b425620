"""Every policy that has a binding and concerns the write is evaluated, and the first refusal is the answer.

Source: k8s.io/apiserver/pkg/admission/plugin/policy/validating/dispatcher.go
"""

from __future__ import annotations

from typing import Any

import orjson

from sampan.apiserver.admission.chain import Attributes
from sampan.apiserver.policies.compiled import Binding, Policies, Policy
from sampan.apiserver.policies.decisions import Denied, Failure
from sampan.apiserver.policies.evaluate import Verdict, evaluate
from sampan.apiserver.policies.invocations import Misfit, invocations
from sampan.apiserver.policies.validations import ValidatingPolicy, validating_policy
from sampan.apiserver.policies.variables import activation

MAX_ANNOTATION = 10 * 1024
FAILURE_KEY = "validation.policy.admission.k8s.io/validation_failure"


class Enforcer:
    def __init__(self) -> None:
        names = ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
        self._policies = Policies(*names, validating_policy)

    async def validate(self, attributes: Attributes) -> None:
        """Raises StatusError."""
        denied: list[Denied] = []
        for policy in await self._policies.current(attributes.api):
            await _ask(policy, attributes, denied)
        if denied:
            raise denied[0].error(attributes)


async def _ask(policy: ValidatingPolicy, attributes: Attributes, denied: list[Denied]) -> None:
    values: dict[str, Any] | None = None
    notes: dict[str, list[str]] = {}
    for found in await invocations(policy, attributes):
        if isinstance(found, Misfit):
            if not policy.ignores_failure:
                denied.append(Denied(policy.name, found.binding.name if found.binding else "", Failure(found.why)))
            continue
        if values is None:
            values = await activation(attributes, found.matched, with_namespace=True)
        given = values if policy.param_kind is None else {**values, "params": found.param}
        verdict = await evaluate(policy, given, attributes)
        _act(policy, found.binding, verdict, attributes, denied, notes)
    for key, texts in notes.items():
        attributes.annotate(f"{policy.name}/{key}", ", ".join(texts))


def _act(
    policy: Policy,
    binding: Binding,
    verdict: Verdict,
    attributes: Attributes,
    denied: list[Denied],
    notes: dict[str, list[str]],
) -> None:
    """What the binding says is to be done about the failures."""

    def count(failure: Failure, action: str) -> None:
        checks = attributes.api.metrics.policy_checks
        checks.observe(failure.took, action, failure.problem, policy.name, binding.name)

    for failure in verdict.ignored:
        count(failure, "allow")
    for failure in verdict.failures:
        for action in binding.actions:
            count(failure, action.lower())
            if action == "Deny":
                denied.append(Denied(policy.name, binding.name, failure))
            elif action == "Warn":
                by = f"ValidatingAdmissionPolicy '{policy.name}' with binding '{binding.name}'"
                attributes.warn(f"Validation failed for {by}: {failure.message}")
            elif action == "Audit":
                _note_failure(policy, binding, failure, attributes)
    for failure in verdict.broken:
        count(failure, "deny")
        denied.append(Denied(policy.name, binding.name, failure))
    for key, text in verdict.annotations:
        texts = notes.setdefault(key, [])
        if text[:MAX_ANNOTATION] not in texts:
            texts.append(text[:MAX_ANNOTATION])


def _note_failure(policy: Policy, binding: Binding, failure: Failure, attributes: Attributes) -> None:
    value = {
        "message": failure.message,
        "policy": policy.name,
        "binding": binding.name,
        "expressionIndex": failure.index,
        "validationActions": list(binding.actions),
    }
    attributes.annotate(FAILURE_KEY, orjson.dumps([value]).decode())
