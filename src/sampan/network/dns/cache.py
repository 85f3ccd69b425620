"""`cache`: what others said, for as long as it may be said again.

Two tables, of answers and of denials, each with a bound; the one not asked for longest goes first. TTLs count down. On
demand an answer that is asked for often is fetched anew before it ends (`prefetch`), and one that has ended is given while
nobody can be reached (`serve_stale`).

Time is the loop's.

Source: github.com/coredns/coredns plugin/cache/{cache,handler,item}.go, plugin/pkg/response/typify.go,
plugin/pkg/dnsutil/ttl.go; RFC 2308, RFC 8767
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sampan.network.dns import names, wire
from sampan.network.dns.metrics import Metrics
from sampan.network.dns.plugin import Failed, Plugin
from sampan.network.dns.wire import Query, Record, Reply

SUCCESS, DENIAL = "success", "denial"
CAPACITY = 9984
MIN_TTL, MAX_TTL = 5, 3600
MAX_REFRESHES = 100
Key = tuple[str, int, bool, bool]


@dataclass(frozen=True, slots=True)
class Kind:
    """Bounds of one table: entries, and seconds."""

    capacity: int = CAPACITY
    most: int = MAX_TTL
    least: int = MIN_TTL


@dataclass(frozen=True, slots=True)
class Options:
    """`stale`: seconds beyond its end; 0: none. `verify`: only when a try to refresh it has failed. `without`: zones of
    which nothing is kept, by table. `prefetch`: how often within `period`, and at which part of its time left."""

    zones: tuple[str, ...] = (".",)
    success: Kind = field(default_factory=Kind)
    denial: Kind = field(default_factory=lambda: Kind(most=MAX_TTL // 2))
    failures: int = MIN_TTL
    without: dict[str, tuple[str, ...]] = field(default_factory=dict)
    prefetch: int = 0
    period: float = 60.0
    percentage: int = 10
    stale: float = 0.0
    verify: bool = False
    keep_ttl: bool = False


@dataclass(slots=True)
class _Item:
    reply: Reply
    ttl: int
    stored: float
    #: how often in a row, none of the gaps longer than the period
    hits: int = 0
    last: float = 0.0

    def left(self, now: float) -> int:
        return self.ttl - int(now - self.stored)


class Cache(Plugin):
    name = "cache"

    def __init__(self, options: Options, metrics: Metrics, server: str) -> None:
        super().__init__()
        self.options = options
        self._tables: dict[str, OrderedDict[Key, _Item]] = {SUCCESS: OrderedDict(), DENIAL: OrderedDict()}
        self._refreshing: dict[Key, asyncio.Task[None]] = {}
        served = ("server", "zones", "view")
        self._labels = (server, ",".join(options.zones), "")
        new = metrics.counter
        self._requests = new("coredns_cache_requests_total", "The count of cache requests.", served)
        self._misses = new("coredns_cache_misses_total", "The count of cache misses.", served)
        self._hits = new("coredns_cache_hits_total", "The count of cache hits.", ("server", "type", "zones", "view"))
        self._evictions = new("coredns_cache_evictions_total", "The count of cache evictions.", self._hits.labels)
        self._entries = metrics.gauge(
            "coredns_cache_entries", "The number of elements in the cache.", self._hits.labels
        )
        self._prefetches = new(
            "coredns_cache_prefetch_total", "The number of times the cache has prefetched a cached item.", served
        )
        self._stale = new(
            "coredns_cache_served_stale_total", "The number of requests served from stale cache entries.", served
        )

    async def stop(self) -> None:
        tasks = list(self._refreshing.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- answers -------------------------------------------------------------------------------------------------------

    async def serve(self, query: Query) -> Reply:
        if not names.longest(self.options.zones, query.key):
            return await self.pass_on(query)
        now = asyncio.get_running_loop().time()
        key = (query.key, query.type, query.dnssec, query.unchecked)
        self._requests.add(self._labels)
        item, table = self._find(key, now)
        if item is None:
            self._misses.add(self._labels)
            return await self._fetch(query, key)
        left = item.left(now)
        if left <= 0 and self.options.verify:
            try:
                reply = await self._fetch(query, key, only_good=True)
            except Failed:
                reply = Reply(wire.SERVFAIL)
            if reply.rcode in (wire.NOERROR, wire.NXDOMAIN):
                return reply
        server, *rest = self._labels
        self._hits.add((server, table, *rest))
        if left <= 0:
            self._stale.add(self._labels)
            if not self.options.verify:
                self._refresh(query, key)
        elif self._is_popular(item, now):
            self._refresh(query, key)
        return self._again(query, item, max(left, 0), now)

    def _find(self, key: Key, now: float) -> tuple[_Item | None, str]:
        for name in (DENIAL, SUCCESS):
            table = self._tables[name]
            item = table.get(key)
            if item is not None:
                left = item.left(now)
                if left > 0 or (self.options.stale and -left < self.options.stale):
                    table.move_to_end(key)
                    return item, name
        return None, ""

    def _again(self, query: Query, item: _Item, left: int, now: float) -> Reply:
        ttl = item.ttl if self.options.keep_ttl else left
        kept = item.reply
        # no longer than until the TTL is another; how often it is asked for must be seen where that counts
        same = left > 0 and not self.options.prefetch
        lasts = item.stored + item.ttl - left + 1 - now if same else 0.0
        sections = ([_named(query, record, ttl) for record in section] for section in _sections(kept))
        answer, authority, additional = sections
        return replace(
            kept, answer=answer, authority=authority, additional=additional, lasts=max(lasts, 0.0), by=self.name,
            # some throw away what is not authoritative
            authoritative=True, authentic=kept.authentic and (query.dnssec or query.authentic),
        )  # fmt: skip

    async def _fetch(self, query: Query, key: Key, *, only_good: bool = False) -> Reply:
        """Ask, and keep what may be kept."""
        reply = await self.pass_on(query)
        table, ttl = self._time(reply)
        lost = only_good and reply.rcode not in (wire.NOERROR, wire.NXDOMAIN)
        if table and ttl > 0 and not lost and not names.longest(self.options.without.get(table, ()), query.key):
            self._keep(table, key, replace(reply, lasts=0.0), ttl)
        elif reply.lasts > 0:
            return reply  # of the cluster's own names
        answer, authority, additional = ([_capped(record, ttl) for record in each] for each in _sections(reply))
        authentic = reply.authentic and (query.dnssec or query.authentic)
        return replace(reply, answer=answer, authority=authority, additional=additional, authentic=authentic)

    def _time(self, reply: Reply) -> tuple[str, int]:
        """In which table, and how long; no table: it is not kept."""
        options = self.options
        soas = [record for record in reply.authority if record.type == wire.SOA]
        ttls = [record.ttl for section in _sections(reply) for record in section]
        least = min(ttls, default=MIN_TTL)
        if reply.rcode == wire.NOERROR and (reply.answer or not soas):
            return ("" if reply.truncated else SUCCESS), _bounded(least, options.success)
        if soas and reply.rcode in (wire.NOERROR, wire.NXDOMAIN):
            least = min(least, *(wire.minimum(record) for record in soas))
            return ("" if reply.truncated else DENIAL), _bounded(least, options.denial)
        if reply.rcode in (wire.SERVFAIL, wire.NOTIMP):
            return DENIAL, options.failures
        return "", least

    def _keep(self, name: str, key: Key, reply: Reply, ttl: int) -> None:
        table = self._tables[name]
        kind = self.options.success if name == SUCCESS else self.options.denial
        now = asyncio.get_running_loop().time()
        old = table.pop(key, None)
        server, *rest = self._labels
        if len(table) >= kind.capacity:
            if kind.capacity == 0:
                return
            table.popitem(last=False)
            self._evictions.add((server, name, *rest))
        table[key] = _Item(reply, ttl, now, old.hits if old else 0, old.last if old else now)
        if name == SUCCESS:
            self._tables[DENIAL].pop(key, None)
        for each, found in self._tables.items():
            self._entries.set((server, each, *rest), len(found))

    # -- before and after the end --------------------------------------------------------------------------------------

    def _is_popular(self, item: _Item, now: float) -> bool:
        options = self.options
        if options.prefetch <= 0:
            return False
        item.hits = item.hits + 1 if now - item.last <= options.period else 1
        item.last = now
        return item.hits >= options.prefetch and item.left(now) <= -(-options.percentage * item.ttl // 100)

    def _refresh(self, query: Query, key: Key) -> None:
        if key in self._refreshing or len(self._refreshing) >= MAX_REFRESHES:
            return
        self._prefetches.add(self._labels)
        # over TCP: the asker's buffer is not ours
        task = asyncio.create_task(self._refreshed(replace(query, tcp=True), key), name="dns refresh")
        self._refreshing[key] = task
        task.add_done_callback(lambda _: self._refreshing.pop(key, None))

    async def _refreshed(self, query: Query, key: Key) -> None:
        try:
            await self._fetch(query, key, only_good=True)
        except Failed:
            return  # what there is stays for as long as it may


def _sections(reply: Reply) -> tuple[Sequence[Record], Sequence[Record], Sequence[Record]]:
    return reply.answer, reply.authority, reply.additional


def _bounded(ttl: int, kind: Kind) -> int:
    return min(max(ttl, kind.least), kind.most)


def _capped(record: Record, ttl: int) -> Record:
    return record if record.ttl <= ttl else replace(record, ttl=ttl)


def _named(query: Query, record: Record, ttl: int) -> Record:
    """In the spelling of whoever asks now."""
    name = query.name if record.name.lower() == query.key else record.name
    return Record(name, record.type, ttl, record.data)
