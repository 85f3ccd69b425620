"""ReplicationController.

Source: kubernetes/pkg/registry/core/replicationcontroller/strategy.go; defaults.go
"""

from __future__ import annotations

from sampan.api.core_v1.pod_spec import default_pod_template
from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age, containers_cells, labels_text
from sampan.api.validation import pod_warnings
from sampan.api.validation.pods import pod_template
from sampan.api.validation.workload import NO_MATCH, SPEC, nonnegative, runs_forever, status_counts

COUNTS = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration")


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
        selector, template = spec.get("selector") or {}, spec.get("template")
        if not selector:
            out.required(SPEC / "selector", "")
        if template is None:
            out.required(SPEC / "template", "")
            return out
        labels = (template.get("metadata") or {}).get("labels") or {}
        if any(labels.get(key) != value for key, value in selector.items()):
            out.invalid(SPEC / "template" / "metadata" / "labels", labels, NO_MATCH)
        pod_template(template, SPEC / "template", out)
        runs_forever(template, "ReplicationController", out)
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
