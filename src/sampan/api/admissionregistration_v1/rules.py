"""What webhooks and policies have in common: rules, match conditions, and their defaults.

Source: kubernetes/pkg/apis/admissionregistration/{v1/defaults,validation/validation}.go
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Kind, Obj

FAILURE_POLICIES = ("Fail", "Ignore")
MATCH_POLICIES = ("Equivalent", "Exact")
OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
SCOPES = ("*", "Cluster", "Namespaced")
MAX_CONDITIONS = 64
RESERVED = ".static.k8s.io"
_IS_RESERVED = (
    f'names ending with "{RESERVED}" are reserved for static manifest-based configurations and cannot be managed via the '
    "API"
)
#: appends what is wrong with an expression
CheckExpression = Callable[[str, Path, ErrorList], None]


class AdmissionKind(Kind):
    """What decides about other writes."""

    unconditional_update = False

    def validate_name(self, name: str, generate: bool) -> Sequence[str]:
        found = super().validate_name(name, generate)
        return [*found, _IS_RESERVED] if name.endswith(RESERVED) and not generate else found

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        reserved = old is not None and obj["metadata"]["name"].endswith(RESERVED)
        return [f"metadata.name: {_IS_RESERVED}"] if reserved else []


def default_rules(rules: Sequence[Obj] | None) -> None:
    for rule in rules or ():
        rule.setdefault("scope", "*")


def validate_rule(rule: Obj, path: Path, out: ErrorList) -> None:
    operations = rule.get("operations") or []
    if not operations:
        out.required(path / "operations", "")
    if len(operations) > 1 and "*" in operations:
        out.invalid(path / "operations", operations, "if '*' is present, must not specify other operations")
    for index, operation in enumerate(operations):
        if operation not in OPERATIONS:
            out.not_supported(path / "operations" @ index, operation, OPERATIONS)
    groups, versions = rule.get("apiGroups") or [], rule.get("apiVersions") or []
    if not groups:
        out.required(path / "apiGroups", "")
    if len(groups) > 1 and "*" in groups:
        out.invalid(path / "apiGroups", groups, "if '*' is present, must not specify other API groups")
    if not versions:
        out.required(path / "apiVersions", "")
    if len(versions) > 1 and "*" in versions:
        out.invalid(path / "apiVersions", versions, "if '*' is present, must not specify other API versions")
    for index, version in enumerate(versions):
        if not version:
            out.required(path / "apiVersions" @ index, "")
    _resources(rule.get("resources") or [], path / "resources", out)
    if rule.get("scope") is not None and rule["scope"] not in SCOPES:
        out.not_supported(path / "scope", rule["scope"], SCOPES)


def _resources(resources: list[str], path: Path, out: ErrorList) -> None:
    if not resources:
        out.required(path, "")
    all_of: set[str] = set()
    of_all: set[str] = set()
    for index, item in enumerate(resources):
        if not item:
            out.required(path @ index, "")
            continue
        resource, slash, sub = item.partition("/")
        if not slash:
            continue
        if resource in all_of:
            out.invalid(path @ index, item, f"if '{resource}/*' is present, must not specify {item}")
        if sub in of_all:
            out.invalid(path @ index, item, f"if '*/{sub}' is present, must not specify {item}")
        if sub == "*":
            all_of.add(resource)
        if resource == "*":
            of_all.add(sub)
    if len(resources) > 1 and "*/*" in resources:
        out.invalid(path, resources, "if '*/*' is present, must not specify other resources")
    plain = [item for item in resources if item and "/" not in item]
    # as upstream: the last resource without a subresource decides
    if "*" in plain and plain[-1] != "*":
        detail = "if '*' is present, must not specify other resources without subresources"
        out.invalid(path, resources, detail)


def validate_conditions(conditions: Sequence[Obj], path: Path, check: CheckExpression, out: ErrorList) -> None:
    """`matchConditions`."""
    if len(conditions) > MAX_CONDITIONS:
        out.too_many(path, len(conditions), MAX_CONDITIONS)
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        here = path @ index
        name, expression = condition.get("name", ""), condition.get("expression", "").strip()
        if not expression:
            out.required(here / "expression", "")
        else:
            check(expression, here / "expression", out)
        if not name:
            out.required(here / "name", "")
            continue
        for problem in names.is_qualified_name(name):
            out.invalid(here / "name", name, problem)
        if name in seen:
            out.duplicate(here / "name", name)
        seen.add(name)
