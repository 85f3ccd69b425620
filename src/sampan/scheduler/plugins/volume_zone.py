"""VolumeZone: volumes that are labelled with a zone or region want nodes of the same one.

Source: plugins/volumezone/volume_zone.go
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sampan.scheduler import changes
from sampan.scheduler.changes import ADD, UPDATE, Change, Hint
from sampan.scheduler.framework import Codes, Cycle, Plugin, Refused
from sampan.scheduler.plugins.volume_binding import claims_it
from sampan.scheduler.shape import PodInfo
from sampan.scheduler.volumes import Volumes, class_of

Obj = dict[str, Any]
CONFLICT = "node(s) had no available volume zone"
OLD_ZONE, OLD_REGION = "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region"
ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
LABELS = (OLD_ZONE, OLD_REGION, ZONE, REGION)
NEWER = {OLD_ZONE: ZONE, OLD_REGION: REGION}
NAME = "VolumeZone"
Topology = tuple[str, frozenset[str]]


def topologies(volume: Obj) -> list[Topology]:
    labels = volume["metadata"].get("labels") or {}
    return [(key, frozenset(labels[key].split("__"))) for key in LABELS if labels.get(key)]


class VolumeZone(Plugin):
    name = NAME

    def __init__(self, known: Volumes) -> None:
        self.known = known

    def hints(self) -> list[Hint]:
        return [
            Hint(changes.STORAGE_CLASS, ADD, self._waits),
            Hint(changes.NODE, ADD | changes.NODE_LABEL),
            Hint(changes.CLAIM, ADD | UPDATE, claims_it, by_shape=False),
            Hint(changes.VOLUME, ADD | UPDATE, self._moved),
        ]

    @staticmethod
    def _waits(pod: PodInfo, change: Change) -> bool:
        return bool(change.new.get("volumeBindingMode") == "WaitForFirstConsumer")

    @staticmethod
    def _moved(pod: PodInfo, change: Change) -> bool:
        return change.is_new or topologies(change.old) != topologies(change.new)

    def prefilter(self, cycle: Cycle) -> None:
        pod = cycle.pod
        if not pod.claims:
            return
        wanted: list[Topology] = []
        for volume in pod.pod["spec"].get("volumes") or ():
            name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if name:
                wanted.extend(self._wanted(pod.namespace, name))
        if wanted:
            cycle.state[NAME] = wanted

    def _wanted(self, namespace: str, name: str) -> list[Topology]:
        claim = self.known.claims.get(f"{namespace}/{name}")
        if claim is None:
            raise Refused(NAME, f'persistentvolumeclaim "{name}" not found')
        bound = claim["spec"].get("volumeName")
        if bound:
            volume = self.known.volumes.get(bound)
            if volume is None:
                raise Refused(NAME, f'persistentvolume "{bound}" not found')
            return topologies(volume)
        asked = class_of(claim)
        if not asked:
            raise Refused(NAME, "PersistentVolumeClaim had no pv name and storageClass name")
        found = self.known.classes.get(asked)
        if found is None:
            raise Refused(NAME, f'storageclass.storage.k8s.io "{asked}" not found')
        if found.get("volumeBindingMode") != "WaitForFirstConsumer":
            raise Refused(NAME, "PersistentVolume had no name")
        return []

    def filter(self, cycle: Cycle) -> Codes | None:
        wanted: list[Topology] | None = cycle.state.get(NAME)
        if not wanted:
            return None
        out = np.zeros(len(cycle.cluster.valid), np.int32)
        for info in cycle.cluster.nodes.values():
            labels = info.labels
            # a node without any of them is in a cluster of one zone
            if any(key in labels for key in LABELS):
                out[info.slot] = any(labels.get(key, labels.get(NEWER.get(key, key))) not in at for key, at in wanted)
        return out

    def reasons(self, cycle: Cycle, code: int) -> tuple[str, ...]:
        return (CONFLICT,)

    def unresolvable(self, cycle: Cycle, code: int) -> bool:
        return True
