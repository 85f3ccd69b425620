"""Policy rules: what one allows, whether some cover others, and how they are printed. Rules are dicts as on the wire.

Source: k8s.io/component-helpers/auth/rbac/validation/policy_comparator.go; kubernetes/pkg/apis/rbac/v1/
evaluation_helpers.go; pkg/registry/rbac/validation/policy_compact.go
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sampan.api.field import go_quote
from sampan.api.kind import Obj
from sampan.apiserver.authorization.attributes import Attributes, Decision
from sampan.apiserver.authorization.table import Table

Rule = Obj
HELD = Decision(True)
#: parts that the rules of one object are taken apart to
MOST_PARTS = 20_000
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
    return allowed is not None and ("*" in allowed or wanted in allowed)


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
    """The smallest parts of `wanted` that nothing of `owned` covers.

    DEVIATION: upstream takes every rule apart; one of very many parts, which a megabyte of JSON can make billions, is
    here covered by one rule as a whole or not at all.
    """
    table = Table()
    owned = list(owned)
    for rule in owned:
        table.add(rule, HELD)
    left = MOST_PARTS
    out: list[Rule] = []
    for rule in wanted:
        parts = _count(rule)
        if parts > left:
            if not any(_covers(own, rule) for own in owned):
                out.append(rule)
            continue
        left -= parts
        out.extend(part for part in break_down(rule) if not _held(table, part))
    return out


def _count(rule: Rule) -> int:
    sizes = [len(rule.get(part) or ()) for part in ("apiGroups", "resources", "resourceNames", "nonResourceURLs")]
    return len(rule.get("verbs") or ()) * (sizes[0] * sizes[1] * max(sizes[2], 1) + sizes[3])


def break_down(rule: Rule) -> Iterator[Rule]:
    """A rule as rules of one group, resource, verb and name each."""
    verbs = rule.get("verbs") or ()
    for group in rule.get("apiGroups") or ():
        for resource in rule.get("resources") or ():
            for verb in verbs:
                part = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                if rule.get("resourceNames"):
                    yield from ({**part, "resourceNames": [name]} for name in rule["resourceNames"])
                else:
                    yield part
    for url in rule.get("nonResourceURLs") or ():
        yield from ({"nonResourceURLs": [url], "verbs": [verb]} for verb in verbs)


def _held(table: Table, part: Rule) -> bool:
    """Whether something covers a part as `break_down` makes it."""
    (verb,) = part["verbs"]
    if "nonResourceURLs" in part:
        return table.path(verb, part["nonResourceURLs"][0]) is not None
    resource, _, subresource = part["resources"][0].partition("/")
    names = part.get("resourceNames")
    return any(
        grant.of(names[0]) if names else grant.any
        for grant in table.find(verb, part["apiGroups"][0], resource, subresource)
    )


def _covers(owned: Rule, rule: Rule) -> bool:
    names, owned_names = rule.get("resourceNames"), owned.get("resourceNames")
    return (
        _has_all(owned.get("verbs"), rule.get("verbs"))
        and _has_all(owned.get("apiGroups"), rule.get("apiGroups"))
        and _has_all(owned.get("resources"), rule.get("resources"))
        and _has_all(owned.get("nonResourceURLs"), rule.get("nonResourceURLs"))
        and (not owned_names or (bool(names) and set(names or ()) <= set(owned_names)))
    )


def _has_all(owned: Sequence[str] | None, wanted: Sequence[str] | None) -> bool:
    return "*" in (owned or ()) or set(wanted or ()) <= set(owned or ())


# -- printing --------------------------------------------------------------------------------------------------------


def compact(rules: Iterable[Rule]) -> list[Rule]:
    """Rules that differ by their verb alone, put together."""
    out: list[Rule] = []
    simple: dict[tuple[str, str, tuple[str, ...]], Rule] = {}
    for rule in rules:
        groups: list[str] = rule.get("apiGroups") or []
        resources: list[str] = rule.get("resources") or []
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
