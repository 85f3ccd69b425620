"""From the bytes of a question to the bytes of its answer, for one address that is listened on.

The zone that fits best has the question. What was answered once is answered again as it was, by a look into a table of bytes,
until the cluster changes or the answer's time is over: that is what makes ten thousand answers a second. Addresses that
are to be balanced are kept in several orders, used in turn.

Source: github.com/coredns/coredns core/dnsserver/server.go
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sampan.network.dns import wire
from sampan.network.dns.balance import orders
from sampan.network.dns.errorlog import ErrorLog
from sampan.network.dns.metrics import Metrics, Sample
from sampan.network.dns.plugin import Failed, Fatal, Plugin
from sampan.network.dns.querylog import QueryLog
from sampan.network.dns.wire import BadMessage, Query, Reply

log = logging.getLogger("sampan.dns")
#: answers kept as bytes, in each of two generations
MAX_KEPT = 8192
MAX_DEPTH = 10


@dataclass(slots=True)
class Site:
    """One zone of one server block. `server`: the address as metrics name it."""

    zone: str
    server: str
    chain: Plugin
    plugins: list[Plugin] = field(default_factory=list)
    #: what was set up besides the chain
    errors: ErrorLog | None = None
    measured: bool = False
    balanced: bool = False
    log: QueryLog | None = None
    buffer: int = 0


@dataclass(slots=True)
class _Kept:
    packets: list[bytes]
    epoch: int
    until: float
    sample: Sample | None
    hits: int = 0


class Server:
    """`sites`: by zone. `epoch`: changes with the cluster. `fatal` is told what ends the process."""

    def __init__(
        self,
        sites: dict[str, Site],
        *,
        metrics: Metrics,
        epoch: Callable[[], int],
        rng: random.Random,
        fatal: Callable[[str], None],
    ) -> None:
        self.sites = sites
        self._metrics = metrics
        self._epoch = epoch
        self._rng = rng
        self._fatal = fatal
        self._kept: dict[bytes, _Kept] = {}
        #: those of before, that have not been asked for since
        self._older: dict[bytes, _Kept] = {}
        self._loop = asyncio.get_running_loop()

    def known(self, data: bytes) -> bytes | None:
        """An answer given before, for a datagram."""
        key = data[2:]
        found = self._kept.get(key)
        if found is None:
            found = self._older.pop(key, None)
            if found is None:
                return None
            self._keep(key, found)
        if found.epoch != self._epoch() or found.until <= self._loop.time():
            self._count(found)
            del self._kept[key]
            return None
        packets = found.packets
        found.hits += 1
        return data[:2] + (packets[found.hits % len(packets)] if len(packets) > 1 else packets[0])

    async def answer(self, data: bytes, *, tcp: bool, remote: tuple[str, int], local: str) -> bytes | None:
        """None: it deserves no answer."""
        started = self._loop.time()
        try:
            query = wire.parse_query(data, tcp=tcp, remote=remote, local=local)
        except BadMessage as error:
            return wire.refuse(data, error.rcode) if error.rcode is not None else None
        site = self._site(query.key)
        reply = await self._reply(query, site)
        if site is not None and site.buffer and query.edns > site.buffer:
            query = replace(query, edns=site.buffer)
        if reply.rcode != wire.NOERROR or site is None or not site.balanced:
            packets = [wire.pack(query, reply)]
        else:
            packets = [wire.pack(query, each) for each in orders(reply, self._rng, many=reply.lasts > 0)]
        sample = None
        seconds = self._loop.time() - started
        if site is not None and site.measured:
            sample = _sample(query, site, reply, len(packets[0]))
            self._metrics.count(sample, seconds)
        if site is not None and site.log is not None:
            cut = replace(reply, truncated=bool(packets[0][2] & 2))
            site.log.tell(query, cut, len(packets[0]), seconds)
        elif reply.lasts > 0 and query.plain and not tcp:
            self._keep(data[2:], _Kept([each[2:] for each in packets], self._epoch(), started + reply.lasts, sample))
        return packets[0]

    async def lookup(self, query: Query) -> Reply:
        """For plugins that need what others know. Raises Failed."""
        if query.depth > MAX_DEPTH:
            raise Failed(wire.SERVFAIL, f"too many names lead to {query.name}")
        return await self._reply(query, self._site(query.key))

    def _site(self, name: str) -> Site | None:
        sites = self.sites
        while True:
            if (found := sites.get(name)) is not None:
                return found
            name = name.partition(".")[2]
            if not name:
                return sites.get(".")

    async def _reply(self, query: Query, site: Site | None) -> Reply:
        if site is None or query.klass != wire.IN or query.type in (wire.AXFR, wire.IXFR):
            return Reply(wire.REFUSED)
        try:
            return await site.chain.serve(query)
        except Failed as failed:
            if site.errors is not None:
                site.errors.tell(query, failed)
            return Reply(failed.rcode)
        except Fatal as fatal:
            self._fatal(str(fatal))
        except Exception:
            self._metrics.panics.add(())
            log.exception("Recovered from panic in server: %s", site.server)
        return Reply(wire.SERVFAIL)

    # -- what was answered ---------------------------------------------------------------------------------------------

    def _keep(self, key: bytes, kept: _Kept) -> None:
        if len(self._kept) >= MAX_KEPT:
            for each in self._older.values():
                self._count(each)
            self._older, self._kept = self._kept, {}
        self._kept[key] = kept

    def _count(self, kept: _Kept) -> None:
        if kept.hits and kept.sample is not None:
            self._metrics.count(kept.sample, 0.0, kept.hits)
        kept.hits = 0

    def gather(self) -> None:
        """Count what was answered from the table."""
        for kept in (*self._kept.values(), *self._older.values()):
            self._count(kept)

    def clear(self) -> None:
        self.gather()
        self._kept.clear()
        self._older.clear()


def _sample(query: Query, site: Site, reply: Reply, size: int) -> Sample:
    family = "2" if ":" in query.remote[0] else "1"
    rcode = wire.RCODES.get(reply.rcode, str(reply.rcode))
    return Sample(
        site.server, site.zone, "tcp" if query.tcp else "udp", family, wire.type_name(query.type), rcode, reply.by,
        query.size, size, query.dnssec,
    )  # fmt: skip
