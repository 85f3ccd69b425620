"""One informer per resource (and selector), shared by all who ask; started and stopped together.

    async with Informers(client) as informers:
        pods = informers.get("pods")
        ...
        informers.start()       # and every `get` after that starts at once
        await informers.wait_synced()

Source: client-go/informers/factory.go
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any

from sampan.client.cache import Indexer, Obj
from sampan.client.client import Client
from sampan.client.informer import MIN_WATCH_SECONDS, Informer
from sampan.client.resources import Resource, resource

log = logging.getLogger("sampan.client")
MIRROR = "mirror"
#: there are many mirrors, and few look at their objects twice
MIRROR_BYTES = 64 << 10
_KEPT = ("name", "namespace", "uid", "resourceVersion", "ownerReferences", "finalizers", "deletionTimestamp")


def bare(obj: Obj) -> Obj:
    """What a mirror keeps."""
    meta = obj["metadata"]
    return {**obj, "metadata": {name: meta[name] for name in _KEPT if name in meta}}


class Informers:
    """`detect_mutation`: find whoever changes a cached object (also by SAMPAN_DETECT_MUTATION=1). `watch_seconds`: how
    long a watch lasts at least before it is opened anew."""

    def __init__(
        self,
        client: Client,
        *,
        rng: random.Random | None = None,
        detect_mutation: bool | None = None,
        watch_seconds: int = MIN_WATCH_SECONDS,
    ) -> None:
        self.client = client
        self.watch_seconds = watch_seconds
        self.rng = rng or random.Random()
        self.detect_mutation = detect_mutation
        self._informers: dict[Any, Informer] = {}
        self._tasks: dict[Any, asyncio.Task[None]] = {}
        self._mirrors: dict[Any, int] = {}
        self._running = False

    async def __aenter__(self) -> Informers:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def get(
        self,
        what: Resource | str,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        indexers: Mapping[str, Indexer] | None = None,
        note: Callable[[Any], Any] | None = None,
    ) -> Informer:
        """Indexers of several callers add up; those of one that already holds objects cannot be added to. `note`: as of
        `Cache.add_note`."""
        found = resource(what) if isinstance(what, str) else what
        key = (found, namespace, label_selector, field_selector, metadata_only)
        informer = self._informers.get(key)
        if informer is None:
            informer = self._informers[key] = Informer(
                self.client,
                found,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                metadata_only=metadata_only,
                rng=self.rng,
                detect_mutation=self.detect_mutation,
                watch_seconds=self.watch_seconds,
            )
            if self._running:
                self._run(key, informer)
        if indexers:
            informer.add_indexers(indexers)
        if note is not None:
            informer.cache.add_note(note)
        return informer

    def mirror(self, what: Resource) -> Informer:
        """For whoever needs to know that objects are there, who owns them and what holds them: the informer of all of a
        resource that somebody has asked for, or else one that knows no more than that. To be given back by `release`."""
        full = self._informers.get((what, "", "", "", False))
        if full is not None:
            return full
        key = (what, MIRROR)
        self._mirrors[key] = self._mirrors.get(key, 0) + 1
        informer = self._informers.get(key)
        if informer is None:
            informer = self._informers[key] = Informer(
                self.client,
                what,
                transform=bare,
                metadata_only=True,
                rng=self.rng,
                detect_mutation=self.detect_mutation,
                watch_seconds=self.watch_seconds,
                decoded_bytes=MIRROR_BYTES,
            )
            if self._running:
                self._run(key, informer)
        return informer

    def release(self, informer: Informer) -> None:
        """What `mirror` gave is needed no more; without another user it ends."""
        key = (informer.resource, MIRROR)
        if self._informers.get(key) is not informer:
            return
        self._mirrors[key] -= 1
        if not self._mirrors[key]:
            del self._mirrors[key], self._informers[key]
            task = self._tasks.pop(key, None)
            if task is not None:
                task.cancel()

    def start(self) -> None:
        self._running = True
        for key, informer in self._informers.items():
            if key not in self._tasks:
                self._run(key, informer)

    def _run(self, key: Any, informer: Informer) -> None:
        task = asyncio.create_task(informer.run(), name=f"informer {informer.resource.qualified}")
        task.add_done_callback(_report)
        self._tasks[key] = task

    async def wait_synced(self) -> None:
        """All that were asked for. Raises what ended one of them."""
        for key, informer in tuple(self._informers.items()):
            waiting = asyncio.ensure_future(informer.wait_synced())
            task = self._tasks[key]
            try:
                await asyncio.wait((waiting, task), return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
            if task.done():
                task.result()

    async def aclose(self) -> None:
        """Stop all. Raises CacheMutated where that was looked for and found."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        self._running = False
        for result in results:
            if isinstance(result, Exception):
                raise result


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("%s ended: %s", task.get_name(), error)
