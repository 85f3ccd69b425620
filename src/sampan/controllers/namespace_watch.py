"""Hearing when what is left in namespaces has gone, by the mirrors that others have anyway.

In place of upstream's looking again after some seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from sampan.client import NAMESPACE, Handler, Informer, Informers, Resource
from sampan.controllers.namespace_conditions import Remaining

Obj = dict[str, Any]
SYNC_SECONDS = 10.0
#: when a mirror is not up to date, after how long to look again
SOON_SECONDS = 0.1


class Leftovers:
    """`changed(namespace)` is called when something in it has gone, or has lost a finalizer."""

    def __init__(self, informers: Informers, changed: Callable[[str], object]) -> None:
        self.informers = informers
        self.changed = changed
        self._watched: dict[Resource, tuple[Informer, Handler, set[str]]] = {}

    async def wait_for(self, namespace: str, remaining: Remaining) -> float | None:
        """Seconds after which to look again all the same; None: whenever something changes."""
        late = False
        for kind in remaining.counts:
            informer, _, namespaces = self._watch(kind)
            namespaces.add(namespace)
            try:
                async with asyncio.timeout(SYNC_SECONDS):
                    await informer.wait_synced()
            except TimeoutError:
                late = True
                continue
            # gone before we listened, or not heard of yet
            late = late or not informer.cache.index_keys(NAMESPACE, namespace)
        if late:
            return SOON_SECONDS
        return remaining.grace + 1 if remaining.grace else None

    def forget(self, namespace: str) -> None:
        for kind, (informer, handler, namespaces) in tuple(self._watched.items()):
            namespaces.discard(namespace)
            if not namespaces:
                del self._watched[kind]
                informer.remove_handler(handler)
                self.informers.release(informer)

    def close(self) -> None:
        for namespace in {name for _, _, namespaces in self._watched.values() for name in namespaces}:
            self.forget(namespace)

    def _watch(self, kind: Resource) -> tuple[Informer, Handler, set[str]]:
        known = self._watched.get(kind)
        if known is None:
            namespaces: set[str] = set()

            def gone(obj: Obj) -> None:
                if obj["metadata"]["namespace"] in namespaces:
                    self.changed(obj["metadata"]["namespace"])

            def freed(old: Obj, new: Obj) -> None:
                if old["metadata"].get("finalizers") != new["metadata"].get("finalizers"):
                    gone(new)

            informer = self.informers.mirror(kind)
            known = self._watched[kind] = (informer, informer.add_handler(None, freed, gone), namespaces)
        return known
