"""A mirror of one resource: list, then watch, for ever; whoever asks reads the cache or is told of changes.

    pods = informers.get("pods", indexers={OWNER: by_owner})
    pods.add_handler(add=queue_it, update=lambda old, new: queue_it(new), delete=queue_it)
    await informers.wait_synced()
    pods.cache.list("default", selector)

Starts with a WatchList (one stream, each object on its own line), or pages of a list where the server has none. Resumes
from the last revision seen; lists again when that is too old (410). Errors are waited out, each time longer (0.8 s
doubling to 30 s, with jitter), and forgotten after two quiet minutes.

Promises: handlers are called in the order of changes, in the loop, once the cache holds the change; one that raises is
logged and harms nobody else. A handler added late hears of all that is there. Objects given to handlers are the
cache's own: never change them.

Source: client-go/tools/cache/{reflector,shared_informer}.go
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from sampan.api.errors import StatusError
from sampan.client.backoff import Backoff
from sampan.client.cache import DECODED_BYTES, Cache, Indexer, Obj, Record, trim
from sampan.client.client import PAGE, Client
from sampan.client.errors import is_gone, retry_after
from sampan.client.resources import Resource, resource
from sampan.client.watch import Event, Watch
from sampan.http import HttpError

log = logging.getLogger("sampan.client")
MIN_WATCH_SECONDS = 300
#: between two turns of the loop while many objects are taken in at once
BATCH = 200
END_OF_INITIAL = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class Handler:
    """What to call; each may be None. The object of a deletion is the last state known."""

    add: Callable[[Obj], object] | None = None
    update: Callable[[Obj, Obj], object] | None = None
    delete: Callable[[Obj], object] | None = None


class Informer:
    """`run` does the work, until it is cancelled; `Informers` runs it for you. `resync`: seconds between calls of all
    `update` handlers for every object, 0 for never."""

    def __init__(
        self,
        client: Client,
        what: Resource | str,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        indexers: Mapping[str, Indexer] | None = None,
        transform: Callable[[Obj], Obj] = trim,
        resync: float = 0.0,
        metadata_only: bool = False,
        rng: random.Random | None = None,
        detect_mutation: bool | None = None,
        watch_seconds: int = MIN_WATCH_SECONDS,
        decoded_bytes: int = DECODED_BYTES,
    ) -> None:
        self.client = client
        self.watch_seconds = watch_seconds
        self.metadata_only = metadata_only
        self.resource = resource(what) if isinstance(what, str) else what
        self.namespace = namespace
        self.label_selector = label_selector
        self.field_selector = field_selector
        self.cache = Cache(
            indexers=indexers, transform=transform, detect_mutation=detect_mutation, decoded_bytes=decoded_bytes
        )
        self.resync = resync
        self.rng = rng or random.Random()
        self._handlers: list[Handler] = []
        self._synced = asyncio.Event()
        self._version = ""
        self._streams = True
        self._backoff = Backoff(0.8, 30.0, reset=120.0, rng=self.rng)

    @property
    def has_synced(self) -> bool:
        """The cache holds all there was when it was filled, and the handlers have heard of it."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        await self._synced.wait()

    @property
    def version(self) -> str:
        """The last revision seen."""
        return self._version

    def add_handler(
        self,
        add: Callable[[Obj], object] | None = None,
        update: Callable[[Obj, Obj], object] | None = None,
        delete: Callable[[Obj], object] | None = None,
    ) -> Handler:
        handler = Handler(add, update, delete)
        self._handlers.append(handler)
        if add is not None:
            for record in self.cache.records():
                self._tell((add,), self.cache.decode(record))
        return handler

    def remove_handler(self, handler: Handler) -> None:
        self._handlers.remove(handler)

    def add_indexers(self, indexers: Mapping[str, Indexer]) -> None:
        """Before it runs. Raises ValueError."""
        self.cache.add_indexers(indexers)

    async def run(self) -> None:
        """Raises CacheMutated where that is looked for; else only ends by cancellation."""
        resyncing = asyncio.create_task(self._resync()) if self.resync > 0 else None
        try:
            while True:
                await self._round()
        finally:
            if resyncing is not None:
                resyncing.cancel()
                await asyncio.gather(resyncing, return_exceptions=True)
            self.cache.check()

    async def _round(self) -> None:
        """One watch, with what must come before it; errors are waited out."""
        started = asyncio.get_running_loop().time()
        try:
            await self._follow()
        except (StatusError, HttpError, orjson.JSONDecodeError) as error:
            if is_gone(error):
                log.debug("watch of %s closed with: %s", self.resource.qualified, error)
                self._version = ""
            else:
                log.warning("failed to list and watch %s: %s", self.resource.qualified, error)
            if isinstance(error, StatusError) and error.code == 504:
                self._version = ""  # a revision from the future: the store was put back
            await asyncio.sleep(max(self._backoff.next(), retry_after(error) or 0.0))
            return
        # the server ended it in good order: resume, but not in a tight loop
        if asyncio.get_running_loop().time() - started < 1.0:
            await asyncio.sleep(self._backoff.next())

    # -- list and watch ------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        if self._version:
            watch = await self._open(self._version)
        else:
            watch = await self._fill()
        try:
            # against a peer that is gone without a word; the server should have ended the watch long before
            async with asyncio.timeout(3 * self.watch_seconds):
                while batch := await watch.batch():
                    for event in batch:
                        self._take(event)
        except TimeoutError:
            log.warning("watch of %s is silent: connecting anew", self.resource.qualified)
        finally:
            await watch.aclose()

    async def _open(self, version: str, initial: bool = False) -> Watch:
        return await self.client.watch(
            self.resource,
            self.namespace,
            resource_version=version,
            label_selector=self.label_selector,
            field_selector=self.field_selector,
            initial=initial,
            timeout_seconds=int(self.watch_seconds * (1 + self.rng.random())),
            metadata_only=self.metadata_only,
            shared=self.cache.shares,
        )

    async def _fill(self) -> Watch:
        """The cache as the server has it, and the watch that goes on from there."""
        if self._streams:
            try:
                watch = await self._open("", initial=True)
            except StatusError as error:
                if error.code not in (400, 422):
                    raise
                log.debug("no WatchList of %s: %s", self.resource.qualified, error)
                self._streams = False
            else:
                try:
                    await self._initial(watch)
                except BaseException:
                    await watch.aclose()
                    raise
                return watch
        await self._list()
        return await self._open(self._version)

    async def _initial(self, watch: Watch) -> None:
        fresh: dict[str, Record] = {}
        while batch := await watch.batch():
            for position, event in enumerate(batch):
                if event.type != "BOOKMARK":
                    record = self._slim(self.cache.make(event.object, event.size))
                    if event.type == "DELETED":
                        fresh.pop(record.key, None)
                    else:
                        fresh[record.key] = record
                    continue
                meta = event.object["metadata"]
                if END_OF_INITIAL in (meta.get("annotations") or {}):
                    await self._replace(fresh, meta["resourceVersion"])
                    for later in batch[position + 1 :]:
                        self._take(later)
                    return
        raise HttpError("the watch ended before the initial state was complete")

    async def _list(self) -> None:
        fresh: dict[str, Record] = {}
        version = ""
        head = {"kind": self.resource.kind, "apiVersion": self.resource.api_version}
        async for page in self.client.pages(
            self.resource,
            self.namespace,
            label_selector=self.label_selector,
            field_selector=self.field_selector,
            limit=PAGE,
            metadata_only=self.metadata_only,
        ):
            version = page["metadata"].get("resourceVersion", "")
            for item in page["items"]:
                record = self._slim(self.cache.make({**head, **item}))
                fresh[record.key] = record
        await self._replace(fresh, version)

    def _slim(self, record: Record) -> Record:
        """One of very many: not decoded, and the one we have if it is the same."""
        known = self.cache.record(record.key)
        if known is not None and known.version == record.version and known.uid == record.uid:
            return known
        record.slim()
        return record

    async def _replace(self, fresh: dict[str, Record], version: str) -> None:
        """Make the cache what `fresh` says and tell of every difference."""
        for count, key in enumerate(self.cache.keys()):
            if key not in fresh:
                self._remove(key, None)
            if count % BATCH == BATCH - 1:
                await asyncio.sleep(0)
        for count, record in enumerate(fresh.values()):
            if self.cache.record(record.key) is not record:
                self._put(record)
            if count % BATCH == BATCH - 1:
                await asyncio.sleep(0)
        self._version = version
        self._synced.set()

    # -- changes -------------------------------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        if event.type == "BOOKMARK":
            self._version = event.object["metadata"]["resourceVersion"]
            return
        record = self.cache.make(event.object, event.size)
        if event.type == "DELETED":
            self._remove(record.key, record)
        else:
            self._put(record)
        self._version = record.version

    def _put(self, record: Record) -> None:
        old = self.cache.put(record)
        if old is not None and old.uid != record.uid:
            # deleted and made anew, and we saw only the outcome
            self._tell_delete(old)
            old = None
        if old is None:
            added = [handler.add for handler in self._handlers if handler.add is not None]
            if added:
                self._tell(added, self.cache.decode(record))
        else:
            updated = [handler.update for handler in self._handlers if handler.update is not None]
            if updated:
                self._tell(updated, old.decode(), self.cache.decode(record))

    def _remove(self, key: str, last: Record | None) -> None:
        old = self.cache.remove(key)
        if old is not None:
            self._tell_delete(last or old)

    def _tell_delete(self, record: Record) -> None:
        deleted = [handler.delete for handler in self._handlers if handler.delete is not None]
        if deleted:
            self._tell(deleted, self.cache.decode(record))

    def _tell(self, handlers: Sequence[Callable[..., object]], *objects: Obj) -> None:
        for handler in handlers:
            try:
                handler(*objects)
            except Exception:
                log.exception("a handler of %s failed", self.resource.qualified)

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(self.resync)
            for count, record in enumerate(self.cache.records()):
                if count % BATCH == BATCH - 1:
                    await asyncio.sleep(0)
                if self.cache.record(record.key) is not record:
                    continue
                updated = [handler.update for handler in self._handlers if handler.update is not None]
                if updated:
                    obj = self.cache.decode(record)
                    self._tell(updated, obj, obj)
