"""`/metrics`: what was counted, and what is there anyway: stored objects, watches, the process.

Source: k8s.io/apiserver/pkg/storage/{etcd3,cacher}/metrics; k8s.io/component-base/metrics (build_info, process)
"""

from __future__ import annotations

import itertools
import os
import resource as limits
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from sampan.apiserver.api import Api
from sampan.apiserver.cache import ResourceCache
from sampan.apiserver.families import Family, Histograms, Stability, Values, gauge, page
from sampan.apiserver.metrics import DURATIONS, SIZES, SLI_DURATIONS, Metrics
from sampan.http.prometheus import Histogram, Process

#: objects of a resource whose sizes stand for all
SAMPLED = 1000
_PLACE = ("component", "group", "resource", "scope", "subresource", "verb", "version")


def render(api: Api, version: Mapping[str, str], started: float) -> bytes:
    """`version`: as `/version` tells it; `started`: when the process did, in seconds since the epoch."""
    metrics = api.metrics
    return page(
        [
            *_requests(metrics),
            *_now(metrics, api.clock()),
            *_admission(metrics),
            *_who(metrics),
            *_watches(metrics),
            *_stored(api),
            *_process(version, started),
        ]
    )


def render_slis(metrics: Metrics) -> bytes:
    """`/metrics/slis`: how the health checks went."""
    told = "How a health check went last: 1 well, 0 not."
    return page(
        [
            gauge("kubernetes_healthcheck", "STABLE", told, ("name", "type"), metrics.health),
            metrics.health_checks.text(),
        ]
    )


def _requests(metrics: Metrics) -> Iterator[str]:
    counts: dict[Values, float] = defaultdict(float)
    durations: dict[Values, Histogram] = defaultdict(lambda: Histogram(DURATIONS))
    sli: dict[Values, Histogram] = defaultdict(lambda: Histogram(SLI_DURATIONS))
    sizes: dict[Values, Histogram] = defaultdict(lambda: Histogram(SIZES))
    for (verb, dry_run, group, version, resource, subresource, scope, code), found in metrics.requests.items():
        place = (group, resource, scope, subresource, verb, version)
        counts[(code, "apiserver", dry_run, *place)] += found.count
        durations[("apiserver", dry_run, *place)].add(found.durations)
        sli[("apiserver", *place)].add(found.sli)
        if verb in ("GET", "LIST"):
            sizes[("apiserver", *place)].add(found.sizes)
    dry = ("component", "dry_run", *_PLACE[1:])
    told = "Requests by what was asked, and how it was answered."
    yield Family("apiserver_request_total", "counter", "STABLE", told, ("code", *dry)).samples(counts)
    yield _histogram("request_duration_seconds", "STABLE", "Time to answer a request, in seconds.", dry, durations)
    told = "Time to answer a request, in seconds, without what webhooks took."
    yield _histogram("request_sli_duration_seconds", "ALPHA", told, _PLACE, sli)
    yield _histogram("response_sizes", "STABLE", "Size of answers to reads, in bytes.", _PLACE, sizes)
    yield metrics.body_sizes.text()
    yield metrics.terminations.text()
    yield metrics.aborts.text()


def _histogram(name: str, stability: Stability, told: str, labels: Values, given: Mapping[Values, Histogram]) -> str:
    return Family(f"apiserver_{name}", "histogram", stability, told, labels).histograms(given)


def _now(metrics: Metrics, time: float) -> Iterator[str]:
    told = "The most requests of a kind that were answered at once within the last second."
    peaks: dict[Values, float] = {(kind,): float(peak.at(time)) for kind, peak in metrics.inflight.items()}
    yield gauge("apiserver_current_inflight_requests", "STABLE", told, ("request_kind",), peaks)
    running: dict[Values, float] = {
        ("apiserver", group, resource, scope, subresource, verb, version): float(count)
        for (verb, group, version, resource, subresource, scope), count in metrics.running.items()
    }
    told = "Requests that last: watches, logs, sessions with containers."
    yield gauge("apiserver_longrunning_requests", "STABLE", told, _PLACE, running)


def _who(metrics: Metrics) -> Iterator[str]:
    users = {**metrics.users, "other": metrics.authenticated - sum(metrics.users.values())}
    for name, label, told, counts in (
        (
            "authentication_attempts",
            "result",
            "Attempts to authenticate.",
            {"success": metrics.authenticated, "failure": metrics.unauthenticated},
        ),
        ("authenticated_user_requests", "username", "Authenticated requests, by a few known users.", users),
        (
            "authorization_attempts_total",
            "result",
            "Questions whether a request is allowed.",
            {"allowed": metrics.allowed, "no-opinion": metrics.not_allowed},
        ),
    ):
        shown: dict[Values, float] = {(value,): count for value, count in counts.items() if count}
        yield Family(name, "counter", "ALPHA", told, (label,)).samples(shown)


def _admission(metrics: Metrics) -> Iterator[str]:
    yield from (family.text() for family in vars(metrics.admission).values())
    told = "Validations of policies, by what came of them."
    yield _counts("apiserver_validating_admission_policy_check_total", "BETA", told, metrics.policy_checks)
    yield metrics.policy_checks.text()
    told = "Mutations of policies, by what came of them."
    yield _counts("apiserver_mutating_admission_policy_check_total", "ALPHA", told, metrics.mutation_checks)
    yield metrics.mutation_checks.text()


def _counts(name: str, stability: Stability, told: str, of: Histograms) -> str:
    """A counter of what a histogram counts as well."""
    counts = {labels: float(sum(series.counts)) for labels, series in of.series.items()}
    return Family(name, "counter", stability, told, of.labels).samples(counts)


def _watches(metrics: Metrics) -> Iterator[str]:
    yield _counts("apiserver_watch_events_total", "ALPHA", "Events sent to watches.", metrics.event_sizes)
    yield metrics.event_sizes.text()
    yield metrics.terminated_watchers.text()


def _stored(api: Api) -> Iterator[str]:
    caches = {_group_resource(prefix): cache for prefix, cache in api.cache.resources.items()}
    # made when asked for, never stored
    caches.pop(("", "componentstatuses"), None)
    objects = {place: float(len(cache.records)) for place, cache in caches.items()}
    sizes = {place: _size(cache) for place, cache in caches.items()}
    received = {place: float(cache.received) for place, cache in caches.items() if cache.received}
    named: dict[Values, float] = {
        (f"{resource}.{group}" if group else resource,): count for (group, resource), count in objects.items()
    }
    labels = ("group", "resource")
    yield gauge("apiserver_resource_objects", "ALPHA", "Stored objects by resource.", labels, objects)
    told = "Size of all stored objects by resource, as far as some of them tell, in bytes."
    yield gauge("apiserver_resource_size_estimate_bytes", "ALPHA", told, labels, sizes)
    told = "Stored objects by resource; apiserver_resource_objects replaces it."
    yield gauge("apiserver_storage_objects", "STABLE", told, ("resource",), named)
    path = getattr(api.store, "path", None)
    told = "Size of the database file in bytes."
    files: dict[Values, float] = (
        {("etcd-0",): float(path.stat().st_size)} if isinstance(path, Path) and path.exists() else {}
    )
    yield gauge("apiserver_storage_size_bytes", "STABLE", told, ("storage_cluster_id",), files)
    families: tuple[tuple[str, Stability, str], ...] = (
        ("storage_events_received_total", "BETA", "Changes that came from the store, by resource."),
        ("watch_cache_events_received_total", "ALPHA", "Changes that the watch cache was told of, by resource."),
        ("watch_cache_events_dispatched_total", "ALPHA", "Changes that the watch cache told watches of, by resource."),
    )
    for name, stability, told in families:
        yield Family(f"apiserver_{name}", "counter", stability, told, labels).samples(received)
    told = "How far the watch cache has come, by resource."
    revisions = dict.fromkeys(caches, float(api.cache.revision))
    yield gauge("apiserver_watch_cache_resource_version", "BETA", told, labels, revisions)
    told = "Operations of the store by resource."
    yield _counts("etcd_requests_total", "ALPHA", told, api.metrics.store_times)
    yield api.metrics.store_times.text()


def _group_resource(prefix: str) -> Values:
    group, resource = prefix.split("/")[2:4]
    return "" if group == "core" else group, resource


def _size(cache: ResourceCache) -> float:
    some = [len(record.value) for record in itertools.islice(cache.records.values(), SAMPLED)]
    return float(sum(some) * len(cache.records) // len(some)) if some else 0.0


def _process(version: Mapping[str, str], started: float) -> Iterator[str]:
    build = {
        "build_date": "buildDate", "compiler": "compiler", "git_commit": "gitCommit", "git_tree_state": "gitTreeState",
        "git_version": "gitVersion", "go_version": "goVersion", "major": "major", "minor": "minor",
        "platform": "platform",
    }  # fmt: skip
    labels = tuple(version[key] for key in build.values())
    yield gauge("kubernetes_build_info", "ALPHA", "What was built, and when.", tuple(build), {labels: 1})
    used = Process.now()
    soft = limits.getrlimit(limits.RLIMIT_NOFILE)[0]
    told = "Processor time spent, in seconds."
    yield Family("process_cpu_seconds_total", "counter", "", told).samples({(): used.cpu})
    for name, told, value in (
        ("max_fds", "Files that may be open.", soft),
        ("open_fds", "Files that are open.", len(os.listdir("/proc/self/fd"))),
        ("resident_memory_bytes", "Memory in use, in bytes.", used.resident),
        ("start_time_seconds", "Start of the process, in seconds since the epoch.", started),
        ("virtual_memory_bytes", "Address space in use, in bytes.", used.virtual),
    ):
        yield gauge(f"process_{name}", "", told, (), {(): value})
