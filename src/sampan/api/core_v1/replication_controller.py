"""ReplicationController.

Source: kubernetes/pkg/registry/core/replicationcontroller/strategy.go; defaults.go
"""

from __future__ import annotations

from sampan.api.core_v1.pod_spec import default_pod_template
from sampan.api.core_v1.pod_validation import validate_pod_template
from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age, containers_cells, labels_text
from sampan.api.validation.workload import SPEC, nonnegative


class ReplicationController(Kind):
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
        template = spec.get("template")
        if template is not None:
            default_pod_template(template)
        labels = ((template or {}).get("metadata") or {}).get("labels")
        if labels:
            if not spec.get("selector"):
                spec["selector"] = dict(labels)
            if not obj["metadata"].get("labels"):
                obj["metadata"]["labels"] = dict(labels)
        spec.setdefault("replicas", 1)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj["spec"]
        nonnegative(spec, out, "replicas", "minReadySeconds")
        selector, template = spec.get("selector") or {}, spec.get("template") or {}
        if not selector:
            out.required(SPEC / "selector", "")
        labels = (template.get("metadata") or {}).get("labels") or {}
        if any(labels.get(key) != value for key, value in selector.items()):
            detail = "`selector` does not match template `labels`"
            out.invalid(SPEC / "template" / "metadata" / "labels", labels, detail)
        out.extend(validate_pod_template(template, SPEC / "template"))
        return out

    def selectable_fields(self, obj: Obj) -> dict[str, str]:
        return {"status.replicas": str((obj.get("status") or {}).get("replicas", 0))}

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
        containers, images = containers_cells((spec.get("template") or {}).get("spec") or {})
        return [
            meta["name"],
            spec.get("replicas", 0),
            status.get("replicas", 0),
            status.get("readyReplicas", 0),
            age(meta.get("creationTimestamp"), now),
            containers,
            images,
            labels_text(spec.get("selector")),
        ]
