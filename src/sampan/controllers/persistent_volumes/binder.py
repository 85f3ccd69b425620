"""The controller: what wakes it, and its turns, one after the other, since two claims must never get one volume.

Source: kubernetes/pkg/controller/volume/persistentvolume/pv_controller_base.go
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sampan.client import Controller, StatusError
from sampan.client.errors import is_already_exists
from sampan.controllers.context import Context
from sampan.controllers.persistent_volumes import host_path
from sampan.controllers.persistent_volumes.claims import DEFAULTS, Claims
from sampan.controllers.persistent_volumes.matching import (
    BIND_COMPLETED,
    CLAIM_OR_CLASS,
    by_claim_or_class,
    claim_key,
    class_of,
    notes_of,
    phase,
)
from sampan.controllers.persistent_volumes.provision import Provision
from sampan.controllers.persistent_volumes.recycle import Recycler, volume_of
from sampan.controllers.persistent_volumes.volumes import Volumes
from sampan.controllers.persistent_volumes.writes import Writes
from sampan.controllers.pod_claims import CLAIM, by_claim

Obj = dict[str, Any]
#: keys are those of claims, and with this before them those of volumes
VOLUME = "volume:"
UNBOUND = "unbound"
#: DEVIATION: claims that wait are looked at again, and tell why, after five minutes; upstream does so every 15 seconds,
#: of which its events show about as much
AGAIN_SECONDS = 300.0


def _unbound(claim: Obj) -> Iterable[str]:
    """By class: claims whose binding is not complete."""
    return () if BIND_COMPLETED in notes_of(claim) else (class_of(claim),)


def _binding(claim: Obj) -> tuple[Any, ...]:
    """What of a claim says something about its binding."""
    status = claim.get("status") or {}
    return claim["spec"], notes_of(claim), [status.get(name) for name in ("phase", "capacity", "accessModes")]


class PersistentVolumeBinder:
    def __init__(self, context: Context) -> None:
        self.context = context
        client = context.clients("persistent-volume-binder")
        recorder = context.recorders("persistentvolume-controller", client)
        informers = context.informers
        self.claims = informers.get("persistentvolumeclaims", indexers={UNBOUND: _unbound})
        self.volumes = informers.get("persistentvolumes", indexers={CLAIM_OR_CLASS: by_claim_or_class})
        self.classes = informers.get("storageclasses.storage.k8s.io")
        self.nodes = informers.get("nodes")
        self.pods = informers.get("pods", indexers={CLAIM: by_claim})
        self.writes = Writes(client, recorder, self.claims, self.volumes)
        provision = Provision(context, self.writes)
        self.controller = Controller(
            "persistentvolume-binder-controller",
            self.reconcile,
            synced=(self.claims, self.volumes, self.classes, self.nodes, self.pods),
        )
        queue = self.controller.queue
        self.claim = Claims(context, self.writes, provision, self.pods)
        self.volume = Volumes(self.writes, provision, Recycler(self.writes, self.pods), queue.add)
        enqueue = self.controller.enqueue
        self.claims.add_handler(enqueue, self._claim_changed, self._claim_gone)
        self.volumes.add_handler(self._volume, lambda old, new: self._volume(new), self._volume_gone)
        self.classes.add_handler(self._class, lambda old, new: self._class(new))
        self.pods.add_handler(self._pod, lambda old, new: self._recycler(new), self._recycler)

    async def run(self) -> None:
        await self.classes.wait_synced()
        if not len(self.classes.cache):
            await self._make_class()
        await self.controller.run()

    async def _make_class(self) -> None:
        """So that claims are fulfilled. It is done in a name of its own, as the binder has no right to.

        DEVIATION: a cluster without any StorageClass gets one, `standard`, with a provisioner that is built in; upstream
        leaves that to whoever sets the cluster up.
        """
        made = {
            "metadata": {"name": "standard", "annotations": {DEFAULTS[0]: "true"}},
            "provisioner": host_path.NAME,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowVolumeExpansion": True,
        }
        try:
            await self.context.clients("host-path-provisioner").create("storageclasses.storage.k8s.io", made)
        except StatusError as error:
            if not is_already_exists(error):
                raise

    # -- what wakes it -------------------------------------------------------------------------------------------------

    def _claim_changed(self, old: Obj, new: Obj) -> None:
        if _binding(old) != _binding(new):
            self.controller.enqueue(new)

    def _claim_gone(self, claim: Obj) -> None:
        meta = claim["metadata"]
        for key in self.volumes.cache.index_keys(CLAIM_OR_CLASS, f"{meta['namespace']}/{meta['name']}"):
            self.controller.queue.add(VOLUME + key)

    def _volume(self, volume: Obj) -> None:
        self.controller.queue.add(VOLUME + volume["metadata"]["name"])
        key = claim_key(volume)
        if key:
            self.controller.queue.add(key)
        else:
            self._wake_unbound(class_of(volume))

    def _volume_gone(self, volume: Obj) -> None:
        if key := claim_key(volume):
            self.controller.queue.add(key)

    def _class(self, storage_class: Obj) -> None:
        self._wake_unbound(storage_class["metadata"]["name"])
        if any(notes_of(storage_class).get(mark) == "true" for mark in DEFAULTS):
            self._wake_unbound("")

    def _wake_unbound(self, class_name: str) -> None:
        for key in self.claims.cache.index_keys(UNBOUND, class_name):
            self.controller.queue.add(key)

    def _pod(self, pod: Obj) -> None:
        """A claim that waits for a consumer tells after a while which one has not been placed yet."""
        if not pod["spec"].get("nodeName"):
            for key in by_claim(pod):
                self.controller.queue.add_after(key, self.context.options.pvclaimbinder_sync_period)

    def _recycler(self, pod: Obj) -> None:
        if name := volume_of(pod):
            self.controller.queue.add(VOLUME + name)

    # -- turns ---------------------------------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> float | None:
        if key.startswith(VOLUME):
            volume = self.writes.volumes.get(key.removeprefix(VOLUME))
            if volume is not None:
                await self.volume.sync(volume)
        else:
            claim = self.writes.claims.get(key)
            if claim is not None:
                await self.claim.sync(claim)
                latest = self.writes.claims.get(key)
                if latest is not None and phase(latest) == "Pending":
                    return AGAIN_SECONDS
        return None
