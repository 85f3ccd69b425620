"""An empty directory that lives as long as its pod: on disk, or in memory. What other kinds write their files into is one, too.

A limit to its size holds in memory at once; on disk the eviction of pods that exceed it is what enforces it.

Source: kubernetes pkg/volume/emptydir/empty_dir.go
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from sampan.api import quantity
from sampan.api.core_v1 import pod_resources
from sampan.kubelet.volumes import mounts, ownership
from sampan.kubelet.volumes.errors import SetUpFailed
from sampan.kubelet.volumes.places import Place
from sampan.kubelet.volumes.setting import Mounted, Obj, Setting

MODE = 0o777


async def set_up(volume: Obj, at: Setting) -> Mounted:
    source, name = volume["emptyDir"], volume["name"]
    directory = at.place.volume("empty-dir", name)
    match source.get("medium") or "":
        case "":
            made = _make(directory, name, at.place, memory=False)
        case "Memory":
            made = _make(directory, name, at.place, memory=True, size=_size(source, at.pod, at.allocatable))
        case medium:
            # DEVIATION: there are no huge pages
            raise SetUpFailed(f'unknown storage medium "{medium}"')
    if made:
        ownership.give(directory, ownership.group_of(at.pod))
        _set_ready(at.place, name)
    return Mounted(directory)


def wrap(directory: Path, name: str, at: Setting, *, memory: bool) -> None:
    """A place for the files of another kind of volume."""
    if _make(directory, f"wrapped_{name}", at.place, memory=memory):
        ownership.give(directory, ownership.group_of(at.pod))
        _set_ready(at.place, f"wrapped_{name}")


def _make(directory: Path, name: str, place: Place, *, memory: bool, size: int = 0) -> bool:
    """False: it was there."""
    there = directory.is_dir()
    if there and place.ready(name).exists() and (not memory or _is_file_system(directory)):
        return False
    directory.mkdir(parents=True, exist_ok=True)
    os.chmod(directory, MODE)
    if memory and not _is_file_system(directory):
        mounts.tmpfs(directory, size)
    return True


def _set_ready(place: Place, name: str) -> None:
    ready = place.ready(name)
    ready.parent.mkdir(parents=True, exist_ok=True)
    ready.touch()


def _is_file_system(directory: Path) -> bool:
    """Another one than what it is in."""
    return directory.stat().st_dev != directory.parent.stat().st_dev


def _size(source: Obj, pod: Obj, allocatable: Mapping[str, str]) -> int:
    """The least of what the volume, the pod's limit and the node allow; 0: nothing is said."""
    found = [source.get("sizeLimit"), allocatable.get("memory"), pod_resources.limits(pod).get("memory")]
    sizes = [int(quantity.parse(each)) for each in found if each]
    return min((each for each in sizes if each > 0), default=0)
