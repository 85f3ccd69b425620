"""What the scheduler writes into the status of pods: why they wait, and which node they have in view.

Written beside the loop, the newest wish of each pod only, a few at a time.

Source: pkg/scheduler/schedule_one.go (updatePod), pkg/api/v1/pod/util.go (UpdatePodCondition)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from sampan.api.errors import StatusError
from sampan.api.times import format_time
from sampan.client import Client, HttpError
from sampan.client.errors import is_not_found

log = logging.getLogger("sampan.scheduler")
Obj = dict[str, Any]
AT_ONCE = 16


def condition(pod: Obj, kind: str, status: str, reason: str, message: str, now: float) -> Obj | None:
    """The condition as it is to be; None where it is so already."""
    old: Obj = next((c for c in (pod.get("status") or {}).get("conditions") or () if c.get("type") == kind), {})
    out: Obj = {"type": kind, "status": status, "reason": reason, "message": message}
    if generation := pod["metadata"].get("generation"):
        out["observedGeneration"] = generation
    if all(old.get(name) == value for name, value in out.items()):
        return None
    changed = old.get("status") != status
    out["lastProbeTime"] = None
    out["lastTransitionTime"] = format_time(now) if changed else old.get("lastTransitionTime")
    return out


def status_patch(pod: Obj, changed: Obj | None, nominated: str | None) -> Obj | None:
    """A strategic merge patch; None: nothing is to be changed. `nominated`: None leaves it."""
    status: Obj = {}
    if changed is not None:
        status["conditions"] = [changed]
        there = [item["type"] for item in (pod.get("status") or {}).get("conditions") or ()]
        if there and changed["type"] not in there:
            # a new one is the last
            status["$setElementOrder/conditions"] = [{"type": kind} for kind in (*there, changed["type"])]
    if nominated is not None and nominated != (pod.get("status") or {}).get("nominatedNodeName", ""):
        status["nominatedNodeName"] = nominated or None
    return {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status} if status else None


class StatusWriter:
    def __init__(self, client: Client, clock: Callable[[], float]) -> None:
        self.client = client
        self.clock = clock
        self._wanted: dict[str, tuple[Obj, Obj]] = {}
        self._writing: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def unscheduled(self, pod: Obj, reason: str, message: str, nominated: str | None) -> None:
        """`PodScheduled` is False."""
        changed = condition(pod, "PodScheduled", "False", reason, message, self.clock())
        self.want(pod, changed, nominated)

    def want(self, pod: Obj, changed: Obj | None, nominated: str | None) -> None:
        patch = status_patch(pod, changed, nominated)
        uid = pod["metadata"]["uid"]
        if patch is None and uid not in self._wanted:
            return
        self._wanted.pop(uid, None)
        if patch is not None:
            self._wanted[uid] = (pod, patch)
        self._start()

    def _start(self) -> None:
        for uid in self._wanted:
            if len(self._tasks) >= AT_ONCE:
                return
            if uid not in self._writing:
                self._writing.add(uid)
                task = asyncio.create_task(self._write(uid), name="pod status")
                self._tasks.add(task)
                task.add_done_callback(self._done)
                return

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._wanted:
            self._start()

    async def _write(self, uid: str) -> None:
        found = self._wanted.pop(uid, None)
        try:
            if found is None:
                return  # it is as it is to be
            pod, patch = found
            meta = pod["metadata"]
            await self.client.patch(
                "pods", meta["name"], patch, meta["namespace"], type="strategic", subresource="status"
            )
        except (StatusError, HttpError) as error:
            if not is_not_found(error):
                log.error("error updating pod %s/%s: %s", meta["namespace"], meta["name"], error)
        finally:
            self._writing.discard(uid)

    async def aclose(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
