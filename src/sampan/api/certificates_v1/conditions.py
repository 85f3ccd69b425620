"""Conditions of requests: what is decided stays as it is, and each has the time it needs.

Source: kubernetes/pkg/registry/certificates/{certificates,podcertificaterequest}/strategy.go
"""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api.kind import Obj


def date(obj: Obj, old: Obj, now: str, *, updates: bool = True) -> None:
    """Set the times that conditions lack. `updates`: they have a lastUpdateTime too."""
    before = (old.get("status") or {}).get("conditions") or ()
    for item in (obj.get("status") or {}).get("conditions") or ():
        if updates and not item.get("lastUpdateTime"):
            item["lastUpdateTime"] = now
        if not item.get("lastTransitionTime"):
            same = (known for known in before if all(known.get(name) == item.get(name) for name in ("type", "status")))
            since = (known["lastTransitionTime"] for known in same if known.get("lastTransitionTime"))
            item["lastTransitionTime"] = next(since, now)


def preserve(new: Obj, old: Obj, kinds: Sequence[str]) -> None:
    """Conditions of these kinds are as they were, unless there are more or fewer: that is for validation to tell."""
    conditions = (new.get("status") or {}).get("conditions") or []
    before = (old.get("status") or {}).get("conditions") or []
    for kind in kinds:
        places = [index for index, item in enumerate(conditions) if item.get("type") == kind]
        known = [item for item in before if item.get("type") == kind]
        if len(places) == len(known):
            for index, item in zip(places, known, strict=True):
                conditions[index] = dict(item)
