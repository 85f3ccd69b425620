"""Binding, in an order that a crash at any point leaves something to go on from: the volume is kept for the claim, then
says so; the claim names the volume, then says so.

Source: kubernetes/pkg/controller/volume/persistentvolume/pv_controller.go (bind*, unbindVolume, update*)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sampan.api import quantity
from sampan.client import Client, EventRecorder, Informer
from sampan.controllers.persistent_volumes.latest import Latest
from sampan.controllers.persistent_volumes.matching import (
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    capacity,
    is_bound_to,
    notes_of,
    phase,
)

Obj = dict[str, Any]
PRE_RESIZE = "volume.alpha.kubernetes.io/pre-resize-capacity"


class Writes:
    """`claims` and `volumes`: the latest known. Everything raises StatusError, HttpError."""

    def __init__(self, client: Client, recorder: EventRecorder, claims: Informer, volumes: Informer) -> None:
        self.client = client
        self.recorder = recorder
        self.claims = Latest(claims)
        self.volumes = Latest(volumes)

    async def update_claim(self, claim: Obj) -> Obj:
        return self.claims.wrote(await self.client.update("persistentvolumeclaims", claim))

    async def update_volume(self, volume: Obj) -> Obj:
        return self.volumes.wrote(await self.client.update("persistentvolumes", volume))

    async def bind(self, volume: Obj, claim: Obj) -> None:
        volume = await self._bind_volume(volume, claim)
        volume = await self.volume_phase(volume, "Bound")
        claim = await self._bind_claim(claim, volume)
        await self.claim_phase(claim, "Bound", volume)

    async def _bind_volume(self, volume: Obj, claim: Obj) -> Obj:
        reference, meta = volume["spec"].get("claimRef") or {}, claim["metadata"]
        if all(reference.get(name) == meta[name] for name in ("name", "namespace", "uid")):
            return volume
        by_us = {} if is_bound_to(volume, claim) else {BOUND_BY_CONTROLLER: "yes"}
        spec = {**volume["spec"], "claimRef": reference_to(claim)}
        return await self.update_volume({**noted(volume, by_us), "spec": spec})

    async def _bind_claim(self, claim: Obj, volume: Obj) -> Obj:
        name = volume["metadata"]["name"]
        by_us = {} if claim["spec"].get("volumeName") == name else {BOUND_BY_CONTROLLER: "yes"}
        if not by_us and BIND_COMPLETED in notes_of(claim):
            return claim
        spec = {**claim["spec"], "volumeName": name}
        return await self.update_claim({**noted(claim, {**by_us, BIND_COMPLETED: "yes"}), "spec": spec})

    async def unbind(self, volume: Obj) -> None:
        """Free again; what a user had kept for a claim stays kept for whatever has its name."""
        spec = dict(volume["spec"])
        if BOUND_BY_CONTROLLER in notes_of(volume):
            del spec["claimRef"]
            volume = noted(volume, {BOUND_BY_CONTROLLER: None})
        else:
            spec["claimRef"] = {name: value for name, value in spec["claimRef"].items() if name != "uid"}
        await self.volume_phase(await self.update_volume({**volume, "spec": spec}), "Available")

    async def volume_phase(self, volume: Obj, new: str, message: str = "", event: str = "") -> Obj:
        """`event`: a warning of that reason, if the phase is another than before."""
        if phase(volume) == new:
            return volume
        status = {**(volume.get("status") or {}), "phase": new}
        status.pop("message", None)
        if message:
            status["message"] = message
        written = self.volumes.wrote(await self.client.update_status("persistentvolumes", {**volume, "status": status}))
        if event:
            self.recorder.event(written, "Warning", event, message)
        return written

    async def claim_phase(
        self, claim: Obj, new: str, volume: Obj | None = None, event: tuple[str, str] | None = None
    ) -> None:
        """`event`: a warning, reason and message, if the phase is another than before; then it is the only reason to
        write."""
        old = claim.get("status") or {}
        if event is not None and old.get("phase") == new:
            return
        status = {**old, "phase": new}
        if volume is None:
            status.pop("accessModes", None)
            status.pop("capacity", None)
        else:
            status["accessModes"] = volume["spec"]["accessModes"]
            # the size of what is bound already is what was really reached, which may be less than the volume has
            if old.get("phase") != new:
                size = notes_of(volume).get(PRE_RESIZE) or capacity(volume)
                known = (old.get("capacity") or {}).get("storage")
                if known is None or quantity.compare(known, size) != 0:
                    status["capacity"] = {**volume["spec"]["capacity"], "storage": size}
        if status == old:
            return
        written = await self.client.update_status("persistentvolumeclaims", {**claim, "status": status})
        self.claims.wrote(written)
        if event is not None:
            self.recorder.event(written, "Warning", *event)


def reference_to(claim: Obj) -> Obj:
    meta = claim["metadata"]
    named = {name: meta[name] for name in ("namespace", "name", "uid", "resourceVersion")}
    return {"kind": "PersistentVolumeClaim", "apiVersion": "v1", **named}


def noted(obj: Obj, notes: Mapping[str, str | None]) -> Obj:
    """With those annotations; None takes one away."""
    if not notes:
        return obj
    kept = {name: value for name, value in {**notes_of(obj), **notes}.items() if value is not None}
    rest = {name: value for name, value in obj["metadata"].items() if name != "annotations"}
    return {**obj, "metadata": {**rest, "annotations": kept} if kept else rest}
