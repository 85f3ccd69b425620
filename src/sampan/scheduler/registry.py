"""Plugins by name: how each is made from its arguments, and which are on by default.

Anyone may add to it: a factory takes the plugin's arguments (from `pluginConfig`) and a `Handle`.

    def make(args, handle): return OnlyEvenNodes()
    Scheduler(client, informers, plugins={"OnlyEvenNodes": make}, configuration=..., ...)

Source: pkg/scheduler/framework/plugins/registry.go, apis/config/v1/default_plugins.go
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sampan.scheduler import plugin_args as args_of
from sampan.scheduler.framework import Plugin
from sampan.scheduler.handle import Handle
from sampan.scheduler.plugins.default_binder import DefaultBinder
from sampan.scheduler.plugins.dynamic_resources import DynamicResources
from sampan.scheduler.plugins.image_locality import ImageLocality
from sampan.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from sampan.scheduler.plugins.node_affinity import NodeAffinity
from sampan.scheduler.plugins.node_name import NodeName
from sampan.scheduler.plugins.node_ports import NodePorts
from sampan.scheduler.plugins.node_unschedulable import NodeUnschedulable
from sampan.scheduler.plugins.node_volume_limits import NodeVolumeLimits
from sampan.scheduler.plugins.pod_topology_spread import PodTopologySpread
from sampan.scheduler.plugins.resources_balanced import NodeResourcesBalancedAllocation
from sampan.scheduler.plugins.resources_fit import NodeResourcesFit
from sampan.scheduler.plugins.scheduling_gates import SchedulingGates
from sampan.scheduler.plugins.taint_toleration import TaintToleration
from sampan.scheduler.plugins.volume_binding import VolumeBinding
from sampan.scheduler.plugins.volume_restrictions import VolumeRestrictions
from sampan.scheduler.plugins.volume_zone import VolumeZone
from sampan.scheduler.preemption import DefaultPreemption

Obj = dict[str, Any]
Factory = Callable[[Obj, Handle], Plugin]

#: in order, with the weights of those that score
DEFAULTS: tuple[tuple[str, int], ...] = (
    ("SchedulingGates", 0), ("PrioritySort", 0), ("NodeUnschedulable", 0), ("NodeName", 0), ("TaintToleration", 3),
    ("NodeAffinity", 2), ("NodePorts", 0), ("NodeResourcesFit", 1), ("VolumeRestrictions", 0), ("NodeVolumeLimits", 0),
    ("VolumeBinding", 0), ("VolumeZone", 0), ("PodTopologySpread", 2), ("InterPodAffinity", 2), ("DynamicResources", 0),
    ("DefaultPreemption", 0), ("NodeResourcesBalancedAllocation", 1), ("ImageLocality", 1), ("DefaultBinder", 0),
)  # fmt: skip

# DEVIATION: plugins for groups of pods and for features that nodes declare are not here; a configuration may name them.
ABSENT = frozenset(("GangScheduling", "NodeDeclaredFeatures"))

FACTORIES: dict[str, Factory] = {
    "SchedulingGates": lambda args, handle: SchedulingGates(),
    "NodeUnschedulable": lambda args, handle: NodeUnschedulable(),
    "NodeName": lambda args, handle: NodeName(),
    "TaintToleration": lambda args, handle: TaintToleration(),
    "NodeAffinity": lambda args, handle: NodeAffinity(*args_of.added_affinity(args)),
    "NodePorts": lambda args, handle: NodePorts(),
    "NodeResourcesFit": lambda args, handle: NodeResourcesFit(
        args_of.strategy(args),
        frozenset(args.get("ignoredResources") or ()),
        frozenset(args.get("ignoredResourceGroups") or ()),
    ),
    "VolumeRestrictions": lambda args, handle: VolumeRestrictions(handle.volumes),
    "NodeVolumeLimits": lambda args, handle: NodeVolumeLimits(handle.volumes),
    "VolumeBinding": lambda args, handle: VolumeBinding(
        handle.volumes, handle.client, float(args.get("bindTimeoutSeconds", 600)), args_of.capacity_shape(args)
    ),
    "VolumeZone": lambda args, handle: VolumeZone(handle.volumes),
    "PodTopologySpread": lambda args, handle: PodTopologySpread(args_of.default_spreads(args)),
    "InterPodAffinity": lambda args, handle: InterPodAffinity(
        args.get("hardPodAffinityWeight", 1), bool(args.get("ignorePreferredTermsOfExistingPods"))
    ),
    "DynamicResources": lambda args, handle: DynamicResources(),
    "DefaultPreemption": lambda args, handle: DefaultPreemption(
        handle, args.get("minCandidateNodesPercentage", 10), args.get("minCandidateNodesAbsolute", 100)
    ),
    "NodeResourcesBalancedAllocation": lambda args, handle: NodeResourcesBalancedAllocation(
        args_of.weights(args.get("resources"))
    ),
    "ImageLocality": lambda args, handle: ImageLocality(),
    "DefaultBinder": lambda args, handle: DefaultBinder(handle.client),
}
