"""persistentvolume-expander-controller: claims that ask for more than they have. A directory of the host has no size, so that
a volume of the built-in provisioner just is larger; all others wait for the program that made them.

Source: kubernetes/pkg/controller/volume/expand/expand_controller.go, pkg/volume/util/resize_util.go
"""

from __future__ import annotations

from typing import Any

from sampan.api import quantity
from sampan.client import Controller
from sampan.controllers.context import Context
from sampan.controllers.persistent_volumes import host_path
from sampan.controllers.persistent_volumes.matching import PROVISIONED_BY, capacity, notes_of, phase, requested

Obj = dict[str, Any]
RESIZING = ("Resizing", "FileSystemResizePending", "ControllerResizeError", "NodeResizeError")


class NotBound(Exception):
    """The cache is late, or somebody has parted the two."""


class VolumeExpand:
    def __init__(self, context: Context) -> None:
        self.client = context.clients("expand-controller")
        self.recorder = context.recorders("volume_expand", self.client)
        self.claims = context.informers.get("persistentvolumeclaims")
        self.volumes = context.informers.get("persistentvolumes")
        self.controller = Controller(
            "persistentvolume-expander-controller", self.reconcile, synced=(self.claims, self.volumes)
        )
        self.claims.add_handler(self._claim, self._changed)

    async def run(self) -> None:
        await self.controller.run()

    def _claim(self, claim: Obj) -> None:
        if phase(claim) == "Bound" and _wants_more(claim):
            self.controller.enqueue(claim)

    def _changed(self, old: Obj, new: Obj) -> None:
        if quantity.compare(requested(new), requested(old)) > 0 or phase(old) != phase(new):
            self._claim(new)

    async def reconcile(self, key: str) -> float | None:
        claim = self.claims.cache.by_key(key)
        if claim is None or phase(claim) != "Bound" or not _wants_more(claim):
            return None
        volume = self.volumes.cache.get(claim["spec"]["volumeName"])
        if volume is None or (volume["spec"].get("claimRef") or {}).get("uid") != claim["metadata"]["uid"]:
            raise NotBound(f"persistent Volume is not bound to PVC being updated : {key}")
        if notes_of(volume).get(PROVISIONED_BY) == host_path.NAME:
            await self._expand(claim, volume)
            self.recorder.event(claim, "Normal", "VolumeResizeSuccessful", f"ExpandVolume succeeded for volume {key}")
        else:
            message = "waiting for an external controller to expand this PVC"
            self.recorder.event(claim, "Normal", "ExternalExpanding", message)
        return None

    async def _expand(self, claim: Obj, volume: Obj) -> None:
        size = {"storage": requested(claim)}
        if quantity.compare(capacity(volume), size["storage"]) < 0:
            await self.client.patch("persistentvolumes", volume["metadata"]["name"], {"spec": {"capacity": size}})
        status = {**claim["status"], "capacity": size, "allocatedResources": size}
        status.pop("allocatedResourceStatuses", None)
        conditions = [item for item in status.pop("conditions", None) or () if item["type"] not in RESIZING]
        if conditions:
            status["conditions"] = conditions
        await self.client.update_status("persistentvolumeclaims", {**claim, "status": status})


def _wants_more(claim: Obj) -> bool:
    has = ((claim.get("status") or {}).get("capacity") or {}).get("storage", "0")
    return quantity.compare(requested(claim), has) > 0
