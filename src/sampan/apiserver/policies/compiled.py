"""Policies with their bindings, read from the watch cache and compiled when they have changed.

Source: k8s.io/apiserver/pkg/admission/plugin/policy/generic/policy_source.go
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

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
class Policy:
    """What policies of both kinds have. `param_kind`: as in the policy's spec."""

    name: str
    matcher: Matcher
    ignores_failure: bool
    param_kind: Obj | None
    conditions: tuple[Expression, ...]
    variables: Mapping[str, Expression]
    bindings: tuple[Binding, ...]

    def parts(self) -> dict[str, Any]:
        """For what has more."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(Policy)}


@dataclass(frozen=True, slots=True)
class Binding:
    """`actions`: what is done about a failure; changes have none."""

    name: str
    policy: str
    matcher: Matcher | None
    actions: tuple[str, ...]
    param_ref: Obj | None


P = TypeVar("P", bound=Policy)


class Policies(Generic[P]):
    """Those that have a binding, by name. A write costs a look at two numbers."""

    def __init__(self, resource: str, bindings: str, compile: Callable[[Obj], P]) -> None:
        self._resources = (resource, bindings)
        self._compile = compile
        self._at = (-1, -1)
        self._policies: tuple[P, ...] = ()
        #: by uid and generation: what has not changed is not compiled again
        self._compiled: dict[tuple[str, int], P] = {}
        self._reading = asyncio.Lock()

    async def current(self, api: Api) -> tuple[P, ...]:
        """What is new is compiled beside the event loop; the writes that it may concern wait."""
        policies, bindings = (api.cached(GROUP, resource) for resource in self._resources)
        if (policies.last, bindings.last) != self._at:
            async with self._reading:
                while (at := (policies.last, bindings.last)) != self._at:
                    self._policies = await self._read(api, policies, bindings)
                    self._at = at
        return self._policies

    async def _read(self, api: Api, policies: ResourceCache, bindings: ResourceCache) -> tuple[P, ...]:
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
                policy = await api.workers.run(self._compile, raw, user=self)
            self._compiled[key] = policy
            found.append(dataclasses.replace(policy, bindings=tuple(bound[record.name])))
        return tuple(found)


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


def in_common(raw: Obj, *, always: bool) -> tuple[Policy, cel.Environment, dict[str, Type]]:
    """What every policy has, the environment of its other expressions, and the types of its variables. `always`: there are
    `variables` even if there is none."""
    spec = raw.get("spec") or {}
    params = spec.get("paramKind") is not None
    plain = environment(params=params)
    found: dict[str, Type] = {}
    variables: dict[str, Expression] = {}
    for item in spec.get("variables") or ():
        made = variables[item["name"]] = compiled(with_variables(plain, found), item["expression"])
        found[item["name"]] = cel.types.Dyn if made.program is None else made.program.type
    policy = Policy(
        raw["metadata"]["name"],
        matcher(spec.get("matchConstraints") or {}),
        spec.get("failurePolicy") == "Ignore",
        spec.get("paramKind"),
        compile_conditions(spec.get("matchConditions") or (), params=params),
        variables,
        (),
    )
    return policy, with_variables(plain, found) if variables or always else plain, found
