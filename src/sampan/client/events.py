"""Events: what people read when they ask why. Recording never waits and never fails; writing happens beside it.

    recorder = EventRecorder(client, "replicaset-controller", clock=clock)
    async with recorder:
        recorder.event(replica_set, "Normal", "SuccessfulCreate", f"Created pod: {name}")

These are core/v1 events with counts, as controllers and kubelets write them; `series.py` has those of the scheduler.

Source: client-go/tools/record/event.go
"""

from __future__ import annotations

import random

from sampan.api.errors import StatusError
from sampan.api.times import format_time
from sampan.client.client import Client
from sampan.client.correlation import Correlator
from sampan.client.errors import is_already_exists, is_not_found
from sampan.client.recorder import TYPES, Clock, Obj, Recorder, reference


class EventRecorder(Recorder):
    """core/v1 events of one component (on one host)."""

    def __init__(
        self, client: Client, component: str, *, host: str = "", clock: Clock, rng: random.Random | None = None
    ) -> None:
        super().__init__(client, clock, rng)
        self.component = component
        self.host = host
        self._correlator = Correlator(clock)

    def event(
        self, about: Obj, type: str, reason: str, message: str, *, annotations: dict[str, str] | None = None,
        host: str = "",
    ) -> None:  # fmt: skip
        """`about` is an object or a reference to one (`reference(pod, "spec.containers{app}")`). `host`: for who speaks for
        several."""
        if type not in TYPES:
            raise ValueError(f"unsupported event type: {type!r}")
        about = reference(about)
        meta: Obj = {"name": self.new_name(about.get("name", "")), "namespace": about.get("namespace") or "default"}
        if annotations:
            meta["annotations"] = annotations
        now = format_time(self.clock())
        host = host or self.host
        source = {"component": self.component, **({"host": host} if host else {})}
        event = {
            "kind": "Event", "apiVersion": "v1", "metadata": meta, "involvedObject": about, "reason": reason,
            "message": message, "source": source, "firstTimestamp": now, "lastTimestamp": now, "count": 1,
            "type": type, "reportingComponent": self.component, "reportingInstance": host,
        }  # fmt: skip
        self.put(event)

    async def write(self, event: Obj) -> None:
        found = self._correlator.correlate(event, self.new_name)
        if found is None:
            return
        event, patch = found
        namespace = event["metadata"]["namespace"]
        tried = False

        async def send() -> Obj:
            nonlocal tried
            first, tried = not tried, True
            if patch is not None:
                try:
                    name = event["metadata"]["name"]
                    await self.client.patch("events", name, patch, namespace, type="strategic", unread=True)
                    return event
                except StatusError as error:
                    if not is_not_found(error):
                        raise  # events expire; this one is gone
            try:
                await self.client.create("events", event, namespace, unread=True)
                return event
            except StatusError as error:
                if not (first and is_already_exists(error)):
                    raise
            # another component told of the same object in the same instant
            renamed = {**event["metadata"], "name": self.new_name(event["involvedObject"].get("name", ""))}
            again = {**event, "metadata": renamed}
            await self.client.create("events", again, namespace, unread=True)
            return again

        written = await self.tries(send)
        if written is not None:
            self._correlator.written(written)
