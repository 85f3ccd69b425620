"""What ReplicaSet and ReplicationController have in common: pods of one template, so many of them.

Source: kubernetes/pkg/apis/apps/validation/validation.go, pkg/printers/internalversion/printers.go
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age, containers_cells
from sampan.api.validation import pod_warnings
from sampan.api.validation.workload import status_counts

COUNTS = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration")


class Replicas(Kind):
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

    @abstractmethod
    def selector_text(self, selector: Any) -> str:
        """As it is printed."""

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        status_counts(obj.get("status") or {}, out, *COUNTS, within=COUNTS[1:4])
        return out

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        # DEVIATION: of a ReplicationController upstream looks at the template that was, which is a bug there.
        return pod_warnings.owner(obj, old)

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
            self.selector_text(spec.get("selector")),
        ]
