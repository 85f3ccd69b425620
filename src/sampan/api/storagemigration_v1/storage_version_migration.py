"""StorageVersionMigration.

Source: kubernetes/pkg/apis/storagemigration/validation/validation.go; printStorageVersionMigration
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age
from sampan.api.validation.meta import validate_conditions, validate_immutable
from sampan.api.validation.workload import SPEC, STATUS


class StorageVersionMigration(Kind):
    unconditional_update = False
    has_generation = False
    status_alone = True
    not_enforced = True
    has_status = True
    columns = (NAME, Column("Resource"), AGE)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        resource, here = (obj.get("spec") or {}).get("resource") or {}, SPEC / "resource"
        if not resource.get("resource"):
            out.required(here / "resource", "resource is required")
        else:
            out.each(here / "resource", resource["resource"], names.is_dns1123_label(resource["resource"]))
        if resource.get("group"):
            out.each(here / "group", resource["group"], names.is_dns1123_subdomain(resource["group"]))
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        return validate_immutable(obj.get("spec"), old.get("spec"), SPEC)

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        status, was = obj.get("status") or {}, old.get("status") or {}
        out.extend(validate_conditions(status.get("conditions"), STATUS / "conditions"))
        if was.get("resourceVersion"):
            out.extend(
                validate_immutable(status.get("resourceVersion"), was["resourceVersion"], STATUS / "resourceVersion")
            )
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        resource = (obj.get("spec") or {}).get("resource") or {}
        return [meta["name"], resource.get("resource", ""), old]
