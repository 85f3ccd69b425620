"""`errors`: what could not be answered, and why; many of a kind as one line.

Source: github.com/coredns/coredns plugin/errors/{errors,setup}.go
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from sampan.network.dns import wire
from sampan.network.dns.plugin import Failed
from sampan.network.dns.wire import Query

log = logging.getLogger("sampan.dns.errors")
LEVELS = {"warning": logging.WARNING, "error": logging.ERROR, "info": logging.INFO, "debug": logging.DEBUG}


@dataclass(frozen=True, slots=True)
class Kind:
    """Errors whose message matches are counted for `seconds` and told of together. `shown`: how that is written."""

    seconds: float
    shown: str
    pattern: Any
    text: str
    level: int = logging.ERROR
    show_first: bool = False


class ErrorLog:
    def __init__(self, kinds: tuple[Kind, ...] = ()) -> None:
        self._kinds = kinds
        self._counted: dict[Kind, int] = {}

    def tell(self, query: Query, failed: Failed) -> None:
        message = str(failed)
        kind = next((each for each in self._kinds if each.pattern.search(message)), None)
        if kind is not None:
            first = kind not in self._counted
            self._counted[kind] = self._counted.get(kind, 0) + 1
            if first:
                asyncio.get_running_loop().call_later(kind.seconds, self._tell_all, kind)
            if not (first and kind.show_first):
                return
        level = kind.level if kind is not None else logging.ERROR
        log.log(level, "%d %s %s: %s", failed.rcode, query.name, wire.type_name(query.type), message)

    def _tell_all(self, kind: Kind) -> None:
        count = self._counted.pop(kind)
        if not (kind.show_first and count == 1):
            log.log(kind.level, "%d errors like '%s' occurred in last %s", count, kind.text, kind.shown)
