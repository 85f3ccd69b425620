"""The objects a cluster begins with: made at start, where they are not there yet.

Source: kubernetes/pkg/controlplane (systemnamespaces, kubernetesservice, defaultservicecidr), scheduling/rest
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

from sampan.api.apiregistration_v1.api_service import local_condition
from sampan.api.core_v1.config_map import DESCRIPTION, ROOT_CA, ROOT_CA_DESCRIPTION
from sampan.api.core_v1.secret import SINCE, TRACKING
from sampan.api.kind import Obj
from sampan.api.registry import GROUPS
from sampan.api.times import format_time
from sampan.apiserver.allocators import Allocators
from sampan.apiserver.api import Api
from sampan.apiserver.authorization.bootstrap import AT_ONCE, ensure_roles
from sampan.apiserver.cache import Entry, EventType, Watcher, encode
from sampan.store.contract import Compare, Op, Put

#: group, resource, namespace, name, object
Wanted = tuple[str, str, str, str, Obj]
NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
CRITICAL = (
    ("system-cluster-critical", 2_000_000_000, "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."),
    ("system-node-critical", 2_000_001_000, "Used for system critical pods that must not be moved from their current node."),
)  # fmt: skip


class Bootstrap:
    """Puts the start objects into one API's store, and keeps what every namespace has."""

    def __init__(self, api: Api, *, ca: str, address: str, port: int) -> None:
        self.api = api
        self.ca = ca
        self.address = address
        self.port = port
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Make what is missing, in as few transactions as can be. Raises StoreError."""
        await self.ensure(("", "namespaces", "", name, self.namespace(name)) for name in NAMESPACES)
        await ensure_roles(self.api)
        await self.ensure(self.system_objects())
        await self.ensure(wanted for key in self.api.namespaces.records for wanted in self.furniture(key))
        self.follow()
        await self.repair_services()

    async def ensure(self, wanted: Iterable[Wanted]) -> None:
        """Make those that are missing: together, or where another API server makes them at the same time, one by one."""
        missing: list[tuple[Compare, Op]] = []
        for group, resource, namespace, name, obj in wanted:
            key = f"{namespace}/{name}" if namespace else name
            cache = self.api.cached(group, resource)
            if cache.get(key) is None:
                store_key = (cache.prefix + key).encode()
                missing.append((Compare(store_key, "mod", "=", 0), Put(store_key, encode(obj))))
        size = AT_ONCE
        while missing:
            some = missing[:size]
            result = await self.api.store.txn([compare for compare, _ in some], [op for _, op in some])
            await self.api.cache.reach(result.revision)
            if result.succeeded or size == 1:
                del missing[:size]
            else:
                size = 1

    def meta(self, name: str, namespace: str = "", **more: Any) -> Obj:
        out: Obj = {"name": name}
        if namespace:
            out["namespace"] = namespace
        out["uid"] = self.api.new_uid()
        out["creationTimestamp"] = format_time(self.api.clock())
        return {**out, **more}

    def namespace(self, name: str) -> Obj:
        return {
            "kind": "Namespace",
            "apiVersion": "v1",
            "metadata": self.meta(name, labels={"kubernetes.io/metadata.name": name}),
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        }

    def furniture(self, namespace: str) -> Iterator[Wanted]:
        """What every namespace has: ServiceAccount `default` and ConfigMap `kube-root-ca.crt`."""
        record = self.api.namespaces.get(namespace)
        if record is None or record.obj()["status"].get("phase") == "Terminating":
            return
        account = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": self.meta("default", namespace)}
        yield "", "serviceaccounts", namespace, "default", account
        config = {
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": self.meta(ROOT_CA, namespace, annotations={DESCRIPTION: ROOT_CA_DESCRIPTION}),
            "data": {"ca.crt": self.ca},
        }
        yield "", "configmaps", namespace, ROOT_CA, config

    def system_objects(self) -> Iterator[Wanted]:
        allocators = self.api.allocators
        address = str(allocators.network[1])
        service = {
            "kind": "Service",
            "apiVersion": "v1",
            "metadata": self.meta("kubernetes", "default", labels={"component": "apiserver", "provider": "kubernetes"}),
            "spec": {
                "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": self.port}],
                "clusterIP": address,
                "clusterIPs": [address],
                "type": "ClusterIP",
                "sessionAffinity": "None",
                "ipFamilies": [allocators.family],
                "ipFamilyPolicy": "SingleStack",
                "internalTrafficPolicy": "Cluster",
            },
            "status": {"loadBalancer": {}},
        }
        ip = Allocators.ip_object(self.api, address, service)
        yield "", "services", "default", "kubernetes", service
        yield "networking.k8s.io", "ipaddresses", "", address, ip
        yield from self.others()

    def others(self) -> Iterator[Wanted]:
        if self.ca:
            # whom else than us clients' certificates convince
            name = "extension-apiserver-authentication"
            config = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": self.meta(name, "kube-system")}
            yield "", "configmaps", "kube-system", name, {**config, "data": {"client-ca-file": self.ca}}
        config = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": self.meta(TRACKING, "kube-system")}
        yield "", "configmaps", "kube-system", TRACKING, {**config, "data": {SINCE: format_time(self.api.clock())[:10]}}
        endpoint = {"kind": "Endpoints", "apiVersion": "v1"}
        labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
        ports = [{"name": "https", "port": self.port, "protocol": "TCP"}]
        subsets = [{"addresses": [{"ip": self.address}], "ports": ports}]
        yield (
            "",
            "endpoints",
            "default",
            "kubernetes",
            {
                **endpoint,
                "metadata": self.meta("kubernetes", "default", labels=labels),
                "subsets": subsets,
            },
        )
        yield (
            "discovery.k8s.io",
            "endpointslices",
            "default",
            "kubernetes",
            {
                "kind": "EndpointSlice",
                "apiVersion": "discovery.k8s.io/v1",
                "metadata": self.meta(
                    "kubernetes", "default", labels={"kubernetes.io/service-name": "kubernetes"}, generation=1
                ),
                "addressType": "IPv6" if ":" in self.address else "IPv4",
                "endpoints": [{"addresses": [self.address], "conditions": {"ready": True}}],
                "ports": ports,
            },
        )
        yield (
            "networking.k8s.io",
            "servicecidrs",
            "",
            "kubernetes",
            {
                "kind": "ServiceCIDR",
                "apiVersion": "networking.k8s.io/v1",
                "metadata": self.meta("kubernetes", generation=1),
                "spec": {"cidrs": [str(self.api.allocators.network)]},
                "status": {
                    "conditions": [
                        {
                            "type": "Ready",
                            "status": "True",
                            "lastTransitionTime": format_time(self.api.clock()),
                            "reason": "",
                            "message": "Kubernetes default Service CIDR is ready",
                        }
                    ]
                },
            },
        )
        for name, value, text in CRITICAL:
            yield (
                "scheduling.k8s.io",
                "priorityclasses",
                "",
                name,
                {
                    "kind": "PriorityClass",
                    "apiVersion": "scheduling.k8s.io/v1",
                    "metadata": self.meta(name, generation=1),
                    "value": value,
                    "description": text,
                    "preemptionPolicy": "PreemptLowerPriority",
                },
            )
        yield from self.api_services()

    def api_services(self) -> Iterator[Wanted]:
        builtin = [item for item in self.api.registry.groups() if item[0] in GROUPS]
        for index, (group, versions) in enumerate(builtin):
            for order, version in enumerate(versions):
                name = f"{version}.{group}"
                yield (
                    "apiregistration.k8s.io",
                    "apiservices",
                    "",
                    name,
                    {
                        "kind": "APIService",
                        "apiVersion": "apiregistration.k8s.io/v1",
                        "metadata": self.meta(name, labels={"kube-aggregator.kubernetes.io/automanaged": "onstart"}),
                        "spec": {
                            **({"group": group} if group else {}),
                            "version": version,
                            "groupPriorityMinimum": 18000 - 50 * index,
                            "versionPriority": max(1, 15 - order),
                        },
                        "status": {"conditions": [local_condition(format_time(self.api.clock()))]},
                    },
                )

    async def repair_services(self) -> None:
        """Every Service has its addresses and ports written down; what is written down for no Service is let go."""
        await self.api.allocators.repair(self.api)

    def follow(self) -> None:
        """Furnish namespaces as they come to be."""

        def came(entry: Entry, kind: EventType) -> None:
            if kind == "ADDED":
                task = asyncio.get_running_loop().create_task(self.ensure(self.furniture(entry.record.key)))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

        self.api.namespaces.watchers.add(Watcher("", "", None, came))
