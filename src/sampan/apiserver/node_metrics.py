"""What real nodes use: their kubelets' `/metrics/resource`, read every fifteen seconds, two readings kept.

Processor time is a counter, and what is used in a second is the difference of two readings; a container that began between them began
with nothing. Nothing is read while there are no nodes with a kubelet; a new one's second reading comes soon.

Source: metrics-server/pkg/{scraper/scraper,scraper/client/resource/decode,storage/{node,pod}}.go
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sampan.api.errors import StatusError
from sampan.api.hollow import is_hollow
from sampan.api.kind import Obj
from sampan.apiserver.cache import Entry, EventType, Record, Watcher
from sampan.apiserver.metrics_api import Measured, Usage
from sampan.http import HttpError

if TYPE_CHECKING:
    from sampan.apiserver.api import Api

log = logging.getLogger("sampan.apiserver")
RESOLUTION, SCRAPE_SECONDS = 15.0, 10.0
#: between the first two of a node
FIRST_SECONDS = 3.0
#: a container that is younger says little by what it used while it started
FRESH_SECONDS = 10.0
MAX_PAGE = 32 << 20
Key = tuple[str, str, str]
_LINE = re.compile(
    rb"^(container|node)_(cpu_usage_seconds_total|memory_working_set_bytes|start_time_seconds)(?:\{([^}]*)\})? (\S+)(?: (\d+))?$",
    re.M,
)
_LABEL = re.compile(rb'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(slots=True)
class Point:
    """`at` and `started`: seconds since 1970; `cpu`: seconds of a processor since it started."""

    at: float = 0.0
    cpu: float | None = None
    memory: float | None = None
    started: float = 0.0


@dataclass(slots=True)
class Reading:
    """Of one node; containers by namespace, pod and name."""

    node: Point = field(default_factory=Point)
    containers: dict[Key, Point] = field(default_factory=dict)


def parse(page: bytes, now: float) -> Reading:
    out = Reading()
    for what, kind, labels, value, when in _LINE.findall(page):
        if what == b"node":
            point = out.node
        else:
            found = {name: text.decode() for name, text in _LABEL.findall(labels)}
            key = (found.get(b"namespace", ""), found.get(b"pod", ""), found.get(b"container", ""))
            point = out.containers.setdefault(key, Point())
        if kind == b"start_time_seconds":
            point.started = float(value)
        elif kind == b"cpu_usage_seconds_total":
            point.cpu, point.at = float(value), int(when) / 1000 if when else now
        else:
            point.memory = float(value)
    return out


def measured(last: Point | None, before: Point | None) -> tuple[Usage, float, float] | None:
    """What is used, when it was, and over how many seconds; None while nothing can be said."""
    if last is None or last.cpu is None or last.memory is None:
        return None
    if before is None or before.cpu is None or last.started > before.at or last.cpu < before.cpu:
        before = Point(last.started, 0.0)
        if not last.started or last.at - last.started < FRESH_SECONDS:
            return None
    window = last.at - before.at
    if window <= 0:
        return None
    assert before.cpu is not None
    rate = (last.cpu - before.cpu) / window
    return {"cpu": f"{round(rate * 1e9)}n", "memory": f"{round(last.memory / 1024)}Ki"}, last.at, window


class NodeMetrics:
    """`metrics_api.MetricsSource` of all nodes that have a kubelet."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._readings: dict[str, tuple[Reading, Reading | None]] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._watcher = Watcher("", "", None, self._changed)

    def start(self) -> None:
        self._api.cached("", "nodes").watchers.add(self._watcher)
        self._task = asyncio.create_task(self._run())
        if next(self._nodes(), None):
            self._wake.set()

    async def close(self) -> None:
        self._api.cached("", "nodes").watchers.discard(self._watcher)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _changed(self, entry: Entry, kind: EventType) -> None:
        if kind != "DELETED" and not self._wake.is_set() and _has_kubelet(entry.record):
            self._wake.set()

    def _nodes(self) -> Iterator[str]:
        return (record.name for record in self._api.cached("", "nodes").list("") if _has_kubelet(record))

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            new = False
            try:
                new = await self.scrape()
            except Exception:
                log.exception("reading the metrics of nodes")
            await asyncio.sleep(FIRST_SECONDS if new else RESOLUTION)
            if next(self._nodes(), None) is None:
                self._readings.clear()
                self._wake.clear()

    async def scrape(self) -> bool:
        """All of them, once. Was any of them read for the first time, so that nothing can be said of it yet?"""
        new = False
        names = list(self._nodes())
        self._readings = {name: found for name, found in self._readings.items() if name in names}
        for name, page in zip(names, await asyncio.gather(*map(self._page, names)), strict=True):
            if page is not None:
                last = self._readings.get(name)
                reading = parse(page, self._api.clock())
                if last is None or reading.node.at != last[0].node.at:
                    self._readings[name] = reading, last[0] if last else None
                    new = new or last is None
        return new

    async def _page(self, node: str) -> bytes | None:
        kubelets = self._api.kubelets
        try:
            url = f"{kubelets.url(node)}/metrics/resource"
            reply = await kubelets.client.request("GET", url, timeout=SCRAPE_SECONDS, max_body=MAX_PAGE)
        except (HttpError, StatusError) as error:
            log.info("no metrics of node %s: %s", node, error)
            return None
        if reply.code != 200:
            log.info("no metrics of node %s: %d %s", node, reply.code, reply.body[:200].decode(errors="replace"))
            return None
        return reply.body

    # -- answers -------------------------------------------------------------------------------------------------------

    async def pods(self, node: Obj, pods: list[Obj]) -> list[Measured | None]:
        last, before = self._readings.get(node["metadata"]["name"], (None, None))
        return [self._pod(pod, last, before) for pod in pods]

    def _pod(self, pod: Obj, last: Reading | None, before: Reading | None) -> Measured | None:
        meta, usages, when, window = pod["metadata"], {}, 0.0, 0.0
        for name in _running(pod):
            key = (meta["namespace"], meta["name"], name)
            now = last.containers.get(key) if last else None
            found = measured(now, before.containers.get(key) if before else None)
            if found is None:
                return None  # all of it or nothing
            usages[name], at, seconds = found
            if not when or at < when:
                when, window = at, seconds
        return Measured(usages, when, f"{window:.3f}s") if usages else None

    async def node(self, node: Obj, pods: list[Obj]) -> Measured | None:
        last, before = self._readings.get(node["metadata"]["name"], (None, None))
        found = measured(last.node if last else None, before.node if before else None)
        return Measured({"": found[0]}, found[1], f"{found[2]:.3f}s") if found else None


def _has_kubelet(record: Record) -> bool:
    if is_hollow(record.labels):
        return False
    endpoints = (record.obj().get("status") or {}).get("daemonEndpoints") or {}
    return bool((endpoints.get("kubeletEndpoint") or {}).get("Port"))


def _running(pod: Obj) -> Iterator[str]:
    """Containers of which there are figures: init containers are over, but for those that go on."""
    status = pod.get("status") or {}
    for section in ("containerStatuses", "initContainerStatuses"):
        for each in status.get(section) or ():
            if (each.get("state") or {}).get("running") is not None:
                yield each["name"]
