"""The API as a thing in memory: resources with their caches, on one store. No sockets here.

`open` reads all of the store at one revision and follows it from there. Local stores tell us of a commit before its
writer hears of it; a shared etcd is watched, and a read that must be fresh asks etcd for its revision and waits until
the cache has come so far.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from sampan.api import errors
from sampan.api.kind import Kind, Names
from sampan.api.registry import Registry
from sampan.apiserver.admission.chain import Chain
from sampan.apiserver.allocators import PORTS_PREFIX, Allocators
from sampan.apiserver.authorization.chain import Authorization
from sampan.apiserver.cache import Cache, Entry, EventType, ResourceCache, Watcher
from sampan.apiserver.config import KubeletClientConfig
from sampan.apiserver.leases import EventLeases
from sampan.apiserver.metrics import Metrics
from sampan.apiserver.resource import Resource, storage_prefix
from sampan.apiserver.workers import Workers
from sampan.store.contract import NO_LEASE, Compacted, Event, LeaseId, Store, StoreError, prefix_end

if TYPE_CHECKING:
    from sampan.apiserver.authentication.identity import Identity
    from sampan.apiserver.customresources.serving import CustomResources
    from sampan.apiserver.dialer import Dialer
    from sampan.apiserver.kubelets import Kubelets
    from sampan.apiserver.node_metrics import NodeMetrics
    from sampan.apiserver.webhooks.client import WebhookClients
    from sampan.http.client import HttpClient

log = logging.getLogger("sampan.apiserver")
ROOT = b"/registry/"
BOOKMARK_SECONDS = 60.0
NAME_CHARS = "bcdfghjklmnpqrstvwxz2456789"
COMPACT_SECONDS = 300


class Api:
    """All resources of one API server."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        *,
        clock: Callable[[], float],
        service_cidr: str,
        node_ports: tuple[int, int],
        event_ttl: int,
        admission: Chain,
        authorization: Callable[[Api], Authorization],
        rng: random.Random | None = None,
        bookmark_seconds: float = BOOKMARK_SECONDS,
    ) -> None:
        """`clock`: seconds since the epoch; `rng`: whence names and uids come."""
        self.registry = registry
        self.store = store
        self.clock = clock
        self.rng = rng or random.Random()
        self.bookmark_seconds = bookmark_seconds
        self.compact_seconds = float(COMPACT_SECONDS)
        self.cache = Cache()
        self.metrics = Metrics()
        self.workers = Workers()
        self.admission = admission
        #: issues and reviews tokens; set by whoever put the server together
        self.identity: Identity | None = None
        #: how kubelets are reached; set by the same
        self.kubelet_client = KubeletClientConfig()
        self.allocators = Allocators(service_cidr, node_ports, self.rng)
        self.sessions: set[Any] = set()
        #: a store in this process: its commits reach the cache before their writers go on
        self.local = hasattr(store, "subscribe")
        self.ready = False
        self._leases = EventLeases(store, event_ttl, clock)
        self._resources: dict[tuple[str, str], Resource] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._unsubscribe: Callable[[], None] | None = None
        for group, versions in registry.groups():
            for version in versions:
                for names in registry.names(group, version):
                    if "list" in names.verbs:
                        self._add(names)
        self.namespaces = self.cached("", "namespaces")
        self.ip_addresses = self.cached("networking.k8s.io", "ipaddresses")
        self.definitions = self.cached("apiextensions.k8s.io", "customresourcedefinitions")
        self.definitions.watchers.add(Watcher("", "", None, self._defined))
        self.authorizer = authorization(self)

    def _add(self, names: Names) -> None:
        """By its names alone: the kind is built when there is something of it."""
        group, version = names.stored or (names.group, names.version)
        key = (group, names.resource)
        if key not in self._resources:
            kind = functools.partial(self._stored_kind, group, version, names.resource)
            self._resources[key] = Resource(self.cache.add(storage_prefix(*key), kind))
        self._resources[names.group, names.resource] = self._resources[key]

    def _stored_kind(self, group: str, version: str, resource: str) -> Kind:
        kind = self.registry.get(group, version, resource)
        assert kind is not None
        return kind

    # -- resources that come and go --------------------------------------------------------------------------------------

    def serve(self, stored: Kind, kinds: Sequence[Kind]) -> None:
        """Serve `kinds`, the versions of one resource that is stored as `stored` says, instead of what was served."""
        group, name = stored.names.group, stored.names.resource
        present = self._resources.get((group, name))
        if present is None:
            cache = self.cache.add(storage_prefix(group, name), lambda: stored)
            cache.horizon = cache.last = self.cache.revision
        else:
            cache = present.cache
            cache.rekind(stored)
            self._unregister(group, name)
            self._end_watches(cache)
        self._resources[group, name] = Resource(cache)
        for kind in kinds:
            self.registry.add(kind)

    def withdraw(self, group: str, name: str) -> None:
        """Serve a resource no longer: its watches end, its cache goes."""
        gone = self._resources.pop((group, name))
        self._unregister(group, name)
        self.cache.remove(gone.cache.prefix)
        self._end_watches(gone.cache)

    def _unregister(self, group: str, name: str) -> None:
        for version in dict(self.registry.groups()).get(group, ()):
            if any(names.resource == name for names in self.registry.names(group, version)):
                self.registry.remove(group, version, name)

    def _end_watches(self, cache: ResourceCache) -> None:
        for session in tuple(self.sessions):
            if session.cache is cache:
                session.done.set()

    @functools.cached_property
    def custom_resources(self) -> CustomResources:
        from sampan.apiserver.customresources.serving import CustomResources

        return CustomResources(self)

    def _defined(self, entry: Entry, kind: EventType) -> None:
        self.custom_resources.changed(entry.record.name, None if kind == "DELETED" else entry.record)

    def new_uid(self) -> str:
        digits = f"{self.rng.getrandbits(128):032x}"
        variant = "89ab"[int(digits[16], 16) & 3]
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"

    def new_suffix(self) -> str:
        """What is put after a `generateName`."""
        return "".join(self.rng.choices(NAME_CHARS, k=5))

    def resource(self, kind: Kind) -> Resource:
        return self._resources[kind.names.group, kind.names.resource]

    def cached(self, group: str, resource: str) -> ResourceCache:
        return self._resources[group, resource].cache

    @functools.cached_property
    def dialer(self) -> Dialer:
        from sampan.apiserver.dialer import Dialer

        return Dialer(self)

    @functools.cached_property
    def webhooks(self) -> WebhookClients:
        from sampan.apiserver.webhooks.client import WebhookClients

        return WebhookClients(self.dialer)

    @functools.cached_property
    def kubelets(self) -> Kubelets:
        from sampan.apiserver.kubelets import Kubelets

        return Kubelets(self, self.kubelet_client)

    @functools.cached_property
    def node_metrics(self) -> NodeMetrics:
        from sampan.apiserver.node_metrics import NodeMetrics

        return NodeMetrics(self)

    @functools.cached_property
    def proxied(self) -> HttpClient:
        """For what people reach through us in pods and behind Services; it believes any certificate and shows none."""
        import ssl

        from sampan.http.client import HttpClient

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return HttpClient(ssl_context=context, dial=self.dialer)

    # -- following the store -------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Load everything and follow the store. The store is open already. Raises StoreError."""
        revision = await self._load()
        if self.local:
            subscribe: Callable[[Callable[[Sequence[Event]], None]], Callable[[], None]] = self.store.subscribe  # type: ignore[attr-defined]
            self._unsubscribe = subscribe(self._apply)
        else:
            self._tasks.append(asyncio.create_task(self._follow(revision)))
        self._tasks.append(asyncio.create_task(self._bookmarks()))
        self._tasks.append(asyncio.create_task(self._compact()))

    async def close(self) -> None:
        """End every watch cleanly and stop following. The store stays open."""
        for session in tuple(self.sessions):
            session.done.set()
        if "custom_resources" in self.__dict__:
            self._tasks.extend(self.custom_resources.tasks)
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._unsubscribe:
            self._unsubscribe()
        if "webhooks" in self.__dict__:
            await self.webhooks.close()
        if "node_metrics" in self.__dict__:
            await self.node_metrics.close()
        if "kubelets" in self.__dict__:
            await self.kubelets.aclose()
        if "proxied" in self.__dict__:
            await self.proxied.aclose()

    async def _load(self) -> int:
        found = await self.store.range(ROOT, prefix_end(ROOT))
        definitions = [kv for kv in found.kvs if kv.key.startswith(self.definitions.prefix.encode())]
        if definitions or "custom_resources" in self.__dict__:
            self.custom_resources.load(self.definitions.prefix, definitions)
        by_cache: dict[ResourceCache, list[Any]] = {cache: [] for cache in self.cache.resources.values()}
        self.allocators.taken_ports.clear()
        for kv in found.kvs:
            cache = self.cache.find(kv.key)
            if cache is not None:
                by_cache[cache].append(kv)
            elif kv.key.startswith(PORTS_PREFIX.encode()):
                self.allocators.observe(kv.key.decode(), True)
        for cache, kvs in by_cache.items():
            cache.load(kvs, found.revision)
        self.cache.revision = found.revision
        self.cache.wake()
        return found.revision

    def _apply(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.kv.key.startswith(PORTS_PREFIX.encode()):
                self.allocators.observe(event.kv.key.decode(), event.type == "put")
        self.cache.apply(events)

    async def _follow(self, revision: int) -> None:
        """A shared store's events; after a gap everything is read again and all watches start anew."""
        delay = 0.1
        while True:
            watch = self.store.watch(ROOT, prefix_end(ROOT), revision + 1)
            try:
                async for events in watch:
                    self._apply(events)
                    revision = max(revision, events[-1].kv.mod_revision)
                    delay = 0.1
            except Compacted:
                for session in tuple(self.sessions):
                    session.done.set()
                revision = await self._load()
            except StoreError as error:
                log.warning("watching the store: %s; trying again in %.1f s", error, delay)
            finally:
                watch.close()
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5.0)

    def freshness(self, asked: str) -> Awaitable[None] | None:
        """What a read for `resourceVersion=asked` must wait for first; None: nothing. Waiting may raise 504."""
        if asked and asked != "0":
            revision = int(asked)
            return None if revision <= self.cache.revision else self._until(revision)
        if asked == "0" or self.local:
            return None
        return self.fresh()

    async def fresh(self) -> None:
        """Until the cache holds every write acknowledged before the call."""
        if not self.local:
            await self._until(await self.store.revision())

    async def _until(self, revision: int) -> None:
        if not await self.cache.reach(revision):
            raise errors.resource_version_too_large(revision, self.cache.revision)

    async def lease_for(self, kind: Kind) -> LeaseId:
        """Events run out; everything else stays."""
        return await self._leases.current() if kind.names.resource == "events" else NO_LEASE

    # -- housekeeping --------------------------------------------------------------------------------------------------

    async def _bookmarks(self) -> None:
        while True:
            await asyncio.sleep(self.bookmark_seconds)
            for session in tuple(self.sessions):
                session.bookmark()

    async def _compact(self) -> None:
        """History is kept for five to ten minutes, as upstream keeps it."""
        before, done = self.cache.revision, 0
        while True:
            await asyncio.sleep(self.compact_seconds)
            now = self.cache.revision
            try:
                if before > done:
                    await self.store.compact(before)
                    done = before
            except Compacted:
                log.debug("another API server has compacted already")
            except StoreError as error:
                log.warning("compaction failed, will try again: %s", error)
            before = now
            if done == now:
                await self.cache.change()
