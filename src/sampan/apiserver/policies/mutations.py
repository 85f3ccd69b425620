"""MutatingAdmissionPolicies, compiled.

Source: k8s.io/apiserver/pkg/admission/plugin/policy/mutating/compilation.go (compilePolicy)
"""

from __future__ import annotations

from dataclasses import dataclass

from sampan.api import cel
from sampan.api.admissionregistration_v1.expressions import patches, result_of
from sampan.api.admissionregistration_v1.mutating_admission_policy import PATCHES
from sampan.api.kind import Obj
from sampan.apiserver.policies.compiled import Policy, in_common
from sampan.apiserver.policies.variables import Expression, compiled


@dataclass(frozen=True, slots=True)
class Mutation:
    """`patch_type`: `ApplyConfiguration` or `JSONPatch`."""

    patch_type: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class MutatingPolicy(Policy):
    """`reinvocable`: asked again when somebody has changed the object after it."""

    mutations: tuple[Mutation, ...]
    reinvocable: bool


def mutating_policy(raw: Obj) -> MutatingPolicy:
    spec = raw.get("spec") or {}
    policy, plain, _ = in_common(raw, always=True)
    within = patches(plain)
    return MutatingPolicy(
        **policy.parts(),
        mutations=tuple(_mutation(within, item) for item in spec.get("mutations") or ()),
        reinvocable=spec.get("reinvocationPolicy") == "IfNeeded",
    )


def _mutation(within: cel.Environment, raw: Obj) -> Mutation:
    kind = raw["patchType"]
    return Mutation(kind, compiled(within, raw[PATCHES[kind]]["expression"], result_of(kind)))
