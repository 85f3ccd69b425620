"""`rewrite`: a question becomes another one, and its answer one to the first.

Source: github.com/coredns/coredns plugin/rewrite/{name,rewrite,ttl}.go
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sampan.network.dns import names, wire
from sampan.network.dns.plugin import Plugin
from sampan.network.dns.wire import Query, Record, Reply

#: a name's other name; None: it is not meant
Change = Callable[[str], str | None]
MATCHES = ("exact", "prefix", "suffix", "substring", "regex")


def change(kind: str, before: str, after: str) -> Change:
    """`kind`: one of MATCHES. Raises ValueError for a regular expression that is none."""
    if kind == "exact":
        whole, new = names.fqdn(before.lower()), names.fqdn(after.lower())
        return lambda name: new if name == whole else None
    if kind == "suffix":
        end, tail = names.fqdn(before.lower()), names.fqdn(after.lower())
        return lambda name: name[: -len(end)] + tail if name.endswith(end) else None
    if kind == "prefix":
        start, head = before.lower(), after.lower()
        return lambda name: head + name[len(start) :] if name.startswith(start) else None
    if kind == "substring":
        part, other = before.lower(), after.lower()
        return lambda name: name.replace(part, other) if part in name else None
    return _by_regex(before, after)


def _by_regex(before: str, after: str) -> Change:
    re2: Any = importlib.import_module("re2")
    try:
        pattern = re2.compile(before)
    except re2.error as error:
        raise ValueError(str(error)) from None

    def changed(name: str) -> str | None:
        # a pattern is written without the final dot, unless it ends in one
        found = pattern.search(name) or pattern.search(name.removesuffix("."))
        if found is None:
            return None
        out = after
        for number, group in enumerate(found.groups(), 1):
            out = out.replace(f"{{{number}}}", group or "")
        return names.fqdn(out)

    return changed


@dataclass(frozen=True, slots=True)
class Rule:
    """What to do to a question. `back`: to the names in its answer. `ttl`: for the records of a name that matches."""

    name: Change | None = None
    back: Change | None = None
    type: tuple[int, int] | None = None
    ttl: tuple[Change, int] | None = None
    stop: bool = True


class Rewrite(Plugin):
    name = "rewrite"

    def __init__(self, rules: list[Rule]) -> None:
        super().__init__()
        self._rules = rules

    async def serve(self, query: Query) -> Reply:
        asked = query
        back: list[Change] = []
        ttl: int | None = None
        for rule in self._rules:
            new, matched = self._apply(rule, asked)
            if not matched:
                continue
            asked = new
            if rule.back is not None:
                back.insert(0, rule.back)
            if rule.ttl is not None:
                ttl = rule.ttl[1]
            if rule.stop:
                break
        if asked is query and ttl is None:
            return await self.pass_on(query)
        reply = await self.pass_on(asked)
        if asked.key != query.key or ttl is not None:
            sections = (reply.answer, reply.authority, reply.additional)
            answer, authority, additional = (
                [self._restored(record, query, asked, back, ttl) for record in section] for section in sections
            )
            reply = replace(reply, answer=answer, authority=authority, additional=additional)
        return reply

    @staticmethod
    def _apply(rule: Rule, query: Query) -> tuple[Query, bool]:
        if rule.name is not None and (name := rule.name(query.key)) is not None:
            return replace(query, name=name, key=name.lower()), True
        if rule.type is not None and rule.type[0] == query.type:
            return replace(query, type=rule.type[1]), True
        return query, rule.ttl is not None and rule.ttl[0](query.key) is not None

    @staticmethod
    def _restored(record: Record, query: Query, asked: Query, back: list[Change], ttl: int | None) -> Record:
        lower = record.name.lower()
        name = record.name
        if asked.key != query.key and back:
            if lower == asked.key:
                name = query.name
            else:
                for each in back:
                    name = each(name.lower()) or name
        return Record(name, record.type, record.ttl if ttl is None else ttl, _data(record, asked, query, back))


def _data(record: Record, asked: Query, query: Query, back: list[Change]) -> Any:
    """A CNAME's and a service's target is the name of something that was asked for, too."""
    if asked.key == query.key or not back or record.type not in (wire.CNAME, wire.SRV):
        return record.data
    before = wire.target(record)
    after = before.lower()
    for each in back:
        after = each(after) or after
    if after == before.lower():
        return record.data
    if record.type == wire.CNAME:
        return wire.cname(record.name, 0, after).data
    return wire.srv(record.name, 0, record.data.weight, record.data.port, after).data
