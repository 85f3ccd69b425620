"""What policies and their bindings have in common: which writes they are about, parameters, conditions and variables.

Source: kubernetes/pkg/apis/admissionregistration/{v1/defaults,validation/validation}.go
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sampan.api import names
from sampan.api.admissionregistration_v1.rules import (
    MATCH_POLICIES,
    AdmissionKind,
    default_rules,
    validate_conditions,
    validate_rule,
)
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Obj
from sampan.api.table import UNSET, age
from sampan.api.validation.meta import validate_label_selector
from sampan.api.validation.workload import SPEC

if TYPE_CHECKING:
    from sampan.api import cel

NOT_FOUND_ACTIONS = ("Deny", "Allow")
MUTABLE = ("*", "CONNECT", "CREATE", "UPDATE")
IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
# fmt: off
RESERVED = frozenset((
    "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let",
    "loop", "package", "namespace", "return", "var", "void", "while",
))
# fmt: on


def default_match_resources(match: Obj | None) -> None:
    if match is None:
        return
    match.setdefault("matchPolicy", "Equivalent")
    match.setdefault("namespaceSelector", {})
    match.setdefault("objectSelector", {})
    default_rules(match.get("resourceRules"))
    default_rules(match.get("excludeResourceRules"))


def validate_match_resources(match: Obj, path: Path, out: ErrorList) -> None:
    policy = match.get("matchPolicy")
    if policy is None:
        out.required(path / "matchPolicy", "")
    elif policy not in MATCH_POLICIES:
        out.not_supported(path / "matchPolicy", policy, MATCH_POLICIES)
    for name in ("namespaceSelector", "objectSelector"):
        if match.get(name) is None:
            out.required(path / name, "")
        else:
            out.extend(validate_label_selector(match[name], path / name))
    for name in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(match.get(name) or ()):
            _named_rule(rule, path / name @ index, out)


def _named_rule(rule: Obj, path: Path, out: ErrorList) -> None:
    seen: set[str] = set()
    for index, name in enumerate(rule.get("resourceNames") or ()):
        here = path / "resourceNames" @ index
        for problem in names.path_segment_name(name):
            out.invalid(here, name, problem)
        if name in seen:
            out.duplicate(here, name)
        seen.add(name)
    validate_rule(rule, path, out)


def validate_mutable_operations(match: Obj, path: Path, out: ErrorList) -> None:
    """There is nothing to change in what goes."""
    for rule in match.get("resourceRules") or ():
        for operation in rule.get("operations") or ():
            if operation not in MUTABLE:
                out.not_supported(path / "resourceRules" / "operations", operation, MUTABLE)


def old_spec(old: Obj | None) -> Obj | None:
    return None if old is None else old.get("spec") or {}


def validate_expressions(spec: Obj, old: Obj | None, out: ErrorList) -> dict[str, cel.types.Type]:
    """Match conditions and variables. The types of the variables. CEL is imported here: most servers never see a policy."""
    from sampan.api.admissionregistration_v1 import expressions

    params = spec.get("paramKind") is not None

    def condition(expression: str, path: Path, out: ErrorList) -> None:
        expressions.check_condition(expression, path, out, params=params)

    # conditions that were let in before stay, as long as nothing changes what they mean
    if old is None or any(spec.get(name) != old.get(name) for name in ("paramKind", "matchConditions")):
        validate_conditions(spec.get("matchConditions") or (), SPEC / "matchConditions", condition, out)
    plain = expressions.environment(params=params)
    found: dict[str, cel.types.Type] = {}
    for index, variable in enumerate(spec.get("variables") or ()):
        within = expressions.with_variables(plain, found)
        _variable(variable, within, found, SPEC / "variables" @ index, out)
    return found


def _variable(
    variable: Obj, within: cel.Environment, found: dict[str, cel.types.Type], path: Path, out: ErrorList
) -> None:
    from sampan.api import cel
    from sampan.api.admissionregistration_v1.expressions import check

    name, expression = variable.get("name", ""), variable.get("expression", "")
    if not name.strip():
        out.required(path / "name", "name is not specified")
    elif not IDENTIFIER.fullmatch(name) or name in RESERVED:
        out.invalid(path / "name", name, "must be a valid CEL identifier")
    if not expression.strip():
        out.required(path / "expression", "expression is not specified")
        return
    program = check(within, expression, path / "expression", out)
    found[name] = cel.types.Dyn if program is None else program.type


def validate_param_kind(kind: Obj, path: Path, out: ErrorList) -> None:
    api_version, name = kind.get("apiVersion", ""), kind.get("kind", "")
    here = path / "apiVersion"
    if not api_version:
        out.required(here, "")
    elif api_version.count("/") > 1:
        out.invalid(here, api_version, f"unexpected GroupVersion string: {api_version}")
    else:
        group, _, version = api_version.rpartition("/")
        if group and (problems := names.is_dns1123_subdomain(group)):
            out.invalid(here, group, ",".join(problems))
        if not version:
            out.invalid(here, api_version, "version must be specified")
        elif problems := names.is_dns1035_label(version):
            out.invalid(here, version, ",".join(problems))
    if not name:
        out.required(path / "kind", "")
    elif problems := names.is_dns1035_label(name.lower()):
        detail = "may have mixed case, but should otherwise match: " + ",".join(problems)
        out.invalid(path / "kind", name, detail)


def validate_param_ref(ref: Obj, path: Path, out: ErrorList) -> None:
    name, selector, action = ref.get("name", ""), ref.get("selector"), ref.get("parameterNotFoundAction")
    both = "name and selector are mutually exclusive"
    if name:
        for problem in names.path_segment_name(name):
            out.invalid(path / "name", name, problem)
        if selector is not None:
            out.forbidden(path / "name", both)
    if selector is not None:
        out.extend(validate_label_selector(selector, path / "selector"))
        if name:
            out.forbidden(path / "selector", both)
    if not name and selector is None:
        out.required(path, "one of name or selector must be specified")
    if not action:
        out.required(path / "parameterNotFoundAction", "")
    elif action not in NOT_FOUND_ACTIONS:
        out.not_supported(path / "parameterNotFoundAction", action, NOT_FOUND_ACTIONS)


class PolicyBinding(AdmissionKind):
    """What bindings of both kinds of policies are."""

    columns = (NAME, Column("PolicyName"), Column("ParamRef"), AGE)

    def default(self, obj: Obj) -> None:
        default_match_resources((obj.get("spec") or {}).get("matchResources"))

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj.get("spec") or {}
        policy = spec.get("policyName", "")
        if not policy:
            out.required(SPEC / "policyName", "")
        else:
            out.each(SPEC / "policyName", policy, names.is_dns1123_subdomain(policy))
        if spec.get("paramRef") is not None:
            validate_param_ref(spec["paramRef"], SPEC / "paramRef", out)
        if spec.get("matchResources") is not None:
            validate_match_resources(spec["matchResources"], SPEC / "matchResources", out)
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec = obj["metadata"], obj.get("spec") or {}
        ref = spec.get("paramRef")
        shown = f"{ref.get('namespace') or '*'}/{ref.get('name') or '*'}" if ref else UNSET
        return [meta["name"], spec.get("policyName", ""), shown, age(meta.get("creationTimestamp"), now)]
