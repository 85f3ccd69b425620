"""Volumes: one file for each kind, `volumes.py` for all of them together, `containers.py` for what a container sees of them."""

from __future__ import annotations

from sampan.kubelet.volumes.containers import Extra
from sampan.kubelet.volumes.errors import VolumeError
from sampan.kubelet.volumes.setting import Mounted
from sampan.kubelet.volumes.volumes import Volumes

__all__ = ["Extra", "Mounted", "VolumeError", "Volumes"]
