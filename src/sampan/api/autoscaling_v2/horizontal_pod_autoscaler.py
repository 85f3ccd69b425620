"""HorizontalPodAutoscaler, v2.

Source: kubernetes/pkg/apis/autoscaling/{v2/defaults,validation/validation}.go; printHorizontalPodAutoscaler
"""

from __future__ import annotations

from typing import Any

from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import NONE, UNKNOWN, UNSET, age
from sampan.api.validation.autoscalers import autoscaler, autoscaler_status

_UP = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_DOWN = {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}


class HorizontalPodAutoscaler(Kind):
    has_status = True
    columns = (
        NAME,
        Column("Reference"),
        Column("Targets"),
        Column("MinPods"),
        Column("MaxPods"),
        Column("Replicas", "integer"),
        AGE,
    )

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("minReplicas", 1)
        if not spec.get("metrics"):
            target = {"type": "Utilization", "averageUtilization": 80}
            spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
        behavior = spec.get("behavior")
        if behavior is not None:
            for name, defaults in (("scaleUp", _UP), ("scaleDown", _DOWN)):
                rules: dict[str, Any] = behavior.setdefault(name, {})
                for key, value in defaults.items():
                    if rules.get(key) is None:
                        rules[key] = value

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        autoscaler(obj["spec"], out)
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        autoscaler_status(obj, out)
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
        target = spec["scaleTargetRef"]
        low = spec.get("minReplicas")
        return [
            meta["name"],
            f"{target.get('kind', '')}/{target.get('name', '')}",
            _targets(spec.get("metrics") or [], status.get("currentMetrics") or []),
            str(low) if low is not None else UNSET,
            str(spec.get("maxReplicas", 0)),
            status.get("currentReplicas", 0),
            age(meta.get("creationTimestamp"), now),
        ]


def _targets(metrics: list[Obj], current: list[Obj]) -> str:
    if not metrics:
        return NONE
    shown = []
    for index, metric in enumerate(metrics[:2]):
        kind = metric.get("type", "")
        source = metric.get(kind[:1].lower() + kind[1:]) or {}
        now = (
            (current[index].get(kind[:1].lower() + kind[1:]) or {}).get("current") or {} if index < len(current) else {}
        )
        wanted = source.get("target") or {}
        name = f"{source.get('name', '')}: " if kind in ("Resource", "ContainerResource") else ""
        if wanted.get("averageUtilization") is not None:
            have = now.get("averageUtilization")
            shown.append(f"{name}{UNKNOWN if have is None else f'{have}%'}/{wanted['averageUtilization']}%")
        elif wanted.get("averageValue") is not None:
            shown.append(f"{name}{now.get('averageValue') or UNKNOWN}/{wanted['averageValue']} (avg)")
        else:
            shown.append(f"{name}{now.get('value') or UNKNOWN}/{wanted.get('value', '')}")
    more = f" + {len(metrics) - 2} more..." if len(metrics) > 2 else ""
    return ", ".join(shown) + more
