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
from sampan.kubelet.volumes import atomic, mounts, ownership
from sampan.kubelet.volumes.errors import SetUpFailed
from sampan.kubelet.volumes.setting import Mounted, Obj, Setting

MODE = 0o777


async def set_up(volume: Obj, at: Setting) -> Mounted:
    source, name = volume["emptyDir"], volume["name"]
    directory, ready = at.place.volume("empty-dir", name), at.place.ready(name)
    match source.get("medium") or "":
        case "":
            memory, size = False, 0
        case "Memory":
            memory, size = True, _size(source, at.pod, at.allocatable)
        case medium:
            # DEVIATION: there are no huge pages
            raise SetUpFailed(f'unknown storage medium "{medium}"')
    if not (ready.exists() and _is_there(directory, memory)):
        _make(directory, at.pod, memory, size)
        ready.parent.mkdir(parents=True, exist_ok=True)
        ready.touch()
    return Mounted(directory)


def wrap(directory: Path, at: Setting, *, memory: bool) -> None:
    """A place for the files of another kind of volume, unless they are there."""
    if not (_is_there(directory, memory) and atomic.is_written(directory)):
        _make(directory, at.pod, memory, 0)


def _is_there(directory: Path, memory: bool) -> bool:
    return directory.is_dir() and (not memory or _is_file_system(directory))


def _make(directory: Path, pod: Obj, memory: bool, size: int) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    os.chmod(directory, MODE)
    if memory and not _is_file_system(directory):
        mounts.tmpfs(directory, size)
    ownership.give(directory, ownership.group_of(pod))


def _is_file_system(directory: Path) -> bool:
    """Another one than what it is in."""
    return directory.stat().st_dev != directory.parent.stat().st_dev


def _size(source: Obj, pod: Obj, allocatable: Mapping[str, str]) -> int:
    """The least of what the volume, the pod's limit and the node allow; 0: nothing is said."""
    found = [source.get("sizeLimit"), allocatable.get("memory"), pod_resources.limits(pod).get("memory")]
    sizes = [int(quantity.parse(each)) for each in found if each]
    return min((each for each in sizes if each > 0), default=0)
