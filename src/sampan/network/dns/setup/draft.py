"""What a server block comes to while its directives are read, and how their words are understood.

Source: github.com/coredns/coredns core/dnsserver/config.go; Go's strconv and time (messages)
"""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sampan.client import Client, Config
from sampan.network.dns.corefile import CorefileError, Dispenser
from sampan.network.dns.errorlog import ErrorLog
from sampan.network.dns.metrics import Metrics
from sampan.network.dns.plugin import Plugin
from sampan.network.dns.querylog import Rule
from sampan.network.dns.upstream import Address
from sampan.network.dns.wire import Query, Reply
from sampan.network.dns.world import World

ONCE = "this plugin can only be used once per Server Block"
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What plugins get from outside. `connect`: a client for where the API server is; None: as the pod finds it.
    `addresses`: our own, as others see us."""

    metrics: Metrics
    rng: random.Random
    clock: Callable[[], float]
    connect: Callable[[Config | None], Client]
    addresses: Callable[[], list[str]]


@dataclass(frozen=True, slots=True)
class Reload:
    interval: float = 30.0
    jitter: float = 15.0


@dataclass(slots=True)
class Draft:
    """One server block. `lookup` and `own` are known when the server is."""

    zones: list[str]
    port: int
    root: Path
    around: Surroundings
    hosts: list[str] = field(default_factory=list)
    plugins: dict[str, list[Plugin]] = field(default_factory=dict)
    worlds: list[World] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)
    errors: ErrorLog | None = None
    balanced: bool = False
    log: list[Rule] = field(default_factory=list)
    buffer: int = 0
    health: str = ""
    lameduck: float = 0.0
    ready: str = ""
    metrics: str = ""
    reload: Reload | None = None
    lookup: Callable[[Query], Awaitable[Reply]] | None = None
    own: Address | None = None

    @property
    def server(self) -> str:
        host = self.hosts[0] if self.hosts else ""
        return f"dns://{f'[{host}]' if ':' in host else host}:{self.port}"

    async def ask(self, query: Query) -> Reply:
        """The whole server, once there is one."""
        assert self.lookup is not None
        return await self.lookup(query)

    def itself(self) -> Address:
        assert self.own is not None
        return self.own


def number(text: str) -> int:
    """Raises CorefileError in Go's words."""
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise CorefileError(f'strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)


def seconds(text: str) -> float:
    """Of a duration in Go's form. Raises CorefileError."""
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    if rest == "0":
        return 0.0
    parts = _DURATION.findall(rest)
    if not parts or "".join(value + unit for value, unit in parts) != rest:
        missing = bool(re.fullmatch(r"[0-9.]+", rest))
        raise CorefileError(f'time: {"missing unit in" if missing else "invalid"} duration "{text}"')
    return sign * sum(float(value) * _UNITS[unit] for value, unit in parts)


def once(c: Dispenser) -> Iterator[None]:
    """Onto the directive's name; its words must be read before the next turn. Raises CorefileError for a second one."""
    found = False
    while c.next():
        if found:
            raise CorefileError(ONCE)
        found = True
        yield
