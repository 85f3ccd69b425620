"""What a Deployment's controller asks about its replica sets: which is the new one, how old, how large, how many more.

Pure: nothing here talks to anyone.

Source: kubernetes/pkg/controller/deployment/util/deployment_util.go
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

Obj = dict[str, Any]
HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
#: annotations that are not copied to replica sets
OWN = {"kubectl.kubernetes.io/last-applied-configuration", REVISION, HISTORY, DESIRED, MAXIMUM}
MAX_HISTORY, MAX_NAME = 2000, 253
NEVER = 2**31 - 1


def notes(obj: Obj) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def replicas(obj: Obj) -> int:
    """Asked for."""
    return int(obj["spec"].get("replicas", 1))


def counted(obj: Obj, field: str) -> int:
    """Of its status."""
    return int((obj.get("status") or {}).get(field) or 0)


def total(sets: Iterable[Obj]) -> int:
    return sum(map(replicas, sets))


def age(set_: Obj) -> tuple[str, str]:
    """Sorts the oldest first."""
    return set_["metadata"].get("creationTimestamp", ""), set_["metadata"]["name"]


def active(sets: Iterable[Obj]) -> list[Obj]:
    return [set_ for set_ in sets if replicas(set_) > 0]


def number(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None


def revision(set_: Obj) -> int:
    return number(notes(set_).get(REVISION)) or 0


# -- templates ---------------------------------------------------------------------------------------------------------


def new_set(deployment: Obj, sets: Iterable[Obj]) -> Obj | None:
    """The one with the Deployment's template; the oldest, should a template have several."""
    template = deployment["spec"]["template"]
    same = (set_ for set_ in sorted(sets, key=age) if same_template(set_["spec"]["template"], template))
    return next(same, None)


def set_name(deployment: str, hashed: str) -> str:
    """Of a replica set. The name of its Deployment gives way where both are too long."""
    return f"{deployment[: MAX_NAME - len(hashed) - 1]}-{hashed}"


def same_template(one: Obj, other: Obj) -> bool:
    """But for the hash that tells them apart."""
    return _without_hash(one) == _without_hash(other) and (
        one["spec"] == other["spec"] or _tidy(one["spec"]) == _tidy(other["spec"])
    )


def _without_hash(template: Obj) -> Obj:
    meta = {key: value for key, value in (template.get("metadata") or {}).items() if value}
    labels = {key: value for key, value in meta.pop("labels", {}).items() if key != HASH}
    return {**meta, "labels": labels}


def _tidy(value: Any) -> Any:
    """Without what says nothing: Go makes no difference between an empty list and none."""
    if isinstance(value, dict):
        return {key: _tidy(item) for key, item in value.items() if item is not None and item != []}
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    return value


# -- bounds ------------------------------------------------------------------------------------------------------------


def is_rolling(deployment: Obj) -> bool:
    return (deployment["spec"].get("strategy") or {}).get("type") == "RollingUpdate"


def bounds(deployment: Obj) -> tuple[int, int]:
    """maxSurge and maxUnavailable in pods; never both 0, or nothing could move."""
    if not is_rolling(deployment):
        return 0, 0
    rolling = deployment["spec"]["strategy"].get("rollingUpdate") or {}
    wanted = replicas(deployment)
    surge = _scaled(rolling.get("maxSurge", 0), wanted, math.ceil)
    unavailable = _scaled(rolling.get("maxUnavailable", 0), wanted, math.floor)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, wanted)


def _scaled(value: int | str, of: int, rounded: Any) -> int:
    if isinstance(value, int):
        return value
    return int(rounded(int(value.removesuffix("%")) * of / 100))


def new_set_size(deployment: Obj, others: Sequence[Obj], new: Obj | None = None) -> int:
    """How large the new replica set may be beside the others.

    DEVIATION: upstream counts the pods that replica sets are asked for, and may for a moment have more pods than surge
    allows; here a pod counts until its set has deleted it.
    """
    wanted = replicas(deployment)
    if not is_rolling(deployment):
        return wanted
    size = 0 if new is None else replicas(new)
    if size >= wanted:
        return wanted
    surge, _ = bounds(deployment)
    present = sum(max(replicas(set_), counted(set_, "replicas")) for set_ in (*others, *((new,) if new else ())))
    return min(wanted, size + max(0, wanted + surge - present))


def is_saturated(deployment: Obj, set_: Obj | None) -> bool:
    """All that is wanted is there."""
    if set_ is None:
        return False
    wanted = replicas(deployment)
    desired = number(notes(set_).get(DESIRED))
    return replicas(set_) == desired == counted(set_, "availableReplicas") == wanted


def sizes(deployment: Obj, sets: Sequence[Obj]) -> list[tuple[Obj, int]]:
    """New sizes of several active replica sets after the Deployment was scaled amid a rollout: each in proportion, what
    is left over to the largest."""
    wanted = replicas(deployment)
    surge, _ = bounds(deployment)
    to_add = (wanted + surge if wanted > 0 else 0) - total(sets)
    if to_add == 0:
        return [(set_, replicas(set_)) for set_ in sets]
    # growing, the newer of two as large goes first; shrinking, the older
    ordered = sorted(sorted(sets, key=age, reverse=to_add > 0), key=replicas, reverse=True)
    out, added = [], 0
    for set_ in ordered:
        left = to_add - added
        share = _share(deployment, set_, surge) if left and replicas(set_) else 0
        share = min(share, left) if to_add > 0 else max(share, left)
        out.append((set_, replicas(set_) + share))
        added += share
    first, size = out[0]
    out[0] = first, max(0, size + to_add - added)
    return out


def _share(deployment: Obj, set_: Obj, surge: int) -> int:
    wanted, size = replicas(deployment), replicas(set_)
    if wanted == 0:
        return -size
    before = number(notes(set_).get(MAXIMUM)) or counted(deployment, "replicas")
    if not before:
        return 0
    # half away from zero, as Go rounds
    return math.floor(size * (wanted + surge) / before + 0.5) - size


# -- annotations -------------------------------------------------------------------------------------------------------


def sized(deployment: Obj) -> dict[str, str]:
    """By which a replica set knows how large its Deployment was."""
    surge, _ = bounds(deployment)
    wanted = replicas(deployment)
    return {DESIRED: str(wanted), MAXIMUM: str(wanted + surge)}


def inherited(deployment: Obj, set_: Obj, newest: int) -> dict[str, str]:
    """The annotations that the new replica set should have: its Deployment's, and the highest revision. One that had a
    lower revision is rolled back to, and keeps it in its history."""
    out = dict(notes(set_))
    out |= {key: value for key, value in notes(deployment).items() if key not in OWN}
    known = out.get(REVISION, "")
    before = number(known) if known else 0
    if before is None or before >= newest:
        return out
    out[REVISION] = str(newest)
    if known:
        history = [old for old in out.get(HISTORY, "").split(",") if old] + [known]
        while len(",".join(history)) > MAX_HISTORY:
            history.pop(0)
        out[HISTORY] = ",".join(history)
    return out
