"""CSIDriver.

Source: kubernetes/pkg/apis/storage/v1/defaults.go; printCSIDriver
"""

from __future__ import annotations

from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import NONE, UNSET, age
from sampan.api.validation.meta import validate_immutable
from sampan.api.validation.storage import driver_spec
from sampan.api.validation.volume_sources import csi_driver_name
from sampan.api.validation.workload import SPEC


class CSIDriver(Kind):
    unconditional_update = False
    columns = (
        NAME,
        Column("AttachRequired", "boolean"),
        Column("PodInfoOnMount", "boolean"),
        Column("StorageCapacity", "boolean"),
        Column("TokenRequests"),
        Column("RequiresRepublish", "boolean"),
        Column("Modes"),
        AGE,
    )

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        for name, value in (
            ("attachRequired", True),
            ("podInfoOnMount", False),
            ("storageCapacity", False),
            ("fsGroupPolicy", "ReadWriteOnceWithFSType"),
            ("requiresRepublish", False),
            ("seLinuxMount", False),
        ):
            spec.setdefault(name, value)
        if not spec.get("volumeLifecycleModes"):
            spec["volumeLifecycleModes"] = ["Persistent"]

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        csi_driver_name(obj["metadata"].get("name", ""), Path("metadata", "name"), out)
        driver_spec(obj["spec"], out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        new, was = obj["spec"], old["spec"]
        # upstream's spelling
        out.extend(validate_immutable(new.get("attachRequired"), was.get("attachRequired"), SPEC / "attachedRequired"))
        modes = new.get("volumeLifecycleModes")
        out.extend(validate_immutable(modes, was.get("volumeLifecycleModes"), SPEC / "volumeLifecycleModes"))
        driver_spec(new, out)
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec = obj["metadata"], obj["spec"]
        audiences = [item.get("audience", "") for item in spec.get("tokenRequests") or ()]
        return [
            meta["name"],
            bool(spec.get("attachRequired", True)),
            bool(spec.get("podInfoOnMount")),
            bool(spec.get("storageCapacity")),
            ",".join(audiences) if audiences else UNSET,
            bool(spec.get("requiresRepublish")),
            ",".join(spec.get("volumeLifecycleModes") or ()) or NONE,
            age(meta.get("creationTimestamp"), now),
        ]
