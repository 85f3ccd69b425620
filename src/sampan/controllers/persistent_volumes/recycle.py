"""Volumes that are emptied and offered again: a pod mounts the volume and deletes what is in it.

Source: kubernetes/pkg/volume/util/recyclerclient/recycler_client.go, pkg/volume/{hostpath/host_path,plugins}.go,
pv_controller.go (recycleVolumeOperation)
"""

from __future__ import annotations

from typing import Any

from sampan.api import quantity
from sampan.client import Informer, StatusError
from sampan.client.errors import is_already_exists, is_not_found
from sampan.controllers.persistent_volumes.matching import capacity
from sampan.controllers.persistent_volumes.writes import Writes
from sampan.controllers.pods import phase_of

Obj = dict[str, Any]
NAMESPACE, PREFIX = "default", "recycler-for-"
#: sources of volumes: seconds that a pod has at least, seconds for each Gi
TIMES = {"hostPath": (60, 30), "nfs": (300, 30)}
IMAGE = "registry.k8s.io/build-image/debian-base:bookworm-v1.0.4"
EMPTY = 'test -e /scrub && find /scrub -mindepth 1 -delete && test -z "$(ls -A /scrub)" || exit 1'


class RecycleFailed(Exception):
    """To be tried again."""


def volume_of(pod: Obj) -> str:
    """Which volume a pod empties; empty where it does no such thing."""
    meta = pod["metadata"]
    is_ours = meta["namespace"] == NAMESPACE and meta["name"].startswith(PREFIX)
    return meta["name"].removeprefix(PREFIX) if is_ours else ""


class Recycler:
    """DEVIATION: the events of a recycler's pod are not repeated about the volume, and its template cannot be set."""

    def __init__(self, writes: Writes, pods: Informer) -> None:
        self.writes = writes
        self.pods = pods.cache

    async def recycle(self, volume: Obj) -> None:
        """One step: make the pod, or see what it has done. Raises RecycleFailed."""
        source = next((source for source in TIMES if source in volume["spec"]), None)
        if source is None:
            message = "No recycler plugin found for the volume!"
            await self.writes.volume_phase(volume, "Failed", message, "VolumeFailedRecycle")
            return
        name = PREFIX + volume["metadata"]["name"]
        pod = self.pods.get(name, NAMESPACE)
        if pod is None:
            await self._make(volume, name, source)
        elif phase_of(pod) == "Succeeded":
            await self._delete(name)
            self.writes.recorder.event(volume, "Normal", "VolumeRecycled", "Volume recycled")
            await self.writes.unbind(volume)
        elif phase_of(pod) == "Failed":
            await self._delete(name)
            said = (pod.get("status") or {}).get("message") or "pod failed, pod.Status.Message unknown"
            await self.writes.volume_phase(volume, "Failed", f"Recycle failed: {said}", "VolumeFailedRecycle")
            raise RecycleFailed(said)

    async def _make(self, volume: Obj, name: str, source: str) -> None:
        least, per_gi = TIMES[source]
        size = int(quantity.parse(capacity(volume)) / 2**30)
        container = {
            "name": "pv-recycler", "image": IMAGE, "command": ["/bin/sh"], "args": ["-c", EMPTY],
            "volumeMounts": [{"name": "vol", "mountPath": "/scrub"}],
        }  # fmt: skip
        spec = {
            "activeDeadlineSeconds": max(least, size * per_gi), "restartPolicy": "Never", "containers": [container],
            "volumes": [{"name": "vol", source: volume["spec"][source]}],
        }  # fmt: skip
        try:
            await self.writes.client.create("pods", {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})
        except StatusError as error:
            if not is_already_exists(error):
                raise

    async def _delete(self, name: str) -> None:
        try:
            await self.writes.client.delete("pods", name, NAMESPACE)
        except StatusError as error:
            if not is_not_found(error):
                raise
