"""Policy rules: what one allows, whether some cover others, and how they are printed. Rules are dicts as on the wire.

Source: k8s.io/component-helpers/auth/rbac/validation/policy_comparator.go; kubernetes/pkg/apis/rbac/v1/
evaluation_helpers.go; pkg/registry/rbac/validation/policy_compact.go
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sampan.api.field import go_quote
from sampan.api.kind import Obj
from sampan.apiserver.authorization.attributes import Attributes

Rule = Obj
PARTS = ("apiGroups", "resources", "nonResourceURLs", "resourceNames", "verbs")


def rule_allows(rule: Rule, asked: Attributes) -> bool:
    """Whether this rule alone lets the request through."""
    if not _any(rule.get("verbs"), asked.verb):
        return False
    if not asked.is_resource:
        return any(url_covers(url, asked.path) for url in rule.get("nonResourceURLs") or ())
    names = rule.get("resourceNames")
    return (
        _any(rule.get("apiGroups"), asked.group)
        and _resource_matches(rule.get("resources") or (), asked)
        and (not names or asked.name in names)
    )


def _any(allowed: Sequence[str] | None, wanted: str) -> bool:
    return bool(allowed) and ("*" in allowed or wanted in allowed)


def _resource_matches(resources: Sequence[str], asked: Attributes) -> bool:
    if "*" in resources:
        return True
    if not asked.subresource:
        return asked.resource in resources
    return f"{asked.resource}/{asked.subresource}" in resources or f"*/{asked.subresource}" in resources


def url_covers(rule: str, path: str) -> bool:
    """A trailing `*` stands for any ending."""
    return rule == path or (rule.endswith("*") and path.startswith(rule.rstrip("*")))


# -- covering --------------------------------------------------------------------------------------------------------


def uncovered(owned: Iterable[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """The smallest parts of `wanted` that no rule of `owned` covers."""
    owned = list(owned)
    return [part for rule in wanted for part in break_down(rule) if not any(_covers(own, part) for own in owned)]


def break_down(rule: Rule) -> list[Rule]:
    """A rule as rules of one group, resource, verb and name each."""
    out: list[Rule] = []
    verbs = rule.get("verbs") or ()
    names = rule.get("resourceNames") or ()
    for group in rule.get("apiGroups") or ():
        for resource in rule.get("resources") or ():
            for verb in verbs:
                part = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                out.extend([{**part, "resourceNames": [name]} for name in names] if names else [part])
    for url in rule.get("nonResourceURLs") or ():
        out.extend({"nonResourceURLs": [url], "verbs": [verb]} for verb in verbs)
    return out


def _covers(owned: Rule, part: Rule) -> bool:
    names, owned_names = part.get("resourceNames"), owned.get("resourceNames")
    return (
        _has_all(owned.get("verbs"), part.get("verbs"))
        and _has_all(owned.get("apiGroups"), part.get("apiGroups"))
        and _resources_cover(owned.get("resources") or (), part.get("resources") or ())
        and all(
            any(url_covers(url, wanted) for url in owned.get("nonResourceURLs") or ())
            for wanted in part.get("nonResourceURLs") or ()
        )
        and (not owned_names or (bool(names) and set(names or ()) <= set(owned_names)))
    )


def _has_all(owned: Sequence[str] | None, wanted: Sequence[str] | None) -> bool:
    return "*" in (owned or ()) or set(wanted or ()) <= set(owned or ())


def _resources_cover(owned: Sequence[str], wanted: Sequence[str]) -> bool:
    if "*" in owned:
        return True
    for resource in wanted:
        _, slash, subresource = resource.partition("/")
        if resource not in owned and not (slash and f"*/{subresource}" in owned):
            return False
    return True


# -- printing --------------------------------------------------------------------------------------------------------


def compact(rules: Iterable[Rule]) -> list[Rule]:
    """Rules that differ by their verb alone, put together."""
    out: list[Rule] = []
    simple: dict[tuple[str, str, tuple[str, ...]], Rule] = {}
    for rule in rules:
        groups, resources = rule.get("apiGroups") or (), rule.get("resources") or ()
        names = tuple(rule.get("resourceNames") or ())
        if len(groups) != 1 or len(resources) != 1 or len(names) > 1 or rule.get("nonResourceURLs"):
            out.append(rule)
            continue
        key = (groups[0], resources[0], names)
        if key in simple:
            simple[key]["verbs"] = [*simple[key]["verbs"], *rule["verbs"]]
        else:
            simple[key] = dict(rule)
    return [*out, *simple.values()]


def described(rule: Rule) -> str:
    """`{APIGroups:["apps"], Resources:["deployments"], Verbs:["get" "list"]}`"""
    shown = [f"{part[0].upper()}{part[1:]}:{go_list(rule[part])}" for part in PARTS if rule.get(part)]
    return "{" + ", ".join(shown).replace("ApiGroups:", "APIGroups:", 1) + "}"


def go_list(items: Iterable[str]) -> str:
    """`%q` of a slice."""
    return "[" + " ".join(go_quote(item) for item in items) + "]"


def go_errors(messages: Iterable[str]) -> str:
    """Several errors as Go's aggregate prints them: each once."""
    distinct = list(dict.fromkeys(messages))
    return distinct[0] if len(distinct) == 1 else "[" + ", ".join(distinct) + "]"
