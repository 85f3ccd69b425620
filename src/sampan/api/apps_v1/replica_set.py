"""ReplicaSet.

Source: kubernetes/pkg/registry/apps/replicaset/strategy.go, pkg/apis/apps/{v1/defaults,validation/validation}.go
"""

from __future__ import annotations

from sampan.api.core_v1.pod_spec import default_pod_template
from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age, containers_cells, selector_text
from sampan.api.validation import pod_warnings
from sampan.api.validation.workload import (
    SPEC,
    nonnegative,
    selector_and_template,
    selector_unchanged,
    status_counts,
)

COUNTS = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration")


class ReplicaSet(Kind):
    has_status = True
    scale_paths = ("spec.replicas", "status.replicas", "spec.selector")
    columns = (
        NAME,
        Column("Desired", "integer"),
        Column("Current", "integer"),
        Column("Ready", "integer"),
        AGE,
        Column("Containers", priority=1),
        Column("Images", priority=1),
        Column("Selector", priority=1),
    )

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        default_pod_template(spec.setdefault("template", {}))
        spec.setdefault("replicas", 1)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        nonnegative(obj["spec"], out, "replicas", "minReadySeconds")
        selector_and_template(obj["spec"], out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = self.validate(obj)
        selector_unchanged(obj, old, out)
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        status_counts(obj.get("status") or {}, out, *COUNTS, within=COUNTS[1:4])
        return out

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        if old is not None and obj["spec"].get("template") == old["spec"].get("template"):
            return []
        return pod_warnings.template(obj["spec"].get("template"), SPEC / "template")

    def selectable_fields(self, obj: Obj) -> dict[str, str]:
        return {"status.replicas": str((obj.get("status") or {}).get("replicas", 0))}

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
        containers, images = containers_cells(spec["template"]["spec"])
        return [
            meta["name"],
            spec.get("replicas", 0),
            status.get("replicas", 0),
            status.get("readyReplicas", 0),
            age(meta.get("creationTimestamp"), now),
            containers,
            images,
            selector_text(spec.get("selector")),
        ]
