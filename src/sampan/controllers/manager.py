"""All controllers in one process: built, started together, stopped together.

    manager = Manager(context)
    await manager.run()          # until cancelled

A controller that ends with an error is started again after a while; the others go on.

Source: kubernetes/cmd/kube-controller-manager/app/controllermanager.go (NewControllerDescriptors), names/
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Iterator

from sampan.client import Controller, WorkQueue
from sampan.controllers.context import Context, Runs
from sampan.controllers.names import ABSENT, ALIASES

log = logging.getLogger("sampan.controller")
RESTART_SECONDS = 5.0

#: upstream's name of a controller: module and class here
CONTROLLERS: dict[str, tuple[str, str]] = {
    "endpoints-controller": ("endpoints", "Endpoints"),
    "endpointslice-controller": ("endpoint_slices", "EndpointSlices"),
    "endpointslice-mirroring-controller": ("endpoint_slice_mirroring", "EndpointSliceMirroring"),
    "replicationcontroller-controller": ("replication", "ReplicationControllerController"),
    "daemonset-controller": ("daemonset", "DaemonSetController"),
    "job-controller": ("job", "JobController"),
    "resourcequota-controller": ("resource_quota", "ResourceQuotaController"),
    "namespace-controller": ("namespace", "NamespaceController"),
    "serviceaccount-controller": ("serviceaccounts", "ServiceAccountController"),
    "garbage-collector-controller": ("garbage_collector", "GarbageCollector"),
    "deployment-controller": ("deployment", "DeploymentController"),
    "replicaset-controller": ("replicaset", "ReplicaSetController"),
    "horizontal-pod-autoscaler-controller": ("horizontal_pod_autoscaler", "HorizontalPodAutoscalerController"),
    "disruption-controller": ("disruption", "DisruptionController"),
    "statefulset-controller": ("statefulset", "StatefulSetController"),
    "cronjob-controller": ("cronjob", "CronJobController"),
    "certificatesigningrequest-signing-controller": ("certificates", "Signer"),
    "certificatesigningrequest-approving-controller": ("certificates", "Approver"),
    "certificatesigningrequest-cleaner-controller": ("certificates", "Cleaner"),
    "bootstrap-signer-controller": ("bootstrap_tokens", "BootstrapSigner"),
    "token-cleaner-controller": ("bootstrap_tokens", "TokenCleaner"),
    "ttl-controller": ("ttl", "Ttl"),
    "node-ipam-controller": ("node_ipam", "NodeIpam"),
    "node-lifecycle-controller": ("node_lifecycle", "NodeLifecycle"),
    "taint-eviction-controller": ("taint_eviction", "TaintEviction"),
    "pod-garbage-collector-controller": ("pod_gc", "PodGc"),
    "persistentvolume-binder-controller": ("persistent_volumes.binder", "PersistentVolumeBinder"),
    "persistentvolume-expander-controller": ("volume_expand", "VolumeExpand"),
    "persistentvolumeclaim-protection-controller": ("pvc_protection", "PvcProtection"),
    "persistentvolume-protection-controller": ("pv_protection", "PvProtection"),
    "volumeattributesclass-protection-controller": ("vac_protection", "VacProtection"),
    "root-ca-certificate-publisher-controller": ("serviceaccounts", "RootCaPublisher"),
    "kube-apiserver-serving-clustertrustbundle-publisher-controller": ("trust_bundles", "TrustBundlePublisher"),
    "ephemeral-volume-controller": ("ephemeral_volume", "EphemeralVolume"),
    "service-cidr-controller": ("service_cidrs", "ServiceCidrs"),
    "ttl-after-finished-controller": ("ttl_after_finished", "TtlAfterFinished"),
    "legacy-serviceaccount-token-cleaner-controller": ("legacy_tokens", "LegacyTokens"),
}
#: what the API server sees to itself: tokens need its key, aggregated roles and policies must hold without controllers
ELSEWHERE = (
    "serviceaccount-token-controller",
    "clusterrole-aggregation-controller",
    "validatingadmissionpolicy-status-controller",
)


def chosen(names: tuple[str, ...]) -> Iterator[str]:
    """Which of all controllers `--controllers` leaves on, by upstream's names of now or before. Raises ValueError for
    unknown names."""
    known = {*CONTROLLERS, *ELSEWHERE, *ABSENT}
    wanted: dict[str, bool] = {}
    for name in names:
        given = name.removeprefix("-")
        canonical = ALIASES.get(given, given)
        if name != "*" and canonical not in known:
            listed = ", ".join(sorted(known))
            raise ValueError(f'"{given}" is not in the list of known controllers: {listed}')
        wanted.setdefault(canonical, name == given)
    for name in CONTROLLERS:
        if wanted.get(name, "*" in wanted):
            yield name


def build(name: str, context: Context) -> Runs:
    """One controller. Raises KeyError for a name that is none."""
    module, class_ = CONTROLLERS[name]
    made: Runs = getattr(importlib.import_module(f"sampan.controllers.{module}"), class_)(context)
    return made


class Manager:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.running = {name: build(name, context) for name in chosen(context.options.controllers)}

    def queues(self) -> Iterator[WorkQueue[str]]:
        """Of all that run."""
        for each in self.running.values():
            for part in vars(each).values():
                if isinstance(part, Controller):
                    yield part.queue

    async def run(self) -> None:
        """Until cancelled."""
        self.context.informers.start()
        async with asyncio.TaskGroup() as group:
            for name, controller in self.running.items():
                group.create_task(self._keep(name, controller), name=name)

    async def _keep(self, name: str, controller: Runs) -> None:
        while True:
            try:
                await controller.run()
            except Exception:
                log.exception("%s ended; it is started again in %.0f s", name, RESTART_SECONDS)
            else:
                log.error("%s ended; it is started again in %.0f s", name, RESTART_SECONDS)
            await asyncio.sleep(RESTART_SECONDS)
            # one that ended has let go of its queue and handlers: another takes its place
            controller = self.running[name] = build(name, self.context)
