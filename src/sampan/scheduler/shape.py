"""What the scheduler needs to know of a pod, read once.

Pods of one controller are alike in all that placing them asks about; they share one `Shape`, and so everything that is
worked out for a shape (which nodes tolerate it, which match its affinity) is worked out once for all of them.

Source: k8s.io/kubernetes/pkg/scheduler/framework/types.go (PodInfo, calculateResource), component-helpers/resource
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import Any

import orjson

from sampan.api import quantity
from sampan.api.core_v1 import pod_resources
from sampan.scheduler.terms import AffinityTerm, NodeSelector, PreferredNode, Spread, Toleration

Obj = dict[str, Any]
#: what a container without a request counts for when nodes are compared (not when they are filtered)
DEFAULT_CPU, DEFAULT_MEMORY = 100, 200 * 1024 * 1024
Port = tuple[str, str, int]


@dataclass(slots=True, eq=False)
class Shape:
    """Requests in units (CPU in thousandths); `compared`: CPU and memory with defaults for what is not requested;
    `images`: of all containers and image volumes."""

    namespace: str
    labels: dict[str, str]
    priority: int
    preemption_policy: str
    requests: dict[str, int]
    compared: tuple[int, int]
    ports: tuple[Port, ...]
    images: tuple[str, ...]
    tolerations: tuple[Toleration, ...]
    node_selector: NodeSelector | None
    preferred_nodes: tuple[PreferredNode, ...]
    affinity: tuple[AffinityTerm, ...]
    anti_affinity: tuple[AffinityTerm, ...]
    preferred_affinity: tuple[AffinityTerm, ...]
    preferred_anti_affinity: tuple[AffinityTerm, ...]
    spreads: tuple[Spread, ...]
    #: by plugins, for what holds as long as the nodes stay as they are
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def best_effort(self) -> bool:
        """Neither CPU nor memory is requested."""
        return not self.requests.get("cpu") and not self.requests.get("memory")

    def takes_as_much(self, other: Shape) -> bool:
        """Of a node's room, as other pods find it."""
        return self.requests == other.requests and self.compared == other.compared and self.ports == other.ports

    @property
    def terms(self) -> bool:
        """Has it pod affinity of any kind?"""
        return bool(self.affinity or self.anti_affinity or self.preferred_affinity or self.preferred_anti_affinity)


@dataclass(frozen=True, slots=True)
class Disk:
    """A volume that is attached by name: two pods may share it only to read, if at all."""

    kind: str
    names: tuple[str, ...]
    read_only: bool

    def conflicts(self, other: Disk) -> bool:
        if self.kind != other.kind or (self.read_only and other.read_only):
            return False
        if self.kind != "rbd":
            return self.names == other.names
        return self.names[:2] == other.names[:2] and bool(set(self.names[2:]) & set(other.names[2:]))


@dataclass(slots=True, eq=False)
class PodInfo:
    """One pod. `node`: where it is (or is assumed to be); empty while it waits.

    Decoded pods are large, and the rest of this is nearly all that is asked of them: `held` is the object itself while
    it is being placed, and None for one that has a node. Of one that waits `source` has it. `claims`: names of its
    PersistentVolumeClaims; `disks`: volumes of kinds that only one node may have; `preempted`: it goes because a
    scheduler made it go; `gates`: what it waits for before it may be placed.
    """

    held: Obj | None
    shape: Shape
    key: str
    uid: str
    node: str
    terminating: bool
    nominated: str
    claims: tuple[str, ...] = ()
    disks: tuple[Disk, ...] = ()
    started: str = ""
    preempted: bool = False
    gates: tuple[str, ...] = ()
    source: Callable[[str], Obj | None] | None = None

    @property
    def pod(self) -> Obj:
        """Shared, never changed; empty where it is not known (any more)."""
        if self.held is not None:
            return self.held
        found = self.source(self.key) if self.source is not None else None
        return found if found is not None and found["metadata"]["uid"] == self.uid else {}

    def hold(self) -> None:
        """Keep the object as it is now."""
        self.held = self.pod

    def release(self) -> None:
        if self.source is not None:
            self.held = None

    @property
    def namespace(self) -> str:
        return self.shape.namespace

    @property
    def name(self) -> str:
        return self.key.partition("/")[2]

    @property
    def priority(self) -> int:
        return self.shape.priority


def pod_info(pod: Obj, node: str | None = None) -> PodInfo:
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    claims, disks = _volumes(meta["name"], spec["volumes"]) if spec.get("volumes") else ((), ())
    terminating = bool(meta.get("deletionTimestamp"))
    where: str = spec.get("nodeName", "") if node is None else node
    return PodInfo(
        None if where else pod,
        shape_of(pod),
        f"{meta['namespace']}/{meta['name']}",
        meta.get("uid", ""),
        where,
        terminating,
        status.get("nominatedNodeName", ""),
        claims,
        disks,
        status.get("startTime") or "",
        terminating and _preempted(status),
        tuple(gate["name"] for gate in spec.get("schedulingGates") or ()),
    )


def _preempted(status: Obj) -> bool:
    return any(
        item.get("type") == "DisruptionTarget"
        and item.get("status") == "True"
        and item.get("reason") == "PreemptionByScheduler"
        for item in status.get("conditions") or ()
    )


def _volumes(pod: str, volumes: list[Obj]) -> tuple[tuple[str, ...], tuple[Disk, ...]]:
    claims, disks = [], []
    for volume in volumes:
        if claim := volume.get("persistentVolumeClaim"):
            claims.append(claim["claimName"])
        elif volume.get("ephemeral") is not None:
            claims.append(f"{pod}-{volume['name']}")
        elif source := volume.get("gcePersistentDisk"):
            disks.append(Disk("gce", (source["pdName"],), bool(source.get("readOnly"))))
        elif source := volume.get("awsElasticBlockStore"):
            # a second reader is not allowed either
            disks.append(Disk("aws", (source["volumeID"],), False))
        elif source := volume.get("iscsi"):
            disks.append(Disk("iscsi", (source.get("iqn", ""),), bool(source.get("readOnly"))))
        elif source := volume.get("rbd"):
            names = (source.get("pool", ""), source.get("image", ""), *sorted(source.get("monitors") or ()))
            disks.append(Disk("rbd", names, bool(source.get("readOnly"))))
    return tuple(claims), tuple(disks)


def shape_of(pod: Obj) -> Shape:
    return _shape(_signature(pod))


def _signature(pod: Obj) -> bytes:
    """All that a shape is made from, as bytes; names of volumes, which differ from pod to pod, are not in it."""
    meta, spec = pod["metadata"], pod["spec"]

    def containers(which: str) -> list[Any]:
        return [
            [c.get("resources"), c.get("ports"), c.get("image"), c.get("restartPolicy"), c.get("name")]
            for c in spec.get(which) or ()
        ]

    status = pod.get("status") or {}
    statuses = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    resized = None
    if any("allocatedResources" in item or item.get("resources") for item in (status, *statuses)):
        resized = [
            [[c.get("name"), c.get("resources"), c.get("allocatedResources")] for c in statuses],
            [c for c in status.get("conditions") or () if c.get("type") == "PodResizePending"],
            status.get("resources"),
            status.get("allocatedResources"),
        ]
    images = [volume["image"].get("reference") for volume in spec.get("volumes") or () if volume.get("image")]
    return orjson.dumps(
        [
            meta["namespace"], meta.get("labels"), spec.get("priority", 0), spec.get("preemptionPolicy", ""),
            containers("containers"), containers("initContainers"), spec.get("overhead"), spec.get("resources"),
            spec.get("hostNetwork", False), spec.get("tolerations"), spec.get("nodeSelector"), spec.get("affinity"),
            spec.get("topologySpreadConstraints"), resized, images,
        ]
    )  # fmt: skip


@functools.lru_cache(maxsize=8192)
def _shape(signature: bytes) -> Shape:
    (
        namespace, labels, priority, policy, mains, inits, overhead, resources, host_network, tolerations, selector,
        affinity, spreads, resized, volumes,
    ) = orjson.loads(signature)  # fmt: skip
    labels = labels or {}
    affinity = affinity or {}

    def container(raw: list[Any]) -> Obj:
        return {
            "resources": raw[0] or {},
            "ports": raw[1] or [],
            "image": raw[2],
            "restartPolicy": raw[3],
            "name": raw[4],
        }

    spec: Obj = {"containers": [container(raw) for raw in mains], "initContainers": [container(raw) for raw in inits]}
    if overhead:
        spec["overhead"] = overhead
    if resources:
        spec["resources"] = resources
    pod: Obj = {"metadata": {}, "spec": spec}
    if resized:
        statuses = [{"name": n, "resources": r, "allocatedResources": a} for n, r, a in resized[0]]
        more = {"resources": resized[2], "allocatedResources": resized[3]}
        pod["status"] = {"containerStatuses": statuses, "conditions": resized[1], **more}
    requests = pod_resources.requests(pod, with_status=resized is not None)
    for each in (*spec["containers"], *spec["initContainers"]):
        asked = {"cpu": "100m", "memory": str(DEFAULT_MEMORY), **(each["resources"].get("requests") or {})}
        each["resources"] = {**each["resources"], "requests": asked}
    compared = pod_resources.requests(pod, with_status=resized is not None)
    pods, anti = affinity.get("podAffinity") or {}, affinity.get("podAntiAffinity") or {}
    nodes = affinity.get("nodeAffinity") or {}
    required, preferred = (
        "requiredDuringSchedulingIgnoredDuringExecution",
        "preferredDuringSchedulingIgnoredDuringExecution",
    )
    return Shape(
        namespace=namespace,
        labels=labels,
        priority=priority or 0,
        preemption_policy=policy,
        requests={name: units(name, amount) for name, amount in requests.items()},
        compared=(units("cpu", compared.get("cpu", "0")), units("memory", compared.get("memory", "0"))),
        ports=tuple(_ports(spec["containers"] + _sidecars(spec), bool(host_network))),
        images=tuple(
            normalised(image or "")
            for image in (*(c["image"] for c in spec["initContainers"] + spec["containers"]), *volumes)
        ),
        tolerations=tuple(Toleration.of(raw) for raw in tolerations or ()),
        node_selector=NodeSelector.of(selector, nodes.get(required)),
        preferred_nodes=tuple(PreferredNode.of(raw) for raw in nodes.get(preferred) or ()),
        affinity=tuple(AffinityTerm.of(raw, namespace, labels) for raw in pods.get(required) or ()),
        anti_affinity=tuple(AffinityTerm.of(raw, namespace, labels) for raw in anti.get(required) or ()),
        preferred_affinity=tuple(AffinityTerm.weighted(raw, namespace, labels) for raw in pods.get(preferred) or ()),
        preferred_anti_affinity=tuple(
            AffinityTerm.weighted(raw, namespace, labels) for raw in anti.get(preferred) or ()
        ),
        spreads=tuple(Spread.of(raw, labels) for raw in spreads or ()),
    )


@functools.lru_cache(maxsize=4096)
def units(name: str, amount: str) -> int:
    """A quantity as the scheduler counts it: CPU in thousandths, all else whole, rounded up."""
    value: Fraction = quantity.parse(amount)
    return ceil(value * 1000) if name == "cpu" else ceil(value)


def _sidecars(spec: Obj) -> list[Obj]:
    return [container for container in spec["initContainers"] if container["restartPolicy"] == "Always"]


def _ports(containers: list[Obj], host_network: bool) -> list[Port]:
    """(address, protocol, port) on the node. Containers that have ended keep none, sidecars do."""
    out = []
    for container in containers:
        for port in container["ports"]:
            number = port.get("hostPort") or (port.get("containerPort") if host_network else 0)
            if number:
                out.append((port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", int(number)))
    return out


def normalised(image: str) -> str:
    """With `:latest` where it names no tag."""
    return image if image.rfind(":") > image.rfind("/") else image + ":latest"
