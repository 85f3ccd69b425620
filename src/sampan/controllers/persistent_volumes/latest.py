"""Objects as the informer has them, or as we have written them since.

Two claims must never get one volume because the cache has not yet shown that the first one has it.

Source: kubernetes/pkg/controller/volume/persistentvolume/pv_controller_base.go (storeObjectUpdate)
"""

from __future__ import annotations

from typing import Any

from sampan.client import Informer, key_of

Obj = dict[str, Any]


class Latest:
    def __init__(self, informer: Informer) -> None:
        self.informer = informer
        self.cache = informer.cache
        self._written: dict[str, Obj] = {}
        informer.add_handler(self._seen, lambda old, new: self._seen(new), self._gone)

    def get(self, key: str) -> Obj | None:
        return self._written.get(key) or self.cache.by_key(key)

    def some(self, index: str, *values: str) -> list[Obj]:
        """What an index has under any of the values, and whatever was just written: more than was asked for."""
        found = {key: self.get(key) for value in values for key in self.cache.index_keys(index, value)}
        return [obj for obj in {**found, **self._written}.values() if obj is not None]

    def wrote(self, obj: Obj) -> Obj:
        """An object as the server gave it back."""
        # what the informer is past it has, or knows that it is gone
        if int(self.informer.version or 0) < int(obj["metadata"]["resourceVersion"]):
            self._written[key_of(obj)] = obj
        return obj

    def _seen(self, obj: Obj) -> None:
        written = self._written.get(key_of(obj))
        if written is not None and int(obj["metadata"]["resourceVersion"]) >= int(
            written["metadata"]["resourceVersion"]
        ):
            del self._written[key_of(obj)]

    def _gone(self, obj: Obj) -> None:
        written = self._written.get(key_of(obj))
        if written is not None and written["metadata"]["uid"] == obj["metadata"]["uid"]:
            del self._written[key_of(obj)]
