"""serviceaccount-controller and root-ca-certificate-publisher-controller: what every namespace has, its ServiceAccount
`default` and the ConfigMap `kube-root-ca.crt`.

The API server makes both together with a namespace, so that a pod can be created in it at once, and in a cluster without
controllers as well. These controllers are for what happens later: deleted, they are made again, and a ConfigMap that says
something else is put right. A namespace that is new is given a moment, so that the two do not race.

Source: kubernetes/pkg/controller/serviceaccount/serviceaccounts_controller.go,
pkg/controller/certificates/rootcacertpublisher/publisher.go
"""

from __future__ import annotations

from typing import Any

from sampan.api.core_v1.config_map import DESCRIPTION, ROOT_CA, ROOT_CA_DESCRIPTION
from sampan.client import Controller, Informer
from sampan.client.errors import is_already_exists, is_namespace_terminating, is_not_found
from sampan.controllers.context import Context

Obj = dict[str, Any]
ACCOUNT = "default"
NEW_SECONDS = 0.5


class _PerNamespace:
    """One object of one name in every namespace. `mirror`: knows all objects of that name."""

    def __init__(self, context: Context, name: str, mirror: Informer) -> None:
        self.namespaces = context.informers.get("namespaces")
        self.mirror = mirror
        self.controller = Controller(name, self.reconcile, synced=(self.namespaces, mirror))
        self.namespaces.add_handler(self._new, lambda old, new: self._check(new))
        mirror.add_handler(None, lambda old, new: self._look(new), self._look)

    async def run(self) -> None:
        await self.controller.run()

    def _new(self, namespace: Obj) -> None:
        self.controller.enqueue_after(namespace, NEW_SECONDS)

    def _check(self, namespace: Obj) -> None:
        if not self.mirror.cache.index_keys("namespace", namespace["metadata"]["name"]):
            self.controller.enqueue(namespace)

    def _look(self, obj: Obj) -> None:
        self.controller.queue.add(obj["metadata"]["namespace"])

    async def reconcile(self, key: str) -> float | None:
        namespace = self.namespaces.cache.get(key)
        if namespace is not None and (namespace.get("status") or {}).get("phase") != "Terminating":
            await self.ensure(key)
        return None

    async def ensure(self, namespace: str) -> None:
        raise NotImplementedError


class ServiceAccountController(_PerNamespace):
    def __init__(self, context: Context) -> None:
        self.client = context.clients("service-account-controller")
        mirror = context.informers.get("serviceaccounts", field_selector=f"metadata.name={ACCOUNT}")
        super().__init__(context, "serviceaccount-controller", mirror)

    async def ensure(self, namespace: str) -> None:
        if self.mirror.cache.get(ACCOUNT, namespace) is not None:
            return
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}}
        try:
            await self.client.create("serviceaccounts", account, namespace)
        except Exception as error:
            if not (is_already_exists(error) or is_namespace_terminating(error) or is_not_found(error)):
                raise


class RootCaPublisher(_PerNamespace):
    """Without a CA in the options it publishes none."""

    def __init__(self, context: Context) -> None:
        self.client = context.clients("root-ca-cert-publisher")
        self.ca = context.options.root_ca
        mirror = context.informers.get("configmaps", field_selector=f"metadata.name={ROOT_CA}")
        super().__init__(context, "root-ca-certificate-publisher-controller", mirror)

    async def ensure(self, namespace: str) -> None:
        if not self.ca:
            return
        data = {"ca.crt": self.ca}
        found = self.mirror.cache.get(ROOT_CA, namespace)
        try:
            if found is None:
                meta: Obj = {"name": ROOT_CA, "annotations": {DESCRIPTION: ROOT_CA_DESCRIPTION}}
                await self.client.create("configmaps", {"metadata": meta, "data": data}, namespace)
                return
            notes = found["metadata"].get("annotations") or {}
            if found.get("data") == data and notes.get(DESCRIPTION):
                return
            meta = {**found["metadata"], "annotations": {**notes, DESCRIPTION: ROOT_CA_DESCRIPTION}}
            await self.client.update("configmaps", {**found, "metadata": meta, "data": data})
        except Exception as error:
            if not (is_already_exists(error) or is_namespace_terminating(error) or is_not_found(error)):
                raise
