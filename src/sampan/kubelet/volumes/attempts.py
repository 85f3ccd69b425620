"""When a volume that could not be made is tried again: half a second later, then twice as long each time, two minutes at most.

Source: kubernetes pkg/util/goroutinemap/exponentialbackoff, pkg/kubelet/volumemanager/volume_manager.go (podAttachAndMountTimeout)
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

FIRST, MOST = 0.5, 122.0
#: a pod that has waited so long says so
PATIENCE = 123.0


@dataclass(slots=True)
class _Pod:
    since: float
    #: by volume: the last wait, and its end
    waits: dict[str, tuple[float, float]] = field(default_factory=dict)


class Attempts:
    def __init__(self) -> None:
        self._pods: dict[str, _Pod] = {}

    def due(self, uid: str, volume: str) -> bool:
        known = self._pods.get(uid)
        return known is None or volume not in known.waits or known.waits[volume][1] <= _now()

    def failed(self, uid: str, volume: str) -> None:
        known = self._pods.setdefault(uid, _Pod(_now()))
        last = known.waits.get(volume)
        wait = min(2 * last[0], MOST) if last else FIRST
        known.waits[volume] = wait, _now() + wait

    def succeeded(self, uid: str, volume: str) -> None:
        if known := self._pods.get(uid):
            known.waits.pop(volume, None)

    def forget(self, uid: str) -> None:
        self._pods.pop(uid, None)

    def overdue(self, uid: str, missing: Sequence[str]) -> list[str]:
        """What to say of a pod that cannot start, every two minutes."""
        known = self._pods.get(uid)
        if known is None or _now() - known.since < PATIENCE:
            return []
        known.since = _now()
        return [
            f"Unable to attach or mount volumes: unmounted volumes=[{' '.join(sorted(missing))}], unattached volumes=[], "
            "failed to process volumes=[]: context deadline exceeded"
        ]


def _now() -> float:
    return asyncio.get_running_loop().time()
