"""volumeattributesclass-protection-controller: a class of volume attributes stays, although it was deleted, while a claim or
a volume has it.

Source: kubernetes/pkg/controller/volume/vacprotection/vac_protection_controller.go
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sampan.client import Controller
from sampan.controllers.context import Context

Obj = dict[str, Any]
RESOURCE = "volumeattributesclasses.storage.k8s.io"
FINALIZER = "kubernetes.io/vac-protection"
ATTRIBUTES = "volume-attributes-class"


def _of_claim(claim: Obj) -> Iterable[str]:
    status = claim.get("status") or {}
    names = (
        claim["spec"].get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    return {name for name in names if name}


def _of_volume(volume: Obj) -> Iterable[str]:
    name = volume["spec"].get("volumeAttributesClassName")
    return (name,) if name else ()


class VacProtection:
    def __init__(self, context: Context) -> None:
        self.client = context.clients("volumeattributesclass-protection-controller")
        self.classes = context.informers.get(RESOURCE)
        self.claims = context.informers.get("persistentvolumeclaims", indexers={ATTRIBUTES: _of_claim})
        self.volumes = context.informers.get("persistentvolumes", indexers={ATTRIBUTES: _of_volume})
        self.controller = Controller(
            "volumeattributesclass-protection-controller",
            self.reconcile,
            synced=(self.classes, self.claims, self.volumes),
        )
        self.classes.add_handler(self._class, lambda old, new: self._class(new))
        self.claims.add_handler(None, lambda old, new: self._left(_of_claim, old, new), self._claim_gone)
        self.volumes.add_handler(None, lambda old, new: self._left(_of_volume, old, new), self._volume_gone)

    async def run(self) -> None:
        await self.controller.run()

    def _class(self, class_: Obj) -> None:
        if ("deletionTimestamp" in class_["metadata"]) == (FINALIZER in (class_["metadata"].get("finalizers") or ())):
            self.controller.enqueue(class_)

    def _claim_gone(self, claim: Obj) -> None:
        self._wake(_of_claim(claim))

    def _volume_gone(self, volume: Obj) -> None:
        self._wake(_of_volume(volume))

    def _left(self, names: Callable[[Obj], Iterable[str]], old: Obj, new: Obj) -> None:
        self._wake(set(names(old)) - set(names(new)))

    def _wake(self, names: Iterable[str]) -> None:
        for name in names:
            self.controller.queue.add(name)

    async def reconcile(self, key: str) -> float | None:
        class_ = self.classes.cache.by_key(key)
        if class_ is None:
            return None
        there = class_["metadata"].get("finalizers") or []
        if "deletionTimestamp" not in class_["metadata"]:
            if FINALIZER not in there:
                await self._write(class_, [*there, FINALIZER])
        elif FINALIZER in there and not self._is_used(key):
            await self._write(class_, [item for item in there if item != FINALIZER])
        return None

    def _is_used(self, name: str) -> bool:
        return any(informer.cache.index_keys(ATTRIBUTES, name) for informer in (self.claims, self.volumes))

    async def _write(self, class_: Obj, finalizers: list[str]) -> None:
        await self.client.update(RESOURCE, {**class_, "metadata": {**class_["metadata"], "finalizers": finalizers}})
