"""Deployment.

Source: kubernetes/pkg/registry/apps/deployment/strategy.go, pkg/apis/apps/{v1/defaults,validation/validation}.go
"""

from __future__ import annotations

from sampan.api.core_v1.pod_spec import default_pod_template
from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj, keep
from sampan.api.table import age, containers_cells, selector_text
from sampan.api.validation import pod_warnings
from sampan.api.validation.workload import (
    SPEC,
    int_or_percent,
    is_zero,
    nonnegative,
    not_decremented,
    not_over_hundred,
    selector_and_template,
    selector_unchanged,
    status_counts,
)

COUNTS = (
    "observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas",
    "collisionCount",
)  # fmt: skip


class Deployment(Kind):
    has_status = True
    scale_paths = ("spec.replicas", "status.replicas", "spec.selector")
    columns = (
        NAME,
        Column("Ready"),
        Column("Up-to-date"),
        Column("Available"),
        AGE,
        Column("Containers", priority=1),
        Column("Images", priority=1),
        Column("Selector", priority=1),
    )

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        default_pod_template(spec.setdefault("template", {}))
        spec.setdefault("replicas", 1)
        strategy = spec.setdefault("strategy", {})
        if not strategy.get("type"):
            strategy["type"] = "RollingUpdate"
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", "25%")
            rolling.setdefault("maxSurge", "25%")
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)

    def prepare_for_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        # annotations are copied to replica sets: a change of them has to be observed like one of the spec
        meta, was = obj["metadata"], old["metadata"]
        if (meta.get("annotations") or {}) != (was.get("annotations") or {}):
            meta["generation"] = was.get("generation", 0) + 1

    def prepare_for_status_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        keep(obj["metadata"], old["metadata"], "labels")

    def reset_fields(self, subresource: str) -> tuple[str, ...]:
        return ("spec", "metadata.labels") if subresource == "status" else super().reset_fields(subresource)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj["spec"]
        nonnegative(spec, out, "replicas")
        selector_and_template(spec, out)
        strategy = spec.get("strategy") or {}
        here = SPEC / "strategy"
        kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
        if kind == "Recreate":
            if rolling is not None:
                out.forbidden(here / "rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
        elif kind == "RollingUpdate":
            if rolling is None:
                out.required(here / "rollingUpdate", "this should be defaulted and never be nil")
            else:
                _rolling(rolling, out)
        else:
            out.not_supported(here, strategy, ("Recreate", "RollingUpdate"))
        nonnegative(spec, out, "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
        deadline = spec.get("progressDeadlineSeconds")
        if deadline is not None and deadline <= spec.get("minReadySeconds", 0):
            out.invalid(SPEC / "progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = self.validate(obj)
        selector_unchanged(obj, old, out)
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        status_counts(obj.get("status") or {}, out, *COUNTS, within=COUNTS[2:5])
        not_decremented(obj, old, "collisionCount", out)
        return out

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        return pod_warnings.owner(obj, old)

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
        containers, images = containers_cells(spec["template"]["spec"])
        return [
            meta["name"],
            f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
            str(status.get("updatedReplicas", 0)),
            str(status.get("availableReplicas", 0)),
            age(meta.get("creationTimestamp"), now),
            containers,
            images,
            selector_text(spec.get("selector")),
        ]


def _rolling(rolling: Obj, out: ErrorList) -> None:
    here = SPEC / "strategy" / "rollingUpdate"
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    int_or_percent(unavailable, here / "maxUnavailable", out)
    int_or_percent(surge, here / "maxSurge", out)
    if is_zero(unavailable) and is_zero(surge):
        out.invalid(here / "maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")
    not_over_hundred(unavailable, here / "maxUnavailable", out)
