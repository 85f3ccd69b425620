"""PersistentVolumeClaim.

Source: kubernetes/pkg/registry/core/persistentvolumeclaim/strategy.go, pkg/api/persistentvolumeclaim/util.go;
printPersistentVolumeClaim
"""

from __future__ import annotations

from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.table import UNSET, age
from sampan.api.validation.claims import claim_spec, claim_status, claim_update
from sampan.api.validation.pod_warnings import claim_warnings
from sampan.api.validation.workload import SPEC

SHORT = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
OLD_CLASS = "volume.beta.kubernetes.io/storage-class"
#: group and kind of what `dataSource` alone may name
SOURCES = (("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot"))


def modes_text(modes: list[str] | None) -> str:
    """`RWO,ROX` in upstream's order."""
    return ",".join(short for mode, short in SHORT.items() if mode in (modes or ()))


class PersistentVolumeClaim(Kind):
    has_status = True
    has_generation = False
    columns = (
        NAME,
        Column("Status"),
        Column("Volume"),
        Column("Capacity"),
        Column("Access Modes"),
        Column("StorageClass"),
        Column("VolumeAttributesClass"),
        AGE,
        Column("VolumeMode", priority=1),
    )

    def default(self, obj: Obj) -> None:
        obj.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
        status = obj.setdefault("status", {})
        if not status.get("phase"):
            status["phase"] = "Pending"

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        obj["status"] = {"phase": "Pending"}
        _settle_sources(obj["spec"], {})

    def prepare_for_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        _settle_sources(obj["spec"], old["spec"])
        # one that was stored before this was done
        _fill_sources(old["spec"])

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        claim_spec(obj["spec"], SPEC, out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = self.validate(obj)
        claim_update(obj, old, out)
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        claim_status(obj, out)
        return out

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        out = claim_warnings(obj["spec"], SPEC)
        if OLD_CLASS in (obj["metadata"].get("annotations") or {}):
            said = 'deprecated since v1.8; use "storageClassName" attribute instead'
            return [f"{Path('metadata', 'annotations') @ OLD_CLASS}: {said}", *out]
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
        bound = bool(spec.get("volumeName"))
        shown = "Terminating" if meta.get("deletionTimestamp") else status.get("phase", "")
        return [
            meta["name"],
            shown,
            spec.get("volumeName", ""),
            (status.get("capacity") or {}).get("storage", "0") if bound else "",
            modes_text(status.get("accessModes")) if bound else "",
            spec.get("storageClassName") or (meta.get("annotations") or {}).get(OLD_CLASS, ""),
            spec.get("volumeAttributesClassName") or UNSET,
            age(meta.get("creationTimestamp"), now),
            spec.get("volumeMode") or UNSET,
        ]


def _settle_sources(spec: Obj, old: Obj) -> None:
    """`dataSource` and `dataSourceRef` say the same; what old clients could not have meant with the former goes."""
    if (spec.get("dataSourceRef") or {}).get("namespace") and "dataSourceRef" not in old:
        # CrossNamespaceVolumeDataSource is off
        del spec["dataSourceRef"]
    if "dataSourceRef" not in spec and not {"dataSource", "dataSourceRef"} & old.keys():
        source = spec.get("dataSource") or {}
        if (source.get("apiGroup") or "", source.get("kind")) not in SOURCES:
            spec.pop("dataSource", None)
    _fill_sources(spec)


def _fill_sources(spec: Obj) -> None:
    source, ref = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None and ref is None:
        spec["dataSourceRef"] = dict(source)
    elif ref is not None and source is None and not ref.get("namespace"):
        spec["dataSource"] = {name: value for name, value in ref.items() if name != "namespace"}
