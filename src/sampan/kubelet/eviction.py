"""Pods are sent away before the machine breaks down: when memory, disk or process numbers run short, and when a pod fills the disk
beyond its own limits.

    eviction = Eviction(thresholds, summary, pods, end, recorder, node=...)
    await eviction.run()            # until cancelled
    eviction.pressures              # what the Node says: {"MemoryPressure"}

A look every ten seconds; one pod at a time, and the next only when the last one is gone. Disk space is first sought in images and dead
containers. A condition stays for a while after it was last seen, so that it does not flap. Critical and static pods are never sent away.

DEVIATION: the kernel is not asked to tell of memory thresholds as they are crossed; they are seen at the next look.

Source: kubernetes pkg/kubelet/eviction/eviction_manager.go
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from sampan.kubelet import eviction_ranking as ranking
from sampan.kubelet import eviction_signals as signals
from sampan.kubelet import names
from sampan.kubelet.admission import critical
from sampan.kubelet.cri import CriFailed
from sampan.kubelet.eviction_signals import Observation, Threshold
from sampan.kubelet.worker import Ended

log = logging.getLogger("sampan.kubelet")
Obj = dict[str, Any]
LOOK_SECONDS, CLEAN_SECONDS = 10.0, 30
#: a pod that goes at once still has a second
IMMEDIATE = 1


class Eviction:
    """`summary`: `/stats/summary`, `glance`: the same of the node alone. `pods`: those that live. `end` ends one. `event`: about whom,
    type, reason, message, annotations. `node`: a reference. `reclaim`: make room on the disk without touching pods. `pods_memory`: of all together, used and allowed.
    `changed`: the pressures are others. `max_grace`: seconds that a pod over a soft threshold has at most, 0 for one."""

    def __init__(
        self,
        thresholds: list[Threshold],
        summary: Callable[[], Awaitable[Obj]],
        pods: Callable[[], list[Obj]],
        end: Callable[[Obj, Ended], None],
        event: Callable[[Obj, str, str, str, dict[str, str]], None],
        *,
        node: Callable[[], Obj],
        reclaim: Callable[[], Awaitable[None]],
        pods_memory: Callable[[], tuple[int, int] | None] = lambda: None,
        changed: Callable[[], None] = lambda: None,
        pressure_seconds: float = 300.0,
        max_grace: int = 0,
        seconds: float = LOOK_SECONDS,
        glance: Callable[[], Awaitable[Obj]] | None = None,
    ) -> None:
        self.pressures: set[str] = set()
        self._thresholds = thresholds
        self._summary = summary
        self._glance = glance or summary
        self._pods = pods
        self._end = end
        self._event = event
        self._node = node
        self._reclaim = reclaim
        self._pods_memory = pods_memory
        self._changed = changed
        self._pressure_seconds = pressure_seconds
        self._max_grace = max_grace
        self._seconds = seconds
        self._met: list[Threshold] = []
        self._since: dict[Threshold, float] = {}
        self._conditions: dict[str, float] = {}
        self._going: set[str] = set()

    async def run(self) -> None:
        while True:
            try:
                gone = await self.look()
                if gone is not None:
                    await self._cleaned(gone)
                    continue
            except (CriFailed, OSError) as error:
                log.warning("cannot see what pods use: %s", error)
            await asyncio.sleep(self._seconds)

    async def look(self) -> Obj | None:
        """Once: the pod that was sent away, if one was. Raises CriFailed, OSError."""
        seen = signals.observe(await self._glance(), self._pods_memory())
        due = self._note(seen)
        living = self._pods()
        self._going &= {names.uid_of(each) for each in living}
        pods = [pod for pod in living if not critical(pod) and names.uid_of(pod) not in self._going]
        if not due and not any(ranking.is_limited(pod) for pod in pods):
            return None  # what each of them uses is of no interest
        stats = {each["podRef"]["uid"]: each for each in (await self._summary()).get("pods") or ()}
        for pod in pods:
            found = stats.get(_runtime_uid(pod))
            if found is not None and (text := ranking.over_limit(pod, found)):
                return self._evict(pod, text, IMMEDIATE, {}, ())
        chosen = signals.first(due)
        if chosen is None:
            return None
        resource = chosen.resource
        self._event(self._node(), "Warning", "EvictionThresholdMet", f"Attempting to reclaim {resource}", {})
        log.warning("eviction manager: attempting to reclaim %s", resource)
        if await self._reclaimed(chosen):
            return None
        stats = {names.uid_of(pod): stats[key] for pod in pods if (key := _runtime_uid(pod)) in stats}
        for pod in ranking.rank(resource, pods, stats)[:1]:
            condition = signals.about(resource, due, seen)
            text, annotations = ranking.message(resource, condition, pod, stats.get(names.uid_of(pod)))
            disrupted = {
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "TerminationByKubelet",
                "message": text,
            }
            return self._evict(pod, text, self._grace(pod, chosen), annotations, (disrupted,))
        log.error("eviction manager: eviction thresholds have been met, but no pods are active to evict")
        return None

    # -- what holds, and for how long ----------------------------------------------------------------------------------

    def _note(self, seen: dict[str, Observation]) -> list[Threshold]:
        """The thresholds that are to be acted on now."""
        now = asyncio.get_running_loop().time()
        met = signals.met(self._thresholds, seen)
        # one that was met is so until what is to be freed beyond it is free
        met += [each for each in signals.met(self._met, seen, with_reclaim=True) if each not in met]
        self._met = met
        self._since = {each: self._since.get(each, now) for each in met}
        for each in met:
            self._conditions[each.condition] = now
        self._conditions = {
            name: when for name, when in self._conditions.items() if now - when < self._pressure_seconds or when == now
        }
        if set(self._conditions) != self.pressures:
            self.pressures = set(self._conditions)
            self._changed()
        return [each for each in met if now - self._since[each] >= each.grace]

    async def _reclaimed(self, chosen: Threshold) -> bool:
        """Is there enough again, without a pod being sent away?"""
        if chosen.condition != "DiskPressure":
            return False
        await self._reclaim()
        seen = signals.observe(await self._summary(), self._pods_memory())
        return not signals.met(self._met, seen, with_reclaim=True)

    # -- who goes ------------------------------------------------------------------------------------------------------

    def _grace(self, pod: Obj, chosen: Threshold) -> int:
        if not chosen.grace:
            return IMMEDIATE
        own = pod["spec"].get("terminationGracePeriodSeconds")
        return self._max_grace if own is None else min(self._max_grace, int(own))

    def _evict(self, pod: Obj, text: str, grace: int, annotations: dict[str, str], conditions: tuple[Obj, ...]) -> Obj:
        log.warning("eviction manager: pod %s is evicted: %s", names.pod_text(pod), text)
        self._event(pod, "Warning", "Evicted", text, annotations)
        self._going.add(names.uid_of(pod))
        self._end(pod, Ended("Failed", "Evicted", text, grace, conditions))
        return pod

    async def _cleaned(self, pod: Obj) -> None:
        """Until it is gone, or that takes too long: what a pod uses goes in many steps, of which nobody tells."""
        for _ in range(CLEAN_SECONDS):
            if all(names.uid_of(each) != names.uid_of(pod) for each in self._pods()):
                return
            await asyncio.sleep(1.0)
        log.warning("eviction manager: timed out waiting for pod %s to be cleaned up", names.pod_text(pod))


def _runtime_uid(pod: Obj) -> str:
    """A static pod is counted under its own uid, whichever of its two objects is asked for."""
    return str((pod["metadata"].get("annotations") or {}).get(names.MIRROR) or names.uid_of(pod))
