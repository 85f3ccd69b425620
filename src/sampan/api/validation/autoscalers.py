"""HorizontalPodAutoscalers: what to scale, by which metrics, how fast.

Source: kubernetes/pkg/apis/autoscaling/validation/validation.go
"""

from __future__ import annotations

from sampan.api import names, quantity
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation.meta import validate_label_selector
from sampan.api.validation.workload import SPEC, STATUS, nonnegative

SOURCES = {
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "External": "external",
}
_WINDOW, _PERIOD = 3600, 1800


def _segment(name: str, path: Path, out: ErrorList) -> None:
    if not name:
        out.required(path, "")
    else:
        out.each(path, name, names.path_segment_name(name))


def autoscaler(spec: Obj, out: ErrorList) -> None:
    low, high = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    if low is not None and low < 0:
        out.invalid(SPEC / "minReplicas", low, "must be greater than or equal to 0")
    if high < 1:
        out.invalid(SPEC / "maxReplicas", high, "must be greater than 0")
    if low is not None and high < low:
        out.invalid(SPEC / "maxReplicas", high, "must be greater than or equal to `minReplicas`")
    target = spec.get("scaleTargetRef") or {}
    for name in ("kind", "name"):
        _segment(target.get(name, ""), SPEC / "scaleTargetRef" / name, out)
    for index, metric in enumerate(spec.get("metrics") or ()):
        _metric(metric, SPEC / "metrics" @ index, out)
    if low == 0 and not any(metric.get("type") in ("Object", "External") for metric in spec.get("metrics") or ()):
        # without pods there is nothing of theirs to measure
        detail = "must specify at least one Object or External metric to support scaling to zero replicas"
        out.forbidden(SPEC / "metrics", detail)
    behavior = spec.get("behavior")
    if behavior is not None:
        for name in ("scaleUp", "scaleDown"):
            if behavior.get(name) is not None:
                _rules(behavior[name], SPEC / "behavior" / name, out)


def _metric(metric: Obj, path: Path, out: ErrorList) -> None:
    kind = metric.get("type", "")
    if not kind:
        out.required(path / "type", "must specify a metric source type")
    elif kind not in SOURCES:
        out.not_supported(path / "type", kind, frozenset(SOURCES))
    found = [field for field in SOURCES.values() if metric.get(field) is not None]
    if found:
        if "object" in found:
            _object(metric["object"], path / "object", out)
        if "external" in found:
            _external(metric["external"], path / "external", out)
        if "pods" in found:
            _pods(metric["pods"], path / "pods", out)
        for field in ("resource", "containerResource"):
            if field in found:
                _resource(metric[field], field == "containerResource", path / field, out)
    wanted = SOURCES.get(kind)
    if wanted is None:
        if kind:
            # told twice, as upstream does
            out.not_supported(path / "type", kind, frozenset(SOURCES))
        return
    if wanted not in found:
        out.required(path / wanted, "must populate information for the given metric source")
    for field in found:
        if field != wanted:
            out.forbidden(path / field, "must populate the given metric source only")


def _target(target: Obj, path: Path, out: ErrorList) -> None:
    kind = target.get("type", "")
    if not kind:
        out.required(path / "type", "must specify a metric target type")
    elif kind not in ("Utilization", "Value", "AverageValue"):
        out.invalid(path / "type", kind, "must be either Utilization, Value, or AverageValue")
    for field in ("value", "averageValue"):
        if target.get(field) is not None and quantity.parse(target[field]) <= 0:
            out.invalid(path / field, target[field], "must be positive")
    share = target.get("averageUtilization")
    if share is not None and share < 1:
        out.invalid(path / "averageUtilization", share, "must be greater than 0")


def _identifier(metric: Obj, path: Path, out: ErrorList) -> None:
    name = metric.get("name", "")
    if not name:
        out.required(path / "name", "must specify a metric name")
    else:
        out.each(path / "name", name, names.path_segment_name(name))
    out.extend(validate_label_selector(metric.get("selector"), path / "selector"))


def _object(source: Obj, path: Path, out: ErrorList) -> None:
    about, target = source.get("describedObject") or {}, source.get("target") or {}
    for name in ("kind", "name"):
        _segment(about.get(name, ""), path / "describedObject" / name, out)
    _identifier(source.get("metric") or {}, path / "metric", out)
    _target(target, path / "target", out)
    if target.get("value") is None and target.get("averageValue") is None:
        out.required(path / "target" / "averageValue", "must set either a target value or averageValue")


def _external(source: Obj, path: Path, out: ErrorList) -> None:
    target = source.get("target") or {}
    _identifier(source.get("metric") or {}, path / "metric", out)
    _target(target, path / "target", out)
    value, average = target.get("value"), target.get("averageValue")
    if value is None and average is None:
        detail = "must set either a target value for metric or a per-pod target"
        out.required(path / "target" / "averageValue", detail)
    if value is not None and average is not None:
        detail = "may not set both a target value for metric and a per-pod target"
        out.forbidden(path / "target" / "value", detail)


def _pods(source: Obj, path: Path, out: ErrorList) -> None:
    target = source.get("target") or {}
    _identifier(source.get("metric") or {}, path / "metric", out)
    _target(target, path / "target", out)
    average = target.get("averageValue")
    if average is None or quantity.parse(average) <= 0:
        out.required(path / "target" / "averageValue", "must specify a positive target averageValue")


def _resource(source: Obj, in_container: bool, path: Path, out: ErrorList) -> None:
    target = source.get("target") or {}
    if not source.get("name"):
        out.required(path / "name", "must specify a resource name")
    if in_container and not source.get("container"):
        out.required(path / "container", "must specify a container")
    _target(target, path / "target", out)
    share, average = target.get("averageUtilization"), target.get("averageValue")
    if share is None and average is None:
        detail = "must set either a target raw value or a target utilization"
        out.required(path / "target" / "averageUtilization", detail)
    if share is not None and average is not None:
        detail = "may not set both a target raw value and a target utilization"
        out.forbidden(path / "target" / "averageValue", detail)


def _rules(rules: Obj, path: Path, out: ErrorList) -> None:
    window, chosen = rules.get("stabilizationWindowSeconds"), rules.get("selectPolicy")
    if window is not None and window < 0:
        out.invalid(path / "stabilizationWindowSeconds", window, "must be greater than or equal to zero")
    if window is not None and window > _WINDOW:
        out.invalid(path / "stabilizationWindowSeconds", window, f"must be less than or equal to {_WINDOW}")
    if chosen is not None and chosen not in ("Disabled", "Max", "Min"):
        out.not_supported(path / "selectPolicy", chosen, ("Disabled", "Max", "Min"))
    policies = rules.get("policies") or []
    if not policies:
        out.required(path / "policies", "must specify at least one Policy")
    for index, policy in enumerate(policies):
        here = path / "policies" @ index
        if policy.get("type", "") not in ("Percent", "Pods"):
            out.not_supported(here / "type", policy.get("type", ""), ("Percent", "Pods"))
        for field in ("value", "periodSeconds"):
            if policy.get(field, 0) <= 0:
                out.invalid(here / field, policy.get(field, 0), "must be greater than zero")
        if policy.get("periodSeconds", 0) > _PERIOD:
            detail = f"must be less than or equal to {_PERIOD}"
            out.invalid(here / "periodSeconds", policy["periodSeconds"], detail)
    tolerance = rules.get("tolerance")
    if tolerance is not None and quantity.parse(tolerance) < 0:
        out.invalid(path / "tolerance", tolerance, "must be greater than or equal to 0")


def autoscaler_status(obj: Obj, out: ErrorList) -> None:
    nonnegative(obj.get("status") or {}, out, "currentReplicas", "desiredReplicas", path=STATUS)
