"""The cluster as arrays: one column for each node, so that a question is put to all nodes in one operation.

Pods and nodes come in by `set_node`, `remove_node`, `add_pod`, `remove_pod`; every array is kept right by each of them,
nothing is rebuilt. What plugins count (how many pods of each node a selector picks) is counted once from all pods and
kept up to date from then on (`Counters`).

`stamp` is another when a node changes in a way that placing depends on (labels, taints, resources, images), not with
heartbeats; `Shape.memo` may keep what depends on nodes alone for as long as it stands. `touched_since` tells on which
nodes pods have come or gone, so that what depends on one node and its pods need be worked out again only there.

Source: k8s.io/kubernetes/pkg/scheduler/backend/cache/{cache,snapshot}.go, framework/types.go (NodeInfo)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampan.scheduler.columns import Column
from sampan.scheduler.counters import Counters
from sampan.scheduler.shape import Obj, PodInfo, Port, normalised, units
from sampan.scheduler.terms import Taint

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
CPU, MEMORY, EPHEMERAL = 0, 1, 2
FIRST = 64
MAX_TOUCHED = 1 << 14


@dataclass(slots=True, eq=False)
class NodeInfo:
    """One node as it stands, with its pods by uid. `slot`: its column."""

    name: str
    slot: int
    labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False
    allocatable: dict[str, int] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    pods: dict[str, PodInfo] = field(default_factory=dict)
    ports: dict[Port, int] = field(default_factory=dict)


class Cluster:
    """All nodes and the pods on them."""

    def __init__(self) -> None:
        self.slots = 0
        self.stamp = object()
        self.nodes: dict[str, NodeInfo] = {}
        self.by_slot: list[NodeInfo | None] = []
        self.resources: dict[str, int] = {"cpu": CPU, "memory": MEMORY, "ephemeral-storage": EPHEMERAL}
        self.taint_sets: dict[tuple[Taint, ...], int] = {(): 0}
        #: namespaces' labels, for namespace selectors
        self.namespaces: dict[str, dict[str, str]] = {}
        #: host ports in use: (protocol, port) to address to number of pods by slot
        self.host_ports: dict[tuple[str, int], dict[str, dict[int, int]]] = {}
        #: images: name to size and the slots that have it
        self.images: dict[str, tuple[int, set[int]]] = {}
        self._columns: dict[str, Column] = {}
        self._free: list[int] = []
        self._room = FIRST
        self._waiting: dict[str, dict[str, PodInfo]] = {}
        self.valid: Mask = np.zeros(FIRST, bool)
        self.unschedulable: Mask = np.zeros(FIRST, bool)
        self.taint_set = np.zeros(FIRST, np.int32)
        self.allocatable: Ints = np.zeros((3, FIRST), np.int64)
        self.requested: Ints = np.zeros((3, FIRST), np.int64)
        self.compared: Ints = np.zeros((2, FIRST), np.int64)
        self.pods_allowed: Ints = np.zeros(FIRST, np.int64)
        self.pods_here: Ints = np.zeros(FIRST, np.int64)
        #: PersistentVolumeClaims in use: namespace/name to number of pods by slot
        self.claims: dict[str, dict[int, int]] = {}
        self.counters = Counters(self)
        self._touched: list[int] = []
        self._touched_from = 0

    def __len__(self) -> int:
        return len(self.nodes)

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def set_node(self, node: Obj) -> bool:
        """Add or change a node. True when anything that placing depends on is new."""
        name = node["metadata"]["name"]
        info = self.nodes.get(name)
        if info is None:
            info = self._place(name)
            for pod in self._waiting.pop(name, {}).values():
                self.add_pod(pod)
            self._describe(info, node)
            self.stamp = object()
            return True
        if not self._describe(info, node):
            return False
        self.stamp = object()
        return True

    def remove_node(self, name: str) -> None:
        """Its pods stay known: the node may come back. Unknown names are no error."""
        info = self.nodes.get(name)
        if info is None:
            return
        pods = dict(info.pods)
        for pod in pods.values():
            self.remove_pod(pod)  # while the node is known: its slot is left without a trace of them
        del self.nodes[name]
        if pods:
            self._waiting[name] = pods
        for image in info.images:
            self._forget_image(image, info.slot)
        for column in self._columns.values():
            column.set(info.slot, None)
        self.valid[info.slot] = False
        self.allocatable[:, info.slot] = 0
        self.by_slot[info.slot] = None
        self._free.append(info.slot)
        self.stamp = object()

    def _place(self, name: str) -> NodeInfo:
        if self._free:
            slot = self._free.pop()
        else:
            slot = self.slots
            self.slots += 1
            self.by_slot.append(None)
            if slot >= self._room:
                self._grow()
        info = self.nodes[name] = self.by_slot[slot] = NodeInfo(name, slot)
        self.valid[slot] = True
        for array in (self.requested, self.compared):
            array[:, slot] = 0
        self.pods_here[slot] = 0
        self.unschedulable[slot] = False
        self.taint_set[slot] = 0
        for column in self._columns.values():
            column.set(slot, None)
        return info

    def _grow(self) -> None:
        self._room *= 2

        def wider(array: NDArray[Any]) -> NDArray[Any]:
            out = np.zeros((*array.shape[:-1], self._room), array.dtype)
            out[..., : array.shape[-1]] = array
            return out

        for name in (
            "valid", "unschedulable", "taint_set", "allocatable", "requested", "compared", "pods_allowed", "pods_here",
        ):  # fmt: skip
            setattr(self, name, wider(getattr(self, name)))
        for column in self._columns.values():
            column.grow(self._room)
        self.counters.grow(self._room)

    def _describe(self, info: NodeInfo, node: Obj) -> bool:
        spec, status, slot = node.get("spec") or {}, node.get("status") or {}, info.slot
        labels = node["metadata"].get("labels") or {}
        taints = tuple(Taint.of(raw) for raw in spec.get("taints") or ())
        unschedulable = bool(spec.get("unschedulable"))
        amounts = {name: units(name, text) for name, text in (status.get("allocatable") or {}).items()}
        images = {
            normalised(name): int(image.get("sizeBytes", 0))
            for image in status.get("images") or ()
            for name in image.get("names") or ()
        }
        before = (info.labels, info.taints, info.unschedulable, info.allocatable, info.images)
        if before == (labels, taints, unschedulable, amounts, images):
            return False
        if labels != info.labels:
            info.labels = labels
            for key, column in self._columns.items():
                column.set(slot, labels.get(key))
        info.taints, info.unschedulable = taints, unschedulable
        self.unschedulable[slot] = unschedulable
        self.taint_set[slot] = self.taint_sets.setdefault(taints, len(self.taint_sets))
        for name in {*amounts, *info.allocatable} - {"pods"}:
            row = self.row(name)
            self.allocatable[row, slot] = amounts.get(name, 0)
        self.pods_allowed[slot] = amounts.get("pods", 0)
        info.allocatable = amounts
        for name in info.images.keys() - images.keys():
            self._forget_image(name, slot)
        for name, size in images.items():
            known = self.images.get(name)
            self.images[name] = (size, {*known[1], slot} if known else {slot})
        info.images = images
        return True

    def _forget_image(self, name: str, slot: int) -> None:
        _, slots = self.images[name]
        slots.discard(slot)
        if not slots:
            del self.images[name]

    def row(self, resource: str) -> int:
        """The resource's row in `allocatable` and `requested`, a new one for a new resource."""
        found = self.resources.get(resource)
        if found is None:
            found = self.resources[resource] = len(self.resources)
            blank = np.zeros((1, self._room), np.int64)
            self.allocatable = np.vstack((self.allocatable, blank))
            self.requested = np.vstack((self.requested, blank))
        return found

    def column(self, label: str) -> Column:
        """The values that nodes have for a label."""
        found = self._columns.get(label)
        if found is None:
            found = self._columns[label] = Column(self._room)
            for info in self.nodes.values():
                found.set(info.slot, info.labels.get(label))
        return found

    # -- pods ----------------------------------------------------------------------------------------------------------

    def add_pod(self, pod: PodInfo) -> None:
        """A pod that has a node (or is assumed to have it). One that is there already is replaced."""
        info = self.nodes.get(pod.node)
        if info is None:
            self._waiting.setdefault(pod.node, {})[pod.uid] = pod
            return
        there = info.pods.get(pod.uid)
        info.pods[pod.uid] = pod
        if there is not None:
            if there.shape is pod.shape and there.terminating == pod.terminating:
                return  # the usual update: its status alone
            if there.shape.takes_as_much(pod.shape):
                # its labels: binding adds those of the node's topology
                self.counters.account(info.slot, there, -1)
                self.counters.account(info.slot, pod, 1)
                return
            self._account(info, there, -1)
        self._account(info, pod, 1)

    def remove_pod(self, pod: PodInfo) -> None:
        """Unknown pods are no error."""
        info = self.nodes.get(pod.node)
        if info is None:
            self._waiting.get(pod.node, {}).pop(pod.uid, None)
            return
        there = info.pods.pop(pod.uid, None)
        if there is not None:
            self._account(info, there, -1)

    def _account(self, info: NodeInfo, pod: PodInfo, sign: int) -> None:
        slot, shape = info.slot, pod.shape
        for name, amount in shape.requests.items():
            row = self.row(name)  # which may put a larger array in the place of the old one
            self.requested[row, slot] += sign * amount
        self.compared[0, slot] += sign * shape.compared[0]
        self.compared[1, slot] += sign * shape.compared[1]
        self.pods_here[slot] += sign
        for port in shape.ports:
            self._account_port(info, port, sign)
        for claim in pod.claims:
            users = self.claims.setdefault(f"{shape.namespace}/{claim}", {})
            left = users.pop(slot, 0) + sign
            if left > 0:
                users[slot] = left
            elif not users:
                del self.claims[f"{shape.namespace}/{claim}"]
        self.counters.account(slot, pod, sign)
        self._touch(slot)

    # -- what has changed ----------------------------------------------------------------------------------------------

    def _touch(self, slot: int) -> None:
        if len(self._touched) >= MAX_TOUCHED:
            self._touched_from += len(self._touched)
            self._touched.clear()
        self._touched.append(slot)

    @property
    def revision(self) -> int:
        """Moves whenever pods come to a node or leave it."""
        return self._touched_from + len(self._touched)

    def touched_since(self, revision: int) -> list[int] | None:
        """Slots whose pods have changed since `revision` (some more than once); None: too long ago to tell."""
        at = revision - self._touched_from
        return None if at < 0 else self._touched[at:]

    def _account_port(self, info: NodeInfo, port: Port, sign: int) -> None:
        address, protocol, number = port
        left = info.ports.get(port, 0) + sign
        users = self.host_ports.setdefault((protocol, number), {}).setdefault(address, {})
        if left > 0:
            info.ports[port] = users[info.slot] = left
        else:
            info.ports.pop(port, None)
            users.pop(info.slot, None)

    def set_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        """The labels of a namespace; None: it is gone."""
        known = self.namespaces.get(name)
        if labels is None:
            self.namespaces.pop(name, None)
        else:
            self.namespaces[name] = dict(labels)
        if known != self.namespaces.get(name):
            self.counters.namespace_changed()
