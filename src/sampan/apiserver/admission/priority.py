"""A pod's priority is that of its class; at most one class is the default of pods that name none.

Source: kubernetes/plugin/pkg/admission/priority/admission.go
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sampan.api.kind import Obj
from sampan.apiserver.admission.chain import Attributes, Plugin
from sampan.apiserver.admission.lookup import Overview

PREEMPT = "PreemptLowerPriority"


@dataclass(frozen=True, slots=True)
class _Class:
    name: str
    value: int
    preemption: str


@dataclass(frozen=True, slots=True)
class _Classes:
    by_name: dict[str, _Class]
    default: _Class | None


def _all(objs: Iterable[Obj]) -> _Classes:
    by_name: dict[str, _Class] = {}
    default: _Class | None = None
    for obj in objs:
        name = obj["metadata"]["name"]
        found = by_name[name] = _Class(name, obj.get("value", 0), obj.get("preemptionPolicy", ""))
        # two can be default after a race: the lowest wins
        if obj.get("globalDefault") and (default is None or default.value > found.value):
            default = found
    return _Classes(by_name, default)


class Priority(Plugin):
    resources = frozenset({("", "pods"), ("scheduling.k8s.io", "priorityclasses")})
    operations = frozenset({"CREATE", "UPDATE"})

    def __init__(self) -> None:
        self.classes = Overview("scheduling.k8s.io", "priorityclasses", _all)

    async def mutate(self, attributes: Attributes) -> None:
        """Raises 403 for a class that is not there, and for a number that is not the class's."""
        if attributes.resource != "pods" or attributes.obj is None:
            return
        spec = attributes.obj["spec"]
        if attributes.operation == "UPDATE":
            self._keep(spec, (attributes.old or {}).get("spec") or {})
            return
        found = await self._class(attributes, spec.get("priorityClassName") or "")
        if found.name:
            spec["priorityClassName"] = found.name
        given = spec.get("priority")
        if given is not None and given != found.value:
            raise attributes.forbidden(
                f"the integer value of priority ({given}) must not be provided in pod spec; "
                f"priority admission controller computed {found.value} from the given PriorityClass name"
            )
        spec["priority"] = found.value
        policy = spec.get("preemptionPolicy")
        if not found.preemption:
            return
        if policy and policy != found.preemption:
            raise attributes.forbidden(
                f"the string value of PreemptionPolicy ({policy}) must not be provided in pod spec; "
                f"priority admission controller computed {found.preemption} from the given PriorityClass name"
            )
        spec["preemptionPolicy"] = found.preemption

    async def validate(self, attributes: Attributes) -> None:
        """Raises 403 for a second default."""
        if attributes.resource != "priorityclasses" or not (attributes.obj or {}).get("globalDefault"):
            return
        assert attributes.obj is not None
        default = self.classes.of(attributes.api).default
        if default is None:
            return
        if attributes.operation == "CREATE" or default.name != attributes.obj["metadata"]["name"]:
            why = f"PriorityClass {default.name} is already marked as default. Only one default can exist"
            raise attributes.forbidden(why)

    async def _class(self, attributes: Attributes, name: str) -> _Class:
        classes = self.classes.of(attributes.api)
        if not name:
            return classes.default or _Class("", 0, PREEMPT)
        if name not in classes.by_name and not attributes.api.local:
            await attributes.api.fresh()
            classes = self.classes.of(attributes.api)
        if name not in classes.by_name:
            raise attributes.forbidden(f"no PriorityClass with name {name} was found")
        return classes.by_name[name]

    @staticmethod
    def _keep(spec: Obj, old: Obj) -> None:
        """A client that does not know what was set here does not take it away."""
        for field in ("priority", "preemptionPolicy"):
            if spec.get(field) is None and old.get(field) is not None:
                spec[field] = old[field]
