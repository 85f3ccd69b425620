"""How a cluster is meant to be: its nodes and its address ranges. Kept in `cluster.json`; a kind configuration becomes one.

Nodes are named as kind names them: `NAME-control-plane`, `NAME-worker`, `NAME-worker2`, ...
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

CONTROL_PLANE, WORKER = "control-plane", "worker"
#: what a node may run its containers on, the usual one first
RUNTIMES = SAMPAN, CONTAINERD = "sampan", "containerd"


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the host that leads to a port of the node. `host` 0: a free one is chosen."""

    host: int
    node: int
    listen: str = "0.0.0.0"
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True)
class Mount:
    """A directory of the host that pods of the node find at `node` as a hostPath."""

    host: str
    node: str
    read_only: bool = False
    propagation: str = "None"


@dataclass(frozen=True, slots=True)
class Node:
    """`index`: its address comes of it, for all its life. `kubelet`: flags beyond those that every node gets. `stopped`:
    `up` leaves it alone until it is started."""

    name: str
    role: str = WORKER
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Sequence[Port] = ()
    mounts: Sequence[Mount] = ()
    kubelet: Mapping[str, str] = field(default_factory=dict)
    stopped: bool = False
    index: int = 0
    runtime: str = SAMPAN


@dataclass(frozen=True, slots=True)
class Ranges:
    """CIDRs. `nodes` and `balancers` (addresses of LoadBalancers) empty: chosen with the first node, where the host has no
    route yet; those of pods and services too."""

    pods: str = "10.244.0.0/16"
    services: str = "10.96.0.0/16"
    nodes: str = ""
    balancers: str = ""

    @property
    def dns(self) -> str:
        """Address of the cluster's DNS."""
        return str(ipaddress.ip_network(self.services)[10])

    @property
    def api(self) -> str:
        """Address of the Service `kubernetes`."""
        return str(ipaddress.ip_network(self.services)[1])

    @property
    def gateway(self) -> str:
        """The host as nodes see it; empty without nodes."""
        return str(ipaddress.ip_network(self.nodes)[1]) if self.nodes else ""


def names(cluster: str, workers: int) -> Iterator[str]:
    """Of a control plane and so many workers."""
    yield f"{cluster}-{CONTROL_PLANE}"
    for number in range(1, workers + 1):
        yield f"{cluster}-{WORKER}{number if number > 1 else ''}"


def nodes(cluster: str, count: int, runtime: str = SAMPAN) -> list[Node]:
    """The first is where the control plane shows itself; alone it takes every pod, as all of them do here."""
    if not count:
        return []
    first, *rest = names(cluster, count - 1)
    more = (Node(name, index=index, runtime=runtime) for index, name in enumerate(rest, 1))
    return [Node(first, CONTROL_PLANE, runtime=runtime), *more]


def runtime(nodes: Sequence[Node]) -> str:
    """The one that all nodes of a cluster run on; empty without nodes."""
    return nodes[0].runtime if nodes else ""


def dumped(node: Node) -> dict[str, Any]:
    """As JSON holds it."""
    return asdict(node)


def loaded(raw: Mapping[str, Any]) -> Node:
    """Raises KeyError, TypeError for what `dumped` did not write."""
    return Node(
        name=raw["name"], role=raw["role"], labels=dict(raw["labels"]), kubelet=dict(raw["kubelet"]),
        ports=[Port(**port) for port in raw["ports"]], mounts=[Mount(**mount) for mount in raw["mounts"]],
        stopped=raw["stopped"], index=raw["index"], runtime=raw.get("runtime", SAMPAN),
    )  # fmt: skip
