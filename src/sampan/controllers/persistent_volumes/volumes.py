"""What becomes of a volume.

Source: kubernetes/pkg/controller/volume/persistentvolume/pv_controller.go (syncVolume, reclaimVolume)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sampan.client import StatusError
from sampan.client.errors import is_not_found
from sampan.controllers.persistent_volumes.matching import (
    PROVISIONED_BY,
    claim_key,
    mode,
    notes_of,
    phase,
)
from sampan.controllers.persistent_volumes.provision import Provision
from sampan.controllers.persistent_volumes.recycle import Recycler
from sampan.controllers.persistent_volumes.writes import Writes

Obj = dict[str, Any]
DONE = ("Released", "Failed")


class Volumes:
    """`wake`: look at a claim, by its key."""

    def __init__(self, writes: Writes, provision: Provision, recycler: Recycler, wake: Callable[[str], object]) -> None:
        self.writes = writes
        self.recorder = writes.recorder
        self.provision = provision
        self.recycler = recycler
        self.wake = wake

    async def sync(self, volume: Obj) -> None:
        volume = await self.provision.guarded(volume)
        reference = volume["spec"].get("claimRef")
        if not reference or not reference.get("uid"):
            await self.writes.volume_phase(volume, "Available")
            return
        claim = await self._claim(volume)
        if claim is None:
            await self._reclaim(volume)
        elif not claim["spec"].get("volumeName"):
            if mode(claim) == mode(volume):
                self.wake(claim_key(volume))
            else:
                self._tell_mismatch(volume, claim)
        elif claim["spec"]["volumeName"] == volume["metadata"]["name"]:
            await self.writes.volume_phase(volume, "Bound")
        elif PROVISIONED_BY in notes_of(volume) and _policy(volume) == "Delete":
            # it was made for a claim that has found another
            await self._reclaim(volume)
        else:
            await self.writes.unbind(volume)

    async def _claim(self, volume: Obj) -> Obj | None:
        """The very claim that it is kept for. Before a volume is given up the server is asked, as a cache may be late."""
        reference = volume["spec"]["claimRef"]
        claim = self.writes.claims.get(claim_key(volume))
        there = claim is not None and claim["metadata"]["uid"] == reference["uid"]
        if not there and (claim is not None or phase(volume) not in DONE):
            try:
                claim = await self.writes.client.get(
                    "persistentvolumeclaims", reference["name"], reference["namespace"]
                )
            except StatusError as error:
                if not is_not_found(error):
                    raise
                claim = None
        return claim if claim is not None and claim["metadata"]["uid"] == reference["uid"] else None

    def _tell_mismatch(self, volume: Obj, claim: Obj) -> None:
        what = f'PersistentVolume to requested PersistentVolumeClaim "{claim["metadata"]["name"]}"'
        message = f"Cannot bind {what} due to incompatible volumeMode."
        self.recorder.event(volume, "Warning", "VolumeMismatch", message)
        what = f'PersistentVolume "{volume["metadata"]["name"]}" to requested PersistentVolumeClaim'
        message = f"Cannot bind {what} due to incompatible volumeMode."
        self.recorder.event(claim, "Warning", "VolumeMismatch", message)

    async def _reclaim(self, volume: Obj) -> None:
        if phase(volume) not in DONE:
            volume = await self.writes.volume_phase(volume, "Released")
        policy = _policy(volume)
        if policy == "Delete":
            await self.provision.delete(volume)
        elif policy == "Recycle":
            await self.recycler.recycle(volume)


def _policy(volume: Obj) -> str:
    policy: str = volume["spec"].get("persistentVolumeReclaimPolicy", "Retain")
    return policy
