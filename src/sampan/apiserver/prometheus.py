"""Families of figures and their text: counters, gauges and histograms by labels, in Prometheus' exposition format.

A family that has seen nothing prints its head alone, as upstream's does: a scraper learns that it is there. Labels are
given by place, and are declared in the order in which they print: by name.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/; k8s.io/component-base/metrics (stability in HELP)
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

Values = tuple[str, ...]
Stability = Literal["STABLE", "BETA", "ALPHA", ""]
MEDIA = "text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """One series."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.sum += value

    def add(self, other: Histogram) -> None:
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum


class Family:
    """`labels`: their names, in the order of the alphabet."""

    def __init__(self, name: str, kind: str, stability: Stability, told: str, labels: Values = ()) -> None:
        self.name = name
        self.labels = labels
        mark = f"[{stability}] " if stability else ""
        self.head = f"# HELP {name} {mark}{told}\n# TYPE {name} {kind}\n"

    def braces(self, values: Values, **more: str) -> str:
        pairs = [*zip(self.labels, values, strict=True), *more.items()]
        return "{" + ",".join(f'{name}="{escaped(value)}"' for name, value in pairs) + "}" if pairs else ""

    def samples(self, given: Mapping[Values, float]) -> str:
        return self.head + "".join(
            f"{self.name}{self.braces(values)} {number(value)}\n" for values, value in sorted(given.items())
        )

    def histograms(self, given: Mapping[Values, Histogram]) -> str:
        return self.head + "".join(line for item in sorted(given.items()) for line in self._histogram(*item))

    def _histogram(self, values: Values, series: Histogram) -> Iterator[str]:
        total = 0
        for bound, count in zip((*map(number, series.bounds), "+Inf"), series.counts, strict=True):
            total += count
            yield f"{self.name}_bucket{self.braces(values, le=bound)} {total}\n"
        labels = self.braces(values)
        yield f"{self.name}_sum{labels} {number(series.sum)}\n{self.name}_count{labels} {total}\n"


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


def number(value: float) -> str:
    """Without a fraction where it has none, as Go prints it."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
