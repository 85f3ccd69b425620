"""What a controller is given: informers, a client of its own, a clock, chance, an event recorder, options.

Everything it can touch comes in here, which is what lets all of them run in one process under virtual time.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from sampan.client import Client, EventRecorder, Informers

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """kube-controller-manager's main flags, under their names; times in seconds.

    `root_ca`: PEM that is put into every namespace; `signing_cert`, `signing_key`: PEM of the CA that signs
    certificates (empty: none are signed); `host_path_root`: where the built-in provisioner makes volumes.
    """

    cluster_name: str = "kubernetes"
    cluster_cidr: str = "10.244.0.0/16"
    service_cluster_ip_range: str = "10.96.0.0/16"
    node_cidr_mask_size: int = 24
    allocate_node_cidrs: bool = True
    root_ca: str = ""
    signing_cert: str = ""
    signing_key: str = ""
    cluster_signing_duration: int = 365 * 24 * 3600
    service_account_key: str = ""
    node_monitor_grace_period: float = 50.0
    node_monitor_period: float = 5.0
    node_startup_grace_period: float = 60.0
    node_eviction_rate: float = 0.1
    terminated_pod_gc_threshold: int = 12_500
    legacy_service_account_token_clean_up_period: float = 365 * 24 * 3600.0
    namespace_sync_period: float = 300.0
    pvclaimbinder_sync_period: float = 15.0
    resource_quota_sync_period: float = 300.0
    horizontal_pod_autoscaler_sync_period: float = 15.0
    horizontal_pod_autoscaler_downscale_stabilization: float = 300.0
    horizontal_pod_autoscaler_tolerance: float = 0.1
    horizontal_pod_autoscaler_initial_readiness_delay: float = 30.0
    horizontal_pod_autoscaler_cpu_initialization_period: float = 300.0
    host_path_root: str = "/tmp/hostpath-provisioner"
    concurrent_syncs: int = 5
    #: when a node that writes no Lease last showed life (None: it is none of those); simulated nodes under virtual time
    last_seen: Callable[[str], float | None] = lambda name: None
    #: names of controllers as upstream has them: `*` is all, `-name` leaves one out
    controllers: tuple[str, ...] = ("*",)


@dataclass(frozen=True, slots=True)
class Context:
    """`clients(name)`: a client that acts as `system:serviceaccount:kube-system:NAME`; `recorders(component, client)`: a
    started recorder of events whose source is that component."""

    informers: Informers
    clients: Callable[[str], Client]
    recorders: Callable[[str, Client], EventRecorder]
    clock: Callable[[], float]
    rng: random.Random = field(default_factory=random.Random)
    options: Options = field(default_factory=Options)


class Runs(Protocol):
    """What the manager needs of a controller. Informers are asked for in its constructor."""

    async def run(self) -> None:
        """Until cancelled."""
