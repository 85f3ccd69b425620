"""The proxy, put together: informers of Services and EndpointSlices, and what they say in the kernel.

Changes are gathered while a transaction is under way, and go in together with the next one. The first transaction puts a
whole table in the place of whatever was there; so does the next after one that was refused, or after somebody has taken
the table away.

Runs in the node's namespace. Connections outlive it, and new ones go on being led as they were.

Source: kubernetes/pkg/proxy/nftables/proxier.go (syncProxyRules), cmd/kube-proxy/app/server.go
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from sampan.api.times import parse_time
from sampan.client import Client, Config, HttpsTransport, Informers, SeriesRecorder, key_of
from sampan.http.server.listener import Server
from sampan.network import firewalls
from sampan.network.conntrack import Conntrack
from sampan.network.namespaces import inside, sysctl
from sampan.network.netlink import Routing
from sampan.network.nft import Nft, NftError, elements
from sampan.network.policy import table as policy_table
from sampan.network.policy.policies import Policies
from sampan.network.proxy import flows, model
from sampan.network.proxy.frontends import frontends
from sampan.network.proxy.health import Health
from sampan.network.proxy.metrics import Metrics
from sampan.network.proxy.options import Options
from sampan.network.proxy.routes import SERVICE, SLICES, Routes, by_service, in_node
from sampan.network.proxy.ruleset import Change, Ruleset, Wanted, many
from sampan.network.proxy.table import TABLE

log = logging.getLogger("sampan.network.proxy")
Obj = dict[str, Any]
RANGES = "servicecidrs.networking.k8s.io"
TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"
MANY = 500
FIRST_RETRY, LAST_RETRY = 0.1, 30.0


class Proxy:
    """`clock`: seconds since 1970; `namespace`: where the rules shall be, None for where we are. Informers are asked for
    here, and started by the caller. `idle` is set while the kernel has all that was heard of."""

    def __init__(
        self, informers: Informers, options: Options, *, clock: Callable[[], float], namespace: Path | None = None
    ) -> None:
        self._options = options
        self._clock = clock
        self._namespace = namespace
        self._started = clock()
        self.idle = asyncio.Event()
        selector = f"!{model.PROXY_NAME},!{model.HEADLESS}"
        self._services = informers.get("services", label_selector=selector)
        self._slices = informers.get(SLICES, label_selector=f"!{model.HEADLESS}", indexers={SERVICE: by_service})
        self._ranges = informers.get(RANGES)
        self._nodes = informers.get("nodes")
        self._ruleset = Ruleset(
            cluster=options.cluster_cidr, masquerade_all=options.masquerade_all, masquerade_bit=options.masquerade_bit,
            node_port_addresses=options.node_port_addresses,
        )  # fmt: skip
        self._routes = None
        if options.routes and options.cluster_cidr is not None:
            self._routes = Routes(informers, in_node(options.cluster_cidr, namespace, options.overlay))
        self.policies = Policies(informers, options.node, namespace=namespace) if options.policies else None
        self.metrics = Metrics()
        loop = asyncio.get_running_loop()
        self.health = Health(clock, loop.time, self.metrics.render)
        self._checks: dict[int, tuple[str, int]] = {}
        self._dirty: set[str] = set()
        self._triggered: dict[str, float] = {}
        self._ranges_changed = False
        self._whole = True
        self._wake = asyncio.Event()
        self._services.add_handler(self._service, lambda _, new: self._service(new), self._service)
        self._slices.add_handler(self._slice, self._slice_changed, self._slice)
        self._ranges.add_handler(self._range, lambda _, new: self._range(new), self._range)
        self._nodes.add_handler(self._node, lambda _, new: self._node(new), self._node_gone)

    # -- what wakes it -------------------------------------------------------------------------------------------------

    def _mark(self, key: str) -> None:
        self._dirty.add(key)
        self._queued()

    def _queued(self) -> None:
        self.metrics.pending = len(self._dirty)
        self.metrics.last_queued = self._clock()
        self.health.queued()
        self.idle.clear()
        self._wake.set()

    def _service(self, service: Obj) -> None:
        self.metrics.service_changes += 1
        self._mark(key_of(service))

    def _slice(self, slice_: Obj, before: Obj | None = None) -> None:
        self.metrics.endpoint_changes += 1
        triggered = _trigger(slice_)
        for key in by_service(slice_):
            # what changed before we were there is not our delay
            if triggered >= self._started and (before is None or triggered != _trigger(before)):
                self._triggered.setdefault(key, triggered)
            self._mark(key)

    def _slice_changed(self, old: Obj, new: Obj) -> None:
        for key in by_service(old):
            self._mark(key)
        self._slice(new, old)

    def _range(self, _: Obj) -> None:
        self._ranges_changed = True
        self._queued()

    def _node(self, node: Obj) -> None:
        if node["metadata"]["name"] == self._options.node:
            self.health.node(node)

    def _node_gone(self, node: Obj) -> None:
        if node["metadata"]["name"] == self._options.node:
            self.health.node(None)

    # -- the loop ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled. Raises OSError when its ports are taken."""
        async with contextlib.AsyncExitStack() as stack:
            for (host, port), app in (
                (self._options.health, self.health),
                (self._options.metrics, self.health.metrics),
            ):
                if port:
                    server = Server(app, ssl_context=None, hosts=[host], port=port)
                    await server.start()
                    stack.push_async_callback(server.shutdown, 0)
            stack.push_async_callback(self.health.aclose)
            await self._there(_prepare)
            nft = Nft(self._namespace)
            stack.callback(nft.close)
            for informer in (self._services, self._slices, self._ranges, self._nodes):
                await informer.wait_synced()
            async with asyncio.TaskGroup() as group:
                if self._routes is not None:
                    group.create_task(self._routes.run())
                if self.policies is not None:
                    group.create_task(self.policies.run())
                group.create_task(self._watch_table(nft))
                await self._sync_always(nft)

    async def _sync_always(self, nft: Nft) -> None:
        retry = FIRST_RETRY
        while True:
            self._wake.clear()
            try:
                await self._sync(nft)
                retry = FIRST_RETRY
            except (NftError, OSError) as error:
                self.metrics.failures += 1
                self._whole = True
                log.error("cannot change the rules, next try in %.1f s: %s", retry, error)
                await asyncio.sleep(retry)
                retry = min(retry * 2, LAST_RETRY)
                continue
            await self._wake.wait()
            if self._options.min_sync_seconds:
                await asyncio.sleep(self._options.min_sync_seconds)

    async def _watch_table(self, nft: Nft) -> None:
        """Somebody may flush all rules of the machine."""
        while True:
            await asyncio.sleep(self._options.sync_seconds)
            try:
                await asyncio.to_thread(nft.list, f"chain ip {TABLE} services")
            except (NftError, OSError):
                log.warning("the table %s is gone: making it again", TABLE)
                self._whole = True
                self._queued()

    async def _sync(self, nft: Nft) -> None:
        """Raises NftError, OSError."""
        dirty, self._dirty = self._dirty, set()
        triggered, self._triggered = self._triggered, {}
        loop = asyncio.get_running_loop()
        started = loop.time()
        text, self._ranges_changed = self._ranges_text() if self._ranges_changed else "", False
        with many() if len(dirty) > MANY else contextlib.nullcontext():
            change = self._ruleset.change({key: self._wanted(key) for key in dirty}, text=not self._whole)
        if self._whole:
            await asyncio.to_thread(nft.run, self._ruleset.program())
            change = Change(moved=self._ruleset.endpoints())  # whatever was before
            self._whole = False
        else:
            await asyncio.to_thread(nft.run, text + change.text)
        if change.moved:
            try:
                await self._there(lambda: self._put_right(nft, change))
            except (NftError, OSError) as error:  # the rules are as they should be, and new connections right
                log.error("cannot clear what is remembered of old endpoints: %s", error)
        await self.health.serve_checks(self._checks)
        self._synced(started, triggered)

    async def _there(self, work: Callable[[], None]) -> None:
        """In a thread in our namespace: the kernel may take its time."""

        def enter() -> None:
            with inside(self._namespace):
                work()

        await asyncio.to_thread(enter)

    def _synced(self, started: float, triggered: Mapping[str, float]) -> None:
        now = self._clock()
        self.metrics.sync.observe(asyncio.get_running_loop().time() - started)
        for time in triggered.values():
            self.metrics.programming.observe(max(now - time, 0.0))
        self.metrics.last_synced = now
        self.metrics.pending = len(self._dirty)
        if not self._wake.is_set():
            self.health.synced()
            self.idle.set()

    def _put_right(self, nft: Nft, change: Change) -> None:
        if flows.has_udp(change.moved):
            with Routing() as routing:
                own = [each.interface.ip for each in routing.addresses()]
            with Conntrack() as conntrack:
                self.metrics.flows_deleted += conntrack.clear(flows.stale(change.moved, own))
        if change.affine:
            moved = {key: change.moved[key] for key in change.affine}
            gone = flows.forgotten(nft.list(f"map ip {TABLE} affinity"), moved)
            try:
                nft.run(elements("delete", TABLE, "affinity", gone) if gone else "")
            except NftError:  # one of them has just run out by itself
                for each in gone:
                    with contextlib.suppress(NftError):
                        nft.run(elements("delete", TABLE, "affinity", [each]))

    # -- what is wanted ------------------------------------------------------------------------------------------------

    def _ranges_text(self) -> str:
        every = [text for each in self._ranges.cache.list() for text in each["spec"].get("cidrs") or ()]
        return self._ruleset.set_ranges(IPv4Network(text, strict=False) for text in every if ":" not in text)

    def _wanted(self, key: str) -> Wanted | None:
        service = self._services.cache.by_key(key)
        self._checks = {port: each for port, each in self._checks.items() if each[0] != key} if self._checks else {}
        if service is None or not model.is_served(service):
            return None
        slices = self._slices.cache.by_index(SERVICE, key)
        try:
            ports = model.ports_of(service, slices, self._options.node)
        except (ValueError, KeyError) as error:  # one that nobody can understand must not stop all others
            log.error("service %s is passed over: %r", key, error)
            return None
        if check := service["spec"].get("healthCheckNodePort"):
            self._checks[check] = (key, len(model.ready_here(slices, self._options.node)))
        near = model.local_ips(slices, self._options.node)
        return Wanted(tuple(each for port in ports for each in frontends(port)), frozenset(near))


def _trigger(slice_: Obj) -> float:
    """When what a slice says came about; 0: it does not tell."""
    try:
        return parse_time((slice_["metadata"].get("annotations") or {}).get(TRIGGER_TIME, ""))
    except ValueError:
        return 0.0


def _prepare() -> None:
    """Node ports on 127.0.0.1 need an answer from elsewhere to be taken; the table keeps others out."""
    sysctl("net.ipv4.ip_forward", "1")
    sysctl("net.ipv4.conf.all.route_localnet", "1")


def clean_up(cluster: IPv4Network | None) -> None:
    """Takes the tables away and the way to nodes that are not on our wire; with `cluster`, the range of all pods, what else is
    about them: routes, and exceptions in others' firewalls. Raises OSError, NftError."""
    in_node(cluster or IPv4Network("0.0.0.0/32"))({})
    nft = Nft()
    try:
        if cluster is not None:
            firewalls.forget(nft, firewalls.Traffic.of_pods(cluster))
        nft.run(f"table ip {TABLE}\ndelete table ip {TABLE}\n{policy_table.NOTHING}")
    finally:
        nft.close()


async def run(access: Config, options: Options, *, clock: Callable[[], float]) -> None:
    """A proxy with its own connection to the API server, until cancelled. Raises OSError."""
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(HttpsTransport(access), user_agent="kube-proxy"))
        recorder = SeriesRecorder(client, "kube-proxy", instance=f"kube-proxy-{options.node}", clock=clock)
        recorder.start()
        stack.push_async_callback(recorder.aclose)
        reference = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": options.node, "uid": options.node}}
        recorder.event(reference, "Normal", "Starting", "StartKubeProxy", "")
        informers = await stack.enter_async_context(Informers(client))
        proxy = Proxy(informers, options, clock=clock)
        informers.start()
        await proxy.run()
