"""`template`: answers made from the question by a pattern. Of Go's template language the fields and `index .Match N`.

Source: github.com/coredns/coredns plugin/template/template.go
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sampan.network.dns import names, wire
from sampan.network.dns.plugin import Failed, Plugin
from sampan.network.dns.wire import Query, Record, Reply

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}")
_INDEX = re.compile(r"index\s+\.Match\s+(\d+)")
_GROUP = re.compile(r"\.Group\.(\w+)")


@dataclass(frozen=True, slots=True)
class Rule:
    """`kind` None: any type. `patterns`: compiled by re2; the first that matches counts."""

    zones: tuple[str, ...]
    kind: int | None
    patterns: tuple[Any, ...]
    answer: tuple[str, ...] = ()
    additional: tuple[str, ...] = ()
    authority: tuple[str, ...] = ()
    rcode: int = wire.NOERROR
    through: tuple[str, ...] | None = None


def check(template: str) -> str:
    """What is in braces and not known; empty if all is."""
    for action in _ACTION.findall(template):
        known = action in (".Zone", ".Name", ".Class", ".Type", ".Remote")
        if not known and not _INDEX.fullmatch(action) and not _GROUP.fullmatch(action):
            return str(action)
    return ""


class Template(Plugin):
    name = "template"

    def __init__(self, rules: list[Rule]) -> None:
        super().__init__()
        self._rules = rules

    async def serve(self, query: Query) -> Reply:
        for rule in self._rules:
            zone = names.longest(rule.zones, query.key)
            if not zone or rule.kind not in (None, query.type):
                continue
            found = next((match for each in rule.patterns if (match := each.search(query.key))), None)
            if found is None:
                if rule.through is not None and names.longest(rule.through, query.key):
                    continue
                return Reply(wire.SERVFAIL, authoritative=True, by=self.name)
            made = [self._records(each, query, zone, found) for each in (rule.answer, rule.authority, rule.additional)]
            answer, authority, additional = made
            return Reply(rule.rcode, answer, authority, additional, authoritative=True, by=self.name)
        return await self.pass_on(query)

    @staticmethod
    def _records(templates: tuple[str, ...], query: Query, zone: str, found: Any) -> list[Record]:
        fields = {
            ".Zone": zone,
            ".Name": query.key,
            ".Class": "IN",
            ".Type": wire.type_name(query.type),
            ".Remote": query.remote[0],
        }
        out: list[Record] = []
        for each in templates:
            text = _ACTION.sub(lambda action: _value(action[1], fields, found), each)
            try:
                out += wire.from_zone(text)
            except ValueError as error:
                raise Failed(wire.SERVFAIL, str(error)) from None
        return out


def _value(action: str, fields: Mapping[str, str], found: Any) -> str:
    if action in fields:
        return fields[action]
    if index := _INDEX.fullmatch(action):
        number = int(index[1])
        return found.group(number) or "" if number <= len(found.groups()) else ""
    group = _GROUP.fullmatch(action)
    return (found.groupdict().get(group[1]) or "") if group else ""
