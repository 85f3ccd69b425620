"""kube-apiserver-serving-clustertrustbundle-publisher-controller: whom to believe that it is the API server, as a
ClusterTrustBundle that pods can mount by its signer.

Its name says what is in it, so that another CA makes another bundle; those before it are deleted.

Source: kubernetes/pkg/controller/certificates/clustertrustbundlepublisher/publisher.go
"""

from __future__ import annotations

import hashlib
from typing import Any

from sampan.client import Controller
from sampan.client.errors import is_already_exists, is_not_found
from sampan.controllers.context import Context

Obj = dict[str, Any]
RESOURCE = "clustertrustbundles.certificates.k8s.io"
SIGNER = "kubernetes.io/kube-apiserver-serving"


class TrustBundlePublisher:
    """Without a CA in the options it publishes none."""

    def __init__(self, context: Context) -> None:
        self.client = context.clients("kube-apiserver-serving-clustertrustbundle-publisher")
        self.ca = context.options.root_ca
        self.name = f"{SIGNER.replace('/', ':')}:{hashlib.sha256(self.ca.encode()).digest()[:12].hex()}"
        self.bundles = context.informers.get(RESOURCE, field_selector=f"spec.signerName={SIGNER}")
        self.controller = Controller(
            "kube-apiserver-serving-clustertrustbundle-publisher-controller", self.reconcile, synced=(self.bundles,)
        )
        self.bundles.add_handler(self._look, lambda old, new: self._look(new), self._look)

    async def run(self) -> None:
        if self.ca:
            self.controller.queue.add(self.name)
        await self.controller.run()

    def _look(self, bundle: Obj) -> None:
        if self.ca:
            self.controller.queue.add(self.name)

    async def reconcile(self, key: str) -> float | None:
        found = self.bundles.cache.get(key)
        if found is None:
            bundle = {"metadata": {"name": key}, "spec": {"signerName": SIGNER, "trustBundle": self.ca}}
            try:
                await self.client.create(RESOURCE, bundle)
            except Exception as error:
                if not is_already_exists(error):
                    raise
        elif found["spec"]["trustBundle"] != self.ca:
            await self.client.update(RESOURCE, {**found, "spec": {**found["spec"], "trustBundle": self.ca}})
        for bundle in self.bundles.cache.list():
            name = bundle["metadata"]["name"]
            if name != key:
                try:
                    await self.client.delete(RESOURCE, name)
                except Exception as error:
                    if not is_not_found(error):
                        raise
        return None
