"""What the proxy counts, in Prometheus' text format under upstream's names.

Source: kubernetes/pkg/proxy/metrics/metrics.go
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

_SYNC_BUCKETS = tuple(0.001 * 2**step for step in range(15))
_PROGRAMMING_BUCKETS = (0.25, 0.5, *range(1, 60), *range(60, 300, 5), 300)


class Histogram:
    def __init__(self, buckets: tuple[float, ...]) -> None:
        self.buckets = buckets
        self.counts = [0] * (len(buckets) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect.bisect_left(self.buckets, value)] += 1
        self.sum += value

    def render(self, name: str) -> list[str]:
        out, total = [f"# TYPE {name} histogram"], 0
        for bound, count in zip((*self.buckets, "+Inf"), self.counts, strict=True):
            total += count
            out.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return [*out, f"{name}_sum {self.sum:.6f}", f"{name}_count {total}"]


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
            *self.sync.render(f"{head}_duration_seconds"),
            *self.programming.render("kubeproxy_network_programming_duration_seconds"),
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
            out += [f"# TYPE {name} {kind}", f"{name} {value}"]
        return "\n".join(out) + "\n"
