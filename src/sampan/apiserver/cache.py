"""The watch cache: every read and every watch is answered from here, mostly without decoding anything.

One watch over the whole key space of the store feeds it. A `Record` holds an object as the bytes that go on the wire,
with what selectors ask for beside it. An `Entry` is one change; it is rendered once for each way of looking at it
(plain, Table, ...) and those bytes go to every watcher.

Promises: a read after an acknowledged write sees it (local stores tell us before the writer is told; for etcd a read
waits until the cache has reached etcd's revision). A watcher sees every change after its revision, in order. A watcher
whose peer does not keep up is ended where it stands, and can resume from there; nobody waits for it.

Source: k8s.io/apiserver/pkg/storage/cacher/{cacher,watch_cache}.go
"""

from __future__ import annotations

import asyncio
import bisect
import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import orjson

from sampan.api import errors
from sampan.api.kind import Kind, Obj
from sampan.store.contract import Event, KeyValue

MARK = b'"metadata":{'
EventType = Literal["ADDED", "MODIFIED", "DELETED"]
#: history kept for resuming watches, per resource
WINDOW_EVENTS = 10_000
WINDOW_BYTES = 8 << 20


def body_of(value: bytes, revision: int) -> bytes:
    """The stored bytes with `resourceVersion` put in as the first field of metadata."""
    at = value.index(MARK) + len(MARK)
    return b'%b"resourceVersion":"%d",%b' % (value[:at], revision, value[at:])


def encode(obj: Obj) -> bytes:
    """An object as it is stored: kind, apiVersion and metadata first; in metadata no resourceVersion, managedFields last."""
    return encoded(obj)[0]


def encoded(obj: Obj) -> tuple[bytes, int]:
    """Also where metadata ends."""
    rest = dict(obj)
    meta: Obj = dict(rest.pop("metadata"))
    meta.pop("resourceVersion", None)
    if "managedFields" in meta:
        meta["managedFields"] = meta.pop("managedFields")
    try:
        leading = {"kind": rest.pop("kind"), "apiVersion": rest.pop("apiVersion"), "metadata": meta}
        head = orjson.dumps(leading)
        # joined, since orjson hands out up to twice the memory that it filled; these bytes stay for long
        return b"%b,%b" % (head[:-1], orjson.dumps(rest)[1:]) if rest else b"%b" % head, len(head) - 1
    except TypeError:
        raise errors.bad_request("the object is nested too deeply") from None


OWNERS = b',"managedFields":['


class Record:
    """One stored object. `key` is `namespace/name` or `name`; `cells` caches rendered Table rows.

    `value` is the very bytes that a local store holds, so that an object is in memory once; the revision is put in when
    it is sent. `labels` and `fields` (what selectors ask for) are read from them when first asked for, unless whoever
    wrote them has handed those on (`ResourceCache.expect`); fields, which take as much memory again for an Event, only
    where watches ask for them at once.
    """

    __slots__ = (
        "cache",
        "cells",
        "fields",
        "key",
        "labels",
        "lease",
        "name",
        "namespace",
        "other",
        "revision",
        "split",
        "value",
    )
    #: where metadata ends in the value; 0: it is not laid out as `encode` does
    split: int
    labels: dict[str, str] | None
    fields: dict[str, str] | None

    def __init__(self, key: str, kv: KeyValue, cache: ResourceCache) -> None:
        self.cache = cache
        self.key = key
        self.namespace, _, self.name = key.rpartition("/")
        self.revision: int = kv.mod_revision
        self.value = kv.value
        self.lease = kv.lease
        self.cells: Any = None
        #: by kind: the object as that version shows it (empty: as it is stored); by view: its protobuf message
        self.other: dict[Any, bytes] | None = None

    def __getattr__(self, name: str) -> Any:
        """Reached only while the slots are empty."""
        if name not in ("labels", "fields", "split"):
            raise AttributeError(name)
        obj = orjson.loads(self.value)
        if name == "split":
            value, end = encoded(obj)
            self.split = end if value == self.value else 0
        elif name == "fields" or self.cache.knows_kind:
            self.index(obj)
        else:
            self.labels = obj["metadata"].get("labels") or None
        return object.__getattribute__(self, name)

    def index(self, obj: Obj) -> None:
        """Note labels and selectable fields of the stored object."""
        self.labels = obj["metadata"].get("labels") or None
        self.fields = self.cache.kind.selectable_fields(obj) or None

    @property
    def body(self) -> bytes:
        """The object as it goes on the wire; a preview of a dry run has no revision."""
        return body_of(self.value, self.revision) if self.revision else self.value

    def obj(self) -> Obj:
        """The object, decoded anew: the caller's own to change."""
        out: Obj = orjson.loads(self.body)
        return out

    def light(self) -> Obj:
        """The object without managedFields, which can be more than all the rest, and without resourceVersion."""
        value, split = self.value, self.split
        cut = value.find(OWNERS, 0, split)
        out: Obj = orjson.loads(value if cut < 0 else b"%b}%b" % (value[:cut], value[split:]))
        if not split:
            out["metadata"].pop("managedFields", None)
        return out

    def metadata(self) -> bytes:
        """As it goes on the wire."""
        if not self.split or not self.revision:
            return orjson.dumps(self.obj()["metadata"])
        start = self.value.index(MARK) + len(MARK)
        return b'{"resourceVersion":"%d",%b' % (self.revision, self.value[start : self.split])

    def field(self, name: str) -> str:
        if name == "metadata.name":
            return self.name
        if name == "metadata.namespace":
            return self.namespace
        return self.fields.get(name, "") if self.fields else ""


class Entry:
    """One change: what the object was (`before`), and what it is (`record`; for a deletion the last state, at the
    revision of the deletion). `rendered` holds the encoded events by type and view. `form`: while it is told of, the object
    itself, where it was written here; not to be changed."""

    __slots__ = ("before", "form", "record", "rendered", "revision", "type")

    def __init__(self, kind: EventType, record: Record, before: Record | None) -> None:
        self.type: EventType = kind
        self.record = record
        self.before = before
        self.revision = record.revision
        self.rendered: dict[Any, bytes] = {}
        self.form: Obj | None = None


Matcher = Callable[[Record], bool]
Deliver = Callable[["Entry", EventType], None]


class Watcher:
    """One open watch. `deliver` is called in the loop that applied the change; it must not block or raise."""

    __slots__ = ("deliver", "matches", "name", "namespace")

    def __init__(self, namespace: str, name: str, matches: Matcher | None, deliver: Deliver) -> None:
        self.namespace = namespace
        self.name = name
        self.matches = matches
        self.deliver = deliver

    def offer(self, entry: Entry) -> None:
        record = entry.record
        if (self.namespace and record.namespace != self.namespace) or (self.name and record.name != self.name):
            return
        if self.matches is None:
            self.deliver(entry, entry.type)
            return
        before = entry.before is not None and self.matches(entry.before)
        after = entry.type != "DELETED" and self.matches(record)
        if after:
            self.deliver(entry, "MODIFIED" if before else "ADDED")
        elif before:
            self.deliver(entry, "DELETED")


class Expected:
    """What is being written, while it is."""

    __slots__ = ("_all", "_key", "_mine")

    def __init__(self, all_: dict[str, tuple[bytes, int, Obj]], key: str, mine: tuple[bytes, int, Obj]) -> None:
        self._all, self._key, self._mine = all_, key, mine

    def __enter__(self) -> None:
        self._all[self._key] = self._mine

    def __exit__(self, *_: object) -> None:
        if self._all.get(self._key) is self._mine:
            del self._all[self._key]


class ResourceCache:
    """All objects of one stored resource, in key order, and the last changes."""

    def __init__(self, prefix: str, kind: Callable[[], Kind]) -> None:
        self.prefix = prefix
        self._kind = kind
        self.records: dict[str, Record] = {}
        self.keys: list[str] = []
        self.window: deque[Entry] = deque()
        self.window_bytes = 0
        #: watches may start after this revision
        self.horizon = 0
        #: revision of the last change
        self.last = 0
        #: changes since the start
        self.received = 0
        self.watchers: set[Watcher] = set()
        #: by key: what is about to be written, and the object it is the encoding of
        self._expected: dict[str, tuple[bytes, int, Obj]] = {}

    @functools.cached_property
    def kind(self) -> Kind:
        """In the stored version; a server that starts builds only the kinds that it has objects of."""
        return self._kind()

    @property
    def knows_kind(self) -> bool:
        return "kind" in self.__dict__

    def expect(self, key: str, value: bytes, split: int, obj: Obj) -> Expected:
        """While `value`, the encoding of `obj` (see `encoded`), is written: its record need not be decoded."""
        return Expected(self._expected, key, (value, split, obj))

    def load(self, kvs: Iterable[KeyValue], revision: int) -> None:
        self.records = {}
        for kv in kvs:
            key = kv.key.decode()[len(self.prefix) :]
            self.records[key] = Record(key, kv, self)
        self.keys = sorted(self.records)
        self.horizon = self.last = revision

    def rekind(self, kind: Kind) -> None:
        """The kind was defined anew: what was derived from objects by the old one is forgotten."""
        again = kind.field_labels() != self.kind.field_labels()
        self.kind = kind  # in the place of the cached property
        for record in self.records.values():
            record.cells = record.other = None
            if again:
                record.index(orjson.loads(record.value))

    def get(self, key: str) -> Record | None:
        return self.records.get(key)

    def span(self, namespace: str, start: str = "") -> list[str]:
        """Keys of one namespace (empty: all) in order, from `start` on."""
        if not namespace:
            return self.keys[bisect.bisect_left(self.keys, start) :] if start else self.keys
        first = bisect.bisect_left(self.keys, max(start, namespace + "/"))
        return self.keys[first : bisect.bisect_left(self.keys, namespace + "0")]

    def list(self, namespace: str, start: str = "") -> Iterator[Record]:
        records = self.records
        return (records[key] for key in self.span(namespace, start))

    def apply(self, event: Event) -> None:
        key = event.kv.key.decode()[len(self.prefix) :]
        before = self.records.get(key)
        if event.type == "put":
            record = Record(key, event.kv, self)
            expected = self._expected.get(key)
            if expected is not None and expected[0] is record.value:
                record.split = expected[1]
                record.labels = expected[2]["metadata"].get("labels") or None
                if any(watcher.matches for watcher in self.watchers):
                    record.index(expected[2])
            else:
                expected = None
            if before is None:
                bisect.insort(self.keys, key)
            self.records[key] = record
            entry = Entry("ADDED" if before is None else "MODIFIED", record, before)
            if expected is not None:
                entry.form = expected[2]
        else:
            if before is None:
                return
            del self.records[key]
            del self.keys[bisect.bisect_left(self.keys, key)]
            entry = Entry("DELETED", deleted(before, event.kv.mod_revision), before)
        self.last = entry.revision
        self.received += 1
        self._remember(entry)
        for watcher in tuple(self.watchers):
            watcher.offer(entry)
        # rendered for every watcher that was there; a later resume renders again
        entry.rendered, entry.form = {}, None

    def _remember(self, entry: Entry) -> None:
        self.window.append(entry)
        self.window_bytes += len(entry.record.value)
        while len(self.window) > WINDOW_EVENTS or self.window_bytes > WINDOW_BYTES:
            old = self.window.popleft()
            self.window_bytes -= len(old.record.value)
            self.horizon = old.revision

    def since(self, revision: int) -> Sequence[Entry]:
        """Changes after `revision`, oldest first; the caller checked the horizon."""
        out: deque[Entry] = deque()
        for entry in reversed(self.window):
            if entry.revision <= revision:
                break
            out.appendleft(entry)
        return tuple(out)


def deleted(before: Record, revision: int) -> Record:
    """The last state of a deleted object, at the revision of its deletion."""
    out: Record = object.__new__(Record)
    out.cache, out.key, out.namespace, out.name = before.cache, before.key, before.namespace, before.name
    out.revision, out.lease = revision, before.lease
    out.cells, out.other, out.value = None, None, before.value
    return out


class Cache:
    """All resources; `revision` is how far the store's history has been applied."""

    def __init__(self) -> None:
        self.revision = 0
        self.resources: dict[str, ResourceCache] = {}
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._next: asyncio.Future[None] | None = None

    def add(self, prefix: str, kind: Callable[[], Kind]) -> ResourceCache:
        cache = self.resources[prefix] = ResourceCache(prefix, kind)
        return cache

    def remove(self, prefix: str) -> None:
        del self.resources[prefix]

    def find(self, key: bytes) -> ResourceCache | None:
        """`/registry/GROUP/RESOURCE/...` belongs to the cache of its first three segments."""
        text = key.decode()
        try:
            return self.resources.get(text[: text.index("/", text.index("/", 10) + 1) + 1])
        except ValueError:
            return None

    def apply(self, events: Iterable[Event]) -> None:
        for event in events:
            cache = self.find(event.kv.key)
            if cache is not None:
                cache.apply(event)
            if event.kv.mod_revision > self.revision:
                self.revision = event.kv.mod_revision
        self.wake()

    async def change(self) -> None:
        """Until there is one. For one waiter."""
        self._next = asyncio.get_running_loop().create_future()
        try:
            await self._next
        finally:
            self._next = None

    def wake(self) -> None:
        if self._next is not None and not self._next.done():
            self._next.set_result(None)
        if self._waiting:
            still = []
            for revision, waiter in self._waiting:
                if revision > self.revision:
                    still.append((revision, waiter))
                elif not waiter.done():
                    waiter.set_result(None)
            self._waiting = still

    async def reach(self, revision: int, within: float = 3.0) -> bool:
        """Until the cache holds `revision`; False when it does not within that many seconds."""
        if revision <= self.revision:
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((revision, waiter))
        try:
            async with asyncio.timeout(within):
                await waiter
        except TimeoutError:
            return False
        return True
