"""What the server counts, in Prometheus' text format under upstream's names.

Source: k8s.io/apiserver/pkg/endpoints/metrics/metrics.go, pkg/storage/cacher/metrics
"""

from __future__ import annotations

import bisect
import time
from collections import defaultdict

BUCKETS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)
Labels = tuple[tuple[str, str], ...]


class Histogram:
    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect.bisect_left(BUCKETS, value)] += 1
        self.sum += value


class Metrics:
    def __init__(self) -> None:
        self.requests: dict[Labels, int] = defaultdict(int)
        self.durations: dict[Labels, Histogram] = defaultdict(Histogram)
        self.inflight = {"readOnly": 0, "mutating": 0}
        self.dropped = {"readOnly": 0, "mutating": 0}
        self.terminated_watchers = 0
        self.started = time.time()

    def request(
        self, verb: str, group: str, version: str, resource: str, subresource: str, code: int, took: float
    ) -> None:
        scope = (
            ("group", group),
            ("resource", resource),
            ("subresource", subresource),
            ("verb", verb),
            ("version", version),
        )
        self.requests[("code", str(code)), *scope] += 1
        self.durations[scope].observe(took)

    def render(self, watchers: int, objects: dict[str, int]) -> str:
        """The whole page; `objects`: stored objects by resource."""
        out = [
            "# HELP apiserver_request_total Requests by verb, resource and code.",
            "# TYPE apiserver_request_total counter",
        ]
        for labels, count in sorted(self.requests.items()):
            out.append(f"apiserver_request_total{_braces(labels)} {count}")
        out.append("# HELP apiserver_request_duration_seconds Time to answer a request, in seconds.")
        out.append("# TYPE apiserver_request_duration_seconds histogram")
        for labels, histogram in sorted(self.durations.items(), key=lambda item: item[0]):
            total = 0
            for bound, count in zip((*map(str, BUCKETS), "+Inf"), histogram.counts, strict=True):
                total += count
                out.append(f"apiserver_request_duration_seconds_bucket{_braces((*labels, ('le', bound)))} {total}")
            out.append(f"apiserver_request_duration_seconds_sum{_braces(labels)} {histogram.sum:.6f}")
            out.append(f"apiserver_request_duration_seconds_count{_braces(labels)} {total}")
        out.append("# HELP apiserver_current_inflight_requests Requests being answered now.")
        out.append("# TYPE apiserver_current_inflight_requests gauge")
        out.extend(
            f'apiserver_current_inflight_requests{{request_kind="{kind}"}} {count}'
            for kind, count in self.inflight.items()
        )
        out.append("# HELP apiserver_dropped_requests_total Requests told to come again later.")
        out.append("# TYPE apiserver_dropped_requests_total counter")
        out.extend(
            f'apiserver_dropped_requests_total{{request_kind="{kind}"}} {count}' for kind, count in self.dropped.items()
        )
        out.append("# HELP apiserver_longrunning_requests Open watches.")
        out.append("# TYPE apiserver_longrunning_requests gauge")
        out.append(f'apiserver_longrunning_requests{{verb="WATCH"}} {watchers}')
        out.append("# HELP apiserver_terminated_watchers_total Watches ended because the client did not keep up.")
        out.append("# TYPE apiserver_terminated_watchers_total counter")
        out.append(f"apiserver_terminated_watchers_total {self.terminated_watchers}")
        out.append("# HELP apiserver_resource_objects Stored objects by resource.")
        out.append("# TYPE apiserver_resource_objects gauge")
        for resource, count in sorted(objects.items()):
            out.append(f'apiserver_resource_objects{{resource="{resource}"}} {count}')
        out.append("# HELP process_start_time_seconds Start of the process, in seconds since the epoch.")
        out.append("# TYPE process_start_time_seconds gauge")
        out.append(f"process_start_time_seconds {self.started:.2f}")
        return "\n".join(out) + "\n"


def _braces(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels) + "}"
