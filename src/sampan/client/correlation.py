"""Many events become few: counted when the same comes again, combined when similar ones do, dropped when too many do.

Three steps, as upstream has them: events that differ only in their message are combined once ten came within ten
minutes; an event seen before becomes a patch of its count; and a source may say 25 things about an object, then one
more every five minutes.

Source: client-go/tools/record/events_cache.go
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sampan.api.times import format_time
from sampan.client.backoff import Bucket

Obj = dict[str, Any]
Key = tuple[str, ...]
CACHE = 4096
SIMILAR = 10
SIMILAR_SECONDS = 600.0
BURST, RATE = 25, 1 / 300
COMBINED = "(combined from similar events): "
V = TypeVar("V")


class Lru(Generic[V]):
    def __init__(self, size: int = CACHE) -> None:
        self.size = size
        self._items: OrderedDict[Key, V] = OrderedDict()

    def get(self, key: Key) -> V | None:
        found = self._items.get(key)
        if found is not None:
            self._items.move_to_end(key)
        return found

    def put(self, key: Key, value: V) -> None:
        self._items[key] = value
        self._items.move_to_end(key)
        if len(self._items) > self.size:
            self._items.popitem(last=False)


@dataclass(slots=True)
class Similar:
    messages: dict[str, None]
    last: float


@dataclass(slots=True)
class Seen:
    """What the server has of an event."""

    name: str
    count: int
    first: str


def source_key(event: Obj) -> Key:
    about, source = event["involvedObject"], event["source"]
    return (
        source.get("component", ""), source.get("host", ""), about.get("kind", ""), about.get("namespace", ""),
        about.get("name", ""), about.get("uid", ""), about.get("apiVersion", ""),
    )  # fmt: skip


def event_key(event: Obj, source: Key) -> Key:
    field = event["involvedObject"].get("fieldPath", "")
    return (*source, field, event["type"], event["reason"], event["message"])


class Correlator:
    """`clock`: seconds since the epoch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._similar: Lru[Similar] = Lru()
        self._seen: Lru[Seen] = Lru()
        self._buckets: Lru[Bucket] = Lru()

    def correlate(self, event: Obj, new_name: Callable[[str], str]) -> tuple[Obj, Obj | None] | None:
        """The event to write, and a patch where it has been written before; None: drop it. `new_name` names a
        combined one."""
        source = source_key(event)
        event, key = self._combine(event, source, new_name)
        seen = self._seen.get(key)
        patch: Obj | None = None
        if seen is not None:
            event = {**event, "metadata": {**event["metadata"], "name": seen.name}}
            event["firstTimestamp"], event["count"] = seen.first, seen.count + 1
            patch = {name: event[name] for name in ("count", "lastTimestamp", "message")}
        self._seen.put(key, Seen(event["metadata"]["name"], event["count"], event["firstTimestamp"]))
        bucket = self._buckets.get(source)
        if bucket is None:
            bucket = Bucket(RATE, BURST, self.clock)
            self._buckets.put(source, bucket)
        return (event, patch) if bucket.try_take() else None

    def written(self, event: Obj) -> None:
        """It was, as it is here."""
        known = Seen(event["metadata"]["name"], event.get("count", 1), event.get("firstTimestamp") or "")
        self._seen.put(event_key(event, source_key(event)), known)

    def _combine(self, event: Obj, source: Key, new_name: Callable[[str], str]) -> tuple[Obj, Key]:
        now = self.clock()
        group = (*source, event["type"], event["reason"])
        similar = self._similar.get(group)
        if similar is None or now - similar.last > SIMILAR_SECONDS:
            similar = Similar({}, now)
        similar.messages[event["message"]] = None
        similar.last = now
        self._similar.put(group, similar)
        if len(similar.messages) < SIMILAR:
            return event, event_key(event, source)
        del similar.messages[next(iter(similar.messages))]
        stamp = format_time(now)
        meta = {"name": new_name(event["involvedObject"].get("name", "")), "namespace": event["metadata"]["namespace"]}
        combined = {
            **event, "metadata": meta, "message": COMBINED + event["message"], "count": 1, "firstTimestamp": stamp,
            "lastTimestamp": stamp,
        }  # fmt: skip
        return combined, group
