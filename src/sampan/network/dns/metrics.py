"""What is counted, in Prometheus' text format under CoreDNS's names.

Source: github.com/coredns/coredns plugin/metrics/vars/{vars,report,monitor}.go
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from sampan.http import prometheus

Labels = tuple[str, ...]
T = TypeVar("T")
SECONDS = tuple(0.00025 * 2**power for power in range(16))
SIZES = (0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16e3, 32e3, 48e3, 64e3)
#: types that have a label of their own
_TYPES = frozenset(
    ["A", "AAAA", "MX", "SOA", "CNAME", "PTR", "TXT", "NS", "SRV", "DS", "DNSKEY", "RRSIG", "NSEC", "NSEC3", "HTTPS", "IXFR", "AXFR", "ANY"]
)  # fmt: skip
#: sets of labels in one family: what clients send must not make them grow for ever
MAX_SERIES = 10_000


class Counter:
    def __init__(self, name: str, text: str, labels: Labels, kind: str = "counter") -> None:
        self.name, self.text, self.labels, self.kind = name, text, labels, kind
        self.values: dict[Labels, float] = {}

    def add(self, labels: Labels, amount: float = 1.0) -> None:
        if labels in self.values or len(self.values) < MAX_SERIES:
            self.values[labels] = self.values.get(labels, 0.0) + amount

    def set(self, labels: Labels, value: float) -> None:
        self.values[labels] = value

    def lines(self) -> Iterable[str]:
        for labels, value in sorted(self.values.items()):
            yield prometheus.sample(self.name, _named(self.labels, labels), value)


class Histogram:
    kind = "histogram"

    def __init__(self, name: str, text: str, labels: Labels, bounds: tuple[float, ...]) -> None:
        self.name, self.text, self.labels, self.bounds = name, text, labels, bounds
        self.series: dict[Labels, prometheus.Histogram] = {}

    def observe(self, labels: Labels, value: float, times: int = 1) -> None:
        found = self.series.get(labels)
        if found is None:
            if len(self.series) >= MAX_SERIES:
                return
            found = self.series[labels] = prometheus.Histogram(self.bounds)
        found.observe(value, times)

    def lines(self) -> Iterable[str]:
        for labels, series in sorted(self.series.items()):
            yield from prometheus.buckets(self.name, _named(self.labels, labels), series)


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer, as it is counted."""

    server: str
    zone: str
    proto: str
    family: str
    type: str
    rcode: str
    plugin: str
    request_size: int
    reply_size: int
    dnssec: bool


class Metrics:
    """Of the whole process; those of a plugin come into being with it, and stay over reloads."""

    def __init__(self) -> None:
        self._families: dict[str, Counter | Histogram] = {}
        #: told before a page is made
        self.gather: list[Callable[[], None]] = []
        new, served = self.counter, ("server", "zone", "view")
        self.requests = new(
            "coredns_dns_requests_total",
            "Counter of DNS requests made per zone, protocol and family.",
            (*served, "proto", "family", "type"),
        )
        self.responses = new(
            "coredns_dns_responses_total", "Counter of response status codes.", (*served, "rcode", "plugin")
        )
        self.do = new("coredns_dns_do_requests_total", "Counter of DNS requests with DO bit set per zone.", served)
        self.panics = new("coredns_panics_total", "A metrics that counts the number of panics.", ())
        self.panics.set((), 0)
        histogram = self.histogram
        self.duration = histogram(
            "coredns_dns_request_duration_seconds",
            "Histogram of the time (in seconds) each request took per zone.",
            served,
            SECONDS,
        )
        self.request_size = histogram(
            "coredns_dns_request_size_bytes",
            "Size of the EDNS0 UDP buffer in bytes (64K for TCP) per zone and protocol.",
            (*served, "proto"),
            SIZES,
        )
        self.reply_size = histogram("coredns_dns_response_size_bytes", "Size of the returned response in bytes.", (*served, "proto"), SIZES)  # fmt: skip

    def counter(self, name: str, text: str, labels: Labels, kind: str = "counter") -> Counter:
        return self._family(name, Counter, lambda: Counter(name, text, labels, kind))

    def gauge(self, name: str, text: str, labels: Labels) -> Counter:
        return self.counter(name, text, labels, "gauge")

    def histogram(self, name: str, text: str, labels: Labels, buckets: tuple[float, ...]) -> Histogram:
        return self._family(name, Histogram, lambda: Histogram(name, text, labels, buckets))

    def _family(self, name: str, kind: type[T], make: Callable[[], T]) -> T:
        found = self._families.get(name)
        if found is None:
            made = make()
            assert isinstance(made, Counter | Histogram)
            self._families[name] = made
            return made
        assert isinstance(found, kind)
        return found

    def count(self, sample: Sample, seconds: float, times: int = 1) -> None:
        served = (sample.server, sample.zone, "")
        kind = sample.type if sample.type in _TYPES else "other"
        self.requests.add((*served, sample.proto, sample.family, kind), times)
        self.responses.add((*served, sample.rcode, sample.plugin), times)
        if sample.dnssec:
            self.do.add(served, times)
        self.duration.observe(served, seconds, times)
        self.request_size.observe((*served, sample.proto), sample.request_size, times)
        self.reply_size.observe((*served, sample.proto), sample.reply_size, times)

    def render(self) -> str:
        for each in self.gather:
            each()
        out = []
        for name, family in sorted(self._families.items()):
            lines = list(family.lines())
            if lines:
                out += [prometheus.head(name, family.kind, family.text), *lines]
        return "".join([*out, *_process()])


def _named(names: Labels, values: Labels) -> dict[str, str]:
    return dict(zip(names, values, strict=True))


def _process() -> Iterable[str]:
    used = prometheus.Process.now()
    for name, kind, told, value in (
        ("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.", used.cpu),
        ("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", used.resident),
    ):
        yield prometheus.head(name, kind, told) + prometheus.sample(name, {}, value)
