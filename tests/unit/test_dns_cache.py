"""The cache, in virtual time: how long what is kept, what is fetched before its end, and what is given after it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from sampan.network.dns import wire
from sampan.network.dns.cache import Cache, Kind, Options
from sampan.network.dns.metrics import Metrics
from sampan.network.dns.plugin import Failed
from sampan.network.dns.wire import Query, Reply
from sampan.testing.loop import VirtualLoop
from tests.dns import Answers, question, texts


def virtually(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(1e9)) as runner:
        runner.run(work)


class Upstream(Answers):
    """Says `ttl`, or what it is told; `down`: nothing."""

    def __init__(self, ttl: int = 100) -> None:
        super().__init__(self._say)
        self.ttl = ttl
        self.down = False
        self.reply: Reply | None = None

    def _say(self, query: Query) -> Reply:
        if self.down:
            raise Failed(wire.SERVFAIL, "i/o timeout")
        return (
            replace(self.reply)
            if self.reply
            else Reply(answer=[wire.address(query.name, self.ttl, "10.0.0.1")], recursive=True)
        )


def made(upstream: Upstream, **options: Any) -> Cache:
    out = Cache(Options(**options), Metrics(), "dns://:53")
    out.next = upstream
    return out


async def ttl(cache: Cache, name: str = "a.", **more: Any) -> int:
    return (await cache.serve(question(name, **more))).answer[0].ttl


def denial(minimum: int, rcode: int = wire.NXDOMAIN, ttl: int = 900) -> Reply:
    return Reply(rcode, authority=[wire.soa("com.", ttl, "ns.com.", "m.com.", (1, 2, 3, 4, minimum))])


def test_ttls_count_down_within_bounds() -> None:
    async def test() -> None:
        upstream = Upstream(100)
        cache = made(upstream, success=Kind(most=30))
        assert await ttl(cache) == 30  # no more than is kept
        await asyncio.sleep(12.5)
        reply = await cache.serve(question("A."))
        assert texts(reply.answer) == ["A. 18 A 10.0.0.1"] and reply.authoritative and reply.recursive
        assert reply.lasts == 0.5  # then the TTL is another
        await asyncio.sleep(18)
        assert await ttl(cache) == 30 and len(upstream.asked) == 2
        # by type and by what the asker wants to know of DNSSEC
        await cache.serve(question("a.", "AAAA"))
        await cache.serve(question("a.", dnssec=True))
        assert len(upstream.asked) == 4
        upstream.ttl = 0
        assert await ttl(cache, "short.") == 0
        await asyncio.sleep(4.9)
        assert await ttl(cache, "short.") == 1 and len(upstream.asked) == 5

    virtually(test())


def test_denials_last_as_long_as_their_zone_says() -> None:
    async def test() -> None:
        upstream = Upstream()
        for rcode, reply in ((wire.NXDOMAIN, denial(20)), (wire.NOERROR, denial(20, wire.NOERROR))):
            upstream.asked.clear()
            upstream.reply = reply
            cache = made(upstream)
            for seconds in (0, 19, 2):
                await asyncio.sleep(seconds)
                assert (await cache.serve(question("no."))).rcode == rcode
            assert len(upstream.asked) == 2
        upstream.reply = Reply(wire.SERVFAIL)
        cache = made(upstream)
        upstream.asked.clear()
        for seconds in (0, 4, 2):
            await asyncio.sleep(seconds)
            await cache.serve(question("fails."))
        assert len(upstream.asked) == 2
        # neither what was cut nor what was refused
        upstream.asked.clear()
        for reply in (Reply(answer=[wire.address("x.", 60, "10.0.0.1")], truncated=True), Reply(wire.REFUSED)):
            upstream.reply = reply
            await cache.serve(question("x."))
            await cache.serve(question("x."))
        assert len(upstream.asked) == 4

    virtually(test())


def test_what_is_not_kept() -> None:
    async def test() -> None:
        upstream = Upstream()
        cache = made(upstream, without={"success": ("cluster.local.",)}, zones=("local.", "com."))
        for name in ("a.cluster.local.", "a.other.local.", "a.org."):
            await cache.serve(question(name))
            await cache.serve(question(name))
        assert [each.split()[0] for each in upstream.asked] == ["a.cluster.local."] * 2 + ["a.other.local."] + [
            "a.org."
        ] * 2
        # the cluster's own answers keep their time in the table of bytes, and their TTL
        upstream.reply = Reply(answer=[wire.address("own.cluster.local.", 300, "10.0.0.1")], lasts=float("inf"))
        reply = await made(upstream, without={"success": ("cluster.local.",)}, success=Kind(most=30)).serve(
            question("own.cluster.local.")
        )
        assert reply.lasts == float("inf")

    virtually(test())


def test_it_holds_so_many_and_no_more() -> None:
    async def test() -> None:
        upstream = Upstream()
        cache = made(upstream, success=Kind(capacity=3))
        for name in ("a.", "b.", "c.", "a.", "d.", "a.", "b."):
            await cache.serve(question(name))
        # b had not been asked for longest when d came, c when b came again
        assert [each.split()[0] for each in upstream.asked] == ["a.", "b.", "c.", "d.", "b."]

    virtually(test())


def test_popular_names_are_fetched_before_their_end() -> None:
    async def test() -> None:
        upstream = Upstream(100)
        cache = made(upstream, prefetch=3, period=60.0, percentage=10)
        for _ in range(4):
            await cache.serve(question("hot."))
        await asyncio.sleep(91)
        await cache.serve(question("hot."))  # the first within a minute
        await cache.serve(question("hot."))
        assert len(upstream.asked) == 1
        await cache.serve(question("hot."))
        await asyncio.sleep(0)
        assert len(upstream.asked) == 2 and await ttl(cache, "hot.") == 100
        upstream.down = True
        await asyncio.sleep(95)
        for _ in range(9):
            assert (
                await ttl(cache, "hot.") == 5
            )  # nobody is there: it lives to its end, and the asker waits for nothing
            await asyncio.sleep(0)

    virtually(test())


def test_stale_answers_on_demand() -> None:
    async def test() -> None:
        upstream = Upstream(60)
        cache = made(upstream, stale=3600.0)
        await cache.serve(question("a."))
        upstream.down = True
        await asyncio.sleep(1000)
        assert await ttl(cache) == 0
        await asyncio.sleep(1)
        upstream.down = False
        assert await ttl(cache) == 0  # at once; and fetched meanwhile
        await asyncio.sleep(1)
        assert await ttl(cache) == 59
        upstream.down = True
        await asyncio.sleep(3700)
        try:
            await cache.serve(question("a."))
        except Failed as failed:
            assert failed.rcode == wire.SERVFAIL
        else:
            raise AssertionError("too old to be given")

    virtually(test())


def test_stale_only_when_nobody_answers() -> None:
    async def test() -> None:
        upstream = Upstream(60)
        cache = made(upstream, stale=3600.0, verify=True)
        await cache.serve(question("a."))
        await asyncio.sleep(100)
        assert await ttl(cache) == 60 and len(upstream.asked) == 2
        await asyncio.sleep(100)
        upstream.down = True
        assert await ttl(cache) == 0
        upstream.down, upstream.reply = False, denial(30)
        assert (await cache.serve(question("a."))).rcode == wire.NXDOMAIN

    virtually(test())
