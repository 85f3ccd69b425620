"""ResourceSlice.

Source: kubernetes/pkg/registry/resource/resourceslice/strategy.go; printResourceSlice
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.field import ErrorList, go_quote
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.resource_v1.defaults import date_taints
from sampan.api.table import age
from sampan.api.validation.devices import slice_spec
from sampan.api.validation.meta import validate_immutable
from sampan.api.validation.workload import SPEC

LISTS = ("bools", "ints", "strings", "versions")


class ResourceSlice(Kind):
    not_enforced = True
    columns = (NAME, Column("Node"), Column("Driver"), Column("Pool"), AGE)

    def selectable_fields(self, obj: Obj) -> dict[str, str]:
        spec = obj.get("spec") or {}
        return {"spec.nodeName": spec.get("nodeName") or "", "spec.driver": spec.get("driver", "")}

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        self.prepare_for_update(obj, {}, ctx)

    def prepare_for_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        spec, was = obj.get("spec") or {}, old.get("spec") or {}
        # DRAResourcePoolStatus, DRANodeAllocatableResources and DRAListTypeAttributes are off
        if was.get("partitionTypeAttribute") is None:
            spec.pop("partitionTypeAttribute", None)
        if not any(device.get("nodeAllocatableResources") for device in was.get("devices") or ()):
            for device in spec.get("devices") or ():
                device.pop("nodeAllocatableResources", None)
        if not any(name in attribute for attribute in _attributes(was) for name in LISTS):
            for attribute in _attributes(spec):
                for name in LISTS:
                    attribute.pop(name, None)
        date_taints((taint for device in spec.get("devices") or () for taint in device.get("taints") or ()), ctx)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        slice_spec(obj.get("spec") or {}, SPEC, out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = self.validate(obj)
        new, was = obj.get("spec") or {}, old.get("spec") or {}
        for name in ("driver", "nodeName"):
            out.extend(validate_immutable(new.get(name), was.get(name), SPEC / name))
        pool, before = (spec.get("pool") or {} for spec in (new, was))
        out.extend(validate_immutable(pool.get("name"), before.get("name"), SPEC / "pool" / "name"))
        return out

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        driver = (obj.get("spec") or {}).get("driver", "")
        if driver == driver.lower():
            return []
        said = f"driver names should be lowercase; {go_quote(driver)} contains uppercase characters"
        return [f"{SPEC / 'driver'}: {said}"]

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        spec = obj.get("spec") or {}
        return [
            meta["name"],
            spec.get("nodeName") or "",
            spec.get("driver", ""),
            (spec.get("pool") or {}).get("name", ""),
            old,
        ]


def _attributes(spec: Obj) -> Iterator[Obj]:
    for device in spec.get("devices") or ():
        yield from (device.get("attributes") or {}).values()
