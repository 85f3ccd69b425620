"""persistentvolume-protection-controller: a volume that is bound stays, although it was deleted, until its claim is gone.

Source: kubernetes/pkg/controller/volume/pvprotection/pv_protection_controller.go
"""

from __future__ import annotations

from typing import Any

from sampan.client import Controller
from sampan.controllers.context import Context

Obj = dict[str, Any]
FINALIZER = "kubernetes.io/pv-protection"


class PvProtection:
    def __init__(self, context: Context) -> None:
        self.client = context.clients("pv-protection-controller")
        self.volumes = context.informers.get("persistentvolumes")
        self.controller = Controller("persistentvolume-protection-controller", self.reconcile, synced=(self.volumes,))
        self.volumes.add_handler(self._volume, lambda old, new: self._volume(new))

    async def run(self) -> None:
        await self.controller.run()

    def _volume(self, volume: Obj) -> None:
        if _wanted(volume) is not None:
            self.controller.enqueue(volume)

    async def reconcile(self, key: str) -> float | None:
        volume = self.volumes.cache.by_key(key)
        wanted = _wanted(volume) if volume is not None else None
        if volume is not None and wanted is not None:
            meta = {**volume["metadata"], "finalizers": wanted}
            await self.client.update("persistentvolumes", {**volume, "metadata": meta})
        return None


def _wanted(volume: Obj) -> list[str] | None:
    """The finalizers that it should have; None: it has them."""
    meta = volume["metadata"]
    there = meta.get("finalizers") or []
    if "deletionTimestamp" not in meta:
        return None if FINALIZER in there else [*there, FINALIZER]
    if FINALIZER in there and (volume.get("status") or {}).get("phase") != "Bound":
        return [item for item in there if item != FINALIZER]
    return None
