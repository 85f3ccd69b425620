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
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sampan.client import Client, EventRecorder, Informers
from sampan.cri import pb
from sampan.http.client import Dial, dial
from sampan.kubelet import admission, dns_config, machine, names, pull_secrets
from sampan.kubelet.backoff import Backoffs
from sampan.kubelet.cgroups import Cgroups
from sampan.kubelet.cri import Cri, CriFailed
from sampan.kubelet.environment import Facts, environment
from sampan.kubelet.health import Health
from sampan.kubelet.images import Images
from sampan.kubelet.node import Node
from sampan.kubelet.observed import Reader, Sandbox
from sampan.kubelet.options import Options
from sampan.kubelet.parts import Parts, Runtime
from sampan.kubelet.probes import Probes
from sampan.kubelet.server.host import View
from sampan.kubelet.server.server import KubeletServer
from sampan.kubelet.sources import Sources
from sampan.kubelet.stats import Stats
from sampan.kubelet.statuses import Statuses
from sampan.kubelet.sync import Syncer
from sampan.kubelet.volumes import Mounted, Volumes
from sampan.kubelet.worker import Ended, Worker

log = logging.getLogger("sampan.kubelet")
Obj = dict[str, Any]
RUNTIME_SECONDS = 30.0


def by_uid(pod: Obj) -> Iterable[str]:
    return (pod["metadata"]["uid"],)


def wanted(pod: Obj) -> tuple[Any, ...]:
    """What of a pod concerns its worker; others' conditions do where its readiness depends on them."""
    meta = {name: value for name, value in pod["metadata"].items() if name not in ("resourceVersion", "managedFields")}
    gates = {each["conditionType"] for each in pod["spec"].get("readinessGates") or ()}
    status = pod.get("status") or {}
    theirs = [each for each in status.get("conditions") or () if each["type"] in gates]
    return meta, pod["spec"], theirs, status.get("phase") in ("Failed", "Succeeded")


class Kubelet:
    """`clock`: seconds since 1970. `client` is the node's own (`system:node:NAME`). `dial`: how pods are reached."""

    def __init__(self, options: Options, client: Client, *, clock: Callable[[], float], dial: Dial = dial) -> None:
        self.options = options
        self.client = client
        self._clock = clock
        self.info = machine.read(options.root)
        self.cri = Cri(options.runtime)
        self.recorder = EventRecorder(client, "kubelet", host=options.name, clock=clock)
        self.informers = Informers(client)
        self.pods = self.informers.get("pods", field_selector=f"spec.nodeName={options.name}", indexers={"uid": by_uid})
        self.nodes = self.informers.get("nodes", field_selector=f"metadata.name={options.name}")
        self.workers: dict[str, Worker] = {}
        self.runtime = Runtime()
        self.reader = Reader(self.cri)
        self.sources = Sources(client, clock=clock)
        self.statuses = Statuses(client, self._of_api)
        self.node = Node(
            client, self.cri, self.runtime, options, self.info, recorder=self.recorder, clock=clock,
            port=lambda: self.server.port,
        )  # fmt: skip
        self.host_ips = tuple(each["address"] for each in self.node.addresses if each["type"] == "InternalIP")
        self.health = Health(self.cri, self.reader, self.runtime, self.poke, self._runtime_back, self.node.changed)
        self.volumes = Volumes(
            options.root, self.sources, client, node=options.name, clock=clock, allocatable=lambda: self.node.allocatable,
            warn=lambda pod, reason, message: self.recorder.event(pod, "Warning", reason, message),
        )  # fmt: skip
        self.probes = Probes(self._run, self.recorder, self._probed, status=self.statuses.get, clock=clock, dial=dial)
        self.stats = Stats(self.cri, options.name, options.root, options.logs, clock=clock)
        self.server = KubeletServer(options, View(self), self.cri, client, self.stats, clock=clock, names=self.host_ips)
        self._resolver = dns_config.Node(options.cluster_dns, options.cluster_domain, options.resolver, self.host_ips)
        self._tasks: list[asyncio.Task[None]] = []
        self._orphans: dict[str, asyncio.Task[None]] = {}
        self._stack = contextlib.AsyncExitStack()
        self.parts = self._parts()
        self.syncer = Syncer(self.parts)

    def _parts(self) -> Parts:
        options, clock = self.options, self._clock
        pulls = Backoffs(clock, most=min(300.0, options.back_off_most))
        parallel = 1 if options.serialize_pulls else options.max_pulls or 1000
        return Parts(
            options=options, cri=self.cri, reader=self.reader, recorder=self.recorder, statuses=self.statuses,
            images=Images(self.cri, pulls, clock=clock, parallel=parallel, credentials=self._credentials),
            restarts=Backoffs(clock, first=min(10.0, options.back_off_most), most=options.back_off_most),
            cgroups=Cgroups(root=options.cgroup_root, driver=options.cgroup_driver or "cgroupfs", per_qos=options.cgroups_per_qos,
                            cpu_quota=options.cpu_quota, pids=options.pids_per_pod),
            machine=self.info, runtime=self.runtime, clock=clock, host_ips=self.host_ips,
            volumes=self.volumes, probes=self.probes, environment=self._environment, dns=self._dns, shown=self._shown,
        )  # fmt: skip

    # -- its own life --------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Kubelet:
        stack = self._stack
        stack.push_async_callback(self.cri.aclose)
        await stack.enter_async_context(self.recorder)
        await stack.enter_async_context(self.server)
        stack.push_async_callback(self.informers.aclose)
        stack.push_async_callback(self.sources.aclose)
        stack.push_async_callback(self.statuses.aclose)
        stack.push_async_callback(self.probes.aclose)
        stack.callback(self.volumes.stop)
        stack.push_async_callback(self._stop)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await self.cri.ready(RUNTIME_SECONDS)
        except CriFailed as error:
            log.error("the container runtime at %s does not answer: %s; going on without", self.cri.socket, error)
        await self.health.look()
        with contextlib.suppress(CriFailed):
            await self.health.relist()
        await self.parts.cgroups.start()
        self.volumes.start()
        self.pods.add_handler(self._added, self._updated, self._deleted)
        self.nodes.add_handler(self._node_seen, lambda _, new: self._node_seen(new))
        self.informers.start()
        self.recorder.event(self.node.reference, "Normal", "Starting", "Starting kubelet.")
        running = (
            self._register(), self.health.watch_status(), self.health.watch_containers(), self.volumes.keep(),
            self._tidy(), self.server.keep(),
        )  # fmt: skip
        async with asyncio.TaskGroup() as group:
            for each in running:
                group.create_task(each)

    async def _register(self) -> None:
        await self.node.register()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.node.keep())
            group.create_task(self.node.renew())

    async def _stop(self) -> None:
        """The pods live on."""
        for task in self._orphans.values():
            task.cancel()
        await asyncio.gather(
            *self._orphans.values(), *(each.stop() for each in self.workers.values()), return_exceptions=True
        )

    # -- pods ----------------------------------------------------------------------------------------------------------

    def _of_api(self, uid: str) -> Obj | None:
        found = self.pods.cache.by_index("uid", uid)
        return found[0] if found else None

    def _shown(self, pod: Obj) -> Obj | None:
        return self._of_api(names.uid_of(pod)) or pod

    def poke(self, uid: str) -> None:
        worker = self.workers.get(uid)
        if worker is not None:
            worker.poke()

    def _added(self, pod: Obj) -> None:
        uid = names.uid_of(pod)
        worker = self.workers.get(uid)
        if worker is not None:
            worker.update(pod)
            return
        refused = None
        if uid not in self.health.pods and (pod.get("status") or {}).get("phase", "Pending") == "Pending":
            others = [each.pod for each in self.workers.values() if not each.finished]
            node = self.nodes.cache.get(self.options.name) or self.node.object
            if node is not None and "deletionTimestamp" not in pod["metadata"]:
                refused = admission.admit(pod, others, node, self.node.allocatable)
        worker = self.workers[uid] = Worker(self.syncer, pod, self._done)
        if refused is not None:
            self.recorder.event(pod, "Warning", refused.reason, refused.message)
            worker.end(Ended("Failed", refused.reason, f"Pod was rejected: {refused.message}"))

    def _updated(self, old: Obj, pod: Obj) -> None:
        uid = names.uid_of(pod)
        self.statuses.seen(uid, pod)
        self.volumes.update(pod)
        worker = self.workers.get(uid)
        if worker is None or wanted(old) != wanted(pod):
            self._added(pod)
        else:
            worker.pod = pod  # only its status is another: that was said by ourselves

    def _deleted(self, pod: Obj) -> None:
        worker = self.workers.get(names.uid_of(pod))
        if worker is not None:
            worker.remove()

    def _done(self, worker: Worker) -> None:
        if self.workers.get(worker.uid) is worker:
            del self.workers[worker.uid]

    # -- the node ------------------------------------------------------------------------------------------------------

    def _node_seen(self, node: Obj) -> None:
        self._background(self._tell_runtime(node))

    async def _tell_runtime(self, node: Obj, *, again: bool = False) -> None:
        with contextlib.suppress(CriFailed):
            await self.node.seen(node, again=again)

    async def _runtime_back(self) -> None:
        """It is there (again): it is told what it may have forgotten, and every pod is looked at."""
        node = self.nodes.cache.get(self.options.name) or self.node.object
        if node is not None:
            await self._tell_runtime(node, again=True)
        for worker in self.workers.values():
            worker.poke()

    async def emptied(self) -> None:
        """Until nothing is left of any pod."""
        while tasks := [*(each.task for each in self.workers.values()), *self._orphans.values()]:
            await asyncio.wait(tasks)

    def _background(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks = [each for each in self._tasks if not each.done()] + [task]

    # -- what nobody wants ---------------------------------------------------------------------------------------------

    async def _tidy(self) -> None:
        """End pods that the runtime has and nobody wants; only once it is known what is wanted."""
        await self.pods.wait_synced()
        while True:
            for uid in self.health.pods:
                if uid not in self.workers and uid not in self._orphans:
                    self._orphans[uid] = asyncio.create_task(self._end_orphan(uid), name=f"orphan {uid}")
            await asyncio.sleep(2.0)

    async def _end_orphan(self, uid: str) -> None:
        try:
            seen = await self.reader.pod(uid)
            await self.syncer.stop(None, seen)
            seen = await self.reader.pod(uid)
            if uid not in self.workers:
                logs = self.options.logs / f"{seen.namespace}_{seen.name}_{uid}"
                await self.syncer.remove(seen, logs)
                await self.volumes.remove(uid)
                await self.parts.cgroups.remove(uid)
                await self.health.relist()
        except (CriFailed, OSError) as error:
            log.warning("cannot end pod %s, which nobody wants: %s", uid, error)
        finally:
            self._orphans.pop(uid, None)

    # -- what containers get -------------------------------------------------------------------------------------------

    async def _environment(
        self, pod: Obj, container: Obj, sandbox: Sandbox, mounted: Mapping[str, Mounted]
    ) -> list[tuple[str, str]]:
        places = {name: each.path for name, each in mounted.items()}
        return await environment(
            pod, container, self.sources, Facts(sandbox.ips, self.host_ips, self.node.allocatable, places)
        )

    def _dns(self, pod: Obj) -> Any:
        """Raises OSError."""
        found = dns_config.dns_config(pod, self._resolver)
        for reason, message in found.warnings:
            self.recorder.event(pod, "Warning", reason, message)
        return pb.DNSConfig(servers=found.servers, searches=found.searches, options=found.options)

    async def _credentials(self, pod: Obj, image: str) -> list[Any]:
        def warn(reason: str, message: str) -> None:
            self.recorder.event(pod, "Warning", reason, message)

        return await pull_secrets.credentials(pod, image, self.sources, warn)

    async def _run(self, container: str, command: Sequence[str], timeout: float) -> tuple[int, bytes]:
        return await self.parts.run(container, command, timeout)

    def _probed(self, uid: str, container: str, kind: str, result: str) -> None:
        self.poke(uid)
