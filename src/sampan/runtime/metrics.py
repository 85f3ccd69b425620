"""cAdvisor's metrics, of pods and containers, as CRI carries them: names and labels once, then whole numbers.

Source: k8s.io/cri-api api.proto (MetricDescriptor, Metric), kubernetes test/e2e_node (the names that are expected), cAdvisor
docs/storage/prometheus.md (names, help)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sampan.cri import pb
from sampan.runtime import cgroups
from sampan.runtime.containers import Container, is_running
from sampan.runtime.sandboxes import Sandbox
from sampan.runtime.stats import Stats, value

LABELS = ("id", "name", "image", "container", "pod", "namespace")
SECOND = 10**9


@dataclass(frozen=True, slots=True)
class Counted:
    """One number of a control group."""

    name: str
    help: str
    kind: int
    of: Callable[[cgroups.Usage], int]


_C, _G = pb.COUNTER, pb.GAUGE
GROUP = (
    # DEVIATION: whole seconds, for CRI carries whole numbers alone
    Counted("container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", _C, lambda u: u.cpu // SECOND),
    Counted("container_cpu_cfs_periods_total", "Number of elapsed enforcement period intervals.", _C, lambda u: u.periods),
    Counted("container_cpu_cfs_throttled_periods_total", "Number of throttled period intervals.", _C, lambda u: u.throttled),
    Counted("container_memory_usage_bytes", "Current memory usage in bytes, including all memory regardless of when it was accessed",
            _G, lambda u: u.memory),
    Counted("container_memory_working_set_bytes", "Current working set in bytes.", _G, lambda u: u.working_set),
    Counted("container_memory_rss", "Size of RSS in bytes.", _G, lambda u: u.rss),
    Counted("container_memory_swap", "Container swap usage in bytes.", _G, lambda u: u.swap),
    Counted("container_spec_memory_limit_bytes", "Memory limit for the container.", _G, lambda u: u.limit),
    Counted("container_processes", "Number of processes running inside the container.", _G, lambda u: u.processes),
)  # fmt: skip
FAULTS = "container_memory_failures_total"
OTHERS = (
    (FAULTS, "Cumulative count of memory allocation failures.", ("failure_type", "scope")),
    ("container_fs_usage_bytes", "Number of bytes that are consumed by the container on this filesystem.", ("device",)),
    ("container_fs_inodes_total", "Number of Inodes", ("device",)),
    ("container_oom_events_total", "Count of out of memory events observed for the container", ()),
    ("container_start_time_seconds", "Start time of the container since unix epoch in seconds.", ()),
    ("container_network_receive_bytes_total", "Cumulative count of bytes received", ("interface",)),
    ("container_network_receive_errors_total", "Cumulative count of errors encountered while receiving", ("interface",)),
    ("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", ("interface",)),
    ("container_network_transmit_errors_total", "Cumulative count of errors encountered while transmitting", ("interface",)),
)  # fmt: skip


def descriptors() -> list[Any]:
    found = [pb.MetricDescriptor(name=each.name, help=each.help, label_keys=LABELS) for each in GROUP]
    found += [pb.MetricDescriptor(name=name, help=text, label_keys=(*LABELS, *more)) for name, text, more in OTHERS]
    return found


async def of_pod(sandbox: Sandbox, containers: list[Container], stats: Stats, now: int) -> Any:
    """A PodSandboxMetrics."""
    pod = sandbox.config.metadata
    who = (sandbox.state.cgroup, sandbox.id, "", "", pod.name, pod.namespace)
    out = _group(who, sandbox.state.cgroup, now)
    for each in await stats.interfaces(sandbox):
        for name, number in (
            ("receive_bytes", each.rx_bytes), ("receive_errors", each.rx_errors),
            ("transmit_bytes", each.tx_bytes), ("transmit_errors", each.tx_errors),
        ):  # fmt: skip
            out.append(_metric(f"container_network_{name}_total", _C, (*who, each.name), number.value, now))
    return pb.PodSandboxMetrics(
        pod_sandbox_id=sandbox.id, metrics=out,
        container_metrics=[await _container(sandbox, each, stats, now) for each in containers if is_running(each)],
    )  # fmt: skip


async def _container(sandbox: Sandbox, container: Container, stats: Stats, now: int) -> Any:
    state, pod, name = container.state, sandbox.config.metadata, container.config.metadata.name
    who = (state.cgroup, container.id, container.config.image.image, name, pod.name, pod.namespace)
    out = _group(who, state.cgroup, now)
    size, inodes = await stats.written(container)
    out += [
        _metric("container_fs_usage_bytes", _G, (*who, ""), size, now),
        _metric("container_fs_inodes_total", _G, (*who, ""), inodes, now),
        _metric("container_oom_events_total", _C, who, cgroups.oom_kills(state.cgroup), now),
        _metric("container_start_time_seconds", _G, who, state.started // SECOND, now),
    ]
    return pb.ContainerMetrics(container_id=container.id, metrics=out)


def _group(who: tuple[str, ...], group: str, now: int) -> list[Any]:
    used = cgroups.usage(group)
    out = [_metric(each.name, each.kind, who, each.of(used), now) for each in GROUP]
    for kind, number in (("pgfault", used.page_faults), ("pgmajfault", used.major_page_faults)):
        out.append(_metric(FAULTS, _C, (*who, kind, "container"), number, now))
    return out


def _metric(name: str, kind: int, labels: tuple[str, ...], number: int, now: int) -> Any:
    return pb.Metric(name=name, timestamp=now, metric_type=kind, label_values=labels, value=value(number))
