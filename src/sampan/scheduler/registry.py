"""Plugins by name: how each is made from its arguments, and which are on by default.

Anyone may add to it: a factory takes the plugin's arguments (from `pluginConfig`) and a `Handle`.

    def make(args, handle): return OnlyEvenNodes()
    Scheduler(client, informers, plugins={"OnlyEvenNodes": make}, configuration=..., ...)

Source: pkg/scheduler/framework/plugins/registry.go, apis/config/v1/default_plugins.go
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from sampan.client import Client, Informers
from sampan.scheduler.cluster import Cluster
from sampan.scheduler.framework import Plugin
from sampan.scheduler.nominated import Nominator
from sampan.scheduler.plugins.default_binder import DefaultBinder
from sampan.scheduler.plugins.dynamic_resources import DynamicResources
from sampan.scheduler.plugins.image_locality import ImageLocality
from sampan.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from sampan.scheduler.plugins.node_affinity import NodeAffinity
from sampan.scheduler.plugins.node_name import NodeName
from sampan.scheduler.plugins.node_ports import NodePorts
from sampan.scheduler.plugins.node_unschedulable import NodeUnschedulable
from sampan.scheduler.plugins.pod_topology_spread import PodTopologySpread
from sampan.scheduler.plugins.resources_balanced import NodeResourcesBalancedAllocation
from sampan.scheduler.plugins.resources_fit import NodeResourcesFit
from sampan.scheduler.plugins.scheduling_gates import SchedulingGates
from sampan.scheduler.plugins.taint_toleration import TaintToleration

Obj = dict[str, Any]


@dataclass(slots=True)
class Handle:
    """What plugins may use. `spawn`: work beside the loop; `activate`: try a waiting pod (by uid) again;
    `tell`: record an event of a scheduler."""

    client: Client
    informers: Informers
    clock: Callable[[], float]
    rng: random.Random
    cluster: Cluster = field(default_factory=Cluster)
    nominator: Nominator = field(default_factory=Nominator)
    scheduler_name: str = "default-scheduler"
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]] = asyncio.create_task
    activate: Callable[[str], None] = lambda uid: None
    tell: Callable[..., None] = lambda scheduler, *event, **more: None


Factory = Callable[[Obj, Handle], Plugin]

FACTORIES: dict[str, Factory] = {
    "SchedulingGates": lambda args, handle: SchedulingGates(),
    "NodeUnschedulable": lambda args, handle: NodeUnschedulable(),
    "NodeName": lambda args, handle: NodeName(),
    "TaintToleration": lambda args, handle: TaintToleration(),
    "NodeAffinity": lambda args, handle: NodeAffinity(),
    "NodePorts": lambda args, handle: NodePorts(),
    "NodeResourcesFit": lambda args, handle: NodeResourcesFit(),
    "PodTopologySpread": lambda args, handle: PodTopologySpread(),
    "InterPodAffinity": lambda args, handle: InterPodAffinity(),
    "DynamicResources": lambda args, handle: DynamicResources(),
    "NodeResourcesBalancedAllocation": lambda args, handle: NodeResourcesBalancedAllocation(),
    "ImageLocality": lambda args, handle: ImageLocality(),
    "DefaultBinder": lambda args, handle: DefaultBinder(handle.client),
}
