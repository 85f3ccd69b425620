"""Which bindings of a policy concern a write, and with what parameters.

Source: k8s.io/apiserver/pkg/admission/plugin/policy/generic/policy_dispatcher.go (Dispatch)
"""

from __future__ import annotations

from dataclasses import dataclass

from sampan.api.kind import Kind, Obj
from sampan.apiserver.admission.chain import Attributes
from sampan.apiserver.policies import params
from sampan.apiserver.policies.compiled import Binding, Policy
from sampan.apiserver.webhooks.match import Matched


@dataclass(frozen=True, slots=True)
class Invocation:
    """The policy is to be evaluated. `param`: None is a value too."""

    matched: Matched
    binding: Binding
    param: Obj | None


@dataclass(frozen=True, slots=True)
class Misfit:
    """It should be, but cannot. `binding` None: for no binding."""

    binding: Binding | None
    why: str


async def invocations(policy: Policy, attributes: Attributes) -> list[Invocation | Misfit]:
    matched = policy.matcher.matches(attributes)
    if matched is None:
        return []
    kind: Kind | None = None
    try:
        if policy.param_kind is not None:
            kind = params.find_kind(attributes.api, policy.param_kind)
    except params.Misconfigured as error:
        return [Misfit(None, f"failed to configure policy: {error}")]
    out: list[Invocation | Misfit] = []
    for binding in policy.bindings:
        if binding.matcher is not None and binding.matcher.matches(attributes) is None:
            continue
        try:
            found = await params.find(attributes.api, kind, binding.param_ref, attributes.namespace)
        except params.Misconfigured as error:
            out.append(Misfit(binding, f"failed to configure binding: {error}"))
            continue
        out.extend(Invocation(matched, binding, param) for param in found)
    return out
