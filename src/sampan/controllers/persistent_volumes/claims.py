"""What becomes of a claim.

Source: kubernetes/pkg/controller/volume/persistentvolume/pv_controller.go (syncClaim, syncUnboundClaim, syncBoundClaim,
assignDefaultStorageClass)
"""

from __future__ import annotations

from typing import Any

from sampan.client import Informer, key_of
from sampan.controllers.context import Context
from sampan.controllers.persistent_volumes.matching import (
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    CLAIM_OR_CLASS,
    OLD_CLASS,
    SELECTED_NODE,
    best,
    claim_key,
    class_of,
    is_bound_to,
    mismatch,
    notes_of,
)
from sampan.controllers.persistent_volumes.provision import Provision
from sampan.controllers.persistent_volumes.writes import Writes
from sampan.controllers.pod_claims import CLAIM, is_over

Obj = dict[str, Any]
DEFAULTS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
LOST_REFERENCE = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
LOST_VOLUME = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
MISBOUND = "Two claims are bound to the same volume, this one is bound incorrectly"


class InvalidBinding(Exception):
    """Somebody took an annotation of a claim away."""


class Claims:
    def __init__(self, context: Context, writes: Writes, provision: Provision, pods: Informer) -> None:
        self.writes = writes
        self.recorder = writes.recorder
        self.provision = provision
        self.pods = pods.cache
        self.classes = context.informers.get("storageclasses.storage.k8s.io").cache

    async def sync(self, claim: Obj) -> None:
        if BIND_COMPLETED in notes_of(claim):
            await self._bound(claim)
        elif claim["spec"].get("volumeName"):
            await self._named(claim)
        else:
            await self._unbound(claim)

    async def _unbound(self, claim: Obj) -> None:
        """Any volume will do that is right."""
        found = self.classes.get(class_of(claim))
        waits = (
            found is not None
            and found.get("volumeBindingMode") == "WaitForFirstConsumer"
            and SELECTED_NODE not in notes_of(claim)
        )
        candidates = self.writes.volumes.some(CLAIM_OR_CLASS, key_of(claim), class_of(claim))
        volume = best(candidates, claim, waits=waits)
        if volume is not None:
            await self.writes.bind(volume, claim)
        elif await self._gets_default(claim):
            return  # and comes again
        elif waits:
            self._tell_waiting(claim)
            await self.writes.claim_phase(claim, "Pending")
        elif class_of(claim):
            await self.provision.provision(claim)
        else:
            message = "no persistent volumes available for this claim and no storage class is set"
            self.recorder.event(claim, "Normal", "FailedBinding", message)
            await self.writes.claim_phase(claim, "Pending")

    async def _gets_default(self, claim: Obj) -> bool:
        """A class that became the default after the claim was made."""
        if claim["spec"].get("storageClassName") is not None or OLD_CLASS in notes_of(claim):
            return False
        marked = [item for item in self.classes.list() if any(notes_of(item).get(mark) == "true" for mark in DEFAULTS)]
        if not marked:
            return False
        # the newest, and of those the first by name
        marked.sort(key=lambda item: item["metadata"]["name"])
        newest = max(marked, key=lambda item: item["metadata"]["creationTimestamp"])
        spec = {**claim["spec"], "storageClassName": newest["metadata"]["name"]}
        await self.writes.update_claim({**claim, "spec": spec})
        return True

    def _tell_waiting(self, claim: Obj) -> None:
        reason, message = "WaitForFirstConsumer", "waiting for first consumer to be created before binding"
        pods = self.pods.by_index(CLAIM, key_of(claim))
        waiting = [pod["metadata"]["name"] for pod in pods if not is_over(pod) and not pod["spec"].get("nodeName")]
        if waiting:
            what = f"pod{'s' if len(waiting) > 1 else ''} {','.join(waiting)}"
            reason, message = "WaitForPodScheduled", f"waiting for {what} to be scheduled"
        self.recorder.event(claim, "Normal", reason, message)

    async def _named(self, claim: Obj) -> None:
        """It asks for a certain volume."""
        name = claim["spec"]["volumeName"]
        volume = self.writes.volumes.get(name)
        if volume is None:
            await self.writes.claim_phase(claim, "Pending")
        elif not volume["spec"].get("claimRef"):
            if problem := mismatch(volume, claim):
                message = f'Cannot bind to requested volume "{name}": {problem}'
                self.recorder.event(claim, "Warning", "VolumeMismatch", message)
                await self.writes.claim_phase(claim, "Pending")
            else:
                await self.writes.bind(volume, claim)
        elif is_bound_to(volume, claim):
            await self.writes.bind(volume, claim)
        else:
            message = f'volume "{name}" already bound to a different claim.'
            self.recorder.event(claim, "Warning", "FailedBinding", message)
            if BOUND_BY_CONTROLLER in notes_of(claim):
                what = f'invalid binding of claim "{key_of(claim)}" to volume "{name}"'
                raise InvalidBinding(f'{what}: volume already claimed by "{claim_key(volume)}"')
            await self.writes.claim_phase(claim, "Pending")

    async def _bound(self, claim: Obj) -> None:
        name = claim["spec"].get("volumeName")
        volume = self.writes.volumes.get(name) if name else None
        if volume is None:
            message = LOST_VOLUME if name else LOST_REFERENCE
            await self.writes.claim_phase(claim, "Lost", event=("ClaimLost", message))
            return
        reference = volume["spec"].get("claimRef")
        if not reference or reference.get("uid") == claim["metadata"]["uid"]:
            await self.writes.bind(volume, claim)
        else:
            await self.writes.claim_phase(claim, "Lost", event=("ClaimMisbound", MISBOUND))
