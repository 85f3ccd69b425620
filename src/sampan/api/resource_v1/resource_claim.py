"""ResourceClaim.

Source: kubernetes/pkg/registry/resource/resourceclaim/strategy.go; printResourceClaim
"""

from __future__ import annotations

from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.resource_v1.defaults import default_claim
from sampan.api.table import age
from sampan.api.validation.devices import claim_spec
from sampan.api.validation.meta import validate_immutable
from sampan.api.validation.workload import SPEC, STATUS

MAX_CONSUMERS = 256


class ResourceClaim(Kind):
    has_generation = False
    status_alone = True
    not_enforced = True
    has_status = True
    columns = (NAME, Column("State"), AGE)

    def default(self, obj: Obj) -> None:
        default_claim(obj.get("spec") or {})

    def prepare_for_status_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        """Clients that know nothing of the status of devices leave it behind when they let devices go."""
        status = obj.get("status") or {}
        gone = _allocated(old.get("status") or {}) - _allocated(status)
        if gone and status.get("devices"):
            left = [device for device in status["devices"] if _device(device) not in gone]
            obj["status"] = {**status, "devices": left}
            if not left:
                del obj["status"]["devices"]

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        claim_spec(obj.get("spec") or {}, SPEC, out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        return validate_immutable(obj.get("spec"), old.get("spec"), SPEC)

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        status, was = obj.get("status") or {}, old.get("status") or {}
        if was.get("allocation") is not None and status.get("allocation") is not None:
            out.extend(validate_immutable(status["allocation"], was["allocation"], STATUS / "allocation"))
        consumers, here = status.get("reservedFor") or [], STATUS / "reservedFor"
        if len(consumers) > MAX_CONSUMERS:
            out.too_many(here, len(consumers), MAX_CONSUMERS)
        seen: set[str] = set()
        for index, consumer in enumerate(consumers):
            for field in ("resource", "name", "uid"):
                if not consumer.get(field):
                    out.required(here @ index / field, "")
            if consumer.get("uid", "") in seen:
                out.duplicate(here @ index / "uid", consumer.get("uid", ""))
            seen.add(consumer.get("uid", ""))
        if consumers and status.get("allocation") is None:
            out.forbidden(here, "may not be specified when `allocated` is not set")
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        status = obj.get("status") or {}
        states = [
            name
            for name, on in (("allocated", status.get("allocation")), ("reserved", status.get("reservedFor")))
            if on
        ]
        return [meta["name"], ",".join(states) or "pending", old]


def _allocated(status: Obj) -> set[tuple[str | None, ...]]:
    results = ((status.get("allocation") or {}).get("devices") or {}).get("results") or ()
    return {_device(result) for result in results}


def _device(item: Obj) -> tuple[str | None, ...]:
    return tuple(item.get(name) for name in ("driver", "pool", "device", "shareID"))
