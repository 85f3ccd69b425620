"""CRI's RuntimeService: requests to the sandboxes and containers, and what they are as messages.

Source: k8s.io/cri-api api.proto (promises), containerd internal/cri/server (words)
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from importlib import metadata
from typing import Any

from sampan.cri import pb
from sampan.runtime import cgroups
from sampan.runtime import containers as states
from sampan.runtime.containers import Container, Containers
from sampan.runtime.errors import Invalid, NotFound
from sampan.runtime.events import Events
from sampan.runtime.network import Network
from sampan.runtime.reports import Reports, labelled, selected
from sampan.runtime.sandboxes import Sandbox, Sandboxes
from sampan.runtime.stats import Stats
from sampan.runtime.store import Store
from sampan.runtime.streaming import Streaming

_Call = Callable[["RuntimeService", Any], Coroutine[Any, Any, Any]]


def to_its_end(call: _Call) -> _Call:
    """Not left half done when the caller goes away: a kubelet's timeout is no reason to lose track of a container."""

    @functools.wraps(call)
    async def run(self: RuntimeService, request: Any) -> Any:
        task = asyncio.create_task(call(self, request))
        self.running.add(task)
        task.add_done_callback(self.running.discard)
        return await asyncio.shield(task)

    return run


class RuntimeService(Reports):
    """`clock`: seconds since 1970."""

    def __init__(
        self, store: Store, sandboxes: Sandboxes, containers: Containers, stats: Stats, streaming: Streaming,
        network: Network, *, clock: Callable[[], float],
    ) -> None:  # fmt: skip
        super().__init__(sandboxes, containers, stats, clock=clock)
        self._store = store
        self._streaming = streaming
        self._network = network
        self._events = Events()
        self.running: set[asyncio.Task[Any]] = set()
        containers.on_exit = lambda container: self._tell(
            pb.CONTAINER_STOPPED_EVENT, container.state.sandbox, container.id
        )

    async def Version(self, _: Any) -> Any:
        return pb.VersionResponse(
            version="0.1.0", runtime_name="sampan", runtime_version=metadata.version("sampan"), runtime_api_version="v1"
        )

    async def Status(self, request: Any) -> Any:
        problem = self._network.problem()
        network = pb.RuntimeCondition(type="NetworkReady", status=not problem)
        if problem:
            network.reason, network.message = "NetworkPluginNotReady", problem
        ready = pb.RuntimeCondition(type="RuntimeReady", status=True)
        return pb.StatusResponse(
            status=pb.RuntimeStatus(conditions=[ready, network]),
            info=self._configuration() if request.verbose else {},
            runtime_handlers=[
                pb.RuntimeHandler(name=name, features=pb.RuntimeHandlerFeatures(recursive_read_only_mounts=True))
                for name in self._sandboxes.monitors
            ],
            features=pb.RuntimeFeatures(supplemental_groups_policy=True),
        )

    def _configuration(self) -> dict[str, str]:
        found = {
            "root": str(self._store.root.parent),
            "cgroupVersion": 2 if cgroups.unified() else 1,
            "handlers": {name: list(each.command()) for name, each in self._sandboxes.monitors.items()},
        }
        return {"config": json.dumps(found)}

    async def RuntimeConfig(self, _: Any) -> Any:
        driver = pb.SYSTEMD if self._sandboxes.monitors[""].runtime.systemd else pb.CGROUPFS
        return pb.RuntimeConfigResponse(linux=pb.LinuxRuntimeConfiguration(cgroup_driver=driver))

    async def UpdateRuntimeConfig(self, request: Any) -> Any:
        if request.runtime_config.network_config.pod_cidr:
            await self._network.configure(request.runtime_config.network_config.pod_cidr)
        return pb.UpdateRuntimeConfigResponse()

    # -- sandboxes -----------------------------------------------------------------------------------------------------

    @to_its_end
    async def RunPodSandbox(self, request: Any) -> Any:
        sandbox = await self._sandboxes.run(request.config, request.runtime_handler)
        self._tell(pb.CONTAINER_CREATED_EVENT, sandbox.id)
        self._tell(pb.CONTAINER_STARTED_EVENT, sandbox.id)
        return pb.RunPodSandboxResponse(pod_sandbox_id=sandbox.id)

    @to_its_end
    async def StopPodSandbox(self, request: Any) -> Any:
        sandbox = self._sandbox_or_none(request.pod_sandbox_id)
        if sandbox is not None:
            await self._stop(sandbox)
        return pb.StopPodSandboxResponse()

    @to_its_end
    async def RemovePodSandbox(self, request: Any) -> Any:
        sandbox = self._sandbox_or_none(request.pod_sandbox_id)
        if sandbox is not None:
            await self._stop(sandbox)
            for container in self._containers.of(sandbox):
                await self._remove(container)
            await self._sandboxes.remove(sandbox)
            self._tell(pb.CONTAINER_DELETED_EVENT, sandbox.id)
        return pb.RemovePodSandboxResponse()

    async def _stop(self, sandbox: Sandbox) -> None:
        await asyncio.gather(*(self._containers.stop(each, 0) for each in self._containers.of(sandbox)))
        was_ready = sandbox.state.ready
        await self._sandboxes.stop(sandbox)
        if was_ready:
            self._tell(pb.CONTAINER_STOPPED_EVENT, sandbox.id)

    def _sandbox_or_none(self, key: str) -> Sandbox | None:
        try:
            return self._sandboxes.get(key)
        except NotFound:
            return None

    async def PodSandboxStatus(self, request: Any) -> Any:
        sandbox = self._sandboxes.get(request.pod_sandbox_id)
        info = {"info": json.dumps(self._sandboxes.info(sandbox))} if request.verbose else {}
        return pb.PodSandboxStatusResponse(
            status=self._sandbox_status(sandbox),
            info=info,
            containers_statuses=[self._status(each) for each in self._containers.of(sandbox)],
            timestamp=int(self._clock() * 1e9),
        )

    def _sandbox_status(self, sandbox: Sandbox) -> Any:
        state, config = sandbox.state, sandbox.config
        ips = state.ips if state.ready else ()
        network = pb.PodSandboxNetworkStatus(
            ip=ips[0] if ips else "", additional_ips=[pb.PodIP(ip=each) for each in ips[1:]]
        )
        options = config.linux.security_context.namespace_options
        return pb.PodSandboxStatus(
            id=sandbox.id, metadata=config.metadata, state=_ready(sandbox), created_at=state.created, network=network,
            linux=pb.LinuxPodSandboxStatus(namespaces=pb.Namespace(options=options)), labels=config.labels,
            annotations=config.annotations, runtime_handler=state.handler,
        )  # fmt: skip

    async def UpdatePodSandboxResources(self, request: Any) -> Any:
        self._sandboxes.update(self._sandboxes.get(request.pod_sandbox_id), request.overhead, request.resources)
        return pb.UpdatePodSandboxResourcesResponse()

    async def ListPodSandbox(self, request: Any) -> Any:
        return pb.ListPodSandboxResponse(items=self._listed_sandboxes(request.filter))

    async def StreamPodSandboxes(self, request: Any) -> AsyncIterator[Any]:
        for each in self._listed_sandboxes(request.filter):
            yield pb.StreamPodSandboxesResponse(pod_sandboxes=[each])

    def _listed_sandboxes(self, wanted: Any) -> list[Any]:
        return [
            pb.PodSandbox(
                id=each.id, metadata=each.config.metadata, state=_ready(each), created_at=each.state.created,
                labels=each.config.labels, annotations=each.config.annotations, runtime_handler=each.state.handler,
            )
            for each in self._sandboxes.all()
            if labelled(each, wanted)
            and each.id.startswith(wanted.id)
            and (not wanted.HasField("state") or wanted.state.state == _ready(each))
        ]  # fmt: skip

    # -- events --------------------------------------------------------------------------------------------------------

    def GetContainerEvents(self, _: Any) -> AsyncIterator[Any]:
        return self._events.listen()

    def _tell(self, kind: int, sandbox: str, container: str = "") -> None:
        """Of a container, or of the sandbox as if it were one."""
        event = pb.ContainerEventResponse(
            container_id=container or sandbox, container_event_type=kind, created_at=int(self._clock() * 1e9)
        )
        found = self._sandbox_or_none(sandbox)
        if found is not None:
            event.pod_sandbox_status.CopyFrom(self._sandbox_status(found))
            event.containers_statuses.extend(self._status(each) for each in self._containers.of(found))
        self._events.tell(event)

    # -- containers ----------------------------------------------------------------------------------------------------

    @to_its_end
    async def CreateContainer(self, request: Any) -> Any:
        sandbox = self._sandboxes.get(request.pod_sandbox_id)
        container = await self._containers.create(sandbox, request.config)
        self._tell(pb.CONTAINER_CREATED_EVENT, sandbox.id, container.id)
        return pb.CreateContainerResponse(container_id=container.id)

    @to_its_end
    async def StartContainer(self, request: Any) -> Any:
        container = self._containers.get(request.container_id)
        await self._containers.start(container)
        self._tell(pb.CONTAINER_STARTED_EVENT, container.state.sandbox, container.id)
        return pb.StartContainerResponse()

    async def StopContainer(self, request: Any) -> Any:
        container = self._container_or_none(request.container_id)
        if container is not None:
            await self._containers.stop(container, request.timeout)
        return pb.StopContainerResponse()

    @to_its_end
    async def RemoveContainer(self, request: Any) -> Any:
        container = self._container_or_none(request.container_id)
        if container is not None:
            await self._remove(container)
        return pb.RemoveContainerResponse()

    async def _remove(self, container: Container) -> None:
        await self._containers.remove(container)
        self._stats.forget(container.id)
        self._tell(pb.CONTAINER_DELETED_EVENT, container.state.sandbox, container.id)

    def _container_or_none(self, key: str) -> Container | None:
        try:
            return self._containers.get(key)
        except NotFound:
            return None

    async def ListContainers(self, request: Any) -> Any:
        return pb.ListContainersResponse(containers=[_container(each) for each in self._filtered(request.filter)])

    async def StreamContainers(self, request: Any) -> AsyncIterator[Any]:
        for each in self._filtered(request.filter):
            yield pb.StreamContainersResponse(containers=[_container(each)])

    def _filtered(self, wanted: Any) -> list[Container]:
        return [
            each
            for each in self._containers.all()
            if selected(each, wanted)
            and (not wanted.HasField("state") or wanted.state.state == states.status(each.state))
        ]

    async def ContainerStatus(self, request: Any) -> Any:
        container = self._containers.get(request.container_id)
        info = {}
        if request.verbose:
            made = json.loads((container.directory / "config.json").read_text())
            info["info"] = json.dumps({"pid": container.state.pid, "runtimeSpec": made})
        return pb.ContainerStatusResponse(status=self._status(container), info=info)

    def _status(self, container: Container) -> Any:
        state, config = container.state, container.config
        image = self._store.find(state.image_id)
        name = (image.tags or image.digests or (state.image_id,))[0] if image else config.image.image
        user = pb.LinuxContainerUser(uid=state.uid, gid=state.gid, supplemental_groups=state.groups)
        return pb.ContainerStatus(
            id=container.id, metadata=config.metadata, state=states.status(state), created_at=state.created,
            started_at=state.started, finished_at=state.finished, exit_code=state.exit_code,
            image=pb.ImageSpec(image=name), image_ref=(image.digests or (state.image_id,))[0] if image else state.image_id,
            reason=state.reason, message=state.message, labels=config.labels, annotations=config.annotations,
            mounts=config.mounts, log_path=state.log, image_id=state.image_id,
            resources=pb.ContainerResources(linux=self._containers.resources(container)),
            user=pb.ContainerUser(linux=user), stop_signal=pb.Signal.index(state.stop_signal),
        )  # fmt: skip

    @to_its_end
    async def UpdateContainerResources(self, request: Any) -> Any:
        await self._containers.update(self._containers.get(request.container_id), request.linux)
        return pb.UpdateContainerResourcesResponse()

    async def ReopenContainerLog(self, request: Any) -> Any:
        self._containers.reopen_log(self._containers.get(request.container_id))
        return pb.ReopenContainerLogResponse()

    async def ExecSync(self, request: Any) -> Any:
        if request.timeout < 0:
            raise Invalid("timeout must not be negative")
        container = self._containers.get(request.container_id)
        done = await self._containers.exec(container, list(request.cmd), request.timeout or None)
        return pb.ExecSyncResponse(stdout=done.stdout, stderr=done.stderr, exit_code=done.code)

    # -- streams -------------------------------------------------------------------------------------------------------

    async def Exec(self, request: Any) -> Any:
        return pb.ExecResponse(url=await self._streaming.exec(request))

    async def Attach(self, request: Any) -> Any:
        return pb.AttachResponse(url=await self._streaming.attach(request))

    async def PortForward(self, request: Any) -> Any:
        return pb.PortForwardResponse(url=await self._streaming.port_forward(request))


def _container(container: Container) -> Any:
    state, config = container.state, container.config
    return pb.Container(
        id=container.id, pod_sandbox_id=state.sandbox, metadata=config.metadata, image=config.image,
        image_ref=state.image_id, state=states.status(state), created_at=state.created, labels=config.labels,
        annotations=config.annotations, image_id=state.image_id,
    )  # fmt: skip


def _ready(sandbox: Sandbox) -> int:
    return int(pb.SANDBOX_READY if sandbox.state.ready else pb.SANDBOX_NOTREADY)
