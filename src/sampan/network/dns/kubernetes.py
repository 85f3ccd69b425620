"""`kubernetes`: the cluster's own zones, from the API.

Source: github.com/coredns/coredns plugin/kubernetes/{handler,kubernetes,setup}.go, plugin/backend_lookup.go
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from sampan.network.dns import names, wire
from sampan.network.dns.mirror import Mirror
from sampan.network.dns.plugin import Failed, Plugin
from sampan.network.dns.wire import Query, Record, Reply
from sampan.network.dns.world import World
from sampan.network.dns.zone import NO_PORT, VERSION, VERSION_TTL, Item, NoName, Options, Zone

log = logging.getLogger("sampan.dns.kubernetes")
SYNC_SECONDS, TELL_SECONDS = 5.0, 0.5
#: a chain of CNAMEs may be so long
MAX_CHAIN = 8
FOREVER = float("inf")
Lookup = Callable[[Query], Awaitable[Reply]]


class Kubernetes(Plugin):
    """`lookup` asks the whole server, for names that lead elsewhere. `through`: zones for which the next plugin is asked
    where there is no such name. `mirror` makes what keeps the world, at the start."""

    name = "kubernetes"

    def __init__(
        self,
        world: World,
        options: Options,
        *,
        through: tuple[str, ...],
        lookup: Lookup,
        mirror: Callable[[World], Mirror] | None,
        wait: float = SYNC_SECONDS,
    ) -> None:
        super().__init__()
        self.world = world
        self.options = options
        self.zone = Zone(world, options)
        self._through = through
        self._lookup = lookup
        self._make = mirror
        self._mirror: Mirror | None = None
        self._wait = wait
        #: by zone, and of which change
        self._soas: dict[str, tuple[float, Record | None]] = {}

    # -- life ----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        if self._make is None:
            return
        self._mirror = self._make(self.world)
        self._mirror.start()
        waiting = asyncio.ensure_future(self._mirror.wait_synced())
        end = asyncio.get_running_loop().time() + self._wait
        try:
            while not waiting.done():
                await asyncio.wait((waiting,), timeout=TELL_SECONDS)
                if waiting.done():
                    return
                if asyncio.get_running_loop().time() >= end:
                    log.warning("starting server with unsynced Kubernetes API")
                    return
                log.info("waiting for Kubernetes API before starting server")
        finally:
            waiting.cancel()

    async def stop(self) -> None:
        if self._mirror is not None:
            await self._mirror.stop()

    def ready(self) -> bool:
        return self._mirror is None or self._mirror.synced

    # -- answers -------------------------------------------------------------------------------------------------------

    async def serve(self, query: Query) -> Reply:
        zone = names.longest(self.options.zones, query.key)
        if not zone:
            return await self.pass_on(query)
        reply = Reply(authoritative=True, by=self.name, lasts=FOREVER if self.ready() else 0.0)
        try:
            await self._answer(query, zone, reply)
        except NoName:
            if any(names.within(query.key, each) for each in self._through):
                return await self.pass_on(query)
            reply.rcode = wire.NXDOMAIN if self.ready() else wire.SERVFAIL
        if not reply.answer:
            reply.authority = [self.soa(zone)]
        return reply

    async def _answer(self, query: Query, zone: str, reply: Reply) -> None:
        kind, ttl = query.type, self.options.ttl
        if kind in (wire.A, wire.AAAA):
            reply.answer = await self._addresses(query, query.name, zone, [], reply)
        elif kind == wire.SRV:
            self._services(query, zone, reply)
        elif kind == wire.PTR:
            found = self.zone.pointers(query.key, zone)
            reply.answer = [wire.ptr(query.name, ttl, each) for each in found]
        elif kind == wire.TXT:
            if query.key == f"dns-version.{zone}":
                reply.answer = [wire.txt(query.name, VERSION_TTL, VERSION)]
            else:
                self.zone.find(query.key, zone)
        elif kind == wire.CNAME:
            for item in self.zone.find(query.key, zone)[:1]:
                if item.external:
                    reply.answer = [wire.cname(query.name, ttl, item.host)]
        elif kind == wire.SOA and query.key == zone:
            reply.answer = [self.soa(zone)]
        elif kind == wire.NS and query.key == zone:
            servers = self.zone.servers(zone)
            reply.answer = [wire.ns(query.name, ttl, name) for name in dict.fromkeys(name for name, _ in servers)]
            reply.additional = [wire.address(name, ttl, ip) for name, ip in servers]
        else:
            self.zone.find(query.key, zone)

    def soa(self, zone: str) -> Record:
        modified, record = self._soas.get(zone, (-1.0, None))
        if record is None or modified != self.world.modified:
            record = self._soa(zone)
            self._soas[zone] = self.world.modified, record
        return record

    def _soa(self, zone: str) -> Record:
        ttl = self.options.ttl
        master, mailbox = (f"{each}.{zone}" if zone != "." else f"{each}." for each in ("ns.dns", "hostmaster"))
        times = (int(self.world.modified) & 0xFFFFFFFF, 7200, 1800, 86400, ttl)
        return wire.soa(zone, min(ttl, 300), master, mailbox, times)

    async def _addresses(self, query: Query, name: str, zone: str, seen: list[Record], reply: Reply) -> list[Record]:
        """Addresses of `name`, after the CNAMEs that lead to them. Raises NoName."""
        out: dict[str, Record] = {}
        for item in self.zone.find(name.lower(), zone):
            if item.external:
                return await self._follow(query, name, item.host, zone, seen, reply)
            if (":" in item.host) == (query.type == wire.AAAA):
                out[item.host] = wire.address(name, self.options.ttl, item.host)
        return list(out.values())

    async def _follow(
        self, query: Query, name: str, target: str, zone: str, seen: list[Record], reply: Reply
    ) -> list[Record]:
        known = [name.lower(), *(record.name.lower() for record in seen)]
        if target.lower() in known or len(seen) >= MAX_CHAIN:
            return []
        first = wire.cname(name, self.options.ttl, target)
        if names.within(target.lower(), zone):
            try:
                rest = await self._addresses(query, target, zone, [*seen, first], reply)
            except NoName:
                rest = []
            return [first, *rest] if rest else []
        reply.lasts = 0.0  # others decide how long that is true
        asked = replace(query, name=target, key=target.lower(), plain=False, depth=query.depth + 1)
        found = await self._lookup(asked)
        if found.rcode == wire.SERVFAIL:
            # DEVIATION: where the name of a Service of type ExternalName cannot be looked up, the answer is SERVFAIL.
            # CoreDNS gives the CNAME alone, which resolvers take, and keep, for a name without addresses.
            raise Failed(wire.SERVFAIL, f"{target} could not be looked up")
        reply.truncated |= found.truncated
        return [first, *found.answer]

    def _services(self, query: Query, zone: str, reply: Reply) -> None:
        # names of others have no ports
        found = [item for item in self.zone.find(query.key, zone) if not item.external]
        weight = max(1, 100 // len(found)) if found else 1
        answer: dict[tuple[str, int], Record] = {}
        additional: dict[Item, Record] = {}
        for item in found:
            if item.port == NO_PORT:
                continue
            ttl = self.options.ttl
            answer.setdefault((item.name, item.port), wire.srv(query.name, ttl, weight, item.port, item.name))
            additional[replace(item, port=0)] = wire.address(item.name, ttl, item.host)
        reply.answer, reply.additional = list(answer.values()), list(additional.values())
