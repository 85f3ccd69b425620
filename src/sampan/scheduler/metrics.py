"""What the scheduler counts, under upstream's names.

Source: kubernetes/pkg/scheduler/metrics/metrics.go
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Hashable
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from sampan.client.metrics import Page
from sampan.http.prometheus import Histogram, exponential
from sampan.scheduler.framework import Refused

if TYPE_CHECKING:
    from sampan.scheduler.scheduler import Scheduler

_K = TypeVar("_K", bound=Hashable)
_ATTEMPT, _WHOLE, _POINT = exponential(0.001, 2, 15), exponential(0.01, 2, 20), exponential(0.0001, 2, 12)
_MOST_ATTEMPTS = 15


class Metrics:
    """Times in seconds. A result is `scheduled`, `unschedulable` or `error`."""

    def __init__(self) -> None:
        #: by result and profile: from when a pod is taken until it is bound or put back
        self.attempts: dict[tuple[str, str], Histogram] = {}
        self.algorithm = Histogram(_ATTEMPT)
        #: by number of attempts: since the pod came
        self.whole: dict[str, Histogram] = {}
        self.tries = Histogram(exponential(1, 2, 5))
        self.preemptions = 0
        self.victims = Histogram(exponential(1, 2, 7))
        #: by extension point, status and profile
        self.points: dict[tuple[str, str, str], Histogram] = {}
        #: by result
        self.permits: dict[str, Histogram] = {}
        self.after_flush = 0
        #: pods that are being bound, or wait for that
        self.binding = 0

    def timed(self, point: str, profile: str) -> Timed:
        """`with metrics.timed(...)`: all plugins of an extension point."""
        return Timed(self, point, profile)

    def attempted(self, result: str, profile: str, seconds: float) -> None:
        _of(self.attempts, (result, profile), _ATTEMPT).observe(seconds)

    def scheduled(self, attempts: int, seconds: float) -> None:
        self.tries.observe(attempts)
        name = str(attempts) if attempts < _MOST_ATTEMPTS else f"{_MOST_ATTEMPTS}+"
        _of(self.whole, name, _WHOLE).observe(seconds)

    def onto(self, page: Page, scheduler: Scheduler) -> None:
        mirror = scheduler.mirror
        attempts = [
            ({"profile": name, "result": result}, found) for (result, name), found in sorted(self.attempts.items())
        ]
        page.family(
            "scheduler_schedule_attempts_total", "counter",
            "[STABLE] Number of attempts to schedule pods, by the result. 'unschedulable' means a pod could not be scheduled, while 'error' means an "
            "internal scheduler problem.",
            ((labels, sum(found.counts)) for labels, found in attempts),
        )  # fmt: skip
        page.histograms(
            "scheduler_scheduling_attempt_duration_seconds", "[STABLE] Scheduling attempt latency in seconds (scheduling algorithm + binding)", attempts
        )  # fmt: skip
        page.histograms(
            "scheduler_scheduling_algorithm_duration_seconds", "[BETA] Scheduling algorithm latency in seconds", [({}, self.algorithm)]
        )  # fmt: skip
        page.histograms(
            "scheduler_pod_scheduling_sli_duration_seconds",
            "[BETA] E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue and might involve multiple scheduling attempts.",
            (({"attempts": name}, found) for name, found in sorted(self.whole.items())),
        )  # fmt: skip
        page.histograms(
            "scheduler_pod_scheduling_attempts", "[STABLE] Number of attempts to successfully schedule a pod.", [({}, self.tries)]
        )  # fmt: skip
        page.family(
            "scheduler_preemption_attempts_total", "counter", "[STABLE] Total preemption attempts in the cluster till now", [({}, self.preemptions)]
        )  # fmt: skip
        page.histograms(
            "scheduler_preemption_victims", "[STABLE] Number of selected preemption victims for preemption initiated by a single pod", [({}, self.victims)]
        )  # fmt: skip
        page.family(
            "scheduler_pod_scheduled_after_flush_total", "counter",
            "[ALPHA] Number of pods that were successfully scheduled after being flushed from unschedulableEntities due to timeout. This metric helps detect "
            "potential queueing hint misconfigurations or event handling issues.",
            [({}, self.after_flush)],
        )  # fmt: skip
        page.histograms(
            "scheduler_framework_extension_point_duration_seconds", "[STABLE] Latency for running all plugins of a specific extension point.",
            (({"extension_point": point, "profile": name, "status": status}, found) for (point, status, name), found in sorted(self.points.items())),
        )  # fmt: skip
        page.histograms(
            "scheduler_permit_wait_duration_seconds", "[BETA] Duration of waiting on permit.",
            (({"result": result}, found) for result, found in sorted(self.permits.items())),
        )  # fmt: skip
        self._queues(page, scheduler)
        page.family(
            "scheduler_goroutines", "gauge", "[BETA] Number of running goroutines split by the work they do such as binding.",
            [({"operation": "binding"}, self.binding)],
        )  # fmt: skip
        sizes = {"assumed_pods": len(mirror.assumed), "nodes": len(scheduler.cluster), "pods": len(mirror.placed)}
        page.family(
            "scheduler_cache_size", "gauge", "[ALPHA] Number of nodes, pods, and assumed (bound) pods in the scheduler cache.",
            (({"type": name}, count) for name, count in sizes.items()),
        )  # fmt: skip

    @staticmethod
    def _queues(page: Page, scheduler: Scheduler) -> None:
        queue = scheduler.queue
        pending = queue.pending()
        page.family(
            "scheduler_pending_pods", "gauge",
            "[STABLE] Number of pending pods, by the queue type. 'active' means number of pods in activeQ; 'backoff' means number of pods in backoffQ; "
            "'unschedulable' means number of pods in unschedulableEntities that the scheduler attempted to schedule and failed; 'gated' is the number "
            "of unschedulable pods that the scheduler never attempted to schedule because they are gated; 'incomplete' means number of pods in "
            "incompletePodGroupPods; 'pending' means number of pods in pendingPodGroupPods.",
            (({"queue": name}, count) for name, count in pending.items()),
        )  # fmt: skip
        page.family(
            "scheduler_queued_entities", "gauge",
            "[ALPHA] Number of queued scheduling entities ('pod' or 'podgroup'; 'pod' stands for individual pods that are not members of any podgroup) by the "
            "queue type. 'active' means number of entities in activeQ; 'backoff' means number of entities in backoffQ; 'unschedulable' means number of "
            "entities in unschedulableEntities that the scheduler attempted to schedule and failed; 'gated' is the number of unschedulable entities "
            "that the scheduler never attempted to schedule because they are gated.",
            (({"queue": name, "type": "pod"}, count) for name, count in pending.items()),
        )  # fmt: skip
        page.family(
            "scheduler_queue_incoming_pods_total", "counter", "[STABLE] Number of pods added to scheduling queues by event and queue type.",
            (({"event": event, "queue": name}, count) for (name, event), count in sorted(queue.statistics.incoming.items())),
        )  # fmt: skip
        page.family(
            "scheduler_queue_incoming_entities_total", "counter",
            "[ALPHA] Number of scheduling entities added to scheduling queues by event, queue type, and entity type. Entity types are either 'pod' (for "
            "individual pods that are not members of any podgroup) or 'podgroup'.",
            (({"event": event, "queue": name, "type": "pod"}, count) for (name, event), count in sorted(queue.statistics.incoming.items())),
        )  # fmt: skip
        refused = Counter((plugin, each.scheduler) for each in queue.unschedulable() for plugin in each.refused_by)
        page.family(
            "scheduler_unschedulable_pods", "gauge",
            "[BETA] The number of unschedulable pods broken down by plugin name. A pod will increment the gauge for all plugins that caused it to not schedule "
            "and so this metric have meaning only when broken down by plugin.",
            (({"plugin": plugin, "profile": name}, count) for (plugin, name), count in sorted(refused.items())),
        )  # fmt: skip


class Timed:
    """Its status is that of what is raised: `Success`, `Error`, or that of `Refused`."""

    __slots__ = ("metrics", "point", "profile", "started", "status")

    def __init__(self, metrics: Metrics, point: str, profile: str) -> None:
        self.metrics, self.point, self.profile = metrics, point, profile
        self.status = "Success"

    def __enter__(self) -> Timed:
        self.started = asyncio.get_running_loop().time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, Refused):
            self.status = "UnschedulableAndUnresolvable" if error.final else "Unschedulable"
        elif error is not None:
            self.status = "Error"
        seconds = asyncio.get_running_loop().time() - self.started
        _of(self.metrics.points, (self.point, self.status, self.profile), _POINT).observe(seconds)
        if self.point == "Permit":
            _of(self.metrics.permits, self.status, _ATTEMPT).observe(seconds)


def _of(known: dict[_K, Histogram], key: _K, bounds: tuple[float, ...]) -> Histogram:
    found = known.get(key)
    if found is None:
        found = known[key] = Histogram(bounds)
    return found
