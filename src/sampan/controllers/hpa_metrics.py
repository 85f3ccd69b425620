"""Where an autoscaler's metrics come from: metrics.k8s.io, custom.metrics.k8s.io, external.metrics.k8s.io.

Source: kubernetes/pkg/controller/podautoscaler/metrics/client.go; k8s.io/metrics/pkg/client
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import orjson

from sampan.api import durations
from sampan.api.errors import StatusError
from sampan.api.selectors import LabelSelector, label_selector_from
from sampan.api.times import parse_time
from sampan.client import Client, Discovery, HttpError, Resource
from sampan.client.errors import is_not_found
from sampan.controllers.hpa_replicas import CannotCompute, Sample, Samples, milli

Obj = dict[str, Any]
PODS = Resource("metrics.k8s.io", "v1beta1", "pods", "PodMetrics")
CUSTOM, EXTERNAL = "custom.metrics.k8s.io", "external.metrics.k8s.io"
NOBODY = "the server could not find the requested resource"
#: of custom metrics that say no window
WINDOW = 60.0


class Metrics:
    """All raise CannotCompute."""

    def __init__(self, client: Client, discovery: Discovery) -> None:
        self.client = client
        self.discovery = discovery

    async def resource(self, namespace: str, selector: LabelSelector, name: str, container: str) -> Samples:
        """Of each pod what it uses, or one container of it."""
        try:
            found = await self.client.list(PODS, namespace, label_selector=str(selector))
        except (StatusError, HttpError) as error:
            raise CannotCompute(f"unable to fetch metrics from resource metrics API: {error}") from None
        if not found["items"]:
            raise CannotCompute("no metrics returned from resource metrics API")
        out: Samples = {}
        for item in found["items"]:
            value = _of_container(item, name, container) if container else _of_pod(item, name)
            if value is not None:
                when, window = parse_time(item["timestamp"]), durations.seconds(item["window"])
                out[item["metadata"]["name"]] = Sample(value, when, window)
        return out

    async def pods(self, namespace: str, selector: LabelSelector, metric: Obj) -> Samples:
        """A custom metric of each pod."""
        version = await self._version()
        query = _query(("labelSelector", str(selector)), ("metricLabelSelector", _selector(metric)))
        path = f"/apis/{CUSTOM}/{version}/namespaces/{namespace}/pods/*/{quote(metric['name'], safe='')}"
        items = await self._get(path + query, "custom metrics")
        out: Samples = {}
        for item in items:
            window = item.get("windowSeconds") or item.get("window") or WINDOW
            sample = Sample(milli(item["value"]), parse_time(item["timestamp"]), float(window))
            out[item["describedObject"]["name"]] = sample
        return out

    async def object(self, namespace: str, described: Obj, metric: Obj) -> int:
        """A custom metric of one object."""
        version = await self._version()
        name = quote(metric["name"], safe="")
        if described["kind"] == "Namespace" and "/" not in described.get("apiVersion", ""):
            path = f"/apis/{CUSTOM}/{version}/namespaces/{namespace}/metrics/{name}"
        else:
            kind = await self.discovery.of_kind(described.get("apiVersion") or "v1", described["kind"])
            if kind is None:
                raise CannotCompute(
                    f'unable to fetch metrics from custom metrics API: no matches for kind "{described["kind"]}" in '
                    f'version "{described.get("apiVersion", "")}"'
                )
            path = f"/apis/{CUSTOM}/{version}/namespaces/{namespace}/{kind.qualified}/{described['name']}/{name}"
        items = await self._get(path + _query(("metricLabelSelector", _selector(metric))), "custom metrics")
        return milli(items[0]["value"])

    async def external(self, namespace: str, metric: Obj) -> int:
        """The sum of an external metric."""
        path = f"/apis/{EXTERNAL}/v1beta1/namespaces/{namespace}/{quote(metric['name'], safe='')}"
        asked = f"{metric['name']}.{EXTERNAL}"
        items = await self._get(path + _query(("labelSelector", _selector(metric))), "external metrics", asked)
        return sum(milli(item["value"]) for item in items)

    async def _version(self) -> str:
        try:
            group = orjson.loads(await self.client.raw("GET", f"/apis/{CUSTOM}"))
            return str(group["preferredVersion"]["version"])
        except (StatusError, HttpError) as error:
            why = f"no custom metrics API ({CUSTOM}) registered" if is_not_found(error) else str(error)
            raise CannotCompute(f"unable to fetch metrics from custom metrics API: {why}") from None

    async def _get(self, path: str, what: str, asked: str = "") -> list[Obj]:
        """`asked`: what upstream's client says it has asked for, where nobody serves it."""
        try:
            found = orjson.loads(await self.client.raw("GET", path, accept="application/json"))
        except (StatusError, HttpError) as error:
            more = f" (get {asked})" if asked and str(error) == NOBODY else ""
            raise CannotCompute(f"unable to fetch metrics from {what} API: {error}{more}") from None
        items: list[Obj] = found.get("items") or []
        if not items:
            raise CannotCompute(f"no metrics returned from {what} API")
        return items


def _of_pod(item: Obj, name: str) -> int | None:
    amounts = [container["usage"].get(name) for container in item["containers"]]
    if not amounts or None in amounts:
        return None
    return sum(milli(amount) for amount in amounts if amount is not None)


def _of_container(item: Obj, name: str, container: str) -> int | None:
    for found in item["containers"]:
        if found["name"] == container:
            amount = found["usage"].get(name)
            return milli(amount) if amount is not None else None
    return None


def _selector(metric: Obj) -> str:
    return str(label_selector_from(metric.get("selector") or {}))


def _query(*pairs: tuple[str, str]) -> str:
    said = [f"{name}={quote(value, safe='')}" for name, value in pairs if value]
    return "?" + "&".join(said) if said else ""
