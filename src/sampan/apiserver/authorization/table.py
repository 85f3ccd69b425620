"""Rules laid out for look-up: what a verb, group and resource are granted, and by which decision.

A rule stands for every combination of its verbs, groups and resources. Each becomes an entry, unless they are so many
that somebody could fill the memory with one role: such a rule is kept whole and looked through.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sampan.api.frozen import frozen
from sampan.api.kind import Obj
from sampan.apiserver.authorization.attributes import Decision

#: combinations of one rule that become entries
MOST_ENTRIES = 2048


@dataclass(slots=True)
class Grant:
    """What one verb, group and resource is given: for any name, or for certain ones."""

    any: Decision | None = None
    named: dict[str, Decision] = field(default_factory=dict)

    def add(self, names: list[str] | None, decision: Decision) -> None:
        if not names:
            self.any = self.any or decision
        else:
            for name in names:
                self.named.setdefault(name, decision)

    def of(self, name: str) -> Decision | None:
        return self.any or self.named.get(name)


@frozen
class Wide:
    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    names: list[str] | None
    decision: Decision


@dataclass(slots=True)
class Table:
    """All that one subject may do in one namespace, or everywhere. `missing`: roles that are bound but not there."""

    grants: dict[tuple[str, str, str], Grant] = field(default_factory=dict)
    wide: list[Wide] = field(default_factory=list)
    urls: dict[tuple[str, str], Decision] = field(default_factory=dict)
    prefixes: list[tuple[str, str, Decision]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def add(self, rule: Obj, decision: Decision) -> None:
        verbs: list[str] = rule.get("verbs") or []
        groups: list[str] = rule.get("apiGroups") or []
        resources: list[str] = rule.get("resources") or []
        names: list[str] | None = rule.get("resourceNames")
        if len(verbs) * len(groups) * len(resources) > MOST_ENTRIES:
            self.wide.append(Wide(frozenset(verbs), frozenset(groups), frozenset(resources), names, decision))
        else:
            for group in groups:
                for resource in resources:
                    for verb in verbs:
                        self.grants.setdefault((verb, group, resource), Grant()).add(names, decision)
        for url in rule.get("nonResourceURLs") or ():
            for verb in verbs:
                self.urls.setdefault((verb, url), decision)
                if url.endswith("*"):
                    self.prefixes.append((verb, url.rstrip("*"), decision))

    def find(self, verb: str, group: str, resource: str, subresource: str) -> Iterator[Grant]:
        """Every grant that bears on it."""
        full = f"{resource}/{subresource}" if subresource else resource
        resources = (full, "*", "*/" + subresource) if subresource else (full, "*")
        for some_verb in (verb, "*"):
            for some_group in (group, "*"):
                for name in resources:
                    grant = self.grants.get((some_verb, some_group, name))
                    if grant is not None:
                        yield grant
        for wide in self.wide:
            if (
                not wide.verbs.isdisjoint((verb, "*"))
                and not wide.groups.isdisjoint((group, "*"))
                and not wide.resources.isdisjoint(resources)
            ):
                grant = Grant()
                grant.add(wide.names, wide.decision)
                yield grant

    def path(self, verb: str, path: str) -> Decision | None:
        found = self.urls.get((verb, path)) or self.urls.get(("*", path))
        if found is not None:
            return found
        for some_verb, prefix, decision in self.prefixes:
            if some_verb in (verb, "*") and path.startswith(prefix):
                return decision
        return None
