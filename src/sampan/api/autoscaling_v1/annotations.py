"""What v1 of autoscalers has no fields for, as annotations: JSON of the metrics, the behavior, the status.

Metrics have the form they had in v2beta1: one level flatter than in v2. A behavior is written with the names that Go has
for its fields, and read however it is spelled.

Source: k8s.io/api/autoscaling/v1/types.go (MetricSpec, MetricStatus); kubernetes/pkg/apis/autoscaling/v1/conversion.go
"""

from __future__ import annotations

from typing import Any

import orjson

from sampan.api.kind import Obj

_PREFIX = "autoscaling.alpha.kubernetes.io/"
METRICS, BEHAVIOR = _PREFIX + "metrics", _PREFIX + "behavior"
CURRENT, CONDITIONS = _PREFIX + "current-metrics", _PREFIX + "conditions"
SPEC, STATUS = (METRICS, BEHAVIOR), (CURRENT, CONDITIONS)
#: by the field of v2 that holds a metric: what is said of it outside of its amounts
_COMMON = {
    "resource": ("name",), "containerResource": ("name", "container"), "pods": ("metricName", "selector"),
    "object": ("target", "metricName", "selector"), "external": ("metricName", "metricSelector"),
}  # fmt: skip
_KINDS = {name[0].upper() + name[1:]: name for name in _COMMON}
#: amounts: v2's name, v1's name for the target, and for what is
_AMOUNTS = {
    "resource": (
        ("averageUtilization", "targetAverageUtilization", "currentAverageUtilization"),
        ("averageValue", "targetAverageValue", "currentAverageValue"),
    ),
    "pods": (("averageValue", "targetAverageValue", "currentAverageValue"),),
    "object": (("value", "targetValue", "currentValue"), ("averageValue", "averageValue", "averageValue")),
    "external": (
        ("value", "targetValue", "currentValue"),
        ("averageValue", "targetAverageValue", "currentAverageValue"),
    ),
}  # fmt: skip
_AMOUNTS["containerResource"] = _AMOUNTS["resource"]
#: amounts that v1 cannot leave out
_ALWAYS = {
    ("object", "targetValue"), ("object", "currentValue"), ("external", "currentValue"), ("pods", "targetAverageValue"),
    ("pods", "currentAverageValue"), ("resource", "currentAverageValue"), ("containerResource", "currentAverageValue"),
}  # fmt: skip
_TYPES = {"averageUtilization": "Utilization", "averageValue": "AverageValue", "value": "Value"}
_SELECTORS = ("selector", "metricSelector")
_RULES = ("stabilizationWindowSeconds", "selectPolicy", "policies", "tolerance")


def read(text: str | None, kind: type) -> Any:
    """What an annotation says; empty where it is not JSON, or not of that kind: nobody is told of mistakes in it."""
    try:
        found = orjson.loads(text or "null")
    except ValueError:
        found = None
    if isinstance(found, list) and not all(isinstance(item, dict) for item in found):
        found = None
    return found if isinstance(found, kind) else kind()


def written(value: object) -> str:
    return orjson.dumps(value).decode()


# -- metrics -----------------------------------------------------------------------------------------------------------


def to_v1(metric: Obj, *, current: bool) -> Obj:
    """An entry of `spec.metrics`, or (`current`) of `status.currentMetrics`."""
    kind = _KINDS.get(metric.get("type", ""), "")
    source = metric.get(kind) or {}
    if not source:
        return {"type": metric.get("type", "")}
    amounts = source.get("current" if current else "target") or {}
    asked = source.get("metric") or {}
    known = {
        "name": source.get("name"), "container": source.get("container"), "target": source.get("describedObject"),
        "metricName": asked.get("name"), **dict.fromkeys(_SELECTORS, asked.get("selector")),
    }  # fmt: skip
    out = {name: known[name] for name in _COMMON[kind] if known[name] is not None}
    for name, *names in _AMOUNTS[kind]:
        amount = amounts.get(name)
        if amount is not None or (kind, names[current]) in _ALWAYS:
            out[names[current]] = "0" if amount is None else amount
    return {"type": metric["type"], kind: out}


def from_v1(metric: Obj, *, current: bool) -> Obj:
    kind = _KINDS.get(metric.get("type", ""), "")
    source = metric.get(kind)
    if not isinstance(source, dict):
        return {"type": metric.get("type", "")}
    amounts: Obj = {name: source[names[current]] for name, *names in _AMOUNTS[kind] if names[current] in source}
    if "averageValue" in amounts and str(amounts.get("value")) == "0":
        del amounts["value"]
    if not current:
        # what v1 asks for is told by what is there
        first = next(iter(amounts), "averageValue") if kind != "object" else next(reversed(amounts), "value")
        amounts = {"type": _TYPES[first], **amounts}
    out: Obj = {name: source[name] for name in ("name", "container") if name in source}
    if "metricName" in source:
        selector = next((source[name] for name in _SELECTORS if name in source), None)
        out["metric"] = {"name": source["metricName"], **({} if selector is None else {"selector": selector})}
    if "target" in source:
        out["describedObject"] = source["target"]
    return {"type": metric["type"], kind: {**out, "current" if current else "target": amounts}}


# -- behavior ----------------------------------------------------------------------------------------------------------


def behavior_to_v1(behavior: Obj) -> Obj:
    return {_go(way): _rules(behavior.get(way)) for way in ("scaleUp", "scaleDown")}


def _rules(rules: Obj | None) -> Obj | None:
    if rules is None:
        return None
    policies = rules.get("policies")
    named = None if policies is None else [{_go(name): policy[name] for name in policy} for policy in policies]
    return {_go(name): named if name == "policies" else rules.get(name) for name in _RULES}


def behavior_from_v1(behavior: Obj) -> Obj:
    found: Obj = _from_go(behavior)
    return found


def _from_go(value: Any) -> Any:
    if isinstance(value, dict):
        named = {name[:1].lower() + name[1:]: item for name, item in value.items()}
        return {name: _from_go(item) for name, item in named.items() if item is not None}
    return [_from_go(item) for item in value] if isinstance(value, list) else value


def _go(name: str) -> str:
    return name[0].upper() + name[1:]
