"""HorizontalPodAutoscaler, v1: stored as v2, which says more; what v1 cannot say is kept in annotations.

Source: kubernetes/pkg/apis/autoscaling/v1/conversion.go
"""

from __future__ import annotations

from sampan.api.autoscaling_v1.annotations import (
    BEHAVIOR,
    CONDITIONS,
    CURRENT,
    METRICS,
    SPEC,
    STATUS,
    behavior_from_v1,
    behavior_to_v1,
    from_v1,
    read,
    to_v1,
    written,
)
from sampan.api.autoscaling_v2.horizontal_pod_autoscaler import HorizontalPodAutoscaler as V2
from sampan.api.field import ErrorList
from sampan.api.kind import Cell, Context, Kind, Obj
from sampan.api.validation.autoscalers import autoscaler, autoscaler_status


class HorizontalPodAutoscaler(Kind):
    has_status = True
    columns = V2.columns

    def default(self, obj: Obj) -> None:
        obj.setdefault("spec", {}).setdefault("minReplicas", 1)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        autoscaler(self.to_storage(obj)["spec"], out)
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        autoscaler_status(obj, out)
        return out

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        super().prepare_for_create(obj, ctx)
        _keep(obj, {"metadata": {}}, STATUS)

    def prepare_for_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        super().prepare_for_update(obj, old, ctx)
        _keep(obj, old, STATUS)

    def prepare_for_status_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        super().prepare_for_status_update(obj, old, ctx)
        _keep(obj, old, SPEC)

    def to_storage(self, obj: Obj) -> Obj:
        spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
        meta = dict(obj["metadata"])
        notes = dict(meta.get("annotations") or {})
        metrics, behavior, current, conditions = (notes.pop(name, None) for name in (*SPEC, *STATUS))
        asked = [from_v1(metric, current=False) for metric in read(metrics, list)]
        utilization = spec.pop("targetCPUUtilizationPercentage", None)
        if utilization is not None:
            asked.insert(0, _cpu({"target": {"type": "Utilization", "averageUtilization": utilization}}))
        spec["metrics"] = asked or [_cpu({"target": {"type": "Utilization", "averageUtilization": 80}})]
        if behavior:
            spec["behavior"] = behavior_from_v1(read(behavior, dict))
        now = status.pop("currentCPUUtilizationPercentage", None)
        status.setdefault("desiredReplicas", 0)
        status["currentMetrics"] = [from_v1(metric, current=True) for metric in read(current, list)] or None
        if now is not None and not status["currentMetrics"]:
            status["currentMetrics"] = [_cpu({"current": {"averageUtilization": now}})]
        if found := read(conditions, list):
            status["conditions"] = found
        meta.pop("annotations", None)
        if notes:
            meta["annotations"] = notes
        return {**obj, "apiVersion": "autoscaling/v2", "metadata": meta, "spec": spec, "status": status}

    def from_storage(self, obj: Obj) -> Obj:
        spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
        meta = dict(obj["metadata"])
        notes = dict(meta.get("annotations") or {})
        others = []
        for metric in spec.pop("metrics", None) or ():
            utilization = _of_cpu(metric, "target")
            if utilization is not None:
                spec.setdefault("targetCPUUtilizationPercentage", utilization)
            else:
                others.append(to_v1(metric, current=False))
        if others:
            notes[METRICS] = written(others)
        behavior = spec.pop("behavior", None)
        if behavior is not None:
            notes[BEHAVIOR] = written(behavior_to_v1(behavior))
        current = status.pop("currentMetrics", None) or ()
        if current:
            notes[CURRENT] = written([to_v1(metric, current=True) for metric in current])
        for metric in current:
            utilization = _of_cpu(metric, "current")
            if utilization is not None:
                status["currentCPUUtilizationPercentage"] = utilization
        conditions = status.pop("conditions", None)
        if conditions:
            notes[CONDITIONS] = written(conditions)
        status.setdefault("currentReplicas", 0)
        status.setdefault("desiredReplicas", 0)
        if notes:
            meta["annotations"] = notes
        return {**obj, "apiVersion": "autoscaling/v1", "metadata": meta, "spec": spec, "status": status}

    def row(self, obj: Obj, now: float) -> list[Cell]:
        return V2.row(self, self.to_storage(obj), now)  # type: ignore[arg-type]


def _cpu(values: Obj) -> Obj:
    return {"type": "Resource", "resource": {"name": "cpu", **values}}


def _of_cpu(metric: Obj, side: str) -> int | None:
    """Percent, of the metric that v1 has fields for."""
    source = metric.get("resource") or {}
    if metric.get("type") != "Resource" or source.get("name") != "cpu":
        return None
    found: int | None = (source.get(side) or {}).get("averageUtilization")
    return found


def _keep(obj: Obj, old: Obj, names: tuple[str, ...]) -> None:
    """Annotations that are part of what is not written here."""
    before = old["metadata"].get("annotations") or {}
    after = {name: text for name, text in (obj["metadata"].get("annotations") or {}).items() if name not in names}
    after |= {name: before[name] for name in names if name in before}
    obj["metadata"].pop("annotations", None)
    if after:
        obj["metadata"]["annotations"] = after
