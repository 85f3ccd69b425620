"""`loop`: does what we pass on come back to us? Then the process ends, rather than ask itself for ever.

Source: github.com/coredns/coredns plugin/loop/{loop,setup}.go
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable

from sampan.network.dns import wire
from sampan.network.dns.plugin import Failed, Fatal, Plugin
from sampan.network.dns.upstream import Address, Upstream, UpstreamError
from sampan.network.dns.wire import Query, Reply

log = logging.getLogger("sampan.dns.loop")
DEADLINE, RETRY_SECONDS, WATCH_SECONDS = 30.0, 2.0, 2.0
MAX_SEEN = 2


class Loop(Plugin):
    """`address`: of ourselves, known once the sockets are open."""

    name = "loop"

    def __init__(self, zone: str, address: Callable[[], Address], rng: random.Random) -> None:
        super().__init__()
        self._zone = zone
        self._address = address
        labels = f"{rng.getrandbits(63)}.{rng.getrandbits(63)}."
        self._qname = labels if zone == "." else labels + zone
        self._seen = 0
        self._task: asyncio.Task[None] | None = None

    async def started(self) -> None:
        self._task = asyncio.create_task(self._ask(), name="dns loop")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _ask(self) -> None:
        """Send a question of which nobody else can know, and listen for it for a while."""
        query = Query(0, self._qname, self._qname, wire.HINFO)
        loop = asyncio.get_running_loop()
        end = loop.time() + DEADLINE
        while loop.time() < end:
            try:
                await Upstream(self._address(), context=None).ask(query, tcp=False)
            except UpstreamError:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await asyncio.sleep(WATCH_SECONDS)
            break
        self._task = None

    async def serve(self, query: Query) -> Reply:
        if query.type == wire.HINFO and query.key == self._qname and self._task is not None:
            self._seen += 1
            if self._seen > MAX_SEEN:
                host, port = query.remote
                sender = Address(host, port)
                raise Fatal(
                    f'plugin/loop: Loop ({sender} -> {query.local}) detected for zone "{self._zone}", '
                    f'see https://coredns.io/plugins/loop#troubleshooting. Query: "HINFO {self._qname}"'
                )
            try:
                return await self.pass_on(query)
            except Failed:
                return Reply(wire.SERVFAIL)  # nobody asked but we
        return await self.pass_on(query)
