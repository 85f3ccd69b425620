"""A pod of a RuntimeClass gets that one's overhead, node selector and tolerations.

Source: kubernetes/plugin/pkg/admission/runtimeclass/admission.go, pkg/util/tolerations/tolerations.go
"""

from __future__ import annotations

from typing import Any

from sampan.api import quantity
from sampan.api.kind import Obj
from sampan.apiserver.admission.chain import Attributes, Plugin
from sampan.apiserver.admission.lookup import Parsed, find

DIFFERS = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
NOBODYS = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"


class RuntimeClass(Plugin):
    resources = frozenset({("", "pods")})
    operations = frozenset({"CREATE"})

    def __init__(self) -> None:
        self.parsed: Parsed[Obj] = Parsed(lambda obj: obj)

    async def mutate(self, attributes: Attributes) -> None:
        """Raises 403: no such class, another overhead, a node selector that contradicts it."""
        assert attributes.obj is not None
        spec = attributes.obj["spec"]
        found = await self._class(attributes, spec)
        if found is None:
            return
        overhead = found.get("overhead")
        if overhead is not None:
            fixed = overhead.get("podFixed") or {}
            if spec.get("overhead") and not _equal(spec["overhead"], fixed):
                raise attributes.forbidden(DIFFERS)
            if fixed:
                spec["overhead"] = dict(fixed)
        scheduling = found.get("scheduling")
        if scheduling is not None:
            _schedule(attributes, spec, scheduling)

    async def validate(self, attributes: Attributes) -> None:
        assert attributes.obj is not None
        spec = attributes.obj["spec"]
        if not spec.get("runtimeClassName") and not spec.get("overhead"):
            return
        found = await self._class(attributes, spec)
        if found is not None and found.get("overhead") is not None:
            if not _equal(spec.get("overhead") or {}, found["overhead"].get("podFixed") or {}):
                raise attributes.forbidden(DIFFERS)
        elif spec.get("overhead"):
            raise attributes.forbidden(NOBODYS)

    async def _class(self, attributes: Attributes, spec: Obj) -> Obj | None:
        name = spec.get("runtimeClassName")
        if name is None:
            return None
        record = await find(attributes.api, attributes.api.cached("node.k8s.io", "runtimeclasses"), name)
        if record is None:
            raise attributes.forbidden(f'pod rejected: RuntimeClass "{name}" not found')
        return self.parsed(record)


def _equal(one: dict[str, str], other: dict[str, str]) -> bool:
    return one.keys() == other.keys() and all(quantity.compare(one[name], other[name]) == 0 for name in one)


def _schedule(attributes: Attributes, spec: Obj, scheduling: Obj) -> None:
    wanted = scheduling.get("nodeSelector") or {}
    have = spec.get("nodeSelector") or {}
    for key in sorted(wanted):
        if key in have and have[key] != wanted[key]:
            raise attributes.forbidden(
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {wanted[key]}; "
                f"pod.spec.nodeSelector[{key}] = {have[key]}"
            )
    if wanted:
        spec["nodeSelector"] = {**have, **wanted}
    added = scheduling.get("tolerations") or []
    if added:
        spec["tolerations"] = merged(spec.get("tolerations") or [], added)


def merged(first: list[Obj], second: list[Obj]) -> list[Obj]:
    """All tolerations, without those that another one implies."""
    every = [*first, *second]
    out: list[Obj] = []
    for index, item in enumerate(every):
        # of two equal ones the earlier stays
        implied = any(_superset(other, item) for other in out) or any(
            other != item and _superset(other, item) for other in every[index + 1 :]
        )
        if not implied:
            out.append(item)
    return out


def _superset(one: Obj, other: Obj) -> bool:
    """`one` tolerates all that `other` does."""
    if one == other:
        return True
    if one.get("key", "") != other.get("key", "") and one.get("key"):
        return False
    if one.get("effect", "") != other.get("effect", "") and one.get("effect"):
        return False
    if one.get("effect") == "NoExecute":
        mine: Any = one.get("tolerationSeconds")
        theirs: Any = other.get("tolerationSeconds")
        if mine is not None and (theirs is None or mine < theirs):
            return False
    match one.get("operator", ""):
        case "" | "Equal":
            return other.get("operator", "") in ("", "Equal") and one.get("value", "") == other.get("value", "")
        case "Exists":
            return True
    return False
