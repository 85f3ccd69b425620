"""The kubelet, put together: pods from the API and from files, a worker for each, the node's own object, and the runtime behind CRI.

    async with Kubelet(options, client, clock=time.time) as kubelet:
        await kubelet.run()

Promises: containers outlive it; what it finds when it starts it takes up again. While the API server is away, pods live on as they were
last wanted; while the runtime is away, nothing is concluded from its silence. Pods that nobody wants any more are ended, but only once
the API server has said which ones it wants.

Source: kubernetes pkg/kubelet/kubelet.go
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from sampan.client import Bucket, Client, EventRecorder, Informers
from sampan.cri import pb
from sampan.http.client import Dial, dial
from sampan.kubelet import dns_config, machine, pull_secrets
from sampan.kubelet.backoff import Backoffs
from sampan.kubelet.care import Care
from sampan.kubelet.cgroups import Cgroups
from sampan.kubelet.cri import Cri, CriFailed
from sampan.kubelet.environment import Facts, environment
from sampan.kubelet.health import Health
from sampan.kubelet.images import Images
from sampan.kubelet.node import Node
from sampan.kubelet.observed import Reader, Sandbox
from sampan.kubelet.options import Options
from sampan.kubelet.parts import Parts, Runtime
from sampan.kubelet.pods import Pods, by_uid
from sampan.kubelet.probes import Probes
from sampan.kubelet.server.server import KubeletServer
from sampan.kubelet.sources import Sources
from sampan.kubelet.static import StaticPods
from sampan.kubelet.stats import Stats
from sampan.kubelet.statuses import Statuses
from sampan.kubelet.streaming import Streaming
from sampan.kubelet.volumes import Mounted, Volumes

log = logging.getLogger("sampan.kubelet")
Obj = dict[str, Any]
RUNTIME_SECONDS = 30.0
RESOLVER_SECONDS = 30.0
KEPT_SECONDS = 1.0


class Host:
    """The kubelet as its server knows it."""

    def __init__(self, pods: Pods, probes: Probes) -> None:
        self._pods = pods
        self._probes = probes

    def pods(self) -> list[Obj]:
        return self._pods.all()

    def pod(self, namespace: str, name: str) -> Obj | None:
        return self._pods.find(namespace, name)

    def unhealthy(self) -> str:
        """Whoever answers here runs the loop that all else runs in, too."""
        return ""

    def probe_metrics(self) -> str:
        return self._probes.metrics()

    def preemptions(self) -> Mapping[str, int]:
        return self._pods.preemptions


async def _kept(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """One of its parts, begun anew should it fail: the others go on meanwhile."""
    while True:
        try:
            return await work()
        except Exception:
            log.exception("a part of the kubelet failed; it begins anew")
        await asyncio.sleep(KEPT_SECONDS)


class Kubelet:
    """`clock`: seconds since 1970. `client` is the node's own (`system:node:NAME`). `dial`: how pods are reached."""

    def __init__(self, options: Options, client: Client, *, clock: Callable[[], float], dial: Dial = dial) -> None:
        self.options = options
        self.client = client
        self._clock = clock
        self.info = machine.read(options.root)
        self.cri = Cri(options.runtime)
        self.runtime = Runtime()
        self.reader = Reader(self.cri)
        self.recorder = EventRecorder(client, "kubelet", host=options.name, clock=clock)
        self.informers = Informers(client)
        informer = self.informers.get("pods", field_selector=f"spec.nodeName={options.name}", indexers={"uid": by_uid})
        self.nodes = self.informers.get("nodes", field_selector=f"metadata.name={options.name}")
        self.sources = Sources(client, clock=clock)
        self.sources.listen(lambda uid: self.pods.poke(uid))  # what a pod has waited for may have come
        self.node = Node(
            client, self.cri, self.runtime, options, self.info, recorder=self.recorder, clock=clock,
            pressures=lambda: self.care.pressures(), port=lambda: self.server.port,
        )  # fmt: skip
        self.host_ips = tuple(each["address"] for each in self.node.addresses if each["type"] == "InternalIP")
        self.health = Health(
            self.cri, self.reader, self.runtime, lambda uid: self.pods.poke(uid), self._runtime_back, self.node.changed,
            lambda uid, event: self.pods.heard(uid, event),
        )  # fmt: skip
        self.pods = Pods(
            client, informer, self.node, self.health, static_known=options.static_pods is not None,
            pressures=lambda: self.care.pressures(),
        )  # fmt: skip
        self.statuses = Statuses(client, self.pods.of_api)
        self.volumes = Volumes(
            options.root, self.sources, client, node=options.name, clock=clock, allocatable=lambda: self.node.allocatable,
            warn=lambda pod, reason, message: self.recorder.event(pod, "Warning", reason, message),
            host_paths=options.host_paths,
        )  # fmt: skip
        self.probes = Probes(self._run, self.recorder, self._probed, status=self.statuses.get, clock=clock, dial=dial)
        self.stats = Stats(
            self.cri, options.name, options.root, options.logs, clock=clock, mounted=self.volumes.mounted
        )
        self.streaming = Streaming(self.cri, dial)
        self.server = KubeletServer(
            options, Host(self.pods, self.probes), self.cri, client, self.stats, clock=clock, names=(*self.host_ips, options.name),
            streams=self.streaming,
        )  # fmt: skip
        self._resolver = dns_config.Node(options.cluster_dns, options.cluster_domain, options.resolver, self.host_ips)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stack = contextlib.AsyncExitStack()

    # -- its own life --------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Kubelet:
        stack = self._stack
        stack.push_async_callback(self.cri.aclose)
        await stack.enter_async_context(self.recorder)
        stack.push_async_callback(self.informers.aclose)
        stack.push_async_callback(self.sources.aclose)
        stack.push_async_callback(self.statuses.aclose)
        stack.push_async_callback(self.probes.aclose)
        stack.push_async_callback(self.streaming.aclose)
        stack.callback(self.volumes.stop)
        stack.push_async_callback(self.pods.stop)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def run(self) -> None:
        """Until cancelled. Raises OSError: a port is taken, there are no control groups, a certificate cannot be read."""
        try:
            await self.cri.ready(RUNTIME_SECONDS)
        except CriFailed as error:
            log.error("the container runtime at %s does not answer: %s; going on without", self.cri.socket, error)
        await self.health.look()
        with contextlib.suppress(CriFailed):
            await self.health.relist()
        cgroups = self._cgroups()
        await cgroups.start()
        self.stats.together = cgroups.used
        self.volumes.start()
        self.care = self._care(cgroups)
        self.pods.begin(self._parts(cgroups))
        self.nodes.add_handler(self._node_seen, lambda _, new: self._node_seen(new))
        async with self.server:
            self.recorder.event(self.node.reference, "Normal", "Starting", "Starting kubelet.")
            # pods are asked for at once: those that ran before need no Node
            self.informers.start()
            async with asyncio.TaskGroup() as group:
                for each in self._all():
                    group.create_task(_kept(each))

    def _all(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """What it does as long as it lives."""
        out = [
            self.node.run, self.health.watch_status, self.health.watch_containers, self.volumes.keep, self.pods.tidy,
            self.pods.keep_mirrors, self.care.run, self.server.keep, self._check_resolver,
        ]  # fmt: skip
        if self.options.static_pods is not None:
            path = self.options.static_pods
            out.append(StaticPods(path, self.options.name, self.pods.of_files, clock=self._clock).run)
        return out

    def _cgroups(self) -> Cgroups:
        options = self.options
        return Cgroups(
            root=options.cgroup_root, driver=options.cgroup_driver or self.runtime.driver or "cgroupfs",
            per_qos=options.cgroups_per_qos, cpu_quota=options.cpu_quota, pids=options.pids_per_pod,
        )  # fmt: skip

    def _parts(self, cgroups: Cgroups) -> Parts:
        options, clock = self.options, self._clock
        most = options.back_off_most
        return Parts(
            options=options, cri=self.cri, reader=self.reader, recorder=self.recorder, statuses=self.statuses,
            images=Images(
                self.cri, Backoffs(clock, most=min(300.0, most)), clock=clock, credentials=self._credentials,
                parallel=1 if options.serialize_pulls else options.max_pulls or 1000,
                allowed=Bucket(options.registry_qps, options.registry_burst) if options.registry_qps > 0 else None,
            ),
            restarts=Backoffs(clock, first=min(10.0, most), most=most), cgroups=cgroups, machine=self.info,
            runtime=self.runtime, clock=clock, host_ips=self.host_ips, volumes=self.volumes, probes=self.probes,
            environment=self._environment, dns=self._dns, handler=self._handler, shown=self.pods.shown,
        )  # fmt: skip

    def _care(self, cgroups: Cgroups) -> Care:
        return Care(
            self.options, self.cri, cgroups, self.info, self.recorder, clock=self._clock,
            summary=lambda: self.stats.summary(self.pods.active()), glance=self.stats.of_node, pods=self.pods.active, end=self.pods.end,
            gone=self.pods.gone, over=self.pods.over, node=lambda: self.node.reference, changed=self.node.changed,
        )  # fmt: skip

    # -- what happens --------------------------------------------------------------------------------------------------

    def _probed(self, uid: str, container: str, kind: str, result: str) -> None:
        self.pods.poke(uid)

    def _node_seen(self, node: Obj) -> None:
        task = asyncio.create_task(self._tell_runtime(node))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell_runtime(self, node: Obj, *, again: bool = False) -> None:
        try:
            await self.node.seen(node, again=again)
            await self.health.look()  # its network may be ready now
        except CriFailed as error:
            log.warning("cannot tell the runtime the pods' range: %s", error)

    async def _runtime_back(self) -> None:
        """It is there (again): it is told what it may have forgotten, and every pod is looked at."""
        node = self.nodes.cache.get(self.options.name) or self.node.object
        if node is not None:
            await self.node.seen(node, again=True)
        self.pods.poke_all()

    # -- what containers get -------------------------------------------------------------------------------------------

    async def _environment(
        self, pod: Obj, container: Obj, sandbox: Sandbox, mounted: Mapping[str, Mounted]
    ) -> list[tuple[str, str]]:
        places = {name: each.path for name, each in mounted.items()}
        facts = Facts(sandbox.ips, self.host_ips, self.node.allocatable, places)
        return await environment(pod, container, self.sources, facts)

    async def _check_resolver(self) -> None:
        while True:
            if said := dns_config.problem(self._resolver):
                self.recorder.event(self.node.reference, "Warning", "CheckLimitsForResolvConf", said)
            await asyncio.sleep(RESOLVER_SECONDS)

    def _dns(self, pod: Obj) -> Any:
        """Raises OSError."""
        found = dns_config.dns_config(pod, self._resolver)
        for reason, message in found.warnings:
            self.recorder.event(pod, "Warning", reason, message)
        return pb.DNSConfig(servers=found.servers, searches=found.searches, options=found.options)

    async def _handler(self, pod: Obj) -> str:
        """Raises StatusError, HttpError."""
        name = pod["spec"].get("runtimeClassName")
        return str((await self.client.get("runtimeclasses", name))["handler"]) if name else ""

    async def _credentials(self, pod: Obj, image: str) -> list[Any]:
        def warn(reason: str, message: str) -> None:
            self.recorder.event(pod, "Warning", reason, message)

        return await pull_secrets.credentials(pod, image, self.sources, warn)

    async def _run(self, container: str, command: Sequence[str], timeout: float) -> tuple[int, bytes]:
        return await self.pods.parts.run(container, command, timeout)
