"""StatefulSet.

Source: kubernetes/pkg/registry/apps/statefulset/strategy.go, pkg/apis/apps/{v1/defaults,validation/validation}.go
"""

from __future__ import annotations

from sampan.api.core_v1.pod_spec import default_pod_template
from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age, containers_cells
from sampan.api.validation.meta import validate_nonnegative
from sampan.api.validation.workload import SPEC, nonnegative, selector_and_template

MUTABLE = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip
CHANGED = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


class StatefulSet(Kind):
    has_status = True
    scale_paths = ("spec.replicas", "status.replicas", "spec.selector")
    columns = (NAME, Column("Ready"), AGE, Column("Containers", priority=1), Column("Images", priority=1))

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        default_pod_template(spec.setdefault("template", {}))
        spec.setdefault("podManagementPolicy", "OrderedReady")
        strategy = spec.setdefault("updateStrategy", {})
        if not strategy.get("type"):
            strategy["type"] = "RollingUpdate"
        if strategy["type"] == "RollingUpdate":
            strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
        retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
        for when in ("whenDeleted", "whenScaled"):
            if not retention.get(when):
                retention[when] = "Retain"
        spec.setdefault("replicas", 1)
        spec.setdefault("revisionHistoryLimit", 10)
        for claim in spec.get("volumeClaimTemplates") or ():
            claim.setdefault("kind", "PersistentVolumeClaim")
            claim.setdefault("apiVersion", "v1")
            claim.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
            status = claim.setdefault("status", {})
            if not status.get("phase"):
                status["phase"] = "Pending"

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj["spec"]
        policy = spec.get("podManagementPolicy")
        if policy not in ("OrderedReady", "Parallel"):
            detail = "must be 'OrderedReady' or 'Parallel'"
            out.invalid(SPEC / "podManagementPolicy", policy or "", detail)
        strategy = spec.get("updateStrategy") or {}
        kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
        if kind == "OnDelete" and rolling is not None:
            detail = "only allowed for updateStrategy 'RollingUpdate'"
            out.invalid(SPEC / "updateStrategy" / "rollingUpdate", rolling, detail)
        elif kind not in ("OnDelete", "RollingUpdate"):
            out.invalid(SPEC / "updateStrategy", strategy, "must be 'RollingUpdate' or 'OnDelete'")
        if rolling is not None:
            here = SPEC / "updateStrategy" / "rollingUpdate" / "partition"
            out.extend(validate_nonnegative(rolling.get("partition") or 0, here))
        nonnegative(spec, out, "replicas", "minReadySeconds")
        start = (spec.get("ordinals") or {}).get("start", 0)
        out.extend(validate_nonnegative(start, SPEC / "ordinals" / "start"))
        selector_and_template(spec, out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = self.validate(obj)
        new, was = ({k: v for k, v in o["spec"].items() if k not in MUTABLE} for o in (obj, old))
        if new != was:
            out.forbidden(SPEC, CHANGED)
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
        containers, images = containers_cells(spec["template"]["spec"])
        ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
        return [meta["name"], ready, age(meta.get("creationTimestamp"), now), containers, images]
