"""events.k8s.io/v1 events, as the scheduler writes them: what repeats becomes a series.

Source: client-go/tools/events/{event_recorder,event_broadcaster}.go
"""

from __future__ import annotations

import asyncio
import copy
import random
from dataclasses import dataclass
from typing import Any

from sampan.api.errors import StatusError
from sampan.api.times import format_micro_time
from sampan.client.client import Client
from sampan.client.errors import is_not_found
from sampan.client.recorder import TYPES, Clock, Obj, Recorder, reference

FINISH_SECONDS, REFRESH_SECONDS = 360.0, 1800.0
MAX_SERIES = 4096


@dataclass(slots=True)
class _Series:
    event: Obj
    #: loop-independent: seconds since the epoch
    last: float


class SeriesRecorder(Recorder):
    """events.k8s.io/v1 events of one controller. The second of a kind starts a series; its count is then written every
    half hour, and when nothing more came for six minutes. A scheduler that is busy has more to say than one writer at a
    time can carry."""

    writers = 4
    max_queued = 10_000

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
        self._some = asyncio.Event()
        self._refreshing: asyncio.Task[None] | None = None

    def event(
        self, regarding: Obj, type: str, reason: str, action: str, note: str, *, related: Obj | None = None
    ) -> None:
        if type not in TYPES:
            raise ValueError(f"unsupported event type: {type!r}")
        regarding = reference(regarding)
        meta = {
            "name": self.new_name(regarding.get("name", "")),
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
            if len(self._series) < MAX_SERIES:
                self._series[key] = _Series(event, now)
                self._some.set()
            self.put(event)
            return
        known.last = now
        series = known.event.get("series")
        known.event["series"] = {
            "count": series["count"] + 1 if series else 2,
            "lastObservedTime": format_micro_time(now),
        }
        if series is None:
            self.put(copy.copy(known.event))

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
            if not self._series:
                self._some.clear()
                await self._some.wait()
            await asyncio.sleep(FINISH_SECONDS)
            rounds += 1
            finished = self.clock() - FINISH_SECONDS
            for key, known in tuple(self._series.items()):
                over = known.last < finished
                if over:
                    del self._series[key]
                if "series" in known.event and (over or rounds % int(REFRESH_SECONDS / FINISH_SECONDS) == 0):
                    self.put(copy.copy(known.event))

    async def write(self, event: Obj) -> None:
        meta = event["metadata"]

        async def send() -> Obj:
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

        await self.tries(send)


def _series_key(event: Obj) -> tuple[Any, ...]:
    about, related = event["regarding"], event.get("related") or {}
    return (event["type"], event["action"], event["reason"], tuple(about.items()), tuple(related.items()))
