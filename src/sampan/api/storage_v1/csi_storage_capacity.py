"""CSIStorageCapacity.

Source: kubernetes/pkg/printers/internalversion/printers.go (printCSIStorageCapacity)
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import NAME, Cell, Column, Kind, Obj
from sampan.api.table import UNSET
from sampan.api.validation.meta import validate_immutable, validate_label_selector
from sampan.api.validation.node_labels import selector_warnings
from sampan.api.validation.resources import nonnegative_quantity


class CSIStorageCapacity(Kind):
    unconditional_update = False
    has_generation = False
    columns = (NAME, Column("StorageClassName"), Column("Capacity"))

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        out.extend(validate_label_selector(obj.get("nodeTopology"), Path("nodeTopology")))
        name = obj.get("storageClassName", "")
        out.each(Path("storageClassName"), name, names.is_dns1123_subdomain(name))
        if obj.get("capacity") is not None:
            nonnegative_quantity(obj["capacity"], Path("capacity"), out)
        if obj.get("maximumVolumeSize") is not None:
            nonnegative_quantity(obj["maximumVolumeSize"], Path("maximumVolumeSize"), out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        for field in ("nodeTopology", "storageClassName"):
            out.extend(validate_immutable(obj.get(field), old.get(field), Path(field)))
        return out

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        return selector_warnings(obj.get("nodeTopology"), Path("nodeTopology"))

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        return [meta["name"], obj.get("storageClassName", ""), obj.get("capacity") or UNSET]
