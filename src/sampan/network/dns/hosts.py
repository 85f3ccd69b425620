"""`hosts`: names from a file in the form of /etc/hosts, and from the Corefile; the file is looked at again and again.

Source: github.com/coredns/coredns plugin/hosts/{hosts,hostsfile}.go
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Iterable
from pathlib import Path

from sampan.network.dns import names, wire
from sampan.network.dns.plugin import Plugin
from sampan.network.dns.wire import Query, Record, Reply

log = logging.getLogger("sampan.dns.hosts")
RELOAD_SECONDS, TTL = 5.0, 3600


class Hosts(Plugin):
    """`through`: zones for which the next is asked where there is nothing here; None: for no zone."""

    name = "hosts"

    def __init__(
        self,
        file: Path,
        zones: tuple[str, ...],
        inline: Iterable[str],
        *,
        through: tuple[str, ...] | None,
        ttl: int = TTL,
        reverse: bool = True,
        reload: float = RELOAD_SECONDS,
    ) -> None:
        super().__init__()
        self._file = file
        self._zones = zones
        self._inline = list(inline)
        self._through = through
        self._ttl = ttl
        self._reverse = reverse
        self._reload = reload
        self._stamp: tuple[int, int] | None = None
        self._addresses: dict[str, list[str]] = {}
        self._names: dict[str, list[str]] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._look()
        if self._reload > 0:
            self._task = asyncio.create_task(self._watch(), name="dns hosts")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._reload)
            self._look()

    def _look(self) -> None:
        """Read the file if it is another one."""
        try:
            found = self._file.stat()
            stamp = (found.st_mtime_ns, found.st_size)
            text = self._file.read_text(errors="replace") if stamp != self._stamp else ""
        except OSError:
            stamp, text = (0, 0), ""
        if stamp == self._stamp:
            return
        self._stamp = stamp
        self._addresses, self._names = {}, {}
        for line in (*self._inline, *text.splitlines()):
            self._take(line)

    def _take(self, line: str) -> None:
        words = line.partition("#")[0].split()
        if len(words) < 2:
            return
        try:
            ip = str(ipaddress.ip_address(words[0].partition("%")[0]))
        except ValueError:
            return
        for word in words[1:]:
            name = names.fqdn(word.lower())
            if names.longest(self._zones, name) and ip not in self._addresses.setdefault(name, []):
                self._addresses[name].append(ip)
            if not word.startswith("*") and name not in self._names.setdefault(ip, []):
                self._names[ip].append(name)

    async def serve(self, query: Query) -> Reply:
        address = names.address(query.key) if query.type == wire.PTR and self._reverse else ""
        if address and (found := self._names.get(address)):
            answer: list[Record] = [wire.ptr(query.name, self._ttl, name) for name in found]
            return Reply(answer=answer, authoritative=True, by=self.name)
        if not names.longest(self._zones, query.key) or address:
            return await self.pass_on(query)
        here = self._addresses.get(query.key) or self._addresses.get("*." + query.key.partition(".")[2], [])
        if not here:
            if self._through is not None and names.longest(self._through, query.key):
                return await self.pass_on(query)
            # such a file has no SOA to deny a name with
            return Reply(wire.SERVFAIL, by=self.name)
        wanted = [ip for ip in here if (":" in ip) == (query.type == wire.AAAA)]
        shown = wanted if query.type in (wire.A, wire.AAAA) else []
        answer = [wire.address(query.name, self._ttl, ip) for ip in shown]
        return Reply(answer=answer, authoritative=True, by=self.name)
