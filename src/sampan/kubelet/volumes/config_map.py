"""A ConfigMap as files, on disk. Source: kubernetes pkg/volume/configmap/configmap.go"""

from __future__ import annotations

from sampan.kubelet.volumes import empty_dir, keys
from sampan.kubelet.volumes.setting import Mounted, Obj, Setting


async def set_up(volume: Obj, at: Setting) -> Mounted:
    source = volume["configMap"]
    payload = await keys.of_config_map(at.sources, at.namespace, source, source.get("defaultMode", 0o644))
    directory = at.place.volume("configmap", volume["name"])
    empty_dir.wrap(directory, at, memory=False)
    at.project(directory, payload)
    return Mounted(directory, read_only=True)
