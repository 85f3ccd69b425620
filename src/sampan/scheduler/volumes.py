"""PersistentVolumes and claims as the scheduler sees them: what the informers say, and what it has decided since.

A volume that was chosen for a claim is not free for another pod, although the API server has not been told yet; such a
decision is `assumed`, and holds until the informer has something newer of the object.

Source: pkg/scheduler/util/assumecache, component-helpers/storage/volume/{helpers,pv_helpers}.go
"""

from __future__ import annotations

import asyncio
from typing import Any

from sampan.api import quantity
from sampan.api.selectors import label_selector_from
from sampan.client import Informer, Informers
from sampan.scheduler.hears import Hears
from sampan.scheduler.terms import NodeSelector

Obj = dict[str, Any]
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
OLD_CLASS = "volume.beta.kubernetes.io/storage-class"
NO_PROVISIONER = "kubernetes.io/no-provisioner"


class Assumed:
    """One kind of object, with what was assumed of some of them."""

    def __init__(self, informer: Informer) -> None:
        self.cache = informer.cache
        self._assumed: dict[str, tuple[str, Obj]] = {}

    def get(self, key: str) -> Obj | None:
        assumed = self._assumed.get(key)
        if assumed is not None:
            record = self.cache.record(key)
            if record is not None and record.version == assumed[0]:
                return assumed[1]
            del self._assumed[key]
        return self.cache.by_key(key)

    def list(self) -> list[Obj]:
        return [obj for record in self.cache.records() if (obj := self.get(record.key)) is not None]

    def assume(self, key: str, obj: Obj) -> None:
        record = self.cache.record(key)
        if record is not None:
            self._assumed[key] = (record.version, obj)

    def restore(self, key: str) -> None:
        self._assumed.pop(key, None)


class Volumes:
    """`changed`: set at every change of a volume or a claim."""

    def __init__(self, informers: Informers, hears: Hears) -> None:
        claims, volumes = informers.get("persistentvolumeclaims"), informers.get("persistentvolumes")
        self.claims = Assumed(claims)
        self.volumes = Assumed(volumes)
        self.classes = informers.get("storageclasses.storage.k8s.io").cache
        self.drivers = informers.get("csidrivers.storage.k8s.io").cache
        self.nodes = informers.get("csinodes.storage.k8s.io").cache
        self.attachments = informers.get("volumeattachments.storage.k8s.io").cache
        self.capacities = informers.get("csistoragecapacities.storage.k8s.io").cache
        self._waiting: list[asyncio.Future[None]] = []
        for informer in (claims, volumes):
            hears.add(informer, self._changed, lambda old, new: self._changed(new), self._changed)

    async def change(self) -> None:
        """Until a volume or a claim has changed."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    def _changed(self, obj: Obj) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def waits_for_consumer(self, claim: Obj) -> bool:
        found = self.classes.get(class_of(claim))
        return found is not None and found.get("volumeBindingMode") == "WaitForFirstConsumer"


def class_of(obj: Obj) -> str:
    """Of a claim or a volume: its class's name, the old annotation first."""
    old = (obj["metadata"].get("annotations") or {}).get(OLD_CLASS)
    return old if old is not None else obj["spec"].get("storageClassName") or ""


def is_fully_bound(claim: Obj) -> bool:
    return bool(claim["spec"].get("volumeName")) and BIND_COMPLETED in (claim["metadata"].get("annotations") or {})


def requested(claim: Obj) -> int:
    asked = ((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage")
    return -(-quantity.parse(asked) // 1) if asked else 0


def capacity(volume: Obj) -> int:
    there = (volume["spec"].get("capacity") or {}).get("storage")
    return int(quantity.parse(there)) if there else 0


def node_selector(volume: Obj) -> NodeSelector | None:
    """Where the volume can be used; None: anywhere."""
    required = (volume["spec"].get("nodeAffinity") or {}).get("required")
    return None if required is None else NodeSelector.of(None, required)


def is_bound_to(volume: Obj, claim: Obj) -> bool:
    reference, meta = volume["spec"].get("claimRef"), claim["metadata"]
    if not reference or (reference.get("name"), reference.get("namespace")) != (meta["name"], meta["namespace"]):
        return False
    return not reference.get("uid") or reference["uid"] == meta["uid"]


def could_be(volume: Obj, claim: Obj) -> bool:
    """All that is asked of a volume for a claim, except where it is."""
    spec, asked = volume["spec"], claim["spec"]
    bound = is_bound_to(volume, claim)
    if spec.get("claimRef") and not bound:
        return False
    if capacity(volume) < requested(claim) or volume["metadata"].get("deletionTimestamp"):
        return False
    if (spec.get("volumeMode") or "Filesystem") != (asked.get("volumeMode") or "Filesystem"):
        return False
    if (spec.get("volumeAttributesClassName") or "") != (asked.get("volumeAttributesClassName") or ""):
        return False
    if bound:
        return True
    if (volume.get("status") or {}).get("phase") != "Available" or class_of(volume) != class_of(claim):
        return False
    if not set(asked.get("accessModes") or ()) <= set(spec.get("accessModes") or ()):
        return False
    wanted = asked.get("selector")
    return wanted is None or label_selector_from(wanted).matches(volume["metadata"].get("labels"))


def bound_to(volume: Obj, claim: Obj) -> Obj:
    """The volume as it is when it is kept for a claim; itself where it is so already."""
    if is_bound_to(volume, claim) and volume["spec"]["claimRef"].get("uid"):
        return volume
    by_user = is_bound_to(volume, claim)
    meta, mine = volume["metadata"], claim["metadata"]
    if not by_user:
        meta = {**meta, "annotations": {**(meta.get("annotations") or {}), BOUND_BY_CONTROLLER: "yes"}}
    reference = {
        "kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": mine["namespace"], "name": mine["name"],
        "uid": mine["uid"], "resourceVersion": mine["resourceVersion"],
    }  # fmt: skip
    return {**volume, "metadata": meta, "spec": {**volume["spec"], "claimRef": reference}}


def with_selected_node(claim: Obj, node: str) -> Obj:
    annotations = {**(claim["metadata"].get("annotations") or {}), SELECTED_NODE: node}
    return {**claim, "metadata": {**claim["metadata"], "annotations": annotations}}
