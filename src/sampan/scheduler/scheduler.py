"""The scheduler: one pod after the other gets the best node there is, over the API.

    scheduler = Scheduler(client, informers, clock=time.time)
    await scheduler.run()           # until cancelled

A cycle (filters, scores, reserve) is one piece without an await, so that it sees the cluster as it stands; the pod is
then assumed to be on its node and bound beside the loop, many at once. What fails is put back into the queue with the
reason in the pod's status and in an event. Nothing is kept that a list would not tell: a scheduler that is started anew
goes on where the last one stopped.

Source: pkg/scheduler/{scheduler,schedule_one}.go
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from sampan.client import Client, Informers, SeriesRecorder
from sampan.scheduler import config, nominated, registry
from sampan.scheduler.cluster import Cluster
from sampan.scheduler.framework import Cycle, Plugin, Refused, running
from sampan.scheduler.handle import Handle
from sampan.scheduler.hears import Hears
from sampan.scheduler.metrics import Metrics
from sampan.scheduler.mirror import OTHERS, Mirror
from sampan.scheduler.nominated import Nominator
from sampan.scheduler.owners import Owners
from sampan.scheduler.profile import Profile
from sampan.scheduler.queue import Queued, SchedulingQueue
from sampan.scheduler.registry import Factory
from sampan.scheduler.shape import PodInfo
from sampan.scheduler.status import StatusWriter
from sampan.scheduler.words import NO_NODES, FitError, truncated

log = logging.getLogger("sampan.scheduler")
Obj = dict[str, Any]
#: pods that are being bound at once
BINDINGS = 32
#: pods that are placed before others get their turn
TURN = 8


class Scheduler:
    """`plugins`: factories beyond those that are built in. `configuration`: profiles and their plugins."""

    def __init__(
        self,
        client: Client,
        informers: Informers,
        *,
        clock: Callable[[], float],
        rng: random.Random | None = None,
        configuration: config.Configuration | None = None,
        plugins: Mapping[str, Factory] | None = None,
        bindings: int = BINDINGS,
    ) -> None:
        self.client = client
        self.informers = informers
        self.clock = clock
        self.rng = rng or random.Random()
        self.bindings = bindings
        self.cluster = Cluster()
        self.nominator = Nominator()
        self.hears = Hears()
        self.metrics = Metrics()
        #: the informers have told all that there was
        self.synced = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._binding = 0
        self._room = asyncio.Event()
        configuration = configuration or config.Configuration()
        factories = {**registry.FACTORIES, **(plugins or {})}
        self.profiles: dict[str, Profile] = {}
        self._points: dict[str, _Points] = {}
        self.recorders: dict[str, SeriesRecorder] = {}
        for item in configuration.profiles:
            name = item.scheduler_name
            handle = Handle(
                client, informers, clock, self.rng, self.hears, self.cluster, self.nominator, name,
                spawn=self._spawn, activate=self._activate, tell=self._tell, metrics=self.metrics,
            )  # fmt: skip
            self.profiles[name] = config.build(item, factories, handle)
            self._points[name] = _Points(self.profiles[name])
            instance = f"{name}-{socket.gethostname()}"
            self.recorders[name] = SeriesRecorder(client, name, instance=instance, clock=clock, rng=self.rng)
        self.queue = SchedulingQueue(
            self.profiles,
            self.nominator,
            backoff=configuration.initial_backoff,
            max_backoff=configuration.max_backoff,
        )
        self.mirror = Mirror(informers, self.hears, self.cluster, self.queue, self.profiles, self._cared_for())
        self.owners = Owners(informers, self.hears)
        self.status = StatusWriter(client, clock)

    def _cared_for(self) -> set[str]:
        """Resources that plugins want to hear of."""
        hints = [hint for profile in self.profiles.values() for plugin in profile.plugins for hint in plugin.hints()]
        return {hint.resource for hint in hints} & OTHERS.keys()

    # -- running -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        self.informers.start()
        await self.informers.wait_synced()
        self.synced = True
        for recorder in self.recorders.values():
            recorder.start()
        try:
            await self._loop()
        finally:
            self.hears.close()
            self.queue.close()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self.status.aclose()
            for recorder in self.recorders.values():
                await recorder.aclose()

    async def _loop(self) -> None:
        placed = 0
        while True:
            while self._binding >= self.bindings:
                self._room.clear()
                await self._room.wait()
            queued = await self.queue.pop()
            self.schedule_one(queued)
            placed += 1
            if placed % TURN == 0:
                await asyncio.sleep(0)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a plugin failed: %s", error, exc_info=error)

    def _activate(self, uid: str) -> None:
        self.queue.activate(uid)

    def _tell(self, scheduler: str, *event: Any, **more: Any) -> None:
        self.recorders[scheduler].event(*event, **more)

    # -- one pod -------------------------------------------------------------------------------------------------------

    def schedule_one(self, queued: Queued) -> None:
        pod, profile = queued.pod, self.profiles[queued.scheduler]
        if not pod.pod:
            self.queue.done(pod.uid)  # it is gone, and we are about to hear of it
            return
        if pod.terminating:
            note = f"skip schedule deleting pod: {pod.key}"
            self._tell(queued.scheduler, pod.pod, "Warning", "FailedScheduling", "Scheduling", note)
            self.queue.done(pod.uid)
            return
        if pod.uid in self.mirror.placed:
            self.queue.done(pod.uid)
            return
        pod.hold()
        cycle = Cycle(pod, self.cluster, self.owners.selector(pod))
        try:
            node = self.place(profile, cycle)
        except NoFit as found:
            self._unschedulable(queued, profile, cycle, found.error)
            return
        except Exception as error:
            log.exception("error scheduling pod %s; retrying", pod.key)
            self._failed(queued, "SchedulerError", str(error), frozenset(), "")
            return
        self.metrics.algorithm.observe(_now() - queued.taken)
        there = self.mirror.assume(pod, node)
        points = self._points[queued.scheduler]
        try:
            with self.metrics.timed("Reserve", queued.scheduler):
                for plugin in points.reserve:
                    with running("Reserve", plugin):
                        plugin.reserve(cycle, node)
        except Exception as error:
            self._undo(points, cycle, node, there)
            self._refused(queued, error)
            return
        works = [plugin for plugin in points.pre_bind if plugin.will_pre_bind(cycle, node)]
        waits = bool(points.permit or works)
        # one that waits, for volumes perhaps, must not keep others from being bound
        self._binding += not waits
        self._spawn(self._carry_out(queued, points, works, cycle, node, there))

    def place(self, profile: Profile, cycle: Cycle) -> str:
        """The name of the node. Raises NoFit."""
        if not len(self.cluster):
            # a node is what helps, and NodeName cares for new nodes
            raise NoFit(FitError(0, refusal=NO_NODES, plugins=frozenset({"NodeName"})))
        name = profile.scheduler_name
        try:
            with self.metrics.timed("PreFilter", name):
                only, narrowed = profile.prefilter(cycle)
        except Refused as refused:
            error = FitError(
                len(self.cluster), refusal=refused.message, final=refused.final, plugins=frozenset(refused.plugins)
            )
            raise NoFit(error) from None
        with self.metrics.timed("Filter", name):
            feasible, diagnosis = nominated.feasible(profile, cycle, self.nominator, only, narrowed)
        if nominated_to := self.nominator.node_of(cycle.pod.uid) or cycle.pod.nominated:
            wished = self.cluster.nodes.get(nominated_to)
            if wished is not None and feasible[wished.slot]:
                return wished.name
        if not feasible.any():
            raise NoFit(FitError.of(cycle, diagnosis))
        with self.metrics.timed("Score", name):
            chosen = self.cluster.by_slot[profile.choose(cycle, feasible, self.rng)]
        assert chosen is not None
        return chosen.name

    async def _carry_out(
        self, queued: Queued, points: _Points, works: list[Plugin], cycle: Cycle, node: str, there: PodInfo
    ) -> None:
        waits = bool(points.permit or works)
        timed, name = self.metrics.timed, queued.scheduler
        self.metrics.binding += 1
        try:
            if waits:
                # others (a cluster autoscaler) learn where it will be
                self.status.want(cycle.pod.pod, None, node)
            with timed("Permit", name):
                for plugin in points.permit:
                    with running("Permit", plugin):
                        await plugin.permit(cycle, node)
            # from here on a failure does not say that the pod does not fit
            self.queue.done(there.uid)
            with timed("PreBind", name):
                for plugin in works:
                    with running("PreBind", plugin):
                        await plugin.pre_bind(cycle, node)
            with timed("Bind", name):
                for plugin in points.bind:
                    with running("Bind", plugin):
                        if await plugin.bind(cycle, node):
                            break
        except Exception as error:
            forgotten = self._undo(points, cycle, node, there)
            queued.pod = self.mirror.latest(queued.pod)
            self._refused(queued, error)
            if forgotten:
                # not for the pod itself: where it was refused, that has not changed
                self.mirror.place_is_free(there, but=there.uid)
            return
        finally:
            self._binding -= not waits
            self.metrics.binding -= 1
            self._room.set()
        note = f"Successfully assigned {there.key} to {node}"
        self._tell(queued.scheduler, cycle.pod.pod, "Normal", "Scheduled", "Binding", note)
        self.queue.statistics.attempts["scheduled"] += 1
        now = _now()
        self.metrics.attempted("scheduled", queued.scheduler, now - queued.taken)
        self.metrics.scheduled(queued.attempts, now - queued.first)
        self.metrics.after_flush += queued.flushed
        for plugin in points.post_bind:
            plugin.post_bind(cycle, node)

    def _undo(self, points: _Points, cycle: Cycle, node: str, there: PodInfo) -> bool:
        """False: there was nothing to forget."""
        for plugin in reversed(points.unreserve):
            plugin.unreserve(cycle, node)
        return self.mirror.forget(there)

    # -- what did not work ---------------------------------------------------------------------------------------------

    def _unschedulable(self, queued: Queued, profile: Profile, cycle: Cycle, error: FitError) -> None:
        if error.refusal == NO_NODES:
            self._failed(queued, "Unschedulable", NO_NODES, error.plugins, "")
            return
        wanted: str | None = None
        messages = []
        try:
            with self.metrics.timed("PostFilter", queued.scheduler) as timed:
                timed.status = "Unschedulable"
                for plugin in self._points[queued.scheduler].post_filter:
                    found = plugin.post_filter(cycle, error)
                    if found is None:
                        continue
                    if found.nominated is not None:
                        wanted = found.nominated
                    if found.failed:
                        timed.status = "Error"
                        messages = [found.message]
                        break
                    if found.success:
                        timed.status = "Success"
                        messages = [found.message] if found.message else []
                        break
                    if found.message:
                        messages.append(found.message)
        except Exception as failure:
            log.exception("PostFilter of %s failed", cycle.pod.key)
            messages = [str(failure)]
        error.post_filter = ", ".join(messages)
        self._failed(queued, "Unschedulable", str(error), error.plugins, wanted)

    def _refused(self, queued: Queued, error: Exception) -> None:
        """By Reserve, Permit, PreBind or Bind."""
        if isinstance(error, Refused):
            words = FitError(1, reasons=Counter([error.message]))
            self._failed(queued, "Unschedulable", str(words), frozenset(error.plugins), "")
            return
        if self.queue.get(queued.pod.uid) is queued:
            log.error("error scheduling pod %s; retrying: %s", queued.pod.key, error)
        self._failed(queued, "SchedulerError", str(error), frozenset(), "")

    def _failed(
        self, queued: Queued, reason: str, message: str, refused_by: frozenset[str], wanted: str | None
    ) -> None:
        pod = queued.pod
        pod.hold()
        result = "unschedulable" if refused_by else "error"
        self.queue.statistics.attempts[result] += 1
        self.metrics.attempted(result, queued.scheduler, _now() - queued.taken)
        self.queue.put_back(queued, refused_by)
        if self.queue.get(pod.uid) is not queued or not pod.pod:
            return  # it has gone, or has a node
        if wanted is not None:
            self.nominator.put(pod, wanted)
        self._tell(queued.scheduler, pod.pod, "Warning", "FailedScheduling", "Scheduling", truncated(message))
        self.status.unscheduled(pod.pod, reason, message, wanted)
        pod.release()


def _now() -> float:
    return asyncio.get_running_loop().time()


class NoFit(Exception):
    """The pod fits nowhere."""

    def __init__(self, error: FitError) -> None:
        super().__init__(str(error))
        self.error = error


class _Points:
    """A profile's plugins at the points after the scores."""

    def __init__(self, profile: Profile) -> None:
        self.post_filter: list[Plugin] = profile.at("post_filter")
        self.reserve = profile.at("reserve")
        self.unreserve = profile.at("unreserve")
        self.permit = profile.at("permit")
        self.pre_bind = profile.at("pre_bind")
        self.bind = profile.at("bind")
        self.post_bind = profile.at("post_bind")
