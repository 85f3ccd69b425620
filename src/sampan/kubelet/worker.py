"""One task for each pod, from when it is first heard of until nothing is left of it.

    live    towards what it should be, again and again, whenever something may have changed
    end     its containers are ended, within its grace period; a shorter one that comes later counts
    rest    its volumes and control groups are taken away, and its last status is told; it waits until the API forgets it
    gone    its containers, sandboxes and logs are removed

Whatever is being done for a living pod is broken off when it is to end. An error is tried again, and is never the end of the task.

Source: kubernetes pkg/kubelet/pod_workers.go (its states), pkg/kubelet/kubelet.go (SyncTerminatingPod, SyncTerminatedPod)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from sampan.api.times import parse_time
from sampan.kubelet import names
from sampan.kubelet.cri import CriFailed
from sampan.kubelet.sync import Memory, Syncer

log = logging.getLogger("sampan.kubelet")
Obj = dict[str, Any]
RETRY_SECONDS, MOST_SECONDS = 1.0, 10.0
DEADLINE = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


@dataclass(frozen=True, slots=True)
class Ended:
    """Somebody ends the pod: eviction, admission, the deadline. `grace`: None for its own."""

    phase: str
    reason: str
    message: str
    grace: int | None = None
    #: told with it
    conditions: tuple[Obj, ...] = ()


class Worker:
    """`done` is called when nothing is left. `after`: what must have happened before anything of it is begun."""

    def __init__(
        self, syncer: Syncer, pod: Obj, done: Callable[[Worker], None], after: Sequence[asyncio.Event] = ()
    ) -> None:
        self.uid = names.uid_of(pod)
        self.pod = pod
        self.memory = Memory()
        #: it is not in the API (or the directory of static pods) any more
        self.removed = False
        self.ended: Ended | None = None
        #: its containers have ended, its volumes are gone
        self.finished = False
        #: none of its containers runs any more
        self.stopped = asyncio.Event()
        self._after = after
        self._syncer = syncer
        self._parts = syncer.parts
        self._wake = asyncio.Event()
        self._end = asyncio.Event()
        self._shorter = asyncio.Event()
        self.task = asyncio.create_task(self._run(), name=f"pod {names.pod_text(pod)}")
        self.task.add_done_callback(lambda _: done(self))
        self._look()

    # -- what comes from outside ---------------------------------------------------------------------------------------

    def update(self, pod: Obj) -> None:
        before = self.pod["metadata"].get("deletionGracePeriodSeconds")
        self.pod = pod
        now = pod["metadata"].get("deletionGracePeriodSeconds")
        if now is not None and before is not None and now < before:
            self._shorter.set()
        self._look()

    def remove(self) -> None:
        self.removed = True
        self._look()

    def end(self, ended: Ended) -> None:
        """Raises nothing for one that is ending: the first reason counts."""
        if self.ended is None:
            self.ended = ended
            self.memory.ended = ended.phase, ended.reason, ended.message
            self.memory.more = ended.conditions
        self._look()

    def poke(self) -> None:
        """Something may have changed."""
        self._wake.set()

    async def stop(self) -> None:
        """The kubelet ends; the pod lives on."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    @property
    def ending(self) -> bool:
        return self._end.is_set()

    def _look(self) -> None:
        if self.removed or self.ended is not None or "deletionTimestamp" in self.pod["metadata"] or self._is_over():
            self._end.set()
        self._wake.set()

    def _is_over(self) -> bool:
        return self._parts.statuses.get(self.pod).get("phase") in ("Failed", "Succeeded")

    # -- its life ------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            for each in self._after:
                await self._until_end(each.wait())
            while not self._end.is_set():
                await self._until_end(self._live())
            await self._again(self._stop)
            self.stopped.set()
            await self._again(self._rest)
            while not self.removed:
                self._wake.clear()
                await self._wake.wait()
                if "deletionTimestamp" in self.pod["metadata"]:
                    self._parts.statuses.over(self.uid, self._parts.shown(self.pod))
            await self._again(self._remove)
        except Exception:
            log.exception("the worker of pod %s ended", names.pod_text(self.pod))

    async def _until_end(self, work: Coroutine[Any, Any, object]) -> None:
        """Work that is broken off when the pod is to end."""
        task = asyncio.ensure_future(work)
        end = asyncio.ensure_future(self._end.wait())
        try:
            await asyncio.wait((task, end), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (task, end):
                each.cancel()
            await asyncio.gather(task, end, return_exceptions=True)

    async def _again(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        delay = RETRY_SECONDS
        while True:
            try:
                return await work()
            except (CriFailed, OSError) as error:
                log.warning("pod %s: %s; trying again", names.pod_text(self.pod), error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, MOST_SECONDS)

    async def _live(self) -> None:
        delay = RETRY_SECONDS
        while True:
            self._wake.clear()
            wait = self._deadline()
            if self._end.is_set():
                return
            try:
                acted, until = await self._syncer.step(self.pod, self.memory)
                if self._is_over():
                    self._end.set()
                    return
                wait, delay = min(wait, 0.0 if acted else until), RETRY_SECONDS
            except CriFailed as error:
                log.warning("pod %s: %s; trying again", names.pod_text(self.pod), error)
                wait, delay = min(wait, delay), min(delay * 2, MOST_SECONDS)
            except Exception:
                log.exception("cannot bring pod %s about; trying again", names.pod_text(self.pod))
                wait, delay = min(wait, delay), min(delay * 2, MOST_SECONDS)
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _deadline(self) -> float:
        """Seconds it may live on; it is ended when there are none."""
        most = self.pod["spec"].get("activeDeadlineSeconds")
        started = self._parts.statuses.get(self.pod).get("startTime")
        if most is None or not started:
            return self._parts.options.sync_seconds
        left = parse_time(started) + float(most) - self._parts.clock()
        if left <= 0:
            self._parts.tell(self.pod, "Normal", *DEADLINE)
            self.end(Ended("Failed", *DEADLINE))
        return max(0.0, left)

    async def _stop(self) -> None:
        """Raises CriFailed."""
        parts = self._parts
        parts.probes.terminating(self.uid)
        while True:
            seen = await parts.reader.pod(self.uid)
            self.memory.seen = seen
            if not self.removed:
                self._syncer.tell(self.pod, seen, self.memory)
            self._shorter.clear()
            work = asyncio.ensure_future(self._syncer.stop(self.pod, seen, self._grace()))
            shorter = asyncio.ensure_future(self._shorter.wait())
            try:
                await asyncio.wait((work, shorter), return_when=asyncio.FIRST_COMPLETED)
                if work.done():
                    work.result()
            finally:
                for each in (work, shorter):
                    each.cancel()
                await asyncio.gather(work, shorter, return_exceptions=True)
            self.memory.seen = seen = await parts.reader.pod(self.uid)
            if not seen.running and seen.ready_sandbox is None:
                return

    def _grace(self) -> int | None:
        return self.ended.grace if self.ended is not None else None

    async def _rest(self) -> None:
        """Raises CriFailed, OSError."""
        parts = self._parts
        seen = self.memory.seen
        assert seen is not None
        parts.probes.remove(self.uid)
        await parts.volumes.unmount(self.uid)
        await parts.cgroups.remove(self.uid)
        if not self.removed:
            self._syncer.tell(self.pod, seen, self.memory, terminal=True)
            parts.statuses.over(self.uid, parts.shown(self.pod))
        parts.restarts.forget_all(lambda key: isinstance(key, tuple) and key[0] == self.uid)
        parts.images.forget(self.uid)
        self.finished = True

    async def _remove(self) -> None:
        """Raises CriFailed."""
        parts = self._parts
        parts.statuses.forget(self.uid)
        seen = await parts.reader.pod(self.uid)
        await self._syncer.remove(seen, parts.options.logs / names.log_directory(self.pod))
        await parts.volumes.remove(self.uid)
