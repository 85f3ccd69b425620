"""The built-in metrics server: `metrics.k8s.io/v1beta1`, for `kubectl top` and the HorizontalPodAutoscaler.

Each node has a `MetricsSource` that knows what its pods use; `_source` chooses it. Real nodes are asked (`node_metrics`). A
simulated one tells what its pods' annotations say (`hollow.sampan.io/cpu-usage`, `hollow.sampan.io/memory-usage`), or a tenth of
what they request. Pods that do not run, and whatever nothing is known of yet, are left out of lists, and not found by name.

Source: metrics-server/pkg/api/{node,pod}.go
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from sampan.api import errors, quantity
from sampan.api.hollow import is_hollow
from sampan.api.kind import Obj
from sampan.api.times import format_time
from sampan.apiserver.cache import Record
from sampan.apiserver.call import Call
from sampan.apiserver.options import list_options
from sampan.apiserver.unstored import many, one
from sampan.apiserver.verbs.list import matcher
from sampan.http.server.messages import Response

Usage = dict[str, str]
CPU, MEMORY = "hollow.sampan.io/cpu-usage", "hollow.sampan.io/memory-usage"
#: what a container that requests nothing uses
LEAST: Usage = {"cpu": "1m", "memory": "8Mi"}
WINDOW = "15s"


@dataclass(frozen=True, slots=True)
class Measured:
    """What each container uses; a node's own is under the empty name. `when`: seconds since 1970, None for now."""

    usages: dict[str, Usage]
    when: float | None = None
    window: str = WINDOW


class MetricsSource(Protocol):
    """What the pods of one node use."""

    async def pods(self, node: Obj, pods: list[Obj]) -> list[Measured | None]:
        """None where nothing is known (yet)."""

    async def node(self, node: Obj, pods: list[Obj]) -> Measured | None: ...


class Simulated:
    """What annotations say, shared equally by containers; else a tenth of the requests."""

    async def pods(self, node: Obj, pods: list[Obj]) -> list[Measured | None]:
        return [Measured(self.usage(pod)) for pod in pods]

    async def node(self, node: Obj, pods: list[Obj]) -> Measured | None:
        return Measured({"": total(usage for pod in pods for usage in self.usage(pod).values())})

    @staticmethod
    def usage(pod: Obj) -> dict[str, Usage]:
        notes = pod["metadata"].get("annotations") or {}
        containers = pod["spec"]["containers"]
        out: dict[str, Usage] = {}
        for container in containers:
            requests = (container.get("resources") or {}).get("requests") or {}
            out[container["name"]] = {
                "cpu": _share(notes.get(CPU), len(containers)) or _tenth(requests.get("cpu")) or LEAST["cpu"],
                "memory": _share(notes.get(MEMORY), len(containers))
                or _tenth(requests.get("memory"))
                or LEAST["memory"],
            }
        return out


SIMULATED = Simulated()


def _source(call: Call, node: Obj) -> MetricsSource:
    return SIMULATED if is_hollow(node["metadata"].get("labels")) else call.api.node_metrics


def _share(said: str | None, parts: int) -> str:
    """An equal part of what an annotation says; nothing, where that is no quantity."""
    if said is None:
        return ""
    try:
        return _rounded(said, parts)
    except ValueError:
        return ""


def _tenth(requested: str | None) -> str:
    return _rounded(requested, 10) if requested is not None else ""


def _rounded(amount: str, parts: int) -> str:
    """In the unit that suits: thousandths below 1000, else whole."""
    value = quantity.parse(amount) / parts
    if value >= 1024 * 1024:
        return quantity.canonical(f"{-(-value // 1024)}Ki")
    return quantity.canonical(f"{-(-value * 1000 // 1)}m")


def total(usages: Iterable[Usage]) -> Usage:
    out = {"cpu": "0", "memory": "0"}
    for usage in usages:
        for name, amount in usage.items():
            out[name] = quantity.add(out.get(name, "0"), amount)
    return out


# -- answers ---------------------------------------------------------------------------------------------------------


async def serve(call: Call) -> Response:
    """GET of one or many. Raises 404."""
    of: Callable[[Call, list[Record]], Awaitable[list[Obj]]] = (
        _node_metrics if call.info.resource == "nodes" else _pod_metrics
    )
    cache = call.api.cached("", call.info.resource)
    if call.info.verb == "get":
        record = cache.get(call.key)
        found = await of(call, [record]) if record is not None else []
        if not found:
            names = call.kind.names
            raise errors.not_found(names.group, names.resource, call.info.name)
        return one(call, found[0])
    options = list_options(call.query, {}, call.kind.names.kind)
    test = matcher(options)
    records = [record for record in cache.list(call.info.namespace) if test is None or test(record)]
    return many(call, await of(call, records))


async def _node_metrics(call: Call, records: list[Record]) -> list[Obj]:
    wanted = {record.name for record in records}
    on: dict[str, list[Obj]] = {name: [] for name in wanted}
    for pod in call.api.cached("", "pods").list(""):
        name = pod.field("spec.nodeName")
        if name in wanted and pod.field("status.phase") == "Running":
            on[name].append(pod.obj())
    out = []
    for record in records:
        node = record.obj()
        found = await _source(call, node).node(node, on[record.name])
        if found is not None:
            out.append(_made(call, node, found, usage=found.usages[""]))
    return out


async def _pod_metrics(call: Call, records: list[Record]) -> list[Obj]:
    nodes = call.api.cached("", "nodes")
    on: dict[str, list[Obj]] = {}
    for record in records:
        if record.field("status.phase") == "Running":
            on.setdefault(record.field("spec.nodeName"), []).append(record.obj())
    found: dict[str, Obj] = {}

    async def ask(name: str, pods: list[Obj]) -> None:
        record = nodes.get(name)
        node = record.obj() if record is not None else None
        if node is None:
            return
        for pod, of in zip(pods, await _source(call, node).pods(node, pods), strict=True):
            if of is not None:
                containers = [{"name": key, "usage": usage} for key, usage in of.usages.items()]
                found[pod["metadata"]["uid"]] = _made(call, pod, of, containers=containers)

    await asyncio.gather(*(ask(name, pods) for name, pods in on.items()))
    # in the order of the pods
    return [found[uid] for pods in on.values() for pod in pods if (uid := pod["metadata"]["uid"]) in found]


def _made(call: Call, of: Obj, found: Measured, **more: Any) -> Obj:
    names, meta = call.kind.names, of["metadata"]
    kept = {key: meta[key] for key in ("name", "namespace", "labels") if meta.get(key)}
    now = format_time(call.api.clock())
    head: Obj = {"kind": names.kind, "apiVersion": names.api_version, "metadata": {**kept, "creationTimestamp": now}}
    when = now if found.when is None else format_time(found.when)
    return {**head, "timestamp": when, "window": found.window, **more}
