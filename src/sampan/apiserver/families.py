"""Families of figures and their text: counters, gauges and histograms by labels, in Prometheus' exposition format.

A family that has seen nothing prints its head alone, as upstream's does: a scraper learns that it is there. Labels are
given by place, and are declared in the order in which they print: by name.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/; k8s.io/component-base/metrics (stability in HELP)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from sampan.http.prometheus import Histogram, buckets, head, sample

Values = tuple[str, ...]
Stability = Literal["STABLE", "BETA", "ALPHA", ""]


class Family:
    """`labels`: their names, in the order of the alphabet."""

    def __init__(self, name: str, kind: str, stability: Stability, told: str, labels: Values = ()) -> None:
        self.name = name
        self.labels = labels
        mark = f"[{stability}] " if stability else ""
        self.head = head(name, kind, mark + told)

    def named(self, values: Values) -> dict[str, str]:
        return dict(zip(self.labels, values, strict=True))

    def samples(self, given: Mapping[Values, float]) -> str:
        return self.head + "".join(
            sample(self.name, self.named(values), value) for values, value in sorted(given.items())
        )

    def histograms(self, given: Mapping[Values, Histogram]) -> str:
        lines = (buckets(self.name, self.named(values), series) for values, series in sorted(given.items()))
        return self.head + "".join(itertools.chain.from_iterable(lines))


class Counter(Family):
    """Counts by labels."""

    def __init__(self, name: str, stability: Stability, told: str, labels: Values = ()) -> None:
        super().__init__(name, "counter", stability, told, labels)
        self.values: dict[Values, float] = {}

    def add(self, *labels: str, by: float = 1) -> None:
        self.values[labels] = self.values.get(labels, 0) + by

    def text(self) -> str:
        return self.samples(self.values)


class Histograms(Family):
    """Distributions by labels."""

    def __init__(
        self, name: str, stability: Stability, told: str, bounds: Sequence[float], labels: Values = ()
    ) -> None:
        super().__init__(name, "histogram", stability, told, labels)
        self.bounds = bounds
        self.series: dict[Values, Histogram] = {}

    def of(self, *labels: str) -> Histogram:
        """One series, to be kept by whoever observes much."""
        found = self.series.get(labels)
        if found is None:
            found = self.series[labels] = Histogram(self.bounds)
        return found

    def observe(self, value: float, *labels: str) -> None:
        self.of(*labels).observe(value)

    def text(self) -> str:
        return self.histograms(self.series)


def gauge(name: str, stability: Stability, told: str, labels: Values, given: Mapping[Values, float]) -> str:
    """A family whose figures are there anyway."""
    return Family(name, "gauge", stability, told, labels).samples(given)


def page(parts: Iterable[str]) -> bytes:
    return "".join(parts).encode()
