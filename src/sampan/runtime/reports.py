"""CRI's questions about what is used: stats and metrics of containers and pods, one by one, all, or as a stream.

Source: k8s.io/cri-api api.proto (promises), containerd internal/cri/server/*stats*.go, *metrics*.go (which are listed)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from sampan.cri import pb
from sampan.runtime import metrics
from sampan.runtime.containers import Container, Containers, is_running
from sampan.runtime.records import Record
from sampan.runtime.sandboxes import Sandbox, Sandboxes
from sampan.runtime.stats import Stats


class Reports:
    """`clock`: seconds since 1970."""

    def __init__(
        self, sandboxes: Sandboxes, containers: Containers, stats: Stats, *, clock: Callable[[], float]
    ) -> None:
        self._sandboxes = sandboxes
        self._containers = containers
        self._stats = stats
        self._clock = clock

    # -- containers ----------------------------------------------------------------------------------------------------

    async def ContainerStats(self, request: Any) -> Any:
        return pb.ContainerStatsResponse(stats=await self._stats.of(self._containers.get(request.container_id)))

    async def ListContainerStats(self, request: Any) -> Any:
        return pb.ListContainerStatsResponse(
            stats=[await self._stats.of(each) for each in self._running(request.filter)]
        )

    async def StreamContainerStats(self, request: Any) -> AsyncIterator[Any]:
        for each in self._running(request.filter):
            yield pb.StreamContainerStatsResponse(container_stats=[await self._stats.of(each)])

    def _running(self, wanted: Any) -> list[Container]:
        return [each for each in self._containers.all() if is_running(each) and selected(each, wanted)]

    # -- pods ----------------------------------------------------------------------------------------------------------

    async def PodSandboxStats(self, request: Any) -> Any:
        return pb.PodSandboxStatsResponse(stats=await self._pod(self._sandboxes.get(request.pod_sandbox_id)))

    async def ListPodSandboxStats(self, request: Any) -> Any:
        return pb.ListPodSandboxStatsResponse(stats=[await self._pod(each) for each in self._ready(request.filter)])

    async def StreamPodSandboxStats(self, request: Any) -> AsyncIterator[Any]:
        for each in self._ready(request.filter):
            yield pb.StreamPodSandboxStatsResponse(pod_sandbox_stats=[await self._pod(each)])

    async def _pod(self, sandbox: Sandbox) -> Any:
        return await self._stats.of_pod(sandbox, self._containers.of(sandbox))

    def _ready(self, wanted: Any) -> list[Sandbox]:
        return [
            each
            for each in self._sandboxes.all()
            if each.state.ready and each.id.startswith(wanted.id) and labelled(each, wanted)
        ]

    # -- metrics -------------------------------------------------------------------------------------------------------

    async def ListMetricDescriptors(self, _: Any) -> Any:
        return pb.ListMetricDescriptorsResponse(descriptors=metrics.descriptors())

    async def ListPodSandboxMetrics(self, _: Any) -> Any:
        return pb.ListPodSandboxMetricsResponse(pod_metrics=[each async for each in self._metrics()])

    async def StreamPodSandboxMetrics(self, _: Any) -> AsyncIterator[Any]:
        async for each in self._metrics():
            yield pb.StreamPodSandboxMetricsResponse(pod_sandbox_metrics=[each])

    async def _metrics(self) -> AsyncIterator[Any]:
        for each in self._sandboxes.all():
            if each.state.ready:
                now = int(self._clock() * 1e9)
                yield await metrics.of_pod(each, self._containers.of(each), self._stats, now)


def selected(container: Container, wanted: Any) -> bool:
    """By a filter of any kind; its state is another matter."""
    same = container.id.startswith(wanted.id) and container.state.sandbox.startswith(wanted.pod_sandbox_id)
    return same and labelled(container, wanted)


def labelled(record: Record[Any], wanted: Any) -> bool:
    return all(record.labels.get(key) == value for key, value in wanted.label_selector.items())
