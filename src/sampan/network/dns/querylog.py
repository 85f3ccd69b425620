"""`log`: a line for each question.

Source: github.com/coredns/coredns plugin/log/{log,setup}.go, plugin/pkg/replacer, plugin/pkg/response/classify.go
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

from sampan.network.dns import names, wire
from sampan.network.dns.wire import Query, Reply

log = logging.getLogger("sampan.dns")
COMMON = '{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}" {rcode} {>rflags} {rsize} {duration}'
COMBINED = COMMON + ' "{>opcode}"'
CLASSES = ("all", "success", "denial", "error")
_FIELD = re.compile(r"\{>?[a-z]+\}")
_CLASSES = {1: "IN", 3: "CH", 4: "HS", 255: "ANY"}


@dataclass(frozen=True, slots=True)
class Rule:
    zones: tuple[str, ...]
    format: str = COMMON
    classes: frozenset[str] = frozenset({"all"})


class QueryLog:
    def __init__(self, rules: list[Rule]) -> None:
        self._rules = rules

    def tell(self, query: Query, reply: Reply, size: int, seconds: float) -> None:
        for rule in self._rules:
            if names.longest(rule.zones, query.key):
                if rule.classes & {"all", _class(reply)}:
                    log.info("%s", _line(rule.format, query, reply, size, seconds))
                return


def _class(reply: Reply) -> str:
    if reply.rcode == wire.NXDOMAIN or (reply.rcode == wire.NOERROR and not reply.answer and _has_soa(reply)):
        return "denial"
    return "success" if reply.rcode == wire.NOERROR else "error"


def _has_soa(reply: Reply) -> bool:
    return any(record.type == wire.SOA for record in reply.authority)


def _line(form: str, query: Query, reply: Reply, size: int, seconds: float) -> str:
    flags = [("aa", reply.authoritative), ("tc", reply.truncated), ("rd", query.recursion), ("ra", reply.recursive),
             ("ad", reply.authentic), ("cd", query.unchecked)]  # fmt: skip
    host = query.remote[0]
    fields: dict[str, Callable[[], str]] = {
        "{remote}": lambda: f"[{host}]" if ":" in host else host,
        "{port}": lambda: str(query.remote[1]),
        "{local}": lambda: query.local,
        "{name}": lambda: query.name,
        "{type}": lambda: wire.type_name(query.type),
        "{class}": lambda: _CLASSES.get(query.klass, f"CLASS{query.klass}"),
        "{proto}": lambda: "tcp" if query.tcp else "udp",
        "{size}": lambda: str(query.size),
        "{rcode}": lambda: wire.RCODES.get(reply.rcode, str(reply.rcode)),
        "{rsize}": lambda: str(size),
        "{duration}": lambda: f"{seconds:.9f}s",
        "{>id}": lambda: str(query.id),
        "{>opcode}": lambda: "0",
        "{>do}": lambda: "true" if query.dnssec else "false",
        "{>bufsize}": lambda: str(query.limit),
        "{>rflags}": lambda: ",".join(["qr", *(name for name, true in flags if true)]),
        "{common}": lambda: _line(COMMON, query, reply, size, seconds),
        "{combined}": lambda: _line(COMBINED, query, reply, size, seconds),
    }
    return _FIELD.sub(lambda found: fields[found[0]]() if found[0] in fields else "-", form)
