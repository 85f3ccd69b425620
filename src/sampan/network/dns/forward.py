"""`forward`: questions that others answer.

Servers are tried one after the other within five seconds, those that fail their health checks last; when all do, the check
is taken to be what is broken, and one is asked by chance.

Source: github.com/coredns/coredns plugin/forward/{forward,policy,setup}.go
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sampan.network.dns import names, wire
from sampan.network.dns.metrics import Metrics
from sampan.network.dns.plugin import Failed, Plugin
from sampan.network.dns.upstream import Upstream, UpstreamError
from sampan.network.dns.wire import Query, Reply

DEADLINE = 5.0
#: between two rounds over servers that refuse at once
ROUND_SECONDS = 0.1
SECONDS = tuple(0.00025 * 2**power for power in range(16))
#: as much as fits a datagram on every path
MAX_EDNS = 4096


@dataclass(frozen=True, slots=True)
class Options:
    """`policy`: random, round_robin or sequential. `max_fails` 0: no health checks."""

    zone: str = "."
    ignored: tuple[str, ...] = ()
    policy: str = "random"
    max_fails: int = 2
    force_tcp: bool = False
    prefer_udp: bool = False
    max_concurrent: int = 0
    fail_fast: bool = False
    interval: float = 0.5
    check_name: str = "."
    check_recursion: bool = True
    next_on: frozenset[int] = frozenset()
    failover: frozenset[int] = frozenset()


class Forward(Plugin):
    name = "forward"

    def __init__(self, upstreams: Sequence[Upstream], options: Options, metrics: Metrics, rng: random.Random) -> None:
        super().__init__()
        self._upstreams = list(upstreams)
        self._options = options
        self._rng = rng
        self._running = 0
        self._turn = 0
        check = Query(0, options.check_name, options.check_name, wire.NS, recursion=options.check_recursion)
        self._check = replace(check, tcp=options.force_tcp)
        labels = ("proxy_name", "to", "rcode")
        self._duration = metrics.histogram(
            "coredns_proxy_request_duration_seconds", "Histogram of the time each request took.", labels, SECONDS
        )
        self._requests = metrics.counter(
            "coredns_forward_requests_total", "Counter of requests made per upstream.", ("to",)
        )
        self._unhealthy = metrics.counter(
            "coredns_proxy_healthcheck_failures_total", "Counter of the number of failed healthchecks.", labels[:2]
        )
        self._broken = metrics.counter(
            "coredns_forward_healthcheck_broken_total",
            "Counter of the number of complete failures of the healthchecks.",
            (),
        )
        self._rejected = metrics.counter(
            "coredns_forward_max_concurrent_rejects_total",
            "Counter of the number of queries rejected because the concurrent queries were at maximum.",
            (),
        )

    async def stop(self) -> None:
        for each in self._upstreams:
            await each.stop()

    async def serve(self, query: Query) -> Reply:
        options = self._options
        mine = names.within(query.key, options.zone) and (
            query.key == options.zone or not names.longest(options.ignored, query.key)
        )
        if not mine:
            return await self.pass_on(query)
        if options.max_concurrent and self._running >= options.max_concurrent:
            self._rejected.add(())
            raise Failed(wire.REFUSED, f"concurrent queries exceeded maximum {options.max_concurrent}")
        self._running += 1
        try:
            reply = await self._ask(replace(query, edns=min(query.edns, MAX_EDNS)))
        finally:
            self._running -= 1
        if reply.rcode in options.next_on and isinstance(self.next, Forward):
            return await self.pass_on(query)
        reply.by = self.name
        return reply

    async def _ask(self, query: Query) -> Reply:
        loop = asyncio.get_running_loop()
        end = loop.time() + DEADLINE
        order = self._order()
        tcp = self._options.force_tcp or (query.tcp and not self._options.prefer_udp)
        skipped, at, last = 0, 0, ""
        reply: Reply | None = None
        failovers = 0
        while loop.time() < end:
            if at == len(order):
                at = skipped = 0
                await asyncio.sleep(ROUND_SECONDS)
            upstream = order[at]
            at += 1
            if self._down(upstream):
                skipped += 1
                if skipped < len(order):
                    continue
                self._broken.add(())
                if self._options.fail_fast:
                    break
                upstream = self._rng.choice(order)
            try:
                reply = await self._one(upstream, query, tcp, end - loop.time())
            except UpstreamError as error:
                last = str(error) or last or f"read udp ->{upstream.address}: i/o timeout"
                if self._options.max_fails:
                    upstream.check(self._check, self._options.interval, self._counted(upstream))
                if skipped == len(order):
                    break
                continue
            if reply.rcode in self._options.failover and failovers < len(order) - 1:
                failovers += 1
                continue
            return reply
        if reply is not None:
            return reply
        raise Failed(wire.SERVFAIL, last or "no healthy proxies")

    async def _one(self, upstream: Upstream, query: Query, tcp: bool, left: float) -> Reply:
        loop = asyncio.get_running_loop()
        started = loop.time()
        to = str(upstream.address)
        self._requests.add((to,))
        try:
            async with asyncio.timeout(left):
                found = await upstream.ask(query, tcp=tcp)
        except TimeoutError:
            raise UpstreamError("") from None  # no time is left; what the others said says more
        rcode = wire.RCODES.get(found.reply.rcode, str(found.reply.rcode))
        self._duration.observe((self.name, to, rcode), loop.time() - started)
        return found.reply

    def _order(self) -> list[Upstream]:
        found = self._upstreams
        if self._options.policy == "random":
            return self._rng.sample(found, len(found))
        if self._options.policy == "round_robin":
            self._turn = (self._turn + 1) % len(found)
            return found[self._turn :] + found[: self._turn]
        return found

    def _down(self, upstream: Upstream) -> bool:
        return self._options.max_fails > 0 and upstream.failures > self._options.max_fails

    def _counted(self, upstream: Upstream) -> Callable[[], None]:
        return lambda: self._unhealthy.add((self.name, str(upstream.address)))
