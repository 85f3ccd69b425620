"""How plugins read the cluster: from the watch caches, decoding an object once for each of its revisions.

A Pod's way through admission asks for its ServiceAccount, LimitRanges, PriorityClass, Namespace and quotas; decoding
those each time would cost more than storing the Pod.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Generic, TypeVar

from sampan.api.kind import Obj
from sampan.apiserver.cache import Entry, EventType, Record, ResourceCache, Watcher

if TYPE_CHECKING:
    from sampan.apiserver.api import Api

T = TypeVar("T")
MAX_KNOWN = 8192


class Parsed(Generic[T]):
    """What `make` makes of single objects. The result is shared: nobody changes it."""

    def __init__(self, make: Callable[[Obj], T]) -> None:
        self.make = make
        self._known: dict[str, tuple[Record, T]] = {}

    def __call__(self, record: Record) -> T:
        found = self._known.get(record.key)
        if found is not None and found[0] is record:
            return found[1]
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        made = self.make(record.obj())
        self._known[record.key] = (record, made)
        return made


class Overview(Generic[T]):
    """What `make` makes of all objects of one resource; made anew after any of them has changed."""

    def __init__(self, group: str, resource: str, make: Callable[[Iterable[Obj]], T]) -> None:
        self.group, self.resource = group, resource
        self.make = make
        self._known: tuple[ResourceCache, int, T] | None = None

    def of(self, api: Api) -> T:
        cache = api.cached(self.group, self.resource)
        known = self._known
        if known is not None and known[0] is cache and known[1] == cache.last:
            return known[2]
        made = self.make(record.obj() for record in cache.list(""))
        self._known = (cache, cache.last, made)
        return made


async def find(api: Api, cache: ResourceCache, key: str, *, wait: float = 0.0) -> Record | None:
    """The object, also where our cache is behind a shared store; waits up to that many seconds for it to be made."""
    record = cache.get(key)
    if record is None and not api.local:
        await api.fresh()
        record = cache.get(key)
    if record is None and wait:
        await _appears(cache, key, wait)
        record = cache.get(key)
    return record


async def _appears(cache: ResourceCache, key: str, within: float) -> None:
    came = asyncio.Event()

    def deliver(entry: Entry, kind: EventType) -> None:
        came.set()

    namespace, _, name = key.rpartition("/")
    watcher = Watcher(namespace, name, None, deliver)
    cache.watchers.add(watcher)
    try:
        async with asyncio.timeout(within):
            await came.wait()
    except TimeoutError:
        return
    finally:
        cache.watchers.discard(watcher)
