"""Which PersistentVolumeClaims pods use.

Source: kubernetes/pkg/controller/volume/common/common.go, k8s.io/component-helpers/storage/ephemeral/ephemeral.go,
pkg/volume/util/util.go (IsPodTerminated)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.controllers.pod_control import controller_of
from sampan.controllers.pods import is_terminal

Obj = dict[str, Any]
CLAIM = "claim"
_STATUSES = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")


def claims_of(pod: Obj) -> Iterator[tuple[str, bool]]:
    """Names of claims; is it one that is made for the pod?"""
    for volume in pod["spec"].get("volumes") or ():
        if "persistentVolumeClaim" in volume:
            yield volume["persistentVolumeClaim"]["claimName"], False
        elif "ephemeral" in volume:
            yield ephemeral_claim(pod, volume), True


def ephemeral_claim(pod: Obj, volume: Obj) -> str:
    return f"{pod['metadata']['name']}-{volume['name']}"


def by_claim(pod: Obj) -> list[str]:
    """The index CLAIM of informers of pods: `namespace/name` of each claim."""
    return [f"{pod['metadata']['namespace']}/{name}" for name in dict.fromkeys(name for name, _ in claims_of(pod))]


def is_made_for(claim: Obj, pod: Obj) -> bool:
    owner = controller_of(claim)
    return owner is not None and owner["uid"] == pod["metadata"]["uid"]


def is_over(pod: Obj) -> bool:
    """It has ended, or is being deleted and none of its containers runs."""
    if is_terminal(pod):
        return True
    status = pod.get("status") or {}
    states = [item.get("state") or {} for kind in _STATUSES for item in status.get(kind) or ()]
    return "deletionTimestamp" in pod["metadata"] and all(
        "terminated" in state or "waiting" in state for state in states
    )
