"""A whole cluster in this process, for tests: API server, controllers, scheduler, simulated nodes.

    async with sampan.testing.Cluster(nodes=3) as cluster:
        await cluster.apply("deployment.yaml")
        await cluster.wait_for("deployment/web", "Available")
        await cluster.advance(hours=1)

In a `VirtualLoop` (the pytest plugin's fixtures run in one) its time is virtual: an hour takes as long as what happens
in it. The same seed gives the same run. In any other loop everything works but `advance`.

`https=True` adds an endpoint on the loopback and a kubeconfig, for clients in other threads and processes; time then
flows as theirs does, and jumps only during `advance`.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import inspect
import random
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sampan.api.hollow import pod_range
from sampan.api.kind import Kind
from sampan.api.user import User
from sampan.apiserver.config import ApiServerConfig, KubeletClientConfig
from sampan.apiserver.server import ApiServer
from sampan.client import Client, EventRecorder, Informers, Resource, StatusError
from sampan.client.resources import UnknownResource
from sampan.cluster.components import mirror_agent
from sampan.controllers.context import Options
from sampan.hollow import HollowNodes
from sampan.hollow.life import pods_from
from sampan.store.contract import Compacted, KeyValue, prefix_end
from sampan.store.memory import MemoryStore
from sampan.testing.conditions import Condition, holds, late
from sampan.testing.documents import check, documents
from sampan.testing.inprocess import InProcessTransport
from sampan.testing.loop import VirtualLoop
from sampan.testing.parts import ADMIN, components, named

Obj = dict[str, Any]
ROOT = b"/registry/"
PATIENCE, FLOWING_PATIENCE = 600.0, 60.0
#: watches within the process need not be opened anew
WATCH_SECONDS = 10**9
CERTIFICATE_DAYS = 36_500
#: what others are in, or are of
FIRST = ("Namespace", "CustomResourceDefinition")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that was stored at a revision, and what time it was (seconds since the epoch)."""

    revision: int
    wall: float
    kvs: tuple[KeyValue, ...]


class Cluster:
    """`nodes`: how many simulated nodes (`node-1`, ...), or their names. `controllers`: as kube-controller-manager's
    flag. `history`: keep everything that ever was, for `rewind`. `stages`: a file with the life of pods, instead of
    `sampan/hollow/pod.yaml`. `client` is the administrator's."""

    def __init__(
        self,
        nodes: int | Iterable[str] = 0,
        *,
        seed: int = 0,
        https: bool = False,
        controllers: tuple[str, ...] = ("*",),
        scheduler: bool = True,
        history: bool = False,
        capacity: dict[str, str] | None = None,
        stages: str | Path | None = None,
        options: Options | None = None,
        snapshot: Snapshot | None = None,
    ) -> None:
        self.node_names = [f"node-{n}" for n in range(1, nodes + 1)] if isinstance(nodes, int) else list(nodes)
        self.seed = seed
        self.https = https
        self.controllers = controllers
        self.with_scheduler = scheduler
        self.history = history
        self.capacity = capacity
        self.life = None if stages is None else pods_from(stages)
        self.options = options or Options(cluster_cidr=pod_range(Options().cluster_cidr, len(self.node_names)))
        self.client: Client
        self.server: ApiServer
        self.nodes: HollowNodes | None = None
        self._snapshot = snapshot
        self._shift = 0.0
        self._loop: asyncio.AbstractEventLoop
        self._wall: Callable[[], float] = time.time
        self._parts = contextlib.AsyncExitStack()
        self._files = contextlib.ExitStack()
        self._changed = asyncio.Event()
        #: how often something was stored
        self.changes = 0
        self._unready: builtins.list[str] = []
        self._walls: list[tuple[int, float]] = []
        self._port = 0
        self._directory: Path | None = None

    def __getattr__(self, name: str) -> Any:
        if name in ("client", "server", "_loop"):
            raise AttributeError("the cluster has not begun: `async with Cluster() as cluster:`")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    async def __aenter__(self) -> Cluster:
        self._loop = asyncio.get_running_loop()
        self._wall = self._loop.wall if isinstance(self._loop, VirtualLoop) else time.time
        if self.https:
            self._directory = Path(self._files.enter_context(tempfile.TemporaryDirectory(prefix="sampan-")))
            if isinstance(self._loop, VirtualLoop):
                self._loop.flowing = True
        try:
            await self._start(self._snapshot)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._parts.aclose()
        self._files.close()

    # -- time ----------------------------------------------------------------------------------------------------------

    def clock(self) -> float:
        """The cluster's wall clock, in seconds since the epoch."""
        return self._wall() + self._shift

    async def advance(self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0) -> None:
        """Let time pass, and all that happens in it. Raises RuntimeError where time is real."""
        if not isinstance(self._loop, VirtualLoop):
            raise RuntimeError(
                "time can only be advanced in a sampan.testing.VirtualLoop: use the pytest fixture `cluster`, or "
                "sampan.testing.run"
            )
        await self._loop.advance(seconds + 60 * minutes + 3600 * hours + 86_400 * days)

    # -- asking and waiting --------------------------------------------------------------------------------------------

    def resource(self, name: str) -> Resource:
        """By plural, singular, short name or `plural.group`, custom ones too. Raises UnknownResource, a KeyError."""
        registry = self.server.registry
        plain, _, wanted = name.lower().partition(".")
        for group, versions in registry.groups():
            for version in versions:
                for names in registry.names(group, version):
                    known = (names.resource, names.singular, *names.short)
                    if plain in known and (not wanted or wanted == group) and "get" in names.verbs:
                        return Resource(group, version, names.resource, names.kind, names.namespaced)
        raise UnknownResource(f'the server doesn\'t have a resource type "{name}"')

    def get(self, what: str, namespace: str = "default") -> Obj | None:
        """`pod/web-0`, `deployments.apps/web`: as it is stored now; None: it is not there. The caller's own."""
        found, name = self._named(what)
        cache = self.server.api.cached(found.group, found.name)
        record = cache.get(f"{namespace}/{name}" if found.namespaced else name)
        return record.obj() if record is not None else None

    def list(self, what: str, namespace: str = "") -> list[Obj]:
        """All of a kind, of one namespace or of all. The caller's own."""
        found = self.resource(what)
        return [record.obj() for record in self.server.api.cached(found.group, found.name).list(namespace)]

    def _named(self, what: str) -> tuple[Resource, str]:
        kind, _, name = what.partition("/")
        if not name:
            raise ValueError(f"{what!r} names no object: write it as kind/name")
        return self.resource(kind), name

    async def wait_for(
        self,
        what: str | Callable[[], Any],
        condition: Condition = "exists",
        namespace: str = "default",
        *,
        timeout: float | None = None,
    ) -> Any:
        """Until `condition` holds for an object, and then that object; or until a function, async or not, says something
        true.

        `condition`: the type of a status condition (`Available`; `Ready=False`), `path=value` (`status.phase=Running`),
        `exists`, `deleted`, what `kubectl wait --for` takes, or a function of the object. Raises TimeoutError after so
        many seconds of the cluster's time (600, or 60 where it flows), saying how the object stands.
        """
        if timeout is None:
            timeout = self.patience

        last: Any = None

        async def check() -> Any:
            nonlocal last
            if callable(what):
                said = what()
                last = await said if inspect.isawaitable(said) else said
                return last
            obj = self.get(what, namespace)
            return (obj or True) if holds(condition, obj) else None

        jumping = self._loop.jumping() if isinstance(self._loop, VirtualLoop) and not self.https else None
        with jumping or contextlib.nullcontext():
            try:
                async with asyncio.timeout(timeout):
                    while True:
                        # before it is asked, since asking may take time
                        self._changed.clear()
                        if found := await check():
                            break
                        await self._changed.wait()
            except TimeoutError:
                raise self.late(what, condition, namespace, timeout, last) from None
        return found

    def late(
        self, what: str | Callable[[], Any], condition: Condition, namespace: str, timeout: float, last: Any
    ) -> TimeoutError:
        """That `wait_for` took too long; `last` is what a function said last."""
        obj = last if callable(what) else self.get(what, namespace)
        events = self.list("events", "" if callable(what) or not self._named(what)[0].namespaced else namespace)
        events.sort(key=lambda event: event.get("lastTimestamp") or event["metadata"]["creationTimestamp"])
        return late(what, condition, timeout, obj, events)

    @property
    def patience(self) -> float:
        """How many seconds `wait_for` waits, unless told."""
        return FLOWING_PATIENCE if self.https else PATIENCE

    # -- changing ------------------------------------------------------------------------------------------------------

    async def apply(
        self, source: str | Path | Obj | builtins.list[Obj], namespace: str = "default"
    ) -> builtins.list[Obj]:
        """Server-side apply of a file, a directory, YAML text, an object or several; what they are then. Namespaces and
        kinds that they define themselves come first, and are waited for. Raises StatusError, and FileNotFoundError,
        UnknownResource or ValueError."""
        objects = documents(source)
        for obj in objects:
            check(obj)
        out: dict[int, Obj] = {}
        for place, obj in sorted(enumerate(objects), key=lambda item: item[1]["kind"] not in FIRST):
            names = (await self._kind(obj, out.values())).names
            what = Resource(names.group, names.version, names.resource, names.kind, names.namespaced)
            where = (obj.get("metadata") or {}).get("namespace") or namespace if names.namespaced else ""
            placed = {**obj, "metadata": {**obj["metadata"], "namespace": where}} if where else obj
            try:
                out[place] = await self.client.apply(what, placed, field_manager="sampan-testing", force=True)
            except StatusError as error:
                error.add_note(f"{obj['kind']} {obj['metadata']['name']} was not applied")
                raise
        return [out[place] for place in range(len(objects))]

    async def _kind(self, obj: Obj, applied: Iterable[Obj]) -> Kind:
        """Raises UnknownResource."""
        group, _, version = obj["apiVersion"].rpartition("/")
        found = self.server.registry.by_kind(group, version, obj["kind"])
        for each in applied if found is None else ():
            spec = each.get("spec") or {}
            if (each["kind"], spec.get("group")) == ("CustomResourceDefinition", group):
                await self.wait_for(f"crd/{each['metadata']['name']}", "Established", timeout=10)
                found = self.server.registry.by_kind(group, version, obj["kind"])
        if found is None:
            hint = ": apply its CustomResourceDefinition first" if "." in group else ""
            raise UnknownResource(f'no kind "{obj["kind"]}" is registered for version "{obj["apiVersion"]}"{hint}')
        return found

    async def delete(self, what: str, namespace: str = "default") -> None:
        """What is not there is no error. Raises KeyError for a kind that is not."""
        found, name = self._named(what)
        try:
            await self.client.delete(found, name, namespace if found.namespaced else "")
        except StatusError as error:
            if error.code != 404:
                raise

    # -- states --------------------------------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """The store's, which `rewind` takes."""
        return self.server.api.cache.revision

    async def snapshot(self, revision: int = 0) -> Snapshot:
        """What is stored now, or was at a revision. Raises Compacted, FutureRevision."""
        try:
            found = await self.server.store.range(ROOT, prefix_end(ROOT), revision=revision)
        except Compacted as error:
            if not self.history:
                error.add_note(
                    "to go back to any revision: Cluster(history=True), or @pytest.mark.cluster(history=True)"
                )
            raise
        at = revision or found.revision
        # leases belong to a store: events of another one stay
        return Snapshot(at, self._wall_at(at), tuple(replace(kv, lease=0) for kv in found.kvs))  # type: ignore[arg-type]

    def _wall_at(self, revision: int) -> float:
        wall = self._walls[0][1] if self._walls else self.clock()
        for known, when in self._walls:
            if known > revision:
                break
            wall = when
        return wall if revision < self.revision else self.clock()

    def fork(self, snapshot: Snapshot) -> Cluster:
        """Another cluster that begins as this one was: `async with cluster.fork(await cluster.snapshot()) as other`."""
        other = Cluster(
            self.node_names,
            seed=self.seed,
            https=self.https,
            controllers=self.controllers,
            scheduler=self.with_scheduler,
            history=self.history,
            capacity=self.capacity,
            options=self.options,
            snapshot=snapshot,
        )
        other.life = self.life
        return other

    async def rewind(self, to: int | Snapshot) -> None:
        """Be again what it was at a revision (see `history`), its clock too; every part starts anew from there. What
        clients watched ends."""
        snapshot = await self.snapshot(to) if isinstance(to, int) else to
        await self._parts.aclose()
        self._parts = contextlib.AsyncExitStack()
        await self._start(snapshot)

    # -- parts ---------------------------------------------------------------------------------------------------------

    async def _start(self, snapshot: Snapshot | None) -> None:
        store = MemoryStore()
        if snapshot is not None:
            store.fill(snapshot.kvs, snapshot.revision)
            self._shift += snapshot.wall - self.clock()
        rng = random.Random(self.seed)
        config = ApiServerConfig(port=self._port, store="memory", bookmark_seconds=1e9)
        if self._directory is not None:
            from sampan.cluster import certificates

            pki = certificates.ensure(self._directory / "pki", ["10.96.0.1"], self._valid())
            config = replace(
                config,
                cert_file=pki.path("apiserver.crt"),
                key_file=pki.path("apiserver.key"),
                client_ca_file=pki.path("ca.crt"),
                kubelets=KubeletClientConfig(
                    pki.path("apiserver-kubelet-client.crt"), pki.path("apiserver-kubelet-client.key")
                ),
            )
        self.server = ApiServer(
            config, clock=self.clock, rng=random.Random(rng.random()), listen=self.https, store=store
        )
        if self.history:
            self.server.api.compact_seconds = float("inf")
        await self.server.start()
        self._parts.push_async_callback(self.server.stop, 0)
        if self._directory is not None:
            from sampan.cluster import certificates, kubeconfig

            self._port = self.server.port
            pki = certificates.Pki(self._directory / "pki")
            kubeconfig.add(
                self._directory / "kubeconfig", kubeconfig.context_name("test"), f"https://127.0.0.1:{self._port}", pki
            )
        self._walls.clear()
        self._parts.callback(store.subscribe(self._stored))
        self.client = self.as_user(ADMIN)
        agent = mirror_agent(bool(self.controllers), self.with_scheduler)
        informers = await self._parts.enter_async_context(
            Informers(self.as_user(ADMIN, agent), rng=rng, watch_seconds=WATCH_SECONDS)
        )
        running = components(self, informers, rng)
        # who is interrupted here has never begun them
        self._parts.callback(lambda: [part.close() for part in running])
        informers.start()
        await informers.wait_synced()
        tasks = [asyncio.create_task(part) for part in running]
        self._parts.push_async_callback(self._stop, tasks)
        if self.node_names:
            self._unready = list(self.node_names)
            await self.wait_for(self._all_ready, timeout=60)

    def _valid(self) -> tuple[datetime, datetime]:
        """When certificates are: clients look at the machine's clock, and the server at a virtual one, which may be put on
        by years."""
        first, last = sorted((time.time(), self.clock()))
        span = timedelta(days=CERTIFICATE_DAYS)
        return datetime.fromtimestamp(first, UTC) - timedelta(days=1), datetime.fromtimestamp(last, UTC) + span

    async def _stop(self, tasks: builtins.list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _all_ready(self) -> bool:
        """Every node is there, and its taint of the first moment is gone (where a controller takes it away)."""
        # one that was not ready a moment ago is looked at first: there may be thousands
        found = self.server.api.cached("", "nodes")
        while self._unready:
            record = found.get(self._unready[-1])
            if record is None or (record.obj().get("spec") or {}).get("taints"):
                return False
            self._unready.pop()
        return True

    def as_user(self, user: User | str, agent: str = "sampan-testing") -> Client:
        """A client that acts as somebody; RBAC and admission apply. A service account's name
        (`system:serviceaccount:NAMESPACE:NAME`) brings its groups."""
        who = named(user) if isinstance(user, str) else user
        return Client(InProcessTransport(self.server.handler, who), user_agent=agent)

    def recorder(self, component: str, client: Client, rng: random.Random) -> EventRecorder:
        made = EventRecorder(client, component, clock=self.clock, rng=random.Random(rng.random()))
        made.start()
        self._parts.push_async_callback(made.aclose)
        return made

    def _stored(self, events: Any) -> None:
        self.changes += 1
        self._changed.set()
        if self.history:
            self._walls.append((events[-1].kv.mod_revision, self.clock()))

    @property
    def kubeconfig(self) -> Path:
        """A file for clients outside. Raises RuntimeError without `https`."""
        if self._directory is None:
            raise RuntimeError(
                "there is no endpoint to connect to: use Cluster(https=True), or @pytest.mark.cluster(https=True)"
            )
        return self._directory / "kubeconfig"

    @property
    def client_ca(self) -> Path:
        """Of whom to believe as a client of the cluster, for a node's kubelet."""
        return self.kubeconfig.parent / "pki" / "ca.crt"
