"""The directives `hosts`, `rewrite` and `template`.

Source: github.com/coredns/coredns plugin/{hosts,rewrite,template}/setup.go, plugin/rewrite/{name,rewrite}.go
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from sampan.network.dns import names, wire
from sampan.network.dns.corefile import CorefileError, Dispenser
from sampan.network.dns.hosts import RELOAD_SECONDS, TTL, Hosts
from sampan.network.dns.rewrite import MATCHES, Change, Rewrite, Rule, change
from sampan.network.dns.setup.draft import Draft, number, once, seconds
from sampan.network.dns.template import Rule as TemplateRule
from sampan.network.dns.template import Template, check


def hosts(c: Dispenser, draft: Draft) -> None:
    for _ in once(c):
        args = c.args()
        file = draft.root / (args[0] if args else "/etc/hosts")
        zones = tuple(names.all_zones(args[1:])) or tuple(draft.zones)
        inline: list[str] = []
        through: tuple[str, ...] | None = None
        ttl, reverse, reload = TTL, True, RELOAD_SECONDS
        while c.next_block():
            name, rest = c.val, c.args()
            if name == "fallthrough":
                through = tuple(names.all_zones(rest)) or (".",)
            elif name == "no_reverse":
                reverse = False
            elif name in ("ttl", "reload"):
                if len(rest) != 1:
                    raise c.error(
                        f"{name} needs a {'time in second' if name == 'ttl' else 'duration (zero seconds to disable)'}"
                    )
                if name == "reload":
                    reload = seconds(rest[0])
                    if reload < 0:
                        raise c.error(f"invalid negative duration for reload '{rest[0]}'")
                    continue
                ttl = number(rest[0])
                if not 0 < ttl < 65536:
                    raise c.error("ttl provided is invalid")
            elif not through:
                if not names.is_ip(name.partition("%")[0]) or not rest:
                    raise c.error(f"unknown property '{name}'")
                inline.append(" ".join([name, *rest]))
            else:
                raise c.error(f"unknown property '{name}'")
        draft.plugins["hosts"] = [
            Hosts(Path(file), zones, inline, through=through, ttl=ttl, reverse=reverse, reload=reload)
        ]


# -- rewrite -----------------------------------------------------------------------------------------------------------


def rewrite(c: Dispenser, draft: Draft) -> None:
    rules: list[Rule] = []
    while c.next():
        args = c.args()
        if not args:
            # rules may stand in a block, one on each line; `continue { name ... \n answer ... }` is one rule
            while c.next_block():
                rules.append(_rule(c, [c.val, *c.args()]))
            continue
        if args in (["stop"], ["continue"]):
            words: list[str] = []
            while c.next_block():
                words += [c.val, *c.args()]
            args += words
        rules.append(_rule(c, args))
    draft.plugins["rewrite"] = [Rewrite(rules)]


def _rule(c: Dispenser, args: list[str]) -> Rule:
    stop = True
    if args and args[0] in ("stop", "continue"):
        stop = args.pop(0) == "stop"
    if not args:
        raise CorefileError("no rule type specified for rewrite")
    kind, rest = args[0], args[1:]
    if kind == "name":
        return _name(rest, stop)
    if kind == "type":
        if len(rest) != 2 or None in (found := [wire.type_number(each) for each in rest]):
            raise CorefileError(f"invalid arguments for a type rewrite: {' '.join(rest)}")
        before, after = found
        assert before is not None and after is not None
        return Rule(type=(before, after), stop=stop)
    if kind == "ttl":
        match, rest = (rest[0], rest[1:]) if rest and rest[0] in MATCHES else ("exact", rest)
        if len(rest) != 2:
            raise CorefileError("too few arguments for a ttl rule")
        return Rule(ttl=(_change(match, rest[0], rest[0]), number(rest[1])), stop=stop)
    # DEVIATION: `rewrite` has rules for `name`, `type` and `ttl`, none for `class`, `edns0`, `rcode` and `cname`.
    raise CorefileError(f'invalid rule type "{kind}"')


def _name(rest: list[str], stop: bool) -> Rule:
    match, rest = (rest[0].lower(), rest[1:]) if rest and rest[0].lower() in MATCHES else ("exact", rest)
    if len(rest) < 2:
        raise CorefileError(f"too few arguments for a name rule: {' '.join(rest)}")
    before, after, extra = rest[0], rest[1], rest[2:]
    forth = _change(match, before, after)
    back: Change | None = _change(match, after, before) if match in ("exact", "suffix") else None
    while extra:
        if extra[:2] == ["answer", "auto"]:
            # what was changed is changed back, if it was the name that was asked for
            back, extra = (back or (lambda name: None)), extra[2:]
        elif extra[0] == "answer" and extra[1:2] in (["name"], ["value"]) and len(extra) >= 4:
            back, extra = _change("regex", extra[2], extra[3]), extra[4:]
        else:
            raise CorefileError(f"exceeded the number of arguments for a {match} rule: {' '.join(extra)}")
    return Rule(name=forth, back=back, stop=stop)


def _change(match: str, before: str, after: str) -> Change:
    try:
        return change(match, before, after)
    except ValueError as error:
        raise CorefileError(f"invalid regex pattern in a {match} rule: {before}: {error}") from None


# -- template ----------------------------------------------------------------------------------------------------------


def template(c: Dispenser, draft: Draft) -> None:
    rules = []
    while c.next():
        args = c.args()
        if not args:
            raise c.wrong_arguments()
        if args[0].upper() not in ("IN", "ANY"):
            raise c.error(f"invalid RR class {args[0]}")
        if len(args) < 2:
            raise c.wrong_arguments()
        kind = None if args[1].upper() == "ANY" else wire.type_number(args[1])
        if kind is None and args[1].upper() != "ANY":
            raise c.error(f"invalid RR type {args[1]}")
        rules.append(_template(c, tuple(names.all_zones(args[2:])) or tuple(draft.zones), kind))
    draft.plugins["template"] = [Template(rules)]


def _template(c: Dispenser, zones: tuple[str, ...], kind: int | None) -> TemplateRule:
    patterns: list[Any] = []
    sections: dict[str, list[str]] = {"answer": [], "additional": [], "authority": []}
    rcode = wire.NOERROR
    through: tuple[str, ...] | None = None
    codes = {text: number for number, text in wire.RCODES.items()}
    while c.next_block():
        name, rest = c.val, c.args()
        if name == "fallthrough":
            through = tuple(names.all_zones(rest)) or (".",)
        elif not rest:
            raise c.wrong_arguments()
        elif name == "match":
            patterns += [_pattern(c, each) for each in rest]
        elif name in sections:
            for each in rest:
                if action := check(each):
                    # DEVIATION: `template` knows fields, `.Group.NAME` and `index .Match N`, not all of Go's templates.
                    raise c.error(f"could not compile template: {name}: function {action!r} not defined")
            sections[name] += rest
        elif name == "rcode":
            if len(rest) != 1 or rest[0] not in codes:
                raise c.error(f"unknown rcode {rest[0]}")
            rcode = codes[rest[0]]
        else:
            raise c.wrong_arguments()
    return TemplateRule(
        zones, kind, tuple(patterns or [_pattern(c, ".*")]), tuple(sections["answer"]), tuple(sections["additional"]),
        tuple(sections["authority"]), rcode, through,
    )  # fmt: skip


def _pattern(c: Dispenser, text: str) -> Any:
    re2: Any = importlib.import_module("re2")
    try:
        return re2.compile(text)
    except re2.error as error:
        raise c.error(f"could not parse regex: {text}, {error}") from None
