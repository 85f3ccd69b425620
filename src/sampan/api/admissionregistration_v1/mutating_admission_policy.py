"""MutatingAdmissionPolicy.

Source: kubernetes/pkg/apis/admissionregistration/{v1/defaults,validation/validation}.go; printMutatingAdmissionPolicy
"""

from __future__ import annotations

from sampan.api.admissionregistration_v1.policies import (
    default_match_resources,
    validate_match_resources,
    validate_param_kind,
)
from sampan.api.admissionregistration_v1.rules import FAILURE_POLICIES, AdmissionKind
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Obj
from sampan.api.table import UNSET, age
from sampan.api.validation.workload import SPEC

REINVOCATION = ("IfNeeded", "Never")
PATCHES = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}


class MutatingAdmissionPolicy(AdmissionKind):
    slow_checks = True
    not_enforced = True
    columns = (NAME, Column("Mutations", "integer"), Column("ParamKind"), AGE)

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("failurePolicy", "Fail")
        if not spec.get("reinvocationPolicy"):
            spec["reinvocationPolicy"] = "Never"
        default_match_resources(spec.get("matchConstraints"))

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj.get("spec") or {}
        policy, again, match = (spec.get(name) for name in ("failurePolicy", "reinvocationPolicy", "matchConstraints"))
        if policy is None:
            out.required(SPEC / "failurePolicy", "")
        elif policy not in FAILURE_POLICIES:
            out.not_supported(SPEC / "failurePolicy", policy, FAILURE_POLICIES)
        if again not in REINVOCATION:
            out.not_supported(SPEC / "reinvocationPolicy", again or "", REINVOCATION)
        if spec.get("paramKind") is not None:
            validate_param_kind(spec["paramKind"], SPEC / "paramKind", out)
        if match is None:
            out.required(SPEC / "matchConstraints", "")
        else:
            validate_match_resources(match, SPEC / "matchConstraints", out)
            if not match.get("resourceRules"):
                out.required(SPEC / "matchConstraints" / "resourceRules", "")
        for index, variable in enumerate(spec.get("variables") or ()):
            for field in ("name", "expression"):
                if not variable.get(field, "").strip():
                    out.required(SPEC / "variables" @ index / field, f"{field} is not specified")
        mutations = spec.get("mutations") or []
        if not mutations:
            out.required(SPEC / "mutations", "mutations must contain at least one item")
        for index, mutation in enumerate(mutations):
            _mutation(mutation, SPEC / "mutations" @ index, out)
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        spec = obj.get("spec") or {}
        kind = spec.get("paramKind")
        shown = f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else UNSET
        return [meta["name"], len(spec.get("mutations") or ()), shown, old]


def _mutation(mutation: Obj, path: Path, out: ErrorList) -> None:
    """DEVIATION: expressions that make patches are not compiled, and take effect nowhere yet."""
    kind = mutation.get("patchType", "")
    if not kind:
        out.required(path / "patchType", "")
        return
    if kind not in PATCHES:
        out.not_supported(path / "patchType", kind, tuple(PATCHES))
        return
    for patch, field in PATCHES.items():
        given = mutation.get(field)
        if patch != kind:
            if given is not None:
                out.invalid(path / field, given, f"must not be specified when patchType is {kind}")
        elif given is None:
            out.required(path / field, f"must be specified when patchType is {kind}")
        elif not given.get("expression", "").strip():
            out.required(path / field / "expression", "expression is not specified")
