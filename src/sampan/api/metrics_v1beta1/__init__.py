"""metrics.k8s.io/v1beta1: what nodes and pods use now, measured when asked for and stored nowhere.

Source: k8s.io/metrics/pkg/apis/metrics/v1beta1/types.go; metrics-server/pkg/api/{node,pod,table}.go
"""

from __future__ import annotations

from sampan.api import quantity
from sampan.api.kind import Names

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
NAMES = (
    Names(GROUP, VERSION, "nodes", "", "NodeMetrics", False, ("get", "list")),
    Names(GROUP, VERSION, "pods", "", "PodMetrics", True, ("get", "list")),
)


def shown(usage: dict[str, str]) -> list[str]:
    """The cells of a Table: CPU in thousandths, memory in Ki."""
    cpu = -(-quantity.parse(usage.get("cpu", "0")) * 1000 // 1)
    memory = quantity.parse(usage.get("memory", "0")) // 1024
    return [f"{cpu}m" if cpu else "0", f"{memory}Ki" if memory else "0"]
