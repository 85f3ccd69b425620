"""One entry of `spec.metrics`: which metric it means, how many replicas that asks for, and its entry of the status.

Source: kubernetes/pkg/controller/podautoscaler/horizontal.go (computeStatusFor...)
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar

from sampan.api import quantity
from sampan.api.selectors import LabelSelector
from sampan.controllers import hpa_replicas as replicas
from sampan.controllers.hpa_metrics import Metrics
from sampan.controllers.hpa_replicas import CannotCompute, Rules, milli

Obj = dict[str, Any]
T = TypeVar("T")
REASONS = {
    "Resource": "FailedGetResourceMetric", "ContainerResource": "FailedGetContainerResourceMetric",
    "Pods": "FailedGetPodsMetric", "Object": "FailedGetObjectMetric", "External": "FailedGetExternalMetric",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """The target as it is: its pods, and how many there should be and are."""

    namespace: str
    selector: LabelSelector
    pods: list[Obj]
    replicas: int
    status_replicas: int
    rules: Rules


@dataclass(frozen=True, slots=True)
class Answer:
    """`name`: how messages call the metric."""

    replicas: int
    name: str
    status: Obj


class Wrapped(CannotCompute):
    """`inner` is what events say; the exception's own text is what is said of all metrics together."""

    def __init__(self, inner: object, outer: str) -> None:
        super().__init__(outer)
        self.inner = str(inner)


class Sources:
    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics

    @staticmethod
    def failure(item: Obj, error: CannotCompute) -> tuple[str, str]:
        """Reason and message for events and conditions."""
        message = error.inner if isinstance(error, Wrapped) else str(error)
        return REASONS.get(item["type"], "InvalidMetricSourceType"), message

    async def ask(self, item: Obj, asked: Asked) -> Answer:
        """Raises CannotCompute."""
        match item["type"]:
            case "Resource":
                source, outer = item["resource"], "failed to get {name} resource metric value: {error}"
                of = self._resource(source, "", asked)
            case "ContainerResource":
                source, outer = item["containerResource"], "failed to get {container} container metric value: {error}"
                of = self._resource(source, source["container"], asked)
            case "Pods":
                source, outer = item["pods"], "failed to get pods metric value: {error}"
                of = self._pods(source, asked)
            case "Object":
                source, outer = item["object"], "failed to get object metric value: {error}"
                of = self._object(source, asked)
            case "External":
                source, outer = item["external"], "failed to get {metric} external metric value: {error}"
                of = self._external(source, asked)
            case other:
                raise CannotCompute(f'unknown metric source type "{other}"')
        try:
            return await of
        except CannotCompute as error:
            inner = error.inner if isinstance(error, Wrapped) else str(error)
            names = {"name": source.get("name"), "container": source.get("container")}
            metric = (source.get("metric") or {}).get("name")
            raise Wrapped(inner, outer.format(**names, metric=metric, error=error)) from None

    async def _resource(self, source: Obj, container: str, asked: Asked) -> Answer:
        name, target = source["name"], source["target"]
        average = target.get("averageValue")
        percent = target.get("averageUtilization")
        if average is None and percent is None:
            raise CannotCompute(
                "invalid resource metric source: neither an average utilization target nor an average value (usage) "
                "target was set"
            )
        what = "usage" if average is not None else "utilization"
        try:
            samples = await _prefixed(
                f"unable to get metrics for resource {name}",
                self.metrics.resource(asked.namespace, asked.selector, name, container),
            )
            if average is not None:
                count, mean = replicas.by_value(asked.replicas, milli(average), name, asked.pods, samples, asked.rules)
                current: Obj = {"averageValue": shown(mean)}
                called = f"{name} resource"
            else:
                count, used, mean = replicas.by_utilization(
                    asked.replicas, percent, name, container, asked.pods, samples, asked.rules
                )
                current = {"averageUtilization": used, "averageValue": shown(mean)}
                called = f"{name} {'container ' if container else ''}resource utilization (percentage of request)"
        except CannotCompute as error:
            raise CannotCompute(f"failed to get {name} {what}: {error}") from None
        status: Obj = {"name": name, "current": current}
        if container:
            return Answer(
                count, called, {"type": "ContainerResource", "containerResource": {**status, "container": container}}
            )
        return Answer(count, called, {"type": "Resource", "resource": status})

    async def _pods(self, source: Obj, asked: Asked) -> Answer:
        metric = source["metric"]
        samples = await _prefixed(
            f"unable to get metric {metric['name']}", self.metrics.pods(asked.namespace, asked.selector, metric)
        )
        target = milli(source["target"]["averageValue"])
        count, mean = replicas.by_value(asked.replicas, target, "", asked.pods, samples, asked.rules)
        status = {"metric": metric, "current": {"averageValue": shown(mean)}}
        return Answer(count, f"pods metric {metric['name']}", {"type": "Pods", "pods": status})

    async def _object(self, source: Obj, asked: Asked) -> Answer:
        metric, target, described = source["metric"], source["target"], source["describedObject"]
        name = metric["name"]

        async def value() -> int:
            try:
                return await self.metrics.object(asked.namespace, described, metric)
            except CannotCompute as error:
                where = f"{described['kind']} {asked.namespace}/{described['name']}"
                raise CannotCompute(f"unable to get metric {name} on {where}: {error}") from None

        if target["type"] == "Value" and target.get("value") is not None:
            found = await value()
            ratio = found / milli(target["value"])
            count = replicas.by_ratio(asked.replicas, ratio, asked.pods, asked.rules)
            current: Obj = {"value": shown(found)}
            called = f"{described['kind']} metric {name}"
        elif target["type"] == "AverageValue" and target.get("averageValue") is not None:
            try:
                found = await value()
            except CannotCompute as error:
                raise Wrapped(error, f"failed to get {name} object metric: {error}") from None
            count, mean = replicas.per_pod(asked.status_replicas, milli(target["averageValue"]), found, asked.rules)
            current = {"averageValue": shown(mean)}
            called = f"external metric {name}({selector(metric)})"
        else:
            raise CannotCompute(
                "invalid object metric source: neither a value target nor an average value target was set"
            )
        status = {"metric": metric, "current": current, "describedObject": described}
        return Answer(count, called, {"type": "Object", "object": status})

    async def _external(self, source: Obj, asked: Asked) -> Answer:
        metric, target = source["metric"], source["target"]
        name = metric["name"]

        async def value() -> int:
            what = f"unable to get external metric {asked.namespace}/{name}/{selector(metric)}"
            return await _prefixed(what, self.metrics.external(asked.namespace, metric))

        if target.get("averageValue") is not None:
            try:
                found = await value()
            except CannotCompute as error:
                raise Wrapped(error, f"failed to get {name} external metric: {error}") from None
            count, mean = replicas.per_pod(asked.status_replicas, milli(target["averageValue"]), found, asked.rules)
            current: Obj = {"averageValue": shown(mean)}
        elif target.get("value") is not None:
            try:
                found = await value()
                ratio = found / milli(target["value"])
                count = replicas.by_ratio(asked.replicas, ratio, asked.pods, asked.rules)
            except CannotCompute as error:
                raise Wrapped(error, f"failed to get external metric {name}: {error}") from None
            current = {"value": shown(found)}
        else:
            raise CannotCompute(
                "invalid external metric source: neither a value target nor an average value target was set"
            )
        status = {"metric": metric, "current": current}
        return Answer(count, f"external metric {name}({selector(metric)})", {"type": "External", "external": status})


async def _prefixed(what: str, of: Awaitable[T]) -> T:
    try:
        return await of
    except CannotCompute as error:
        raise CannotCompute(f"{what}: {error}") from None


def shown(thousandths: int) -> str:
    return quantity.canonical(f"{thousandths}m")


def selector(metric: Obj) -> str:
    """A LabelSelector as Go prints it."""
    found = metric.get("selector")
    if found is None:
        return "nil"
    labels = "".join(f"{key}: {value}," for key, value in sorted((found.get("matchLabels") or {}).items()))
    expressions = "".join(
        "LabelSelectorRequirement{"
        f"Key:{item['key']},Operator:{item['operator']},Values:[{' '.join(item.get('values') or ())}],"
        "},"
        for item in found.get("matchExpressions") or ()
    )
    maps = f"MatchLabels:map[string]string{{{labels}}}"
    return f"&LabelSelector{{{maps},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
