"""Where a pod's things are below the kubelet's root directory. Others know these paths: log collectors, monitoring, people.

Source: kubernetes pkg/kubelet/kubelet_getters.go
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Place:
    """Of one pod. `directory`: ROOT/pods/UID."""

    directory: Path

    @property
    def volumes(self) -> Path:
        return self.directory / "volumes"

    @property
    def subpaths(self) -> Path:
        return self.directory / "volume-subpaths"

    @property
    def hosts(self) -> Path:
        return self.directory / "etc-hosts"

    def volume(self, kind: str, name: str) -> Path:
        """`kind` as in directory names: `configmap`, `empty-dir`, ..."""
        return self.volumes / f"kubernetes.io~{kind}" / name

    def ready(self, name: str) -> Path:
        """Says that an emptyDir has been made and must not be made anew."""
        return self.directory / "plugins" / "kubernetes.io~empty-dir" / name / "ready"

    def container(self, name: str) -> Path:
        return self.directory / "containers" / name


def place(root: Path, uid: str) -> Place:
    return Place(root / "pods" / uid)


def uids(root: Path) -> list[str]:
    """Of the pods that have a directory."""
    try:
        return sorted(each.name for each in (root / "pods").iterdir() if each.is_dir() and not each.is_symlink())
    except FileNotFoundError:
        return []
