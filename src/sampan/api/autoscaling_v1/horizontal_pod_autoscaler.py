"""HorizontalPodAutoscaler, v1: stored as v2, which says more; what v1 cannot say is kept in annotations.

Source: kubernetes/pkg/apis/autoscaling/v1/conversion.go
"""

from __future__ import annotations

from typing import Any

import orjson

from sampan.api.autoscaling_v2.horizontal_pod_autoscaler import HorizontalPodAutoscaler as V2
from sampan.api.field import ErrorList
from sampan.api.kind import Cell, Kind, Obj
from sampan.api.validation.autoscalers import autoscaler, autoscaler_status

METRICS = "autoscaling.alpha.kubernetes.io/metrics"
BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"


class HorizontalPodAutoscaler(Kind):
    has_status = True
    has_generation = False
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

    def to_storage(self, obj: Obj) -> Obj:
        spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
        meta = dict(obj["metadata"])
        annotations = dict(meta.get("annotations") or {})
        metrics: list[Any] = orjson.loads(annotations.pop(METRICS, "[]"))
        behavior = annotations.pop(BEHAVIOR, None)
        utilization = spec.pop("targetCPUUtilizationPercentage", None)
        if utilization is not None:
            metrics.insert(0, _cpu({"target": {"type": "Utilization", "averageUtilization": utilization}}))
        if not metrics:
            metrics.append(_cpu({"target": {"type": "Utilization", "averageUtilization": 80}}))
        spec["metrics"] = metrics
        if behavior:
            spec["behavior"] = orjson.loads(behavior)
        now = status.pop("currentCPUUtilizationPercentage", None)
        if now is not None:
            status["currentMetrics"] = [_cpu({"current": {"averageUtilization": now}})]
        status.setdefault("desiredReplicas", 0)
        status.setdefault("currentMetrics", None)
        if annotations:
            meta["annotations"] = annotations
        else:
            meta.pop("annotations", None)
        return {**obj, "apiVersion": "autoscaling/v2", "metadata": meta, "spec": spec, "status": status}

    def from_storage(self, obj: Obj) -> Obj:
        spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
        meta = dict(obj["metadata"])
        annotations = dict(meta.get("annotations") or {})
        others = []
        for metric in spec.pop("metrics", None) or ():
            target = (metric.get("resource") or {}).get("target") or {}
            is_cpu = metric.get("type") == "Resource" and metric["resource"].get("name") == "cpu"
            if is_cpu and target.get("averageUtilization") is not None and "targetCPUUtilizationPercentage" not in spec:
                spec["targetCPUUtilizationPercentage"] = target["averageUtilization"]
            else:
                others.append(metric)
        if others:
            annotations[METRICS] = orjson.dumps(others).decode()
        behavior = spec.pop("behavior", None)
        if behavior:
            annotations[BEHAVIOR] = orjson.dumps(behavior).decode()
        for metric in status.pop("currentMetrics", None) or ():
            current = (metric.get("resource") or {}).get("current") or {}
            if current.get("averageUtilization") is not None:
                status["currentCPUUtilizationPercentage"] = current["averageUtilization"]
        status.pop("conditions", None)
        status.setdefault("currentReplicas", 0)
        status.setdefault("desiredReplicas", 0)
        if annotations:
            meta["annotations"] = annotations
        return {**obj, "apiVersion": "autoscaling/v1", "metadata": meta, "spec": spec, "status": status}

    def row(self, obj: Obj, now: float) -> list[Cell]:
        return V2.row(self, self.to_storage(obj), now)  # type: ignore[arg-type]


def _cpu(values: Obj) -> Obj:
    return {"type": "Resource", "resource": {"name": "cpu", **values}}
