"""Completion indexes as a Job's status has them: `1,3-5,7`, kept as spans, so that 100,000 of them stay small.

Source: kubernetes/pkg/controller/job/indexed_job_utils.go (orderedIntervals)
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Indexes:
    """Spans of first and last, in order, never touching."""

    spans: tuple[Span, ...] = ()

    def __str__(self) -> str:
        return ",".join(_written(first, last) for first, last in self.spans)

    def __bool__(self) -> bool:
        return bool(self.spans)

    def __contains__(self, index: int) -> bool:
        at = bisect_left(self.spans, index, key=lambda span: span[1])
        return at < len(self.spans) and self.spans[at][0] <= index

    @property
    def total(self) -> int:
        return sum(last - first + 1 for first, last in self.spans)

    def __or__(self, other: Indexes) -> Indexes:
        return joined([*self.spans, *other.spans])

    def plus(self, indexes: Iterable[int]) -> Indexes:
        more = [(index, index) for index in indexes]
        return joined([*self.spans, *more]) if more else self

    def common(self, other: Indexes) -> int:
        """How many are in both."""
        count = mine = its = 0
        while mine < len(self.spans) and its < len(other.spans):
            (first, last), (start, end) = self.spans[mine], other.spans[its]
            count += max(0, min(last, end) - max(first, start) + 1)
            mine, its = mine + (last <= end), its + (end <= last)
        return count

    def missing(self, below: int) -> Iterator[int]:
        """Those from 0 to below `below` that are not in it, in order."""
        start = 0
        for first, last in self.spans:
            yield from range(start, min(first, below))
            start = max(start, last + 1)
        yield from range(start, below)


NO_INDEXES = Indexes()


def joined(spans: list[Span]) -> Indexes:
    out: list[Span] = []
    for first, last in sorted(spans):
        if out and first <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], last))
        else:
            out.append((first, last))
    return Indexes(tuple(out))


def parse(text: str, completions: int) -> Indexes:
    """Those below `completions`; what cannot be read is left out."""
    spans: list[Span] = []
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        try:
            span = (int(first), min(int(last if dash else first), completions - 1))
        except ValueError:
            continue
        if span[0] <= span[1]:
            spans.append(span)
    return joined(spans)


def _written(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first},{last}" if last == first + 1 else f"{first}-{last}"
