"""Care for the machine, put together: eviction, images and containers that nobody needs, logs that grow, what pods have together.

Source: kubernetes pkg/kubelet/kubelet.go (initializeModules, StartGarbageCollection, initializeRuntimeDependentModules)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from sampan.kubelet.cgroups import Cgroups
from sampan.kubelet.container_gc import ContainerGc
from sampan.kubelet.cri import Cri, CriFailed
from sampan.kubelet.eviction import Eviction
from sampan.kubelet.eviction_signals import thresholds
from sampan.kubelet.image_gc import ImageGc
from sampan.kubelet.log_rotation import LogRotation
from sampan.kubelet.machine import MachineInfo, reserved_for
from sampan.kubelet.oom import OomWatcher
from sampan.kubelet.options import Options, seconds
from sampan.kubelet.worker import Ended

log = logging.getLogger("sampan.kubelet")
Obj = dict[str, Any]
SHARE_SECONDS = 10.0


class Events(Protocol):
    def event(
        self, about: Obj, type: str, reason: str, message: str, *, annotations: dict[str, str] | None = None
    ) -> None: ...


class Care:
    """`pods`: those that are not over. `end` ends one. `gone`: does nobody want the pod of a uid? `over`: has it ended for good?
    `node`: a reference. `changed`: the Node's conditions are others."""

    def __init__(
        self,
        options: Options,
        cri: Cri,
        cgroups: Cgroups,
        info: MachineInfo,
        recorder: Events,
        *,
        summary: Callable[[], Awaitable[Obj]],
        glance: Callable[[], Awaitable[Obj]],
        pods: Callable[[], list[Obj]],
        end: Callable[[Obj, Ended], None],
        gone: Callable[[str], bool],
        over: Callable[[str], bool],
        node: Callable[[], Obj],
        changed: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._options = options
        self._cgroups = cgroups
        self._info = info
        self._recorder = recorder
        self._pods = pods
        self._node = node
        self.images = ImageGc(
            cri,
            self._of_node,
            high=options.image_gc_high,
            low=options.image_gc_low,
            min_seconds=options.image_min_seconds,
        )
        self.containers = ContainerGc(cri, options.logs, cgroups, gone=gone, over=over)
        self.logs = LogRotation(cri, max_size=options.log_max_size, max_files=options.log_max_files, clock=clock)
        grace = {signal: seconds(each) for signal, each in options.eviction_soft_grace.items()}
        wanted = thresholds(
            options.eviction_hard, options.eviction_soft, grace, options.eviction_reclaim,
            allocatable="pods" in options.enforce_allocatable,
        )  # fmt: skip
        self._oom = OomWatcher(self._of_node)
        self.eviction = Eviction(
            wanted, summary, pods, end, self._event, node=node, reclaim=self._reclaim, pods_memory=cgroups.memory,
            changed=changed, glance=glance, pressure_seconds=options.eviction_pressure_seconds, max_grace=options.eviction_max_grace,
        )  # fmt: skip

    def pressures(self) -> set[str]:
        """The conditions of the Node that hold."""
        return self.eviction.pressures

    async def run(self) -> None:
        """Until cancelled."""
        every = (
            self._enforce(),
            self._share(),
            self.eviction.run(),
            self.images.run(),
            self.containers.run(),
            self.logs.run(),
        )
        async with asyncio.TaskGroup() as group:
            for each in every:
                group.create_task(each)

    async def _enforce(self) -> None:
        """Hold all pods together to what is theirs; without enforcement, to the machine: shares that are not set are too few."""
        capacity = self._info.capacity(self._options.max_pods)
        reserved: tuple[Mapping[str, str], ...] = ()
        if "pods" in self._options.enforce_allocatable:
            reserved = self._options.system_reserved, self._options.kube_reserved
        await self._cgroups.enforce(reserved_for(capacity, *reserved), self._info.pids, self._of_node)

    async def _share(self) -> None:
        while True:
            try:
                await self._cgroups.share(each for each in self._pods())
            except OSError as error:
                log.warning("cannot give Burstable pods their share of the processors: %s", error)
            await asyncio.sleep(SHARE_SECONDS)

    async def _reclaim(self) -> None:
        for what, work in (
            ("containers", self.containers.collect(all_dead=True)),
            ("images", self.images.delete_unused()),
        ):
            try:
                await work
            except CriFailed as error:
                log.warning("eviction manager: cannot remove unused %s: %s", what, error)

    def _of_node(self, kind: str, reason: str, message: str) -> None:
        self._recorder.event(self._node(), kind, reason, message)

    def _event(self, about: Obj, kind: str, reason: str, message: str, annotations: dict[str, str]) -> None:
        self._recorder.event(about, kind, reason, message, annotations=annotations)
