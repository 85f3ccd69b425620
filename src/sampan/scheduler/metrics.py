"""What the scheduler counts, under upstream's names.

Source: kubernetes/pkg/scheduler/metrics/metrics.go
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import TYPE_CHECKING, TypeVar

from sampan.client.metrics import Page
from sampan.http.prometheus import Histogram, exponential

if TYPE_CHECKING:
    from sampan.scheduler.scheduler import Scheduler

_K = TypeVar("_K", bound=Hashable)
_ATTEMPT, _WHOLE = exponential(0.001, 2, 15), exponential(0.01, 2, 20)
_MOST_ATTEMPTS = 16


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

    def attempted(self, result: str, profile: str, seconds: float) -> None:
        _of(self.attempts, (result, profile), _ATTEMPT).observe(seconds)

    def scheduled(self, attempts: int, seconds: float) -> None:
        self.tries.observe(attempts)
        name = str(attempts) if attempts < _MOST_ATTEMPTS else f"{_MOST_ATTEMPTS - 1}+"
        _of(self.whole, name, _WHOLE).observe(seconds)

    def onto(self, page: Page, scheduler: Scheduler) -> None:
        queue, mirror = scheduler.queue, scheduler.mirror
        attempts = [
            ({"profile": name, "result": result}, found) for (result, name), found in sorted(self.attempts.items())
        ]
        page.family(
            "scheduler_schedule_attempts_total", "counter",
            "Number of attempts to schedule pods, by the result. 'unschedulable' means a pod could not be scheduled, while 'error' means an "
            "internal scheduler problem.",
            ((labels, sum(found.counts)) for labels, found in attempts),
        )  # fmt: skip
        page.histograms(
            "scheduler_scheduling_attempt_duration_seconds", "Scheduling attempt latency in seconds (scheduling algorithm + binding)", attempts
        )  # fmt: skip
        page.histograms(
            "scheduler_scheduling_algorithm_duration_seconds", "Scheduling algorithm latency in seconds", [({}, self.algorithm)]
        )  # fmt: skip
        page.histograms(
            "scheduler_pod_scheduling_sli_duration_seconds",
            "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue and might involve multiple scheduling attempts.",
            (({"attempts": name}, found) for name, found in sorted(self.whole.items())),
        )  # fmt: skip
        page.histograms(
            "scheduler_pod_scheduling_attempts", "Number of attempts to successfully schedule a pod.", [({}, self.tries)]
        )  # fmt: skip
        page.family(
            "scheduler_preemption_attempts_total", "counter", "Total preemption attempts in the cluster till now", [({}, self.preemptions)]
        )  # fmt: skip
        page.histograms("scheduler_preemption_victims", "Number of selected preemption victims", [({}, self.victims)])
        page.family(
            "scheduler_pending_pods", "gauge", "Number of pending pods, by the queue type.",
            (({"queue": name}, count) for name, count in queue.pending().items()),
        )  # fmt: skip
        page.family(
            "scheduler_queue_incoming_pods_total", "counter", "Number of pods added to scheduling queues by event and queue type.",
            (({"event": event, "queue": name}, count) for (name, event), count in sorted(queue.statistics.incoming.items())),
        )  # fmt: skip
        refused = Counter((plugin, each.scheduler) for each in queue.unschedulable() for plugin in each.refused_by)
        page.family(
            "scheduler_unschedulable_pods", "gauge", "The number of unschedulable pods broken down by plugin name.",
            (({"plugin": plugin, "profile": name}, count) for (plugin, name), count in sorted(refused.items())),
        )  # fmt: skip
        sizes = {"assumed_pods": len(mirror.assumed), "nodes": len(scheduler.cluster), "pods": len(mirror.placed)}
        page.family(
            "scheduler_scheduler_cache_size", "gauge", "Number of nodes, pods, and assumed (bound) pods in the scheduler cache.",
            (({"type": name}, count) for name, count in sizes.items()),
        )  # fmt: skip


def _of(known: dict[_K, Histogram], key: _K, bounds: tuple[float, ...]) -> Histogram:
    found = known.get(key)
    if found is None:
        found = known[key] = Histogram(bounds)
    return found
