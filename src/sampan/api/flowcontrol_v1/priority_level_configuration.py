"""PriorityLevelConfiguration.

Source: kubernetes/pkg/apis/flowcontrol/v1/defaults.go; printPriorityLevelConfiguration
"""

from __future__ import annotations

from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import NONE, age
from sampan.api.validation.flows import conditions, priority_level


class PriorityLevelConfiguration(Kind):
    status_alone = True
    has_status = True
    not_enforced = True
    columns = (
        NAME,
        Column("Type"),
        Column("NominalConcurrencyShares"),
        Column("Queues"),
        Column("HandSize"),
        Column("QueueLengthLimit"),
        AGE,
    )

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        for name, shares in (("limited", 30), ("exempt", 0)):
            part = spec.get(name)
            if part is not None:
                part.setdefault("nominalConcurrencyShares", shares)
                part.setdefault("lendablePercent", 0)
        queuing = ((spec.get("limited") or {}).get("limitResponse") or {}).get("queuing")
        if queuing is not None:
            for name, value in (("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)):
                if not queuing.get(name):
                    queuing[name] = value

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        priority_level(obj, out)
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        conditions(obj, out)
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec = obj["metadata"], obj["spec"]
        part = spec.get("limited") or spec.get("exempt") or {}
        queuing = (part.get("limitResponse") or {}).get("queuing") or {}
        numbers = [
            str(queuing[name]) if name in queuing else NONE for name in ("queues", "handSize", "queueLengthLimit")
        ]
        shares = part.get("nominalConcurrencyShares")
        shown = str(shares) if shares is not None else NONE
        return [meta["name"], spec.get("type", ""), shown, *numbers, age(meta.get("creationTimestamp"), now)]
