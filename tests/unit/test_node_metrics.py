"""metrics.k8s.io of real nodes: from pages of counters to what is used."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.apiserver.node_metrics import Point, measured, parse
from sampan.kubelet.server import metrics

PAGE = b"""# HELP container_cpu_usage_seconds_total Cumulative cpu time
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="c\\"x",namespace="default",pod="web"} 1.5 1700000000123
container_cpu_usage_seconds_total{container="late",namespace="default",pod="web"} 2e-05
container_memory_working_set_bytes{container="c\\"x",namespace="default",pod="web"} 1.048576e+06 1700000000123
container_start_time_seconds{container="c\\"x",namespace="default",pod="web"} 1.7e+09
node_cpu_usage_seconds_total 100.25 1700000000200
node_memory_working_set_bytes 4096 1700000000200
pod_cpu_usage_seconds_total{namespace="default",pod="web"} 9 1700000000123
"""


def test_a_page() -> None:
    found = parse(PAGE, 1.0)
    assert found.node == Point(1700000000.2, 100.25, 4096.0)
    assert found.containers["default", "web", 'c\\"x'] == Point(1700000000.123, 1.5, 1048576.0, 1.7e9)
    assert found.containers["default", "web", "late"] == Point(1.0, 2e-5)


@pytest.mark.parametrize(
    ("last", "before", "expected"),
    [
        (Point(130, 5, 2048, 100), Point(115, 2, 1024, 100), ("200000000n", "2Ki", 15)),
        (Point(130, 5, 2048, 100), None, ("166666667n", "2Ki", 30)),  # it has begun since we look
        (Point(130, 1, 2048, 120), Point(115, 2, 1024, 100), ("100000000n", "2Ki", 10)),  # another life
        (Point(130, 1, 2048, 121), Point(115, 2, 1024, 100), None),  # too young
        (Point(130, 5, 2048), None, None),
        (Point(130, 5, 2048), Point(130, 5, 2048), None),
        (Point(130, None, 2048), Point(115, 1, 2048), None),
        (None, None, None),
    ],
)
def test_rates(last: Point | None, before: Point | None, expected: tuple[str, str, float] | None) -> None:
    found = measured(last, before)
    assert (found and (found[0]["cpu"], found[0]["memory"], found[2])) == expected


def test_what_our_kubelet_writes_is_read() -> None:
    def part(cpu: int, memory: int) -> dict[str, Any]:
        when = "2023-11-14T22:13:20Z"
        return {"cpu": {"time": when, "usageCoreNanoSeconds": cpu}, "memory": {"time": when, "workingSetBytes": memory}}

    container = {"name": "main", "startTime": "2023-11-14T22:13:00Z", **part(3_500_000_000, 7)}
    pod = {"podRef": {"name": "p", "namespace": "n", "uid": "u"}, "containers": [container], **part(1, 1)}
    found = parse(metrics.resource({"node": part(10**9, 4096), "pods": [pod]}).encode(), 0.0)
    assert found.node == Point(1_700_000_000.0, 1.0, 4096.0)
    assert found.containers == {("n", "p", "main"): Point(1_700_000_000.0, 3.5, 7.0, 1_699_999_980.0)}
