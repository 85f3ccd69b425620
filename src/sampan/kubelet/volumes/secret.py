"""A Secret as files, in memory: it shall not reach a disk. Source: kubernetes pkg/volume/secret/secret.go"""

from __future__ import annotations

from sampan.kubelet.volumes import empty_dir, keys
from sampan.kubelet.volumes.setting import Mounted, Obj, Setting


async def set_up(volume: Obj, at: Setting) -> Mounted:
    source = volume["secret"]
    payload = await keys.of_secret(at.sources, at.namespace, source, source.get("defaultMode", 0o644))
    directory = at.place.volume("secret", volume["name"])
    empty_dir.wrap(directory, at, memory=True)
    at.project(directory, payload)
    return Mounted(directory, read_only=True)
