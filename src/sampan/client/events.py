"""Events: what people read when they ask why. Recording never waits and never fails; writing happens beside it.

    recorder = EventRecorder(client, "replicaset-controller", clock=clock)
    async with recorder:
        recorder.event(replica_set, "Normal", "SuccessfulCreate", f"Created pod: {name}")

`EventRecorder` writes core/v1 events with counts, as controllers and kubelets do; `SeriesRecorder` writes
events.k8s.io/v1 with series, as the scheduler does. At most a thousand wait to be written; more are dropped.

Source: client-go/tools/record/event.go, client-go/tools/events/{event_recorder,event_broadcaster}.go
"""

from __future__ import annotations

import asyncio
import copy
import logging
import random
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sampan.api.errors import StatusError
from sampan.api.names import is_dns1123_subdomain
from sampan.api.times import format_micro_time, format_time
from sampan.client.client import Client
from sampan.client.correlation import Correlator
from sampan.client.errors import is_already_exists, is_namespace_terminating, is_not_found
from sampan.http import HttpError

log = logging.getLogger("sampan.client")
Obj = dict[str, Any]
Clock = Callable[[], float]
MAX_QUEUED = 1000
MAX_TRIES = 12
RETRY_SECONDS = 10.0
FINISH_SECONDS, REFRESH_SECONDS = 360.0, 1800.0
TYPES = ("Normal", "Warning")


def reference(obj: Obj, field_path: str = "") -> Obj:
    """An ObjectReference to an object; one that already is a reference stays as it is."""
    if "metadata" not in obj:
        return obj
    meta = obj["metadata"]
    out = {"kind": obj.get("kind", ""), "namespace": meta.get("namespace", ""), "name": meta.get("name", "")}
    out |= {"uid": meta.get("uid", ""), "apiVersion": obj.get("apiVersion", "")}
    out |= {"resourceVersion": meta.get("resourceVersion", ""), "fieldPath": field_path}
    return {name: value for name, value in out.items() if value}


class _Recorder:
    """The queue and the task that empties it, in order."""

    def __init__(self, client: Client, clock: Clock, rng: random.Random | None) -> None:
        self.client = client
        self.clock = clock
        self.rng = rng or random.Random()
        self.dropped = 0
        self._queue: deque[Obj] = deque()
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self._last_nanoseconds = 0

    async def __aenter__(self) -> Any:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self.run(), name="events")

    async def run(self) -> None:
        while True:
            while self._queue:
                await self._write(self._queue.popleft())
            self._idle.set()
            self._more.clear()
            await self._more.wait()

    async def flush(self) -> None:
        """Until all that was recorded is written (or given up)."""
        await self._idle.wait()

    async def aclose(self, grace: float = 1.0) -> None:
        """Write what waits, for so many seconds at most."""
        task, self._task = self._task, None
        if task is None:
            return
        try:
            async with asyncio.timeout(grace):
                await self.flush()
        except TimeoutError:
            log.warning("%d events were not written", len(self._queue) + 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def _put(self, event: Obj) -> None:
        if len(self._queue) >= MAX_QUEUED:
            self.dropped += 1
            log.error("unable to record event: too many queued events, dropped event %s", event["metadata"]["name"])
            return
        self._queue.append(event)
        self._idle.clear()
        self._more.set()

    def _name(self, about: str) -> str:
        # two of one object in one instant would have one name: the clock may stand still, or be coarse
        self._last_nanoseconds = max(int(self.clock() * 1e9), self._last_nanoseconds + 1)
        name = f"{about}.{self._last_nanoseconds:x}"
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4)) if is_dns1123_subdomain(name) else name

    async def _write(self, event: Obj) -> None:
        raise NotImplementedError

    async def _tries(self, write: Callable[[], Any]) -> Obj | None:
        """Write, again and again while nobody answers. None: refused or given up."""
        for attempt in range(MAX_TRIES):
            try:
                done: Obj = await write()
                return done
            except StatusError as error:
                expected = is_already_exists(error) or is_namespace_terminating(error)
                log.log(logging.DEBUG if expected else logging.ERROR, "server rejected event: %s", error)
                return None
            except HttpError as error:
                log.warning("unable to write event (may retry after sleeping): %s", error)
            if attempt + 1 < MAX_TRIES:
                await asyncio.sleep(RETRY_SECONDS * (self.rng.random() if attempt == 0 else 1))
        log.error("unable to write event (retry limit exceeded!)")
        return None


class EventRecorder(_Recorder):
    """core/v1 events of one component (on one host)."""

    def __init__(
        self, client: Client, component: str, *, host: str = "", clock: Clock, rng: random.Random | None = None
    ) -> None:
        super().__init__(client, clock, rng)
        self.component = component
        self.host = host
        self._correlator = Correlator(clock)

    def event(
        self, about: Obj, type: str, reason: str, message: str, *, annotations: dict[str, str] | None = None
    ) -> None:
        """`about` is an object or a reference to one (`reference(pod, "spec.containers{app}")`)."""
        if type not in TYPES:
            raise ValueError(f"unsupported event type: {type!r}")
        about = reference(about)
        meta: Obj = {"name": self._name(about.get("name", "")), "namespace": about.get("namespace") or "default"}
        if annotations:
            meta["annotations"] = annotations
        now = format_time(self.clock())
        source = {"component": self.component, **({"host": self.host} if self.host else {})}
        event = {
            "kind": "Event", "apiVersion": "v1", "metadata": meta, "involvedObject": about, "reason": reason,
            "message": message, "source": source, "firstTimestamp": now, "lastTimestamp": now, "count": 1,
            "type": type, "reportingComponent": self.component, "reportingInstance": self.host,
        }  # fmt: skip
        self._put(event)

    async def _write(self, event: Obj) -> None:
        found = self._correlator.correlate(event, self._name)
        if found is None:
            return
        event, patch = found
        namespace = event["metadata"]["namespace"]

        async def write() -> Obj:
            if patch is not None:
                try:
                    name = event["metadata"]["name"]
                    return await self.client.patch("events", name, patch, namespace, type="strategic")
                except StatusError as error:
                    if not is_not_found(error):
                        raise  # events expire; this one is gone
            return await self.client.create("events", event, namespace)

        written = await self._tries(write)
        if written is not None:
            self._correlator.written(written)


@dataclass(slots=True)
class _Series:
    event: Obj
    #: loop-independent: seconds since the epoch
    last: float


class SeriesRecorder(_Recorder):
    """events.k8s.io/v1 events of one controller. The second of a kind starts a series; its count is then written every
    half hour, and when nothing more came for six minutes."""

    def __init__(
        self,
        client: Client,
        controller: str,
        *,
        instance: str = "",
        clock: Clock,
        rng: random.Random | None = None,
    ) -> None:
        super().__init__(client, clock, rng)
        self.controller = controller
        self.instance = instance or controller
        self._series: dict[tuple[Any, ...], _Series] = {}
        self._refreshing: asyncio.Task[None] | None = None

    def event(
        self, regarding: Obj, type: str, reason: str, action: str, note: str, *, related: Obj | None = None
    ) -> None:
        if type not in TYPES:
            raise ValueError(f"unsupported event type: {type!r}")
        regarding = reference(regarding)
        meta = {
            "name": self._name(regarding.get("name", "")),
            "namespace": regarding.get("namespace") or "default",
        }
        now = self.clock()
        event = {
            "kind": "Event", "apiVersion": "events.k8s.io/v1", "metadata": meta, "eventTime": format_micro_time(now),
            "reportingController": self.controller, "reportingInstance": self.instance, "action": action,
            "reason": reason, "regarding": regarding, "note": note, "type": type,
        }  # fmt: skip
        if related is not None:
            event["related"] = reference(related)
        key = _series_key(event)
        known = self._series.get(key)
        if known is None:
            if len(self._series) < 4096:
                self._series[key] = _Series(event, now)
            self._put(event)
            return
        known.last = now
        series = known.event.get("series")
        known.event["series"] = {
            "count": series["count"] + 1 if series else 2,
            "lastObservedTime": format_micro_time(now),
        }
        if series is None:
            self._put(copy.copy(known.event))

    def start(self) -> None:
        super().start()
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh(), name="event series")

    async def aclose(self, grace: float = 1.0) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
            self._refreshing = None
        await super().aclose(grace)

    async def _refresh(self) -> None:
        rounds = 0
        while True:
            await asyncio.sleep(FINISH_SECONDS)
            rounds += 1
            finished = self.clock() - FINISH_SECONDS
            for key, known in tuple(self._series.items()):
                over = known.last < finished
                if over:
                    del self._series[key]
                if "series" in known.event and (over or rounds % int(REFRESH_SECONDS / FINISH_SECONDS) == 0):
                    self._put(copy.copy(known.event))

    async def _write(self, event: Obj) -> None:
        meta = event["metadata"]

        async def write() -> Obj:
            if "series" in event:
                patch = {"series": event["series"]}
                try:
                    return await self.client.patch(
                        "events.events.k8s.io", meta["name"], patch, meta["namespace"], type="strategic"
                    )
                except StatusError as error:
                    if not is_not_found(error):
                        raise
            return await self.client.create("events.events.k8s.io", event, meta["namespace"])

        await self._tries(write)


def _series_key(event: Obj) -> tuple[Any, ...]:
    about, related = event["regarding"], event.get("related") or {}
    return (event["type"], event["action"], event["reason"], tuple(about.items()), tuple(related.items()))
