"""Pods that wait for a node.

    active          may be tried now: by priority, then by how long they have waited
    back-off        were refused lately (1 s after the first time, doubling to 10 s) and something has changed since
    unschedulable   were refused, and nothing has happened that could help; the pods that gates hold are here too

What happens in the cluster comes in as a `Change`; the plugins that refused a pod are asked whether it may help. A
change that comes while a pod is being tried is kept and asked about when it returns (`in flight`), so that none is lost.
When nobody else waits, a pod is taken out of its back-off early, unless it is there because of an error.

Bounded by the number of pods in the cluster, each of which is here at most once.

Source: pkg/scheduler/backend/queue/{scheduling_queue,active_queue,backoff_queue}.go
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sampan.scheduler.changes import ADD, ASSIGNED_POD, DELETE, FORCED, TARGET_POD, Change, Hint, pod_actions
from sampan.scheduler.framework import Plugin
from sampan.scheduler.nominated import Nominator
from sampan.scheduler.profile import Profile, takes_part
from sampan.scheduler.shape import PodInfo

log = logging.getLogger("sampan.scheduler")
BACKOFF, MAX_BACKOFF = 1.0, 10.0
LEFT_OVER_SECONDS = 300.0
Place = Literal["", "active", "backoff", "unschedulable"]
Strategy = Literal["skip", "backoff", "now"]


@dataclass(slots=True, eq=False)
class Queued:
    """A pod and what is known of its attempts. `since`: when it came to where it is; `first`: when it could be tried for
    the first time; `refused_by`: plugins; `gate`: the
    one that does not let it be tried; `failures`: times that it did not fit, `errors`: errors in a row."""

    pod: PodInfo
    scheduler: str
    since: float
    first: float
    attempts: int = 0
    failures: int = 0
    errors: int = 0
    refused_by: frozenset[str] = frozenset()
    gate: str = ""
    place: Place = ""
    #: of the heap's entry that is valid
    ticket: int = 0
    #: when the attempt began
    taken: float = 0.0
    #: it is tried again only because it has waited so long
    flushed: bool = False


@dataclass(slots=True)
class Statistics:
    """`incoming`: pods put into a queue, by queue and by what brought them there."""

    incoming: Counter[tuple[str, str]] = field(default_factory=Counter)
    popped: int = 0
    attempts: Counter[str] = field(default_factory=Counter)


class SchedulingQueue:
    def __init__(
        self,
        profiles: Mapping[str, Profile],
        nominator: Nominator | None = None,
        *,
        backoff: float = BACKOFF,
        max_backoff: float = MAX_BACKOFF,
    ) -> None:
        self.backoff, self.max_backoff = backoff, max_backoff
        self.nominator = Nominator() if nominator is None else nominator
        self.statistics = Statistics()
        self._gates: dict[str, list[Plugin]] = {}
        self._hints: dict[str, dict[str, list[tuple[str, Hint]]]] = {}
        for name, profile in profiles.items():
            self._gates[name] = profile.at("pre_enqueue")
            self._hints[name] = _by_resource(profile.plugins)
        self._pods: dict[str, Queued] = {}
        self._waiting: dict[str, Queued] = {}
        self._active: list[tuple[int, float, int, Queued]] = []
        self._backing_off: list[tuple[float, int, Queued]] = []
        self._after_error: list[tuple[float, int, Queued]] = []
        # those that back off, as if they were active
        self._early: list[tuple[int, float, int, Queued]] = []
        self._tickets = itertools.count(1)
        self._more = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.TimerHandle | None = None
        # changes since the pods in flight were taken: each knows the number of the first it has not seen
        self._in_flight: dict[str, int] = {}
        self._changes: deque[Change] = deque()
        self._changes_from = 0

    # -- numbers -------------------------------------------------------------------------------------------------------

    def pending(self) -> dict[str, int]:
        """Pods by queue, as upstream's `scheduler_pending_pods` counts them."""
        found = Counter("gated" if item.gate else item.place for item in self._pods.values() if item.place)
        return {name: found[name] for name in ("active", "backoff", "unschedulable", "gated")}

    def unschedulable(self) -> list[Queued]:
        """Those that wait for something to happen."""
        return list(self._waiting.values())

    def __len__(self) -> int:
        return len(self._pods)

    def get(self, uid: str) -> Queued | None:
        return self._pods.get(uid)

    # -- pods come, change and go --------------------------------------------------------------------------------------

    def add(self, pod: PodInfo, scheduler: str) -> None:
        """A pod that nobody has tried yet; one that is here already is updated."""
        if pod.uid in self._pods:
            self.update(pod, scheduler)
            return
        now = _now()
        queued = self._pods[pod.uid] = Queued(pod, scheduler, now, now)
        self.nominator.put(pod, pod.nominated)
        self._activate(queued, Change(TARGET_POD, ADD).name)

    def update(self, pod: PodInfo, scheduler: str) -> None:
        queued = self._pods.get(pod.uid)
        if queued is None:
            self.add(pod, scheduler)
            return
        old, queued.pod = queued.pod, pod
        if self.nominator.node_of(pod.uid) or pod.nominated:
            # what we nominate is known here before it is read
            self.nominator.put(pod, pod.nominated or ("" if old.nominated else self.nominator.node_of(pod.uid)))
        actions = pod_actions(old, pod)
        change = Change(TARGET_POD, actions, old, pod)
        if not queued.place:
            if actions and self._in_flight:
                self._changes.append(change)
        elif queued.place == "unschedulable":
            if queued.gate:
                self._activate(queued, change.name)
            elif actions and (strategy := self._worth(queued, change, {})) != "skip":
                self._requeue(queued, strategy, change.name)
        elif queued.place == "active" and old.priority != pod.priority:
            self._push_active(queued)
        if old.nominated and old.nominated != pod.nominated:
            # to others it was as if it were there
            self.happened(Change(ASSIGNED_POD, DELETE, old), but=pod.uid)

    def remove(self, uid: str) -> None:
        """It has a node, or is gone."""
        queued = self._pods.pop(uid, None)
        if queued is not None:
            self._waiting.pop(uid, None)
            queued.place, queued.ticket = "", 0
        self.nominator.remove(uid)
        self.done(uid)

    # -- trying --------------------------------------------------------------------------------------------------------

    async def pop(self) -> Queued:
        """The next to be tried. It is in flight until `done` or `put_back`."""
        while (queued := self.pop_now()) is None:
            self._more.clear()
            await self._more.wait()
        return queued

    def pop_now(self) -> Queued | None:
        while self._active:
            _, _, ticket, queued = heapq.heappop(self._active)
            if queued.ticket == ticket:
                return self._take(queued)
        while self._early:
            _, _, ticket, queued = heapq.heappop(self._early)
            if queued.ticket == ticket:
                self.statistics.incoming["active", "PopFromBackoffQ"] += 1
                return self._take(queued)
        return None

    def peek(self) -> Queued | None:
        """The next of the active ones."""
        while self._active and self._active[0][3].ticket != self._active[0][2]:
            heapq.heappop(self._active)
        return self._active[0][3] if self._active else None

    def _take(self, queued: Queued) -> Queued:
        queued.place, queued.ticket = "", 0
        queued.attempts += 1
        queued.taken = _now()
        queued.refused_by = frozenset()
        self.statistics.popped += 1
        self._in_flight[queued.pod.uid] = self._changes_from + len(self._changes)
        return queued

    def done(self, uid: str) -> None:
        """It is on its way to a node, or gone: changes need not be kept for it."""
        if self._in_flight.pop(uid, None) is None:
            return
        if not self._in_flight:
            self._changes_from += len(self._changes)
            self._changes.clear()
            return
        # pods in flight are in the order in which they were taken
        oldest = next(iter(self._in_flight.values()))
        while self._changes_from < oldest and self._changes:
            self._changes.popleft()
            self._changes_from += 1

    def put_back(self, queued: Queued, refused_by: frozenset[str]) -> None:
        """After an attempt that failed: refused by plugins, or (by none) because of an error."""
        uid = queued.pod.uid
        if self._pods.get(uid) is not queued or queued.place:
            self.done(uid)
            return
        queued.since = _now()
        queued.flushed = False
        queued.refused_by = refused_by
        if refused_by:
            queued.failures += 1
            queued.errors = 0
        else:
            queued.errors += 1
        strategy: Strategy = "skip" if refused_by else "backoff"
        start = self._in_flight.get(uid)
        if strategy == "skip" and start is not None:
            for change in itertools.islice(self._changes, start - self._changes_from, None):
                strategy = self._worth(queued, change, {})
                if strategy != "skip":
                    break
        self.done(uid)
        self._requeue(queued, strategy, "ScheduleAttemptFailure")

    # -- what happens --------------------------------------------------------------------------------------------------

    def happened(self, change: Change, *, but: str = "") -> None:
        """Pods that it may help are moved on; `but`: not this one."""
        if self._in_flight:
            self._changes.append(change)
        if not self._waiting:
            return
        memo: dict[tuple[int, str], bool] = {}
        for queued in list(self._waiting.values()):
            if queued.pod.uid != but and (strategy := self._worth(queued, change, memo)) != "skip":
                self._requeue(queued, strategy, change.name)

    def activate(self, uid: str) -> None:
        """Try it again at once, whatever refused it."""
        queued = self._pods.get(uid)
        if queued is None or queued.place == "active":
            return
        if not queued.place:
            if uid in self._in_flight:
                self._changes.append(Change(FORCED.resource, FORCED.actions, None, queued.pod))
            return
        self._activate(queued, "ForceActivate")

    def move_all(self) -> None:
        """As after something that may help anyone."""
        self.happened(FORCED)

    def _flush(self) -> None:
        """Pods that have waited long for something to happen are tried again all the same."""
        self._flushing = None
        now = _now() + 1e-6
        for queued in list(self._waiting.values()):
            if now - queued.since >= LEFT_OVER_SECONDS and not queued.gate:
                queued.flushed = True
                self._requeue(queued, "backoff", "UnschedulableTimeout")
        self._arm_flush()

    def _arm_flush(self) -> None:
        """No timer while nobody waits: an idle cluster is idle."""
        if self._flushing is None and self._waiting:
            first = min((item.since for item in self._waiting.values() if not item.gate), default=None)
            if first is not None:
                self._flushing = asyncio.get_running_loop().call_at(first + LEFT_OVER_SECONDS, self._flush)

    def _worth(self, queued: Queued, change: Change, memo: dict[tuple[int, str], bool]) -> Strategy:
        """Whether to try a pod again because of a change."""
        if change.resource == "*":
            return "skip" if change.new is not None and change.new.uid != queued.pod.uid else "backoff"
        if change.resource == TARGET_POD and change.new.uid != queued.pod.uid:
            return "skip"
        if not queued.refused_by:
            return "backoff"
        pod = queued.pod
        for plugin, hint in self._hints[queued.scheduler].get(change.resource, ()):
            if plugin not in queued.refused_by or not hint.actions & change.actions:
                continue
            if hint.helps is None:
                return "backoff"
            key = (id(pod.shape), plugin)
            found = memo.get(key) if hint.by_shape else None
            if found is None:
                try:
                    found = hint.helps(pod, change)
                except Exception:
                    log.exception("the hint of %s failed on %s", plugin, change.name)
                    found = True
                if hint.by_shape:
                    memo[key] = found
            if found:
                return "backoff"
        return "skip"

    # -- moving --------------------------------------------------------------------------------------------------------

    def _requeue(self, queued: Queued, strategy: Strategy, event: str) -> None:
        if strategy == "skip":
            self._put(queued, "unschedulable", event)
            self._waiting[queued.pod.uid] = queued
            if self._flushing is None:
                self._arm_flush()
            return
        until = self._backs_off_until(queued)
        if until <= _now():
            self._activate(queued, event)
            return
        if self._gated(queued):
            self._hold(queued, event)
            return
        self._put(queued, "backoff", event)
        heap = self._backing_off if queued.refused_by else self._after_error
        queued.ticket = next(self._tickets)
        heapq.heappush(heap, (until, queued.ticket, queued))
        if queued.refused_by:
            if len(self._early) > 2 * len(self._pods) + 64:
                self._early = [entry for entry in self._early if entry[3].ticket == entry[2]]
                heapq.heapify(self._early)
            heapq.heappush(self._early, (-queued.pod.priority, queued.since, queued.ticket, queued))
            self._more.set()
        self._arm()

    def _activate(self, queued: Queued, event: str) -> None:
        if self._gated(queued):
            self._hold(queued, event)
            return
        self._put(queued, "active", event)
        if not queued.attempts:
            queued.first = _now()
        self._push_active(queued)

    def _push_active(self, queued: Queued) -> None:
        queued.ticket = next(self._tickets)
        heapq.heappush(self._active, (-queued.pod.priority, queued.since, queued.ticket, queued))
        self._more.set()

    def _hold(self, queued: Queued, event: str) -> None:
        if queued.place != "unschedulable":
            self._put(queued, "unschedulable", event)
        self._waiting[queued.pod.uid] = queued

    def _put(self, queued: Queued, place: Place, event: str) -> None:
        self._waiting.pop(queued.pod.uid, None)
        queued.place, queued.ticket = place, 0
        self.statistics.incoming[place, event] += 1

    def _gated(self, queued: Queued) -> bool:
        for plugin in self._gates[queued.scheduler]:
            if plugin.pre_enqueue(queued.pod) is not None:
                queued.gate = plugin.name
                queued.refused_by |= {plugin.name}
                return True
        queued.gate = ""
        return False

    def _backs_off_until(self, queued: Queued) -> float:
        count = queued.errors or queued.failures
        if not count:
            return 0.0
        return queued.since + min(self.backoff * 2.0 ** min(count - 1, 60), self.max_backoff)

    def _arm(self) -> None:
        heaps = [heap for heap in (self._backing_off, self._after_error) if heap]
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if heaps:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(min(heap[0][0] for heap in heaps), self._ring)

    def _ring(self) -> None:
        """Back-offs that are over."""
        self._timer = None
        now = _now() + 1e-6
        for heap in (self._backing_off, self._after_error):
            while heap and heap[0][0] <= now:
                _, ticket, queued = heapq.heappop(heap)
                if queued.ticket == ticket:
                    self._activate(queued, "BackoffComplete")
        self._arm()

    def close(self) -> None:
        for timer in (self._timer, self._flushing):
            if timer is not None:
                timer.cancel()
        self._timer = self._flushing = None


def _by_resource(plugins: Sequence[Plugin]) -> dict[str, list[tuple[str, Hint]]]:
    out: dict[str, list[tuple[str, Hint]]] = {}
    for plugin in plugins:
        hints = plugin.hints()
        if not takes_part(plugin, "hints"):
            # it does not say what may help: anything
            hints = [Hint(resource, FORCED.actions) for resource in RESOURCES]
        for hint in hints:
            out.setdefault(hint.resource, []).append((plugin.name, hint))
    return out


def _now() -> float:
    return asyncio.get_running_loop().time()


RESOURCES: tuple[str, ...] = (
    "AssignedPod", TARGET_POD, "Node", "PersistentVolumeClaim", "PersistentVolume", "StorageClass", "CSINode",
    "CSIDriver", "CSIStorageCapacity", "VolumeAttachment",
)  # fmt: skip
