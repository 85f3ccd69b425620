"""An APIService for each group-version that definitions serve: it comes and goes with them.

Source: kubernetes/pkg/controlplane/controller/crdregistration/crdregistration_controller.go; kube-aggregator/pkg/
controllers/autoregister/autoregister_controller.go
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.api.apiregistration_v1.api_service import local_condition
from sampan.api.kind import Obj
from sampan.api.registry import GROUPS
from sampan.api.times import format_time
from sampan.apiserver.cache import encode
from sampan.store.contract import Compare, Delete, Put

if TYPE_CHECKING:
    from sampan.apiserver.api import Api
    from sampan.apiserver.customresources.serving import CustomResources

LABEL = "kube-aggregator.kubernetes.io/automanaged"


class ApiServices:
    def __init__(self, api: Api, served: CustomResources) -> None:
        self.api = api
        self.served = served

    async def reconcile(self, group: str) -> None:
        """Raises StoreError."""
        if group in GROUPS:
            return
        cache = self.api.cached("apiregistration.k8s.io", "apiservices")
        wanted = {
            f"{kind.names.version}.{group}": kind.names.version
            for served in self.served.served.values()
            for kind in served.kinds
            if kind.names.group == group and kind.version.served
        }
        for name, version in wanted.items():
            if cache.get(name) is None:
                key = (cache.prefix + name).encode()
                value = encode(self._object(name, group, version))
                result = await self.api.store.txn([Compare(key, "mod", "=", 0)], [Put(key, value)])
                await self.api.cache.reach(result.revision)
        for name, record in list(cache.records.items()):
            automanaged = (record.labels or {}).get(LABEL) == "true"
            if automanaged and name.partition(".")[2] == group and name not in wanted:
                key = (cache.prefix + name).encode()
                result = await self.api.store.txn([Compare(key, "mod", "=", record.revision)], [Delete(key)])
                await self.api.cache.reach(result.revision)

    async def sweep(self) -> None:
        """Once at start: those whose definitions went while nobody looked. Raises StoreError."""
        cache = self.api.cached("apiregistration.k8s.io", "apiservices")
        managed = [name for name, record in cache.records.items() if (record.labels or {}).get(LABEL) == "true"]
        for group in dict.fromkeys(name.partition(".")[2] for name in managed):
            await self.reconcile(group)

    def _object(self, name: str, group: str, version: str) -> Obj:
        now = format_time(self.api.clock())
        return {
            "kind": "APIService",
            "apiVersion": "apiregistration.k8s.io/v1",
            "metadata": {
                "name": name,
                "uid": self.api.new_uid(),
                "creationTimestamp": now,
                "labels": {LABEL: "true"},
            },
            "spec": {"group": group, "version": version, "groupPriorityMinimum": 1000, "versionPriority": 100},
            "status": {"conditions": [local_condition(now)]},
        }
