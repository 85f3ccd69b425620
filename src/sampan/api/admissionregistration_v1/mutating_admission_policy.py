"""MutatingAdmissionPolicy.

Source: kubernetes/pkg/apis/admissionregistration/{v1/defaults,validation/validation}.go; printMutatingAdmissionPolicy
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.api.admissionregistration_v1.policies import (
    default_match_resources,
    old_spec,
    validate_expressions,
    validate_match_resources,
    validate_mutable_operations,
    validate_param_kind,
)
from sampan.api.admissionregistration_v1.rules import FAILURE_POLICIES, AdmissionKind
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Obj
from sampan.api.table import UNSET, age
from sampan.api.validation.workload import SPEC

if TYPE_CHECKING:
    from sampan.api import cel

REINVOCATION = ("IfNeeded", "Never")
#: where the expression stands, for each type of patch
PATCHES = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}


class MutatingAdmissionPolicy(AdmissionKind):
    slow_checks = True
    columns = (NAME, Column("Mutations", "integer"), Column("ParamKind"), AGE)

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("failurePolicy", "Fail")
        default_match_resources(spec.get("matchConstraints"))

    def validate(self, obj: Obj) -> ErrorList:
        return self._check(obj, None)

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        return self._check(obj, old)

    def _check(self, obj: Obj, old: Obj | None) -> ErrorList:
        out = ErrorList()
        spec = obj.get("spec") or {}
        policy, again, match = (spec.get(name) for name in ("failurePolicy", "reinvocationPolicy", "matchConstraints"))
        if policy is None:
            out.required(SPEC / "failurePolicy", "")
        elif policy not in FAILURE_POLICIES:
            out.not_supported(SPEC / "failurePolicy", policy, FAILURE_POLICIES)
        if spec.get("paramKind") is not None:
            validate_param_kind(spec["paramKind"], SPEC / "paramKind", out)
        if match is None:
            out.required(SPEC / "matchConstraints", "")
        else:
            validate_match_resources(match, SPEC / "matchConstraints", out)
            if not match.get("resourceRules"):
                out.required(SPEC / "matchConstraints" / "resourceRules", "")
            validate_mutable_operations(match, SPEC / "matchConstraints", out)
        _mutations(spec, validate_expressions(spec, old_spec(old), out), out)
        if not again:
            out.required(SPEC / "reinvocationPolicy", "")
        elif again not in REINVOCATION:
            out.not_supported(SPEC / "reinvocationPolicy", again, REINVOCATION)
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        spec = obj.get("spec") or {}
        kind = spec.get("paramKind")
        shown = f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else UNSET
        return [meta["name"], len(spec.get("mutations") or ()), shown, old]


def _mutations(spec: Obj, variables: dict[str, cel.types.Type], out: ErrorList) -> None:
    from sampan.api.admissionregistration_v1.expressions import environment, patches, with_variables

    within = patches(with_variables(environment(params=spec.get("paramKind") is not None), variables))
    mutations = spec.get("mutations") or []
    if not mutations:
        out.required(SPEC / "mutations", "mutations must contain at least one item")
    for index, mutation in enumerate(mutations):
        _mutation(mutation, within, SPEC / "mutations" @ index, out)


def _mutation(mutation: Obj, within: cel.Environment, path: Path, out: ErrorList) -> None:
    from sampan.api.admissionregistration_v1.expressions import check, result_of

    kind = mutation.get("patchType", "")
    if not kind:
        out.required(path / "patchType", "")
        return
    if kind not in PATCHES:
        out.not_supported(path / "patchType", kind, tuple(PATCHES))
        return
    field = PATCHES[kind]
    given = mutation.get(field)
    if given is None:
        out.required(path / field, f"must be specified when patchType is {kind}")
    elif expression := given.get("expression", "").strip():
        check(within, expression, path / field / "expression", out, result_of(kind))
    else:
        out.required(path / field / "expression", "")
    for other in PATCHES.values():
        if other != field and mutation.get(other) is not None:
            out.invalid(path / other, f"{{{other}}}", f"must not be specified when patchType is {kind}")
