"""The control groups of pods: one for each pod, in that of its class, in that of all pods.

    kubepods                    all of them: what the Node says is allocatable
    kubepods/pod<uid>           Guaranteed
    kubepods/burstable/pod<uid>
    kubepods/besteffort/pod<uid>

A pod's own group outlives its containers and holds what they may have together; the runtime makes the containers' groups in it. What is
in a group when its pod is gone is killed.

Source: kubernetes pkg/kubelet/cm/{pod_container_manager_linux,qos_container_manager_linux,node_container_manager_linux}.go
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from sampan.kubelet import machine, resources
from sampan.kubelet.cgroup_drivers import Cgroupfs, Driver, Name, Systemd, Used
from sampan.kubelet.resources import Limits

log = logging.getLogger("sampan.kubelet")
Obj = dict[str, Any]
Tell = Callable[[str, str, str], None]
TOP = "kubepods"
TIERS = {"Guaranteed": (), "Burstable": ("burstable",), "BestEffort": ("besteffort",)}
RETRY_SECONDS = 60.0


class Cgroups:
    """`root`: what the groups are below, `/sampan/node-1`. `driver`: cgroupfs or systemd, as the runtime's. `per_qos`: False leaves
    the making of groups to the runtime. `pids`: how many processes a pod may have, -1 any number."""

    def __init__(
        self,
        *,
        root: str = "",
        driver: str = "cgroupfs",
        per_qos: bool = True,
        cpu_quota: bool = True,
        pids: int = -1,
        mounts: Mapping[str, Path] | None = None,
    ) -> None:
        found = machine.mounts() if mounts is None else mounts
        self._driver: Driver = Systemd(found) if driver == "systemd" else Cgroupfs(found)
        self._root: Name = tuple(part.removesuffix(".slice") for part in root.split("/") if part)
        self._top: Name = (*self._root, TOP)
        self._per_qos = per_qos
        self._cpu_quota = cpu_quota
        self._pids = pids
        self._made: dict[str, tuple[Name, Limits]] = {}
        self._tier: Limits | None = None

    def pod_parent(self, pod: Obj) -> str:
        """What the sandbox's `cgroup_parent` is."""
        return self._driver.path(self._name(pod) if self._per_qos else self._root)

    async def start(self) -> None:
        """The group of all pods, and those of the classes. Raises OSError."""
        if self._per_qos:
            await self._driver.create(self._top, Limits())
            await self._driver.create((*self._top, "burstable"), Limits(shares=resources.MIN_SHARES))
            await self._driver.create((*self._top, "besteffort"), Limits(shares=resources.MIN_SHARES))

    async def enforce(self, allocatable: Mapping[str, str], pids: int, tell: Tell) -> None:
        """Hold all pods together to this, as soon as it is possible: they may use more now. `tell`: an event's type, reason, message."""
        while self._per_qos:
            try:
                await self._driver.create(self._top, resources.of_node(allocatable, pids))
            except OSError as error:
                name = "".join(f'"{part}" ' for part in self._top).strip()
                message = f"Failed to update Node Allocatable Limits [{name}]: {error}"
                tell("Warning", "FailedNodeAllocatableEnforcement", message)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                tell("Normal", "NodeAllocatableEnforced", "Updated Node Allocatable limit across pods")
                return

    async def ensure(self, pod: Obj) -> str:
        """The pod's group with its limits, and the path to it. Raises OSError."""
        if self._per_qos:
            uid = pod["metadata"]["uid"]
            wanted = self._name(pod), resources.of_pod(pod, cpu_quota=self._cpu_quota, pids=self._pids)
            if self._made.get(uid) != wanted or not self._driver.exists(wanted[0]):
                await self._driver.create(*wanted)
                self._made[uid] = wanted
        return self.pod_parent(pod)

    async def remove(self, uid: str) -> None:
        """Whatever class the pod was of; idempotent. Raises OSError."""
        known = self._made.pop(uid, None)
        names = [known[0]] if known else [(*self._top, *tier, f"pod{uid}") for tier in TIERS.values()]
        for name in names:
            await self._driver.remove(name)

    async def share(self, pods: Iterable[Obj]) -> None:
        """Give the Burstable pods, the active ones, the processors that they ask for together. Raises OSError."""
        wanted = resources.of_tier(each for each in pods if resources.qos(each) == "Burstable")
        if self._per_qos and wanted != self._tier:
            await self._driver.create((*self._top, "burstable"), wanted)
            self._tier = wanted

    def uids(self) -> set[str]:
        """Of the pods that have a group, also from earlier lives of the kubelet."""
        names = (each for tier in TIERS.values() for each in self._driver.children((*self._top, *tier)))
        return {each.removeprefix("pod") for each in names if each.startswith("pod")}

    def memory(self) -> tuple[int, int] | None:
        """What all pods together use that cannot be given back, and what they may; None: they are not limited."""
        return self._driver.memory(self._top) if self._per_qos else None

    def used(self) -> Used | None:
        """What all pods together have used."""
        return self._driver.used(self._top) if self._per_qos else None

    def _name(self, pod: Obj) -> Name:
        return (*self._top, *TIERS[resources.qos(pod)], f"pod{pod['metadata']['uid']}")
