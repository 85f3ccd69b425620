"""ephemeral-volume-controller: the claims of pods' generic ephemeral volumes, which live as long as the pod.

Source: kubernetes/pkg/controller/volume/ephemeral/controller.go, k8s.io/component-helpers/storage/ephemeral/ephemeral.go
"""

from __future__ import annotations

from typing import Any

from sampan.client import Controller, StatusError, key_of
from sampan.client.errors import is_already_exists
from sampan.controllers.context import Context
from sampan.controllers.pod_claims import CLAIM, by_claim, ephemeral_claim, is_made_for
from sampan.controllers.pod_control import owner_reference

Obj = dict[str, Any]


class EphemeralFailed(Exception):
    """A claim that a pod needs cannot be had."""


class EphemeralVolume:
    def __init__(self, context: Context) -> None:
        self.client = context.clients("ephemeral-volume-controller")
        self.recorder = context.recorders("ephemeral_volume", self.client)
        self.pods = context.informers.get("pods", indexers={CLAIM: by_claim})
        self.claims = context.informers.get("persistentvolumeclaims")
        self.controller = Controller(
            "ephemeral-volume-controller", self.reconcile, workers=5, synced=(self.pods, self.claims)
        )
        self.pods.add_handler(self._pod)
        self.claims.add_handler(None, None, self._claim_gone)

    async def run(self) -> None:
        await self.controller.run()

    def _pod(self, pod: Obj) -> None:
        if "deletionTimestamp" not in pod["metadata"] and _volumes(pod):
            self.controller.enqueue(pod)

    def _claim_gone(self, claim: Obj) -> None:
        """One that a pod may still need, or that stood in the way."""
        for pod in self.pods.cache.by_index(CLAIM, key_of(claim)):
            self._pod(pod)

    async def reconcile(self, key: str) -> float | None:
        pod = self.pods.cache.by_key(key)
        if pod is None or "deletionTimestamp" in pod["metadata"]:
            return None
        for volume in _volumes(pod):
            try:
                await self._ensure(pod, volume)
            except Exception as error:
                message = f"ephemeral volume {volume['name']}: {error}"
                self.recorder.event(pod, "Warning", "FailedBinding", message)
                raise EphemeralFailed(f"pod {key}, {message}") from error
        return None

    async def _ensure(self, pod: Obj, volume: Obj) -> None:
        name, namespace = ephemeral_claim(pod, volume), pod["metadata"]["namespace"]
        there = self.claims.cache.get(name, namespace)
        if there is not None:
            self._check(there, pod)
            return
        template = volume["ephemeral"]["volumeClaimTemplate"]
        kept = {
            key: value for key, value in (template.get("metadata") or {}).items() if key in ("annotations", "labels")
        }
        meta = {**kept, "name": name, "namespace": namespace, "ownerReferences": [owner_reference(pod)]}
        try:
            await self.client.create("persistentvolumeclaims", {"metadata": meta, "spec": template["spec"]})
        except StatusError as error:
            if not is_already_exists(error):
                raise EphemeralFailed(f"create PVC {name}: {error}") from error
            # perhaps by us, a moment ago
            self._check(await self.client.get("persistentvolumeclaims", name, namespace), pod)

    @staticmethod
    def _check(claim: Obj, pod: Obj) -> None:
        if not is_made_for(claim, pod):
            why = f"was not created for pod {key_of(pod)} (pod is not owner)"
            raise EphemeralFailed(f"PVC {key_of(claim)} {why}")


def _volumes(pod: Obj) -> list[Obj]:
    return [volume for volume in pod["spec"].get("volumes") or () if "ephemeral" in volume]
