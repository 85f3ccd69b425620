"""Mistakes that only show once the types of `object` and `params` are known: warnings in `status.typeChecking`.

A policy is checked against every kind that its rules name; rules with wildcards name none.

Source: k8s.io/apiserver/pkg/admission/plugin/policy/validating/typechecking.go
"""

from __future__ import annotations

from sampan.api import cel
from sampan.api.admissionregistration_v1.expressions import environment, with_variables
from sampan.api.cel.types import DeclField, Type
from sampan.api.kind import Kind, Obj
from sampan.api.registry import Registry
from sampan.api.schema import facts

MAX_KINDS = 10
FAILED = "compilation failed: "


def check(registry: Registry, policy: Obj) -> list[dict[str, str]]:
    """The `expressionWarnings` of a policy."""
    spec = policy.get("spec") or {}
    environments = [
        (f"{kind.names.group}/{kind.names.version}, Kind={kind.names.kind}", _environment(registry, spec, kind))
        for kind in _kinds(registry, spec)
    ]
    out: list[dict[str, str]] = []
    for index, validation in enumerate(spec.get("validations") or ()):
        for name in ("expression", "messageExpression"):
            source = validation.get(name)
            problems = [_problem(shown, within, source) for shown, within in environments] if source else []
            warning = "\n".join(problem for problem in problems if problem)
            if warning:
                out.append({"fieldRef": f"spec.validations[{index}].{name}", "warning": warning})
    return out


def _problem(shown: str, within: cel.Environment, source: str) -> str:
    try:
        within.compile(source)
    except cel.CompileError as error:
        return f"{shown}: {str(error).removeprefix(FAILED)}\n"
    return ""


def _kinds(registry: Registry, spec: Obj) -> list[Kind]:
    found: dict[tuple[str, str, str], Kind] = {}
    for rule in (spec.get("matchConstraints") or {}).get("resourceRules") or ():
        groups, versions = sorted(rule.get("apiGroups") or ()), sorted(rule.get("apiVersions") or ())
        if any("*" in item for item in (*groups, *versions)):
            continue
        resources = sorted(item for item in rule.get("resources") or () if "*" not in item and "/" not in item)
        for group in groups:
            for version in versions:
                for resource in resources:
                    kind = registry.get(group, version, resource)
                    if kind is not None and len(found) < MAX_KINDS:
                        found[group, version, kind.names.kind] = kind
    return [found[key] for key in sorted(found)]


def _environment(registry: Registry, spec: Obj, kind: Kind) -> cel.Environment:
    declared = declared_type(kind)
    types = {"object": declared, "oldObject": declared}
    param_kind = spec.get("paramKind")
    if param_kind is not None:
        group, _, version = param_kind.get("apiVersion", "").rpartition("/")
        params = registry.by_kind(group, version, param_kind.get("kind", ""))
        if params is not None:
            types["params"] = declared_type(params)
    base = environment().extend(types)
    variables: dict[str, Type] = {}
    for item in spec.get("variables") or ():
        try:
            variables[item["name"]] = with_variables(base, variables).compile(item["expression"]).type
        except cel.CompileError:
            variables[item["name"]] = cel.types.Dyn
    return with_variables(base, variables) if variables else base


def declared_type(kind: Kind) -> Type:
    if not kind.custom:
        return cel.declare_struct(kind.schema)
    declared = cel.declare_schema(kind.published(), name=kind.names.kind)
    if declared is None:
        return cel.types.Dyn
    text = cel.types.String
    meta = {"apiVersion": text, "kind": text, "metadata": cel.declare_struct(facts.struct("meta", "ObjectMeta"))}
    fields = {name: DeclField(name, type, name) for name, type in meta.items()}
    return cel.types.ObjectType(kind.names.kind, {**(declared.fields or {}), **fields})
