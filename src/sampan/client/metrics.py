"""What components count, in Prometheus' text format: histograms, pages of families, and the numbers that every client has.

    page = Page()
    page.family("workqueue_depth", "gauge", "Current depth of workqueue", [({"name": "job"}, 3)])
    str(page)

Source: k8s.io/component-base/metrics/prometheus/{workqueue,restclient}/metrics.go (names, labels, buckets)
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sampan.http.prometheus import Histogram, Labels, Process, buckets, head, sample

if TYPE_CHECKING:
    from sampan.client.queue import WorkQueue

_REQUESTS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)


class Page:
    def __init__(self) -> None:
        self._out: list[str] = []

    def __str__(self) -> str:
        return "".join(self._out)

    def family(self, name: str, kind: str, told: str, samples: Iterable[tuple[Labels, float]]) -> None:
        """`told`: its help. Nothing is said of one without samples."""
        self._put(name, kind, told, (sample(name, labels, value) for labels, value in samples))

    def histograms(self, name: str, told: str, samples: Iterable[tuple[Labels, Histogram]]) -> None:
        lines = (buckets(name, labels, found) for labels, found in samples)
        self._put(name, "histogram", told, itertools.chain.from_iterable(lines))

    def _put(self, name: str, kind: str, told: str, given: Iterable[str]) -> None:
        lines = list(given)
        if lines:
            self._out += [head(name, kind, told), *lines]


# -- of every client ---------------------------------------------------------------------------------------------------


class Requests:
    """What was asked of the API server, of all transports that are given this."""

    def __init__(self) -> None:
        #: by code (`<error>` where no reply came), method and host
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.durations: dict[tuple[str, str], Histogram] = {}

    def done(self, code: str, method: str, host: str, seconds: float) -> None:
        self.counts[code, method, host] += 1
        found = self.durations.get((method, host))
        if found is None:
            found = self.durations[method, host] = Histogram(_REQUESTS)
        found.observe(seconds)

    def onto(self, page: Page) -> None:
        page.family(
            "rest_client_requests_total", "counter", "Number of HTTP requests, partitioned by status code, method, and host.",
            (({"code": code, "host": host, "method": method}, count) for (code, method, host), count in sorted(self.counts.items())),
        )  # fmt: skip
        page.histograms(
            "rest_client_request_duration_seconds", "Request latency in seconds. Broken down by verb, and host.",
            (({"host": host, "verb": verb}, found) for (verb, host), found in sorted(self.durations.items())),
        )  # fmt: skip


def queues_onto(page: Page, queues: Iterable[WorkQueue[str]]) -> None:
    now = asyncio.get_running_loop().time()
    found = sorted(queues, key=lambda each: each.name)
    named = [({"name": each.name}, each, each.statistics) for each in found]
    working = [(labels, [now - since for since in each.working()]) for labels, each, _ in named]
    page.family(
        "workqueue_adds_total", "counter", "Total number of adds handled by workqueue",
        ((labels, numbers.adds) for labels, _, numbers in named),
    )  # fmt: skip
    page.family(
        "workqueue_depth", "gauge", "Current depth of workqueue", ((labels, len(each)) for labels, each, _ in named)
    )
    page.family(
        "workqueue_longest_running_processor_seconds", "gauge",
        "How many seconds has the longest running processor for workqueue been running.",
        ((labels, max(seconds, default=0.0)) for labels, seconds in working),
    )  # fmt: skip
    page.histograms(
        "workqueue_queue_duration_seconds", "How long in seconds an item stays in workqueue before being requested.",
        ((labels, numbers.waited) for labels, _, numbers in named),
    )  # fmt: skip
    page.family(
        "workqueue_retries_total", "counter", "Total number of retries handled by workqueue",
        ((labels, numbers.retries) for labels, _, numbers in named),
    )  # fmt: skip
    page.family(
        "workqueue_unfinished_work_seconds", "gauge",
        "How many seconds of work has been done that is in progress and hasn't been observed by work_duration.",
        ((labels, sum(seconds)) for labels, seconds in working),
    )  # fmt: skip
    page.histograms(
        "workqueue_work_duration_seconds", "How long in seconds processing an item from workqueue takes.",
        ((labels, numbers.worked) for labels, _, numbers in named),
    )  # fmt: skip


def process_onto(page: Page, started: float) -> None:
    """Of this process, which began at `started`."""
    used = Process.now()
    page.family(
        "process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.", [({}, used.cpu)]
    )
    page.family("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", [({}, used.resident)])
    page.family(
        "process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.", [({}, started)]
    )
