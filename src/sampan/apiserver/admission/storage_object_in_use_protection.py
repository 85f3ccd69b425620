"""Volumes and claims get a finalizer, so that nothing in use is removed.

Source: kubernetes/plugin/pkg/admission/storage/storageobjectinuseprotection/admission.go
"""

from __future__ import annotations

from sampan.apiserver.admission.chain import Attributes, Plugin

FINALIZERS = {
    "persistentvolumes": "kubernetes.io/pv-protection",
    "persistentvolumeclaims": "kubernetes.io/pvc-protection",
    "volumeattributesclasses": "kubernetes.io/vac-protection",
}


class StorageObjectInUseProtection(Plugin):
    resources = frozenset(
        {("", "persistentvolumes"), ("", "persistentvolumeclaims"), ("storage.k8s.io", "volumeattributesclasses")}
    )
    operations = frozenset({"CREATE"})

    async def mutate(self, attributes: Attributes) -> None:
        if attributes.obj is None:
            return
        meta = attributes.obj["metadata"]
        finalizer = FINALIZERS[attributes.resource]
        present = meta.get("finalizers") or []
        if finalizer not in present:
            meta["finalizers"] = [*present, finalizer]
