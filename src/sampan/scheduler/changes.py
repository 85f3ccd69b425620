"""What happens in the cluster, as far as it may help a pod that was refused.

The queue asks the plugins that refused a pod whether a change could alter their answer (`Hint`); a change that no such
plugin cares for leaves the pod where it is. That keeps ten thousand waiting pods from being tried again at each event.

Source: k8s.io/kube-scheduler/framework/types.go (ClusterEvent, ActionType), pkg/scheduler/framework/events.go
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from sampan.scheduler.shape import PodInfo
from sampan.scheduler.terms import Taint

ADD, DELETE, UPDATE = 1, 2, 4
NODE_ALLOCATABLE, NODE_LABEL, NODE_TAINT = 8, 16, 32
POD_LABEL, POD_SCALE_DOWN, POD_TOLERATION, POD_UNGATED = 64, 128, 256, 512
ANY = (1 << 10) - 1
NAMES = {
    ADD: "Add", DELETE: "Delete", UPDATE: "Update", NODE_ALLOCATABLE: "UpdateNodeAllocatable",
    NODE_LABEL: "UpdateNodeLabel", NODE_TAINT: "UpdateNodeTaint", POD_LABEL: "UpdatePodLabel",
    POD_SCALE_DOWN: "UpdatePodScaleDown", POD_TOLERATION: "UpdatePodToleration",
    POD_UNGATED: "UpdatePodSchedulingGatesEliminated",
}  # fmt: skip

#: pods that have a node; the waiting pod itself
ASSIGNED_POD, TARGET_POD = "AssignedPod", "TargetPod"
NODE, CLAIM, VOLUME = "Node", "PersistentVolumeClaim", "PersistentVolume"
STORAGE_CLASS, CSI_NODE, CSI_DRIVER = "StorageClass", "CSINode", "CSIDriver"
CSI_CAPACITY, ATTACHMENT = "CSIStorageCapacity", "VolumeAttachment"
#: those that upstream calls otherwise
RESOURCES = {
    TARGET_POD: "UnscheduledPod",
    **{kind: f"storage.k8s.io/{kind}" for kind in (STORAGE_CLASS, CSI_NODE, CSI_DRIVER, CSI_CAPACITY, ATTACHMENT)},
}


class NodeView(NamedTuple):
    """A node as it was, or is, at one moment."""

    name: str
    labels: dict[str, str]
    taints: tuple[Taint, ...]
    unschedulable: bool
    allocatable: dict[str, int]


@dataclass(frozen=True, slots=True)
class Change:
    """`actions`: bits. `old` and `new` are `PodInfo`s of pods, `NodeView`s of nodes, objects of all else; None where
    there is none."""

    resource: str
    actions: int
    old: Any = None
    new: Any = None

    @property
    def name(self) -> str:
        """As upstream's metrics have it, for the first of the actions: `NodeAdd`, `AssignedPodUpdatePodLabel`."""
        return RESOURCES.get(self.resource, self.resource) + NAMES.get(self.actions & -self.actions, "Update")

    @property
    def is_new(self) -> bool:
        return bool(self.actions & ADD)


#: moves a pod whatever refused it
FORCED = Change("*", ANY)
Helps = Callable[[PodInfo, Change], bool]


@dataclass(frozen=True, slots=True)
class Hint:
    """A plugin's: which changes it cares for, and whether one may help a pod it refused (None: any may).

    `by_shape`: the answer is the same for all pods of a shape."""

    resource: str
    actions: int
    helps: Helps | None = None
    by_shape: bool = True


def node_actions(old: NodeView, new: NodeView) -> int:
    """What has become of a node."""
    out = 0
    if old.allocatable != new.allocatable:
        out |= NODE_ALLOCATABLE
    if old.labels != new.labels:
        out |= NODE_LABEL
    if old.taints != new.taints or old.unschedulable != new.unschedulable:
        out |= NODE_TAINT
    return out


def pod_actions(old: PodInfo, new: PodInfo) -> int:
    """What has become of a pod."""
    if old.shape is new.shape:
        return POD_UNGATED if old.gates and not new.gates else 0
    out = 0
    if old.shape.labels != new.shape.labels:
        out |= POD_LABEL
    if old.shape.tolerations != new.shape.tolerations:
        out |= POD_TOLERATION
    if any(new.shape.requests.get(name, 0) < amount for name, amount in old.shape.requests.items()):
        out |= POD_SCALE_DOWN
    if old.gates and not new.gates:
        out |= POD_UNGATED
    return out
