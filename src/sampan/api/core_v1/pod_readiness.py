"""A pod whose containers are ready may wait for more: its readiness gates.

Source: kubernetes pkg/kubelet/status/generate.go (GeneratePodReadyCondition)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def unmet_gates(spec: Mapping[str, Any], conditions: Mapping[str, Mapping[str, Any]]) -> str:
    """Which gates of a pod's spec keep it from being ready, in the kubelet's words; empty: none. `conditions` by type."""
    missing = []
    for gate in spec.get("readinessGates") or ():
        kind = gate["conditionType"]
        found = conditions.get(kind)
        if found is None:
            missing.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif found["status"] != "True":
            missing.append(f'the status of pod readiness gate "{kind}" is not "True", but {found["status"]}')
    return ", ".join(missing)
