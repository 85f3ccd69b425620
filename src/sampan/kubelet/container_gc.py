"""Dead containers are removed but the last of each name, with sandboxes that are over, control groups that were left, and logs that nobody
will ask for any more.

Of a pod that is gone from the node nothing is kept. What runs is never touched.

Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_gc.go, pkg/kubelet/kubelet_pods.go cleanupOrphanedPodCgroups
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sampan.cri import pb
from sampan.kubelet import names
from sampan.kubelet.cgroups import Cgroups
from sampan.kubelet.cri import Cri, CriFailed

log = logging.getLogger("sampan.kubelet")
SECONDS = 60.0


class ContainerGc:
    """`gone`: does nobody want the pod of this uid any more? False while that is not known. `over`: has it ended, for good?"""

    def __init__(
        self, cri: Cri, logs: Path, cgroups: Cgroups, *, gone: Callable[[str], bool], over: Callable[[str], bool]
    ) -> None:
        self._cri = cri
        self._logs = logs
        self._cgroups = cgroups
        self._gone = gone
        self._over = over

    async def run(self) -> None:
        while True:
            await asyncio.sleep(SECONDS)
            try:
                await self.collect()
            except CriFailed as error:
                log.error("Container garbage collection failed: %s", error)

    async def collect(self, *, all_dead: bool = False) -> None:
        """`all_dead`: what is left of pods that have ended goes too. Raises CriFailed."""
        containers, sandboxes = await asyncio.gather(self._cri.ListContainers(), self._cri.ListPodSandbox())

        def nothing_kept(uid: str) -> bool:
            return self._gone(uid) or (all_dead and self._over(uid))

        left = await self._containers(containers.containers, nothing_kept)
        await self._sandboxes(sandboxes.items, left, nothing_kept)
        self._log_directories({each.id for each in containers.containers})
        known = {each.labels.get(names.POD_UID, "") for each in (*containers.containers, *sandboxes.items)}
        await self._groups(known)

    async def _containers(self, found: Any, nothing_kept: Callable[[str], bool]) -> set[str]:
        """The sandboxes of what is left."""
        units: dict[tuple[str, str], list[Any]] = defaultdict(list)
        left = set()
        for each in found:
            if each.state == pb.CONTAINER_RUNNING:
                left.add(each.pod_sandbox_id)
            else:
                units[each.labels.get(names.POD_UID, ""), each.labels.get(names.CONTAINER_NAME, "")].append(each)
        for (uid, _), dead in units.items():
            dead.sort(key=lambda each: each.created_at, reverse=True)
            kept = 0 if nothing_kept(uid) else 1
            left |= {each.pod_sandbox_id for each in dead[:kept]}
            for each in dead[kept:]:
                if not await self._try(self._cri.RemoveContainer(container_id=each.id), f"container {each.id}"):
                    left.add(each.pod_sandbox_id)
                self._drop_logs(each)
        return left

    async def _sandboxes(self, found: Any, used: set[str], nothing_kept: Callable[[str], bool]) -> None:
        pods: dict[str, list[Any]] = defaultdict(list)
        for each in found:
            pods[each.labels.get(names.POD_UID, "")].append(each)
        for uid, boxes in pods.items():
            boxes.sort(key=lambda each: each.created_at, reverse=True)
            for each in boxes if nothing_kept(uid) else boxes[1:]:
                if each.state == pb.SANDBOX_READY or each.id in used:
                    continue
                # its network may still be there
                await self._try(self._cri.StopPodSandbox(pod_sandbox_id=each.id), f"sandbox {each.id}")
                await self._try(self._cri.RemovePodSandbox(pod_sandbox_id=each.id), f"sandbox {each.id}")

    @staticmethod
    async def _try(call: Any, what: str) -> bool:
        try:
            await call
        except CriFailed as error:
            if error.down:
                raise
            log.warning("cannot remove %s: %s", what, error)
            return error.gone
        return True

    async def _groups(self, known: set[str]) -> None:
        """Of pods that are gone from the runtime too, as of one that was removed while the kubelet was away."""
        for uid in self._cgroups.uids() - known:
            if self._gone(uid):
                try:
                    await self._cgroups.remove(uid)
                except OSError as error:
                    log.warning("%s", error)

    # -- logs ----------------------------------------------------------------------------------------------------------

    def _drop_logs(self, container: Any) -> None:
        """Of one that is removed: the file, and what it was rotated into."""
        labels = container.labels
        directory = "_".join(labels.get(key, "") for key in (names.POD_NAMESPACE, names.POD_NAME, names.POD_UID))
        number = container.annotations.get(names.RESTARTS, "")
        if number:
            path = self._logs / directory / labels.get(names.CONTAINER_NAME, "")
            for each in path.glob(f"{number}.log*"):
                each.unlink(missing_ok=True)

    def _log_directories(self, containers: set[str]) -> None:
        with contextlib.suppress(FileNotFoundError):
            for each in list(self._logs.iterdir()):
                uid = each.name.rpartition("_")[2]
                if each.name.count("_") >= 2 and self._gone(uid):
                    shutil.rmtree(each, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            for link in list((self._logs.parent / "containers").glob("*.log")):
                # the container is about to write its first line, where it is still there
                if not link.exists() and link.stem.rpartition("-")[2] not in containers:
                    link.unlink(missing_ok=True)
