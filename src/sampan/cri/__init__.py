"""The seam between a kubelet and a container runtime: CRI v1, as both sides write it."""

from __future__ import annotations

from sampan.cri.messages import SERVICES, Method, pb

__all__ = ["SERVICES", "Method", "pb"]
