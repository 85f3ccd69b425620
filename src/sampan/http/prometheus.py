"""Prometheus' text format: what all pages of figures are made of, whoever serves them.

    series = Histogram(exponential(0.001, 2, 15))
    series.observe(0.02)
    page = head("x_seconds", "histogram", "How long it took.") + "".join(buckets("x_seconds", {"name": "a"}, series))

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import bisect
import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

MEDIA = "text/plain; version=0.0.4; charset=utf-8"
Labels = Mapping[str, str]


def exponential(start: float, factor: float, count: int) -> tuple[float, ...]:
    """Bounds of a histogram."""
    return tuple(start * factor**step for step in range(count))


class Histogram:
    """One series."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect.bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def add(self, other: Histogram) -> None:
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum


def head(name: str, kind: str, told: str) -> str:
    """`told`: its help; "": none."""
    told = f"# HELP {name} {told}\n" if told else ""
    return f"{told}# TYPE {name} {kind}\n"


def sample(name: str, labels: Labels, value: float, milliseconds: int | None = None) -> str:
    """`milliseconds`: the time that it is of, since 1970."""
    stamp = "" if milliseconds is None else f" {milliseconds}"
    return f"{name}{braces(labels)} {number(value)}{stamp}\n"


def buckets(name: str, labels: Labels, series: Histogram) -> Iterator[str]:
    """All lines of one series."""
    total = 0
    for bound, count in zip((*map(number, series.bounds), "+Inf"), series.counts, strict=True):
        total += count
        yield f"{name}_bucket{braces({**labels, 'le': bound})} {total}\n"
    shown = braces(labels)
    yield f"{name}_sum{shown} {number(series.sum)}\n{name}_count{shown} {total}\n"


def braces(labels: Labels) -> str:
    text = ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items())
    return f"{{{text}}}" if text else ""


def escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def number(value: float) -> str:
    """Without a fraction where it has none, as Go prints it."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


@dataclass(frozen=True, slots=True)
class Process:
    """What every process tells of itself: seconds of a processor, and bytes."""

    cpu: float
    resident: int
    virtual: int

    @classmethod
    def now(cls) -> Self:
        used = resource.getrusage(resource.RUSAGE_SELF)
        with open("/proc/self/statm") as file:
            virtual, resident = (int(pages) * os.sysconf("SC_PAGE_SIZE") for pages in file.read().split()[:2])
        return cls(used.ru_utime + used.ru_stime, resident, virtual)
