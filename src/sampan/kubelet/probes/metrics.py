"""How often probes were tried and with what result, and how long they took: `/metrics/probes`.

Source: kubernetes pkg/kubelet/prober/{prober_manager,worker}.go
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_TOTAL = "prober_probe_total"
_SECONDS = "prober_probe_duration_seconds"


@dataclass(slots=True)
class Tally:
    """Of one probe. `labels`: which one it is; the pod's uid apart."""

    labels: dict[str, str]
    uid: str
    results: dict[str, int] = field(default_factory=dict)
    #: how many were that fast, and those that were slower than all bounds
    buckets: list[int] = field(default_factory=lambda: [0] * (len(_BOUNDS) + 1))
    sum: float = 0.0

    def count(self, successful: bool, seconds: float) -> None:
        name = "successful" if successful else "failed"
        self.results[name] = self.results.get(name, 0) + 1
        if successful:
            self.buckets[bisect_left(_BOUNDS, seconds)] += 1
            self.sum += seconds


def page(tallies: Iterable[Tally]) -> str:
    found = list(tallies)
    lines = [
        f"# HELP {_TOTAL} [BETA] Cumulative number of a liveness, readiness or startup probe for a container by result.",
        f"# TYPE {_TOTAL} counter",
        *(line for each in found for line in _totals(each)),
        f"# HELP {_SECONDS} [ALPHA] Duration in seconds for a probe response.",
        f"# TYPE {_SECONDS} histogram",
        *(line for each in found if any(each.buckets) for line in _durations(each)),
    ]
    return "\n".join(lines) + "\n"


def _totals(tally: Tally) -> Iterator[str]:
    for result, count in sorted(tally.results.items()):
        yield f"{_TOTAL}{_labels(tally.labels, pod_uid=tally.uid, result=result)} {count}"


def _durations(tally: Tally) -> Iterator[str]:
    so_far = 0
    for bound, count in zip((*map(str, _BOUNDS), "+Inf"), tally.buckets, strict=True):
        so_far += count
        yield f"{_SECONDS}_bucket{_labels(tally.labels, le=bound.removesuffix('.0'))} {so_far}"
    yield f"{_SECONDS}_sum{_labels(tally.labels)} {tally.sum}"
    yield f"{_SECONDS}_count{_labels(tally.labels)} {so_far}"


def _labels(labels: dict[str, str], **more: str) -> str:
    # names of objects need no escapes
    return "{" + ",".join(f'{name}="{value}"' for name, value in sorted({**labels, **more}.items())) + "}"
