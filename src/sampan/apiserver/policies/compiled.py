"""Policies with their bindings, read from the watch cache and compiled when they have changed.

Source: k8s.io/apiserver/pkg/admission/plugin/policy/validating/plugin.go (compilePolicy)
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from sampan.api import cel
from sampan.api.admissionregistration_v1.expressions import environment, with_variables
from sampan.api.cel.types import Type
from sampan.api.kind import Obj
from sampan.api.selectors import label_selector_from
from sampan.apiserver.api import Api
from sampan.apiserver.cache import ResourceCache
from sampan.apiserver.policies.conditions import compile_conditions
from sampan.apiserver.policies.variables import Expression, compiled
from sampan.apiserver.webhooks.match import GROUP, Matcher, rule_from


@dataclass(frozen=True, slots=True)
class Validation:
    expression: Expression
    message: str
    message_expression: Expression | None
    reason: str


@dataclass(frozen=True, slots=True)
class Policy:
    """`annotations`: audit annotations by key. `param_kind`: as in the policy's spec."""

    name: str
    matcher: Matcher
    ignores_failure: bool
    param_kind: Obj | None
    conditions: tuple[Expression, ...]
    variables: Mapping[str, Expression]
    validations: tuple[Validation, ...]
    annotations: tuple[tuple[str, Expression], ...]
    bindings: tuple[Binding, ...]


@dataclass(frozen=True, slots=True)
class Binding:
    name: str
    policy: str
    matcher: Matcher | None
    actions: tuple[str, ...]
    param_ref: Obj | None


class Policies:
    """Those that have a binding, by name. A write costs a look at two numbers."""

    def __init__(self) -> None:
        self._at = (-1, -1)
        self._policies: tuple[Policy, ...] = ()
        #: by uid and generation: what has not changed is not compiled again
        self._compiled: dict[tuple[str, int], Policy] = {}
        self._reading = asyncio.Lock()

    async def current(self, api: Api) -> tuple[Policy, ...]:
        """What is new is compiled beside the event loop; the writes that it may concern wait."""
        policies = api.cached(GROUP, "validatingadmissionpolicies")
        bindings = api.cached(GROUP, "validatingadmissionpolicybindings")
        if (policies.last, bindings.last) != self._at:
            async with self._reading:
                while (at := (policies.last, bindings.last)) != self._at:
                    self._policies = await self._read(api, policies, bindings)
                    self._at = at
        return self._policies

    async def _read(self, api: Api, policies: ResourceCache, bindings: ResourceCache) -> tuple[Policy, ...]:
        bound: dict[str, list[Binding]] = {}
        for record in bindings.list(""):
            binding = _binding(record.obj())
            bound.setdefault(binding.policy, []).append(binding)
        known, self._compiled = self._compiled, {}
        found = []
        for record in policies.list(""):
            if record.name not in bound:
                continue
            raw = record.obj()
            key = (raw["metadata"]["uid"], raw["metadata"].get("generation", 0))
            policy = known.get(key)
            if policy is None:
                policy = await api.workers.run(_policy, raw, user=self)
            self._compiled[key] = policy
            found.append(_bound(policy, tuple(bound[record.name])))
        return tuple(found)


def _bound(policy: Policy, bindings: tuple[Binding, ...]) -> Policy:
    import dataclasses

    return dataclasses.replace(policy, bindings=bindings)


def matcher(raw: Obj) -> Matcher:
    rules = raw.get("resourceRules") or ()
    return Matcher(
        tuple(rule_from(rule) for rule in rules),
        tuple(rule_from(rule) for rule in raw.get("excludeResourceRules") or ()),
        raw.get("matchPolicy", "Equivalent") == "Equivalent",
        label_selector_from(raw.get("namespaceSelector") or {}),
        label_selector_from(raw.get("objectSelector") or {}),
        any_resource=not rules,
    )


def _binding(raw: Obj) -> Binding:
    spec = raw.get("spec") or {}
    resources = spec.get("matchResources")
    return Binding(
        raw["metadata"]["name"],
        spec.get("policyName", ""),
        None if resources is None else matcher(resources),
        tuple(spec.get("validationActions") or ()),
        spec.get("paramRef"),
    )


def _policy(raw: Obj) -> Policy:
    spec = raw.get("spec") or {}
    params = spec.get("paramKind") is not None
    plain, silent = environment(params=params), environment(params=params, authorizer=False)
    found: dict[str, Type] = {}
    variables: dict[str, Expression] = {}
    for item in spec.get("variables") or ():
        made = variables[item["name"]] = compiled(with_variables(plain, found), item["expression"])
        found[item["name"]] = cel.types.Dyn if made.program is None else made.program.type
    if variables:
        plain, silent = with_variables(plain, found), with_variables(silent, found)
    text = (cel.types.String, cel.types.Null)
    return Policy(
        raw["metadata"]["name"],
        matcher(spec.get("matchConstraints") or {}),
        spec.get("failurePolicy") == "Ignore",
        spec.get("paramKind"),
        compile_conditions(spec.get("matchConditions") or (), params=params),
        variables,
        tuple(_validation(plain, silent, item) for item in spec.get("validations") or ()),
        tuple(
            (item["key"], compiled(plain, item["valueExpression"], *text))
            for item in spec.get("auditAnnotations") or ()
        ),
        (),
    )


def _validation(plain: cel.Environment, silent: cel.Environment, raw: Obj) -> Validation:
    """Messages are made without the authorizer."""
    message = raw.get("messageExpression", "")
    return Validation(
        compiled(plain, raw["expression"], cel.types.Bool),
        raw.get("message", "").strip(),
        compiled(silent, message, cel.types.String) if message else None,
        raw.get("reason") or "Invalid",
    )
