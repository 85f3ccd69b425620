"""A Corefile in service, and another in its place: listeners stay open, what is new is started before what was is stopped,
and when it cannot be started all stays as it was.

Source: github.com/coredns/caddy caddy.go (Start, Restart)
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from sampan.http.prometheus import MEDIA
from sampan.http.server.messages import Response
from sampan.network.dns.corefile import CorefileError
from sampan.network.dns.listener import Listener
from sampan.network.dns.metrics import Metrics
from sampan.network.dns.pages import TEXT, Pages
from sampan.network.dns.plugin import Plugin
from sampan.network.dns.querylog import QueryLog
from sampan.network.dns.server import Server, Site
from sampan.network.dns.setup import DIRECTIVES
from sampan.network.dns.setup.draft import Draft, Reload
from sampan.network.dns.upstream import Address
from sampan.network.dns.world import World

log = logging.getLogger("sampan.dns.ready")
METRICS = (("Content-Type", MEDIA),)
Where = tuple[str, int]


@dataclass(slots=True)
class Instance:
    """What one Corefile came to."""

    drafts: list[Draft]
    servers: dict[Where, Server] = field(default_factory=dict)
    plugins: list[Plugin] = field(default_factory=list)

    @property
    def lameduck(self) -> float:
        return max((draft.lameduck for draft in self.drafts), default=0.0)

    @property
    def reload(self) -> Reload | None:
        return next((draft.reload for draft in self.drafts if draft.reload), None)

    def zones(self) -> list[str]:
        return sorted(f"{zone}:{draft.port}" for draft in self.drafts for zone in draft.zones)

    def waiting(self) -> list[str]:
        return sorted({plugin.name for plugin in self.plugins if not plugin.ready()})

    async def start(self) -> None:
        """Raises Fatal."""
        await asyncio.gather(*(plugin.start() for plugin in self.plugins))

    async def stop(self) -> None:
        await asyncio.gather(*(plugin.stop() for plugin in self.plugins))
        for draft in self.drafts:
            for client in draft.clients:
                await client.aclose()


def build(drafts: list[Draft], metrics: Metrics, rng: random.Random, fatal: Callable[[str], None]) -> Instance:
    """Chains, and a server for each address."""
    out = Instance(drafts)
    sites: dict[Where, dict[str, Site]] = {}
    worlds: dict[Where, list[World]] = {}
    members: dict[Where, list[Draft]] = {}
    for draft in drafts:
        chain = [plugin for name in DIRECTIVES for plugin in draft.plugins.get(name, ())]
        for plugin, following in itertools.pairwise(chain):
            plugin.next = following
        out.plugins += chain
        for host in draft.hosts or [""]:
            where = (host, draft.port)
            members.setdefault(where, []).append(draft)
            worlds.setdefault(where, []).extend(draft.worlds)
            for zone in draft.zones:
                sites.setdefault(where, {})[zone] = _site(draft, zone, chain)
    _tell_plugins(sites, metrics)
    for where, found in sites.items():
        server = Server(found, metrics=metrics, epoch=_epoch(worlds[where]), rng=rng, fatal=fatal)
        out.servers[where] = server
        for draft in members[where]:
            draft.lookup = server.lookup
    return out


def _tell_plugins(sites: dict[Where, dict[str, Site]], metrics: Metrics) -> None:
    names = ("server", "zone", "view", "name")
    gauge = metrics.gauge("coredns_plugin_enabled", "A metric that indicates whether a plugin is enabled.", names)
    gauge.values.clear()
    for site in (site for found in sites.values() for site in found.values() if site.measured):
        plugin: Plugin | None = site.chain
        while plugin is not None:
            gauge.set((site.server, site.zone, "", plugin.name), 1)
            plugin = plugin.next


def _site(draft: Draft, zone: str, chain: list[Plugin]) -> Site:
    first = chain[0] if chain else Plugin()
    return Site(
        zone, draft.server, first, errors=draft.errors, measured=bool(draft.metrics), balanced=draft.balanced,
        log=QueryLog(draft.log) if draft.log else None, buffer=draft.buffer,
    )  # fmt: skip


def _epoch(worlds: list[World]) -> Callable[[], int]:
    if len(worlds) == 1:
        only = worlds[0]
        return lambda: only.epoch
    return lambda: sum(world.epoch for world in worlds)


class Service:
    """The listeners and pages, and the instance behind them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.listeners: dict[Where, Listener] = {}
        self.pages: dict[str, Pages] = {}
        self.instance: Instance | None = None
        metrics.gather.append(self._gather)

    def _gather(self) -> None:
        for server in self.instance.servers.values() if self.instance else ():
            server.gather()

    async def use(self, new: Instance) -> None:
        """From now on. Raises CorefileError, Fatal; then it is stopped, and what was goes on."""
        old = self.instance
        opened: list[Listener | Pages] = []
        try:
            await new.start()
            await self._open(new, opened)
        except BaseException as error:
            for each in opened:
                await each.close()
            self.listeners = {where: each for where, each in self.listeners.items() if each not in opened}
            self.pages = {where: page for where, page in self.pages.items() if page not in opened}
            await new.stop()
            if isinstance(error, OSError):
                raise CorefileError(error.strerror or str(error)) from None
            raise
        for where, server in new.servers.items():
            self.listeners[where].server = server
        self._show(new)
        self.instance = new
        for plugin in new.plugins:
            await plugin.started()
        await self._close_all_but(new)
        if old is not None:
            for server in old.servers.values():
                server.clear()
            await old.stop()

    async def _open(self, new: Instance, opened: list[Listener | Pages]) -> None:
        for where in new.servers:
            if where not in self.listeners:
                listener = Listener(*where)
                await listener.open()
                opened.append(listener)
                self.listeners[where] = listener
        for draft in new.drafts:
            host = draft.hosts[0] if draft.hosts else ""
            draft.own = Address(host or "127.0.0.1", self.listeners[host, draft.port].port)
            for address in _addresses(draft):
                if address not in self.pages:
                    name, _, port = address.rpartition(":")
                    page = Pages(name, int(port))
                    await page.open()
                    opened.append(page)
                    self.pages[address] = page

    def _show(self, new: Instance) -> None:
        for page in self.pages.values():
            page.pages.clear()
        for draft in new.drafts:
            if draft.health:
                self.pages[draft.health].pages["/health"] = lambda: Response(200, TEXT, b"OK")
            if draft.ready:
                self.pages[draft.ready].pages["/ready"] = lambda: _ready(new)
            if draft.metrics:
                self.pages[draft.metrics].pages["/metrics"] = lambda: Response(
                    200, METRICS, self._metrics.render().encode()
                )

    async def _close_all_but(self, new: Instance) -> None:
        wanted = {address for draft in new.drafts for address in _addresses(draft)}
        for address in set(self.pages) - wanted:
            await self.pages.pop(address).close()
        for where in set(self.listeners) - set(new.servers):
            await self.listeners.pop(where).close()

    async def stop(self) -> None:
        for listener in self.listeners.values():
            await listener.close()
        for page in self.pages.values():
            await page.close()
        if self.instance is not None:
            await self.instance.stop()


def _addresses(draft: Draft) -> list[str]:
    return [address for address in (draft.health, draft.ready, draft.metrics) if address]


def _ready(instance: Instance) -> Response:
    waiting = instance.waiting()
    if not waiting:
        return Response(200, TEXT, b"OK")
    names = ",".join(waiting)
    log.info('Still waiting on: "%s"', names)
    return Response(503, TEXT, names.encode())
