"""VolumeRestrictions: a ReadWriteOncePod claim has one pod; disks that are attached by name have one writer.

Source: plugins/volumerestrictions/volume_restrictions.go
"""

from __future__ import annotations

import numpy as np

from sampan.scheduler import changes
from sampan.scheduler.changes import ADD, ASSIGNED_POD, DELETE, Change, Hint
from sampan.scheduler.framework import Codes, Cycle, Plugin, Refused
from sampan.scheduler.plugins.volume_binding import claims_it
from sampan.scheduler.shape import PodInfo
from sampan.scheduler.volumes import Volumes

DISK = "node(s) had no available disk"
ONE_POD = (
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod"
)
NAME = "VolumeRestrictions"


class VolumeRestrictions(Plugin):
    name = NAME

    def __init__(self, known: Volumes) -> None:
        self.known = known

    def hints(self) -> list[Hint]:
        return [
            Hint(ASSIGNED_POD, DELETE, self._frees, by_shape=False),
            Hint(changes.NODE, ADD),
            Hint(changes.CLAIM, ADD, claims_it, by_shape=False),
        ]

    @staticmethod
    def _frees(pod: PodInfo, change: Change) -> bool:
        old = change.old
        if old.namespace == pod.namespace and set(old.claims) & set(pod.claims):
            return True
        return any(mine.conflicts(other) for mine in pod.disks for other in old.disks)

    def prefilter(self, cycle: Cycle) -> None:
        pod = cycle.pod
        if not pod.claims:
            return
        lonely = []
        for volume in pod.pod["spec"].get("volumes") or ():
            name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if not name:
                continue
            claim = self.known.claims.get(f"{pod.namespace}/{name}")
            if claim is None:
                raise Refused(NAME, f'persistentvolumeclaim "{name}" not found')
            if "ReadWriteOncePod" in (claim["spec"].get("accessModes") or ()):
                lonely.append(f"{pod.namespace}/{name}")
        cycle.state[NAME] = lonely

    def filter(self, cycle: Cycle) -> Codes | None:
        lonely, disks = cycle.state.get(NAME), cycle.pod.disks
        if not lonely and not disks:
            return None
        out = np.zeros(len(cycle.cluster.valid), np.int32)
        if any(cycle.cluster.claims.get(key) for key in lonely or ()):
            out[:] = 2
        for info in cycle.cluster.nodes.values() if disks else ():
            if any(mine.conflicts(other) for pod in info.pods.values() for other in pod.disks for mine in disks):
                out[info.slot] = 1
        return out

    def reasons(self, cycle: Cycle, code: int) -> tuple[str, ...]:
        return (DISK if code == 1 else ONE_POD,)
