"""What the proxy counts, in Prometheus' text format under upstream's names.

Source: kubernetes/pkg/proxy/metrics/metrics.go
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sampan.http import prometheus
from sampan.http.prometheus import Histogram, exponential

_SYNC_BUCKETS = exponential(0.001, 2, 15)
_PROGRAMMING_BUCKETS = (0.25, 0.5, *range(1, 60), *range(60, 300, 5), 300)


@dataclass
class Metrics:
    sync: Histogram = field(default_factory=lambda: Histogram(_SYNC_BUCKETS))
    programming: Histogram = field(default_factory=lambda: Histogram(_PROGRAMMING_BUCKETS))
    service_changes: int = 0
    endpoint_changes: int = 0
    pending: int = 0
    failures: int = 0
    flows_deleted: int = 0
    last_queued: float = 0.0
    last_synced: float = 0.0

    def render(self) -> str:
        head = "kubeproxy_sync_proxy_rules"
        out = [
            *_whole(f"{head}_duration_seconds", self.sync),
            *_whole("kubeproxy_network_programming_duration_seconds", self.programming),
        ]
        for name, kind, value in (
            (f"{head}_service_changes_total", "counter", self.service_changes),
            (f"{head}_endpoint_changes_total", "counter", self.endpoint_changes),
            (f"{head}_service_changes_pending", "gauge", self.pending),
            (f"{head}_nftables_sync_failures_total", "counter", self.failures),
            ("kubeproxy_conntrack_reconciler_deleted_entries_total", "counter", self.flows_deleted),
            (f"{head}_last_queued_timestamp_seconds", "gauge", self.last_queued),
            (f"{head}_last_timestamp_seconds", "gauge", self.last_synced),
        ):
            out += [prometheus.head(name, kind, ""), prometheus.sample(name, {}, value)]
        return "".join(out)


def _whole(name: str, series: Histogram) -> Iterator[str]:
    yield prometheus.head(name, "histogram", "")
    yield from prometheus.buckets(name, {}, series)
