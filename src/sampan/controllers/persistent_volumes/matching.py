"""Which volume is right for which claim.

Source: k8s.io/component-helpers/storage/volume/{helpers,pv_helpers}.go, kubernetes/pkg/controller/volume/persistentvolume/
{index,pv_controller}.go (findByClaim, checkVolumeSatisfyClaim)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sampan.api import quantity
from sampan.api.selectors import label_selector_from

Obj = dict[str, Any]
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
CLAIM_OR_CLASS = "claim-or-class"
OLD_CLASS = "volume.beta.kubernetes.io/storage-class"


def notes_of(obj: Obj) -> dict[str, str]:
    found: dict[str, str] = obj["metadata"].get("annotations") or {}
    return found


def class_of(obj: Obj) -> str:
    """Of a claim or a volume: its class's name, the old annotation first."""
    old = notes_of(obj).get(OLD_CLASS)
    return old if old is not None else obj["spec"].get("storageClassName") or ""


def attributes_of(obj: Obj) -> str:
    """Of a claim or a volume: its class of attributes."""
    return obj["spec"].get("volumeAttributesClassName") or ""


def requested(claim: Obj) -> str:
    size: str = ((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage", "0")
    return size


def capacity(volume: Obj) -> str:
    size: str = (volume["spec"].get("capacity") or {}).get("storage", "0")
    return size


def mode(obj: Obj) -> str:
    return obj["spec"].get("volumeMode") or "Filesystem"


def phase(obj: Obj) -> str:
    found: str = (obj.get("status") or {}).get("phase", "")
    return found


def is_bound_to(volume: Obj, claim: Obj) -> bool:
    """It is kept for this claim; without a uid, for whatever has its name."""
    reference, meta = volume["spec"].get("claimRef"), claim["metadata"]
    if not reference or (reference.get("name"), reference.get("namespace")) != (meta["name"], meta["namespace"]):
        return False
    return not reference.get("uid") or bool(reference["uid"] == meta["uid"])


def claim_key(volume: Obj) -> str:
    """`namespace/name` of the claim that a volume refers to; empty where it does to none."""
    reference = volume["spec"].get("claimRef")
    return f"{reference.get('namespace', '')}/{reference.get('name', '')}" if reference else ""


def by_claim_or_class(volume: Obj) -> Iterable[str]:
    """The index CLAIM_OR_CLASS of informers of volumes: the claim that it is kept for; where there is none, its class."""
    return (claim_key(volume) or class_of(volume),)


def _has_modes(volume: Obj, claim: Obj) -> bool:
    return set(claim["spec"].get("accessModes") or ()) <= set(volume["spec"].get("accessModes") or ())


def best(volumes: Iterable[Obj], claim: Obj, *, waits: bool) -> Obj | None:
    """The one kept for the claim; else the one of fewest access modes, and of those the smallest, that is large enough.
    `waits`: where the claim's class waits for the first consumer the scheduler chooses, not we."""
    attributes = attributes_of(claim)
    fitting = []
    for volume in volumes:
        kept = is_bound_to(volume, claim)
        if (
            (volume["spec"].get("claimRef") and not kept)
            or "deletionTimestamp" in volume["metadata"]
            or mode(volume) != mode(claim)
            or attributes_of(volume) != attributes
            or not _has_modes(volume, claim)
            or quantity.compare(capacity(volume), requested(claim)) < 0
        ):
            continue
        if kept:
            return volume
        if not waits and phase(volume) == "Available" and class_of(volume) == class_of(claim):
            fitting.append(volume)
    selector = claim["spec"].get("selector")
    if selector is not None:
        wanted = label_selector_from(selector)
        fitting = [volume for volume in fitting if wanted.matches(volume["metadata"].get("labels"))]
    return min(fitting, key=_size, default=None)


def _size(volume: Obj) -> tuple[Any, ...]:
    return len(volume["spec"].get("accessModes") or ()), quantity.parse(capacity(volume))


def mismatch(volume: Obj, claim: Obj) -> str:
    """Why a claim cannot have the volume it asks for by name; empty: it can."""
    if "deletionTimestamp" in volume["metadata"]:
        return f'the volume is marked for deletion "{volume["metadata"]["name"]}"'
    if quantity.compare(capacity(volume), requested(claim)) < 0:
        return "requested PV is too small"
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    if attributes_of(volume) != attributes_of(claim):
        return "volumeAttributesClassName does not match"
    if mode(volume) != mode(claim):
        return "incompatible volumeMode"
    return "" if _has_modes(volume, claim) else "incompatible accessMode"
