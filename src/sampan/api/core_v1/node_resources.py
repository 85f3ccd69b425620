"""Extended resources: what somebody says in a node's capacity that there is besides the machine. Its kubelet lets pods have
all of it.

Source: kubernetes/pkg/kubelet/nodestatus/setters.go (MachineInfo)
"""

from __future__ import annotations

from typing import Any

from sampan.api.validation.resources import is_extended

Obj = dict[str, Any]


def extended_of(node: Obj) -> dict[str, str]:
    capacity: dict[str, str] = (node.get("status") or {}).get("capacity") or {}
    return {name: amount for name, amount in capacity.items() if is_extended(name)}


def taken_back(allocatable: Obj, extended: dict[str, str]) -> dict[str, None]:
    """Merged into `allocatable`, takes away what is not `extended` any more."""
    return {name: None for name in allocatable if is_extended(name) and name not in extended}
