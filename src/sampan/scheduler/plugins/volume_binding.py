"""VolumeBinding: a pod goes where its volumes can be used, found or made.

Claims that are bound say where by their volume's node affinity. Claims of classes that wait for their first consumer are
bound here: to the smallest volume that is free and can be used on the node, or by telling a provisioner for which node
to make one; a node must have either for each of them, and is the better the more room is left then.

Source: plugins/volumebinding/{volume_binding,binder,scorer}.go, component-helpers/storage/volume/pv_helpers.go
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sampan.api import quantity
from sampan.api.selectors import label_selector_from
from sampan.client import Client
from sampan.scheduler import changes, volumes
from sampan.scheduler.changes import ADD, UPDATE, Change, Hint
from sampan.scheduler.cluster import Cluster, Mask
from sampan.scheduler.framework import Codes, Cycle, Plugin, Refused, Scores, Slots
from sampan.scheduler.plugins.node_affinity import selector_mask
from sampan.scheduler.plugins.resources_fit import broken_line
from sampan.scheduler.shape import PodInfo
from sampan.scheduler.volumes import SELECTED_NODE, Volumes, class_of, is_fully_bound

Obj = dict[str, Any]
UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
NODE_CONFLICT = "node(s) didn't match PersistentVolume's node affinity"
BIND_CONFLICT = "node(s) didn't find available persistent volumes to bind"
NO_SPACE = "node(s) did not have enough free storage"
NO_VOLUME = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
REASONS = ((1, NODE_CONFLICT), (2, BIND_CONFLICT), (4, NO_SPACE), (8, NO_VOLUME))
NAME = "VolumeBinding"


@dataclass(slots=True)
class Claims:
    """A pod's, by what is to be done with them. `found`: for each that is to be bound, the volumes that could be, and by
    slot which of them (-1: none, one must be made)."""

    bound: list[Obj] = field(default_factory=list)
    to_bind: list[Obj] = field(default_factory=list)
    found: list[tuple[Obj, list[Obj], Slots]] = field(default_factory=list)
    chosen: list[tuple[Obj, Obj]] = field(default_factory=list)
    provisioned: list[Obj] = field(default_factory=list)


class VolumeBinding(Plugin):
    name = NAME

    def __init__(
        self,
        known: Volumes,
        client: Client,
        timeout: float = 600.0,
        shape: tuple[tuple[int, int], ...] = ((0, 10), (100, 0)),
    ) -> None:
        """`shape`: (utilization, score) points, the score 0 to 10."""
        self.shape = shape
        self.known = known
        self.client = client
        self.timeout = timeout

    # -- hints ---------------------------------------------------------------------------------------------------------

    def hints(self) -> list[Hint]:
        return [
            Hint(changes.STORAGE_CLASS, ADD | UPDATE, self._class_changed),
            Hint(changes.CLAIM, ADD | UPDATE, claims_it, by_shape=False),
            Hint(changes.VOLUME, ADD | UPDATE),
            Hint(changes.NODE, ADD | changes.NODE_LABEL),
            Hint(changes.CSI_NODE, ADD),
            Hint(changes.CSI_DRIVER, UPDATE, self._driver_changed),
            Hint(changes.CSI_CAPACITY, ADD | UPDATE, self._capacity_changed),
        ]

    @staticmethod
    def _class_changed(pod: PodInfo, change: Change) -> bool:
        return change.is_new or change.old.get("allowedTopologies") != change.new.get("allowedTopologies")

    @staticmethod
    def _driver_changed(pod: PodInfo, change: Change) -> bool:
        """Its capacity is not looked at any more."""
        before, after = ((item.get("spec") or {}).get("storageCapacity") for item in (change.old, change.new))
        return bool(before) and not after

    @staticmethod
    def _capacity_changed(pod: PodInfo, change: Change) -> bool:
        if change.is_new:
            return True
        before, after = _limit(change.old), _limit(change.new)
        return after is not None and (before is None or after > before)

    # -- choosing ------------------------------------------------------------------------------------------------------

    def prefilter(self, cycle: Cycle) -> None:
        if not cycle.pod.claims:
            return
        out = cycle.state[NAME] = Claims()
        immediate = False
        for claim in self._claims_of(cycle.pod):
            if is_fully_bound(claim):
                out.bound.append(claim)
            elif self.known.waits_for_consumer(claim) and not claim["spec"].get("volumeName"):
                out.to_bind.append(claim)
            else:
                immediate = True
        if immediate:
            raise Refused(NAME, UNBOUND)

    def _claims_of(self, pod: PodInfo) -> list[Obj]:
        out = []
        for volume in pod.pod["spec"].get("volumes") or ():
            ephemeral = volume.get("ephemeral") is not None
            if ephemeral:
                name = f"{pod.name}-{volume['name']}"
            elif volume.get("persistentVolumeClaim"):
                name = volume["persistentVolumeClaim"]["claimName"]
            else:
                continue
            claim = self.known.claims.get(f"{pod.namespace}/{name}")
            if claim is None:
                if ephemeral:
                    why = f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
                    raise Refused(NAME, why)
                raise Refused(NAME, f'persistentvolumeclaim "{name}" not found')
            meta = claim["metadata"]
            if (claim.get("status") or {}).get("phase") == "Lost":
                lost = claim["spec"].get("volumeName", "")
                raise Refused(NAME, f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{lost}"')
            if meta.get("deletionTimestamp"):
                raise Refused(NAME, f'persistentvolumeclaim "{name}" is being deleted')
            owners = [owner.get("uid") for owner in meta.get("ownerReferences") or () if owner.get("controller")]
            if ephemeral and pod.uid not in owners:
                why = f"PVC {pod.namespace}/{name} was not created for pod {pod.key} (pod is not owner)"
                raise Refused(NAME, why)
            out.append(claim)
        return out

    def filter(self, cycle: Cycle) -> Codes | None:
        claims: Claims | None = cycle.state.get(NAME)
        if claims is None:
            return None
        out = np.zeros(len(cycle.cluster.valid), np.int32)
        for claim in claims.bound:
            volume = self.known.volumes.get(claim["spec"]["volumeName"])
            if volume is None:
                out[out == 0] = 8
                break
            out[(out == 0) & ~self._usable(cycle, volume)] = 1
        if claims.to_bind:
            self._bindable(cycle, claims, out)
        return out

    def _usable(self, cycle: Cycle, volume: Obj) -> Mask:
        selector = volumes.node_selector(volume)
        return cycle.cluster.valid if selector is None else selector_mask(cycle.cluster, selector)

    def _bindable(self, cycle: Cycle, claims: Claims, out: Codes) -> None:
        """Which volume each claim would have on each node; `out` gets the bits of nodes where one has none."""
        cluster = cycle.cluster
        claims.found = []
        here = np.ones(len(out), bool)
        to_provision: list[tuple[Obj, Mask]] = []
        waiting = []
        nowhere = np.full(len(out), -1, np.intp)
        for claim in claims.to_bind:
            selected = (claim["metadata"].get("annotations") or {}).get(SELECTED_NODE)
            if selected is None:
                waiting.append(claim)
                continue
            claims.found.append((claim, [], nowhere))
            only = np.zeros(len(out), bool)
            if selected in cluster.nodes:
                only[cluster.nodes[selected].slot] = True
            here &= only
            to_provision.append((claim, np.ones(len(out), bool)))
        out[~here] |= 2
        taken: dict[str, Mask] = {}
        for claim in sorted(waiting, key=volumes.requested):
            picked, options = self._pick(cycle, claim, taken)
            claims.found.append((claim, options, picked))
            if (picked < 0).any():
                to_provision.append((claim, picked < 0))
        for claim, where in to_provision:
            self._provision(cluster, claim, where & here, out)

    def _pick(self, cycle: Cycle, claim: Obj, taken: dict[str, Mask]) -> tuple[Slots, list[Obj]]:
        options = [item for item in self.known.volumes.list() if volumes.could_be(item, claim)]
        kept_for_it = [item for item in options if volumes.is_bound_to(item, claim)]
        # one that was bound to the claim beforehand is the only one, wherever it is
        options = kept_for_it[:1] or sorted(options, key=volumes.capacity)
        picked = np.full(len(cycle.cluster.valid), -1, np.intp)
        for index, item in enumerate(options):
            name = item["metadata"]["name"]
            mask = self._usable(cycle, item) & (picked < 0)
            if name in taken:
                mask = mask & ~taken[name]
            picked[mask] = index
            taken[name] = taken.get(name, np.zeros(len(picked), bool)) | mask
        return picked, options

    def _provision(self, cluster: Cluster, claim: Obj, where: Mask, out: Codes) -> None:
        """Could a volume be made for the claim, on the nodes where it needs one?"""
        found = self.known.classes.get(class_of(claim))
        where = where & ((out & (2 | 4)) == 0)
        if found is None or (found.get("provisioner") or volumes.NO_PROVISIONER) == volumes.NO_PROVISIONER:
            out[where] |= 2
            return
        allowed = _topologies(cluster, found.get("allowedTopologies"))
        out[where & ~allowed] |= 2
        where = where & allowed
        out[where & ~self._enough(cluster, claim, found)] |= 4

    def _enough(self, cluster: Cluster, claim: Obj, storage_class: Obj) -> Mask:
        """Nodes whose driver says that it has room; where it does not say, there is."""
        everywhere = np.ones(len(cluster.valid), bool)
        said = self._capacities(claim, storage_class)
        if said is None:
            return everywhere
        out = ~everywhere
        for item in said:
            selector = label_selector_from(item["nodeTopology"])
            for info in cluster.nodes.values():
                out[info.slot] |= selector.matches(info.labels)
        return out

    def _capacities(self, claim: Obj, storage_class: Obj) -> list[Obj] | None:
        """The CSIStorageCapacities that are large enough; None: the driver does not say what room it has."""
        driver = self.known.drivers.get(storage_class["provisioner"])
        size = volumes.requested(claim)
        if not size or driver is None or not (driver.get("spec") or {}).get("storageCapacity"):
            return None
        out = []
        for item in self.known.capacities.list():
            limit = _limit(item)
            if item.get("storageClassName") != storage_class["metadata"]["name"] or limit is None or limit < size:
                continue
            if item.get("nodeTopology") is not None:  # else accessible from nowhere
                out.append(item)
        return out

    def reasons(self, cycle: Cycle, code: int) -> tuple[str, ...]:
        return tuple(reason for bit, reason in REASONS if code & bit)

    def unresolvable(self, cycle: Cycle, code: int) -> bool:
        return True

    # -- score ---------------------------------------------------------------------------------------------------------

    def score(self, cycle: Cycle, slots: Slots) -> Scores | None:
        claims: Claims | None = cycle.state.get(NAME)
        if claims is None or not claims.found:
            return None
        return np.array([self._room(cycle, claims, int(slot)) for slot in slots], np.int64)

    def _room(self, cycle: Cycle, claims: Claims, slot: int) -> int:
        """The mean over the classes of what is asked and what there is: of the volumes that are there already, or, where
        there are none, of what the drivers say that they can make."""
        asked: dict[str, list[int]] = {}
        for claim, options, picked in claims.found:
            index = int(picked[slot])
            if index >= 0:
                both = asked.setdefault(class_of(options[index]), [0, 0])
                both[0] += volumes.requested(claim)
                both[1] += volumes.capacity(options[index])
        for claim, _, _ in () if asked else claims.found:
            capacity = self._capacity_at(cycle, claim, slot)
            if capacity is not None:
                both = asked.setdefault(class_of(claim), [0, 0])
                both[0] += volumes.requested(claim)
                both[1] = capacity
        if not asked:
            return 0
        used = [100 if not there or wanted > there else wanted * 100 // there for wanted, there in asked.values()]
        total = int(broken_line(self.shape, np.array(used, np.int64)).sum())
        return int(total / len(asked) + 0.5)

    def _capacity_at(self, cycle: Cycle, claim: Obj, slot: int) -> int | None:
        found, info = self.known.classes.get(class_of(claim)), cycle.cluster.by_slot[slot]
        for item in (self._capacities(claim, found) if found is not None and info is not None else None) or ():
            assert info is not None
            if label_selector_from(item["nodeTopology"]).matches(info.labels):
                return int(quantity.parse(item["capacity"])) if item.get("capacity") else 0
        return None

    # -- carrying out --------------------------------------------------------------------------------------------------

    def reserve(self, cycle: Cycle, node: str) -> None:
        claims: Claims | None = cycle.state.get(NAME)
        if claims is None or not claims.to_bind:
            return
        slot = cycle.cluster.nodes[node].slot
        for claim, options, picked in claims.found:
            index = int(picked[slot])
            key = f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"
            if index < 0:
                there = volumes.with_selected_node(claim, node)
                self.known.claims.assume(key, there)
                claims.provisioned.append(there)
            else:
                volume = volumes.bound_to(options[index], claim)
                self.known.volumes.assume(volume["metadata"]["name"], volume)
                claims.chosen.append((volume, claim))

    def unreserve(self, cycle: Cycle, node: str) -> None:
        claims: Claims | None = cycle.state.get(NAME)
        if claims is None:
            return
        for volume, _ in claims.chosen:
            self.known.volumes.restore(volume["metadata"]["name"])
        for claim in claims.provisioned:
            self.known.claims.restore(f"{claim['metadata']['namespace']}/{claim['metadata']['name']}")

    def will_pre_bind(self, cycle: Cycle, node: str) -> bool:
        claims: Claims | None = cycle.state.get(NAME)
        return claims is not None and bool(claims.chosen or claims.provisioned)

    async def pre_bind(self, cycle: Cycle, node: str) -> None:
        """Tell the API server, and wait until the claims are bound."""
        claims: Claims = cycle.state[NAME]
        claims.chosen = [(await self.client.update("persistentvolumes", item), claim) for item, claim in claims.chosen]
        claims.provisioned = [await self.client.update("persistentvolumeclaims", item) for item in claims.provisioned]
        try:
            async with asyncio.timeout(self.timeout):
                while not self._all_bound(claims, node):
                    await self.known.change()
        except TimeoutError:
            raise RuntimeError("binding volumes: context deadline exceeded") from None

    def _all_bound(self, claims: Claims, node: str) -> bool:
        """Raises RuntimeError when it has come to nothing."""
        for volume, claim in claims.chosen:
            now = self.known.volumes.cache.by_key(volume["metadata"]["name"])
            if now is None:
                name = volume["metadata"]["name"]
                raise RuntimeError(f'binding volumes: failed to check binding: persistentvolume "{name}" not found')
            if _older(now, volume):
                return False  # what we wrote has not come back yet
            if not (now["spec"].get("claimRef") or {}).get("uid"):
                raise RuntimeError(f'binding volumes: ClaimRef got reset for pv "{now["metadata"]["name"]}"')
            if not self._bound(claim):
                return False
        for claim in claims.provisioned:
            meta = claim["metadata"]
            there = self.known.claims.cache.get(meta["name"], meta["namespace"])
            if there is None:
                what = f'persistentvolumeclaim "{meta["name"]}" not found'
                raise RuntimeError(f"binding volumes: failed to check provisioning pvc: {what}")
            if _older(there, claim):
                return False
            if (there["metadata"].get("annotations") or {}).get(SELECTED_NODE) != node:
                raise RuntimeError(f'binding volumes: provisioning failed for PVC "{meta["name"]}"')
            if not self._bound(claim):
                return False
        return True

    def _bound(self, claim: Obj) -> bool:
        meta = claim["metadata"]
        there = self.known.claims.cache.get(meta["name"], meta["namespace"])
        if there is None:
            what = f'persistentvolumeclaim "{meta["name"]}" not found'
            raise RuntimeError(f"binding volumes: failed to check binding: {what}")
        return is_fully_bound(there)


def claims_it(pod: PodInfo, change: Change) -> bool:
    """The claim that changed is one of the pod's."""
    meta = change.new["metadata"]
    return bool(meta["namespace"] == pod.namespace and meta["name"] in pod.claims)


def _older(obj: Obj, other: Obj) -> bool:
    return int(obj["metadata"]["resourceVersion"]) < int(other["metadata"]["resourceVersion"])


def _limit(item: Obj) -> int | None:
    """How large a volume may be made, by a CSIStorageCapacity."""
    text = item.get("maximumVolumeSize") or item.get("capacity")
    return None if text is None else int(quantity.parse(text))


def _topologies(cluster: Cluster, terms: list[Obj] | None) -> Mask:
    out = np.zeros(len(cluster.valid), bool)
    for info in cluster.nodes.values():
        out[info.slot] = not terms or any(
            all(info.labels.get(item["key"]) in item["values"] for item in term.get("matchLabelExpressions") or ())
            for term in terms
        )
    return out
