"""Pages in Prometheus' text format: of the kubelet itself, of what pods use (`resource`), and under cAdvisor's names (`cadvisor`).

Source: kubernetes/pkg/kubelet/metrics/collectors/resource_metrics.go, google/cadvisor metrics/prometheus.go (names, labels)
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from sampan.api import quantity
from sampan.http.prometheus import Process, head, sample

Obj = dict[str, Any]
Sample = tuple[Mapping[str, str], float, str]


def _family(name: str, kind: str, told: str, samples: Iterable[Sample]) -> Iterator[str]:
    """`told`: its help. A sample is labels, value, and the time it is of (or none)."""
    first = True
    for labels, value, when in samples:
        if first:
            yield head(name, kind, told)
            first = False
        yield sample(name, labels, value, int(seconds(when) * 1000) if when else None)


def seconds(when: str) -> float:
    return datetime.fromisoformat(when).timestamp()


# -- what pods use -----------------------------------------------------------------------------------------------------


def _pods(summary: Obj) -> Iterator[tuple[dict[str, str], Obj]]:
    for pod in summary["pods"]:
        ref = pod["podRef"]
        yield {"namespace": ref["namespace"], "pod": ref["name"]}, pod


def _containers(summary: Obj) -> Iterator[tuple[dict[str, str], Obj]]:
    for labels, pod in _pods(summary):
        for container in pod["containers"]:
            yield {"container": container["name"], **labels}, container


def _of(parts: Iterable[tuple[dict[str, str], Obj]], section: str, field: str, scale: float = 1) -> Iterator[Sample]:
    for labels, part in parts:
        found = part.get(section) or {}
        if field in found:
            yield labels, found[field] / scale, found.get("time", "")


def resource(summary: Obj) -> str:
    """`/metrics/resource`: what metrics servers read."""
    out: list[str] = []
    node: list[tuple[dict[str, str], Obj]] = [({}, summary["node"])]
    cpu, memory, swap = ("cpu", "usageCoreNanoSeconds", 1e9), ("memory", "workingSetBytes"), ("swap", "swapUsageBytes")
    containers, pods = list(_containers(summary)), list(_pods(summary))
    for name, kind, told, parts, what in (
        ("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the container in core-seconds", containers, cpu),
        ("container_memory_working_set_bytes", "gauge", "Current working set of the container in bytes", containers, memory),
        ("container_swap_usage_bytes", "gauge", "Current amount of the container swap usage in bytes", containers, swap),
        ("node_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the node in core-seconds", node, cpu),
        ("node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes", node, memory),
        ("node_swap_usage_bytes", "gauge", "Current swap usage of the node in bytes", node, swap),
        ("pod_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the pod in core-seconds", pods, cpu),
        ("pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes", pods, memory),
    ):  # fmt: skip
        out.extend(_family(name, kind, told, _of(parts, *what)))
    started = ((labels, seconds(each["startTime"]), "") for labels, each in containers)
    out.extend(
        _family(
            "container_start_time_seconds", "gauge", "Start time of the container in seconds since the epoch", started
        )
    )
    told = "1 if there was an error while getting container metrics, 0 otherwise"
    out.extend(_family("resource_scrape_error", "gauge", told, [({}, 0, "")]))
    return "".join(out)


def cadvisor(summary: Obj, pods: list[Obj]) -> str:
    """`/metrics/cadvisor`: the names that dashboards know; a pod's own numbers have an empty `container`."""
    images = {}
    wanted: list[tuple[dict[str, str], Obj]] = []
    by_uid = {pod["metadata"]["uid"]: pod for pod in pods}
    for _, found in _pods(summary):
        pod = by_uid.get(found["podRef"]["uid"], {"spec": {"containers": []}})
        ids = {each["name"]: each for each in (pod.get("status") or {}).get("containerStatuses") or ()}
        specs = {each["name"]: each for each in pod["spec"]["containers"]}
        for container in found["containers"]:
            name, status = container["name"], ids.get(container["name"], {})
            key = status.get("containerID", "").partition("://")[2]
            images[found["podRef"]["uid"], name] = {
                "container": name, "id": f"/{key}", "image": status.get("image", ""), "name": key,
                "namespace": found["podRef"]["namespace"], "pod": found["podRef"]["name"],
            }  # fmt: skip
            wanted.append((images[found["podRef"]["uid"], name], {**container, "spec": specs.get(name, {})}))
        ref = found["podRef"]
        whole = {
            "container": "",
            "id": f"/pod{ref['uid']}",
            "image": "",
            "name": "",
            "namespace": ref["namespace"],
            "pod": ref["name"],
        }
        wanted.append((whole, {key: value for key, value in found.items() if key != "containers"}))
    root = {"container": "", "id": "/", "image": "", "name": "", "namespace": "", "pod": ""}
    wanted.append((root, summary["node"]))
    out: list[str] = []
    cpu = (({**labels, "cpu": "total"}, *rest) for labels, *rest in _of(wanted, "cpu", "usageCoreNanoSeconds", 1e9))
    out.extend(_family("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.", cpu))  # type: ignore[arg-type]  # a star in a tuple loses its type
    for name, kind, told, section, field in _CADVISOR:
        out.extend(_family(name, kind, told, _of(wanted, section, field)))
    for name, told, field in _NETWORK:
        kind = "counter"
        samples = (
            ({**labels, "interface": each["name"]}, each[field], part["network"]["time"])
            for labels, part in wanted
            for each in (part.get("network") or {}).get("interfaces") or ()
        )
        out.extend(_family(name, kind, told, samples))
    started = ((labels, seconds(each["startTime"]), "") for labels, each in wanted if each.get("startTime"))
    out.extend(
        _family(
            "container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds.", started
        )
    )
    counts = (
        (labels, each["process_stats"]["process_count"], "") for labels, each in wanted if "process_stats" in each
    )
    out.extend(_family("container_processes", "gauge", "Number of processes running inside the container.", counts))
    for name, told, what, scale in _SPECS:
        asked = ((labels, value) for labels, each in wanted if (value := _limit(each, what)) is not None)
        out.extend(_family(name, "gauge", told, ((labels, float(value * scale), "") for labels, value in asked)))
    out.extend(_family("machine_cpu_cores", "gauge", "Number of logical CPU cores.", [({}, os.cpu_count() or 1, "")]))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    out.extend(
        _family("machine_memory_bytes", "gauge", "Amount of memory installed on the machine.", [({}, memory, "")])
    )
    return "".join(out)


_CADVISOR = (
    ("container_memory_usage_bytes", "gauge", "Current memory usage in bytes.", "memory", "usageBytes"),
    ("container_memory_working_set_bytes", "gauge", "Current working set in bytes.", "memory", "workingSetBytes"),
    ("container_memory_rss", "gauge", "Size of RSS in bytes.", "memory", "rssBytes"),
    ("container_memory_swap", "gauge", "Container swap usage in bytes.", "swap", "swapUsageBytes"),
    (
        "container_fs_usage_bytes",
        "gauge",
        "Number of bytes that are consumed by the container on this filesystem.",
        "rootfs",
        "usedBytes",
    ),
    (
        "container_fs_limit_bytes",
        "gauge",
        "Number of bytes that can be consumed on this filesystem.",
        "rootfs",
        "capacityBytes",
    ),
    ("container_fs_inodes_total", "gauge", "Number of Inodes", "rootfs", "inodes"),
    ("container_fs_inodes_free", "gauge", "Number of available Inodes", "rootfs", "inodesFree"),
)
_NETWORK = (
    ("container_network_receive_bytes_total", "Cumulative count of bytes received", "rxBytes"),
    ("container_network_receive_errors_total", "Cumulative count of errors encountered while receiving", "rxErrors"),
    ("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", "txBytes"),
    (
        "container_network_transmit_errors_total",
        "Cumulative count of errors encountered while transmitting",
        "txErrors",
    ),
)
_SPECS = (
    ("container_spec_cpu_period", "CPU period of the container.", ("limits", "cpu", "period"), 1),
    ("container_spec_cpu_quota", "CPU quota of the container.", ("limits", "cpu", ""), 100_000),
    ("container_spec_memory_limit_bytes", "Memory limit for the container.", ("limits", "memory", ""), 1),
)


def _limit(part: Obj, what: tuple[str, str, str]) -> Any:
    section, name, constant = what
    found = ((part.get("spec", {}).get("resources") or {}).get(section) or {}).get(name)
    if found is None:
        return None
    return 100_000 if constant else quantity.parse(found)


# -- the kubelet itself ------------------------------------------------------------------------------------------------


_VOLUMES = (
    ("available_bytes", "Number of available bytes in the volume", "availableBytes"),
    ("capacity_bytes", "Capacity in bytes of the volume", "capacityBytes"),
    ("inodes", "Maximum number of inodes in the volume", "inodes"),
    ("inodes_free", "Number of free inodes in the volume", "inodesFree"),
    ("inodes_used", "Number of used inodes in the volume", "inodesUsed"),
    ("used_bytes", "Number of used bytes in the volume", "usedBytes"),
)


def volumes(summary: Obj) -> str:
    """Of claims, each once, however many pods use it."""
    found = {
        (ref["namespace"], ref["name"]): each
        for _, pod in _pods(summary)
        for each in pod.get("volume") or ()
        if (ref := each.get("pvcRef")) is not None
    }
    out: list[str] = []
    for name, told, field in _VOLUMES:
        samples = (
            ({"namespace": namespace, "persistentvolumeclaim": claim}, each[field], "")
            for (namespace, claim), each in sorted(found.items())
            if field in each
        )
        out.extend(_family(f"kubelet_volume_stats_{name}", "gauge", told, samples))
    return "".join(out)


def own(
    node: str,
    pods: list[Obj],
    requests: Mapping[tuple[str, str], int],
    started: float,
    preemptions: Mapping[str, int] = {},
) -> str:
    statuses = [each.get("status") or {} for each in pods]
    running = sum(each.get("phase") == "Running" for each in statuses)
    states = Counter(
        {"running": "running", "terminated": "exited"}.get(next(iter(each.get("state") or {}), ""), "created")
        for status in statuses
        for field in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
        for each in status.get(field) or ()
    )
    containers: list[Sample] = [({"container_state": state}, count, "") for state, count in sorted(states.items())]
    used = Process.now()
    asked = [
        (
            {
                "long_running": str(path in _LONG).lower(),
                "method": method,
                "path": path or "other",
                "server_type": "readwrite",
            },
            count,
            "",
        )
        for (method, path), count in sorted(requests.items())
    ]
    gone = [({"preemption_signal": name}, count, "") for name, count in sorted(preemptions.items())]
    out: list[str] = []
    for name, kind, told, samples in (
        ("kubelet_node_name", "gauge", "The node's name. The count is always 1.", [({"node": node}, 1, "")]),
        ("kubelet_desired_pods", "gauge", "The number of pods the kubelet is being instructed to run.", [({}, len(pods), "")]),
        ("kubelet_running_pods", "gauge", "Number of pods that have a running pod sandbox", [({}, running, "")]),
        ("kubelet_running_containers", "gauge", "Number of containers currently running", containers),
        ("kubelet_http_requests_total", "counter", "Number of the http requests received since the server started", asked),
        ("kubelet_preemptions", "counter", "Cumulative number of pod preemptions by preemption resource", gone),
        ("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.", [({}, used.cpu, "")]),
        ("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", [({}, used.resident, "")]),
        ("process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.", [({}, started, "")]),
    ):  # fmt: skip
        out.extend(_family(name, kind, told, samples))
    return "".join(out)


_LONG = {"exec", "attach", "portForward"}


def slis(checks: Mapping[str, str]) -> str:
    samples = [({"name": name, "type": "healthz"}, 0 if bad else 1, "") for name, bad in checks.items()]
    return "".join(
        _family("kubernetes_healthcheck", "gauge", "This metric records the result of a single healthcheck.", samples)
    )
