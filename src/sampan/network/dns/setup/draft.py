"""What a server block comes to while its directives are read, and how their words are understood.

Source: github.com/coredns/coredns core/dnsserver/config.go; Go's strconv and time (messages)
"""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sampan.api import durations
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
    try:
        return durations.seconds(text)
    except ValueError as error:
        raise CorefileError(str(error)) from None


def once(c: Dispenser) -> Iterator[None]:
    """Onto the directive's name; its words must be read before the next turn. Raises CorefileError for a second one."""
    found = False
    while c.next():
        if found:
            raise CorefileError(ONCE)
        found = True
        yield
