"""What a kind of volume gets, and what it gives back. Each kind is one file with one function: `set_up(volume, at) -> Mounted`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.kubelet.sources import Sources
from sampan.kubelet.volumes import atomic, ownership
from sampan.kubelet.volumes.places import Place

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """`allocatable`: of the node; `node`: its object, asked for; `clock`: seconds since 1970."""

    pod: Obj
    place: Place
    sources: Sources
    allocatable: Mapping[str, str]
    node: Callable[[], Awaitable[Obj]]
    clock: Callable[[], float]
    host_paths: Sequence[tuple[str, str, bool]] = ()

    @property
    def namespace(self) -> str:
        return str(self.pod["metadata"]["namespace"])

    def project(self, directory: Path, payload: atomic.Payload) -> None:
        """Files that are a copy of something else: written at once, readable by the pod's fsGroup. Raises OSError, ValueError."""
        group = ownership.group_of(self.pod)
        atomic.write(directory, payload, now=self.clock(), own=lambda made: ownership.give(made, group, read_only=True))


@dataclass(frozen=True, slots=True)
class Mounted:
    """A volume that is there. `name`: of its directory, where that is not the pod's name for it."""

    path: Path
    read_only: bool = False
    name: str = ""
