"""A controller's own writes until its cache has them: what it must not act on, and what it need not look at.

After a write the cache is behind for a moment. To act then is to act on what was, and mostly to lose a compare-and-swap;
when the write comes back, it says nothing that its writer did not know.

    echoes.wrote(await client.update_status("replicasets", new))
    if echoes.behind(cached): return              # the write is still to come, and wakes us
    if not echoes.is_own(cached): enqueue(...)    # in the handler of updates

Source: kubernetes/pkg/controller/util/consistency (ConsistencyStore), in intent
"""

from __future__ import annotations

from typing import Any

Obj = dict[str, Any]


class Echoes:
    """By uid. Resource versions of one object grow as numbers."""

    def __init__(self) -> None:
        self._written: dict[str, int] = {}
        self._awaited: set[str] = set()

    def wrote(self, obj: Obj) -> None:
        """An object as the server gave it back."""
        meta = obj["metadata"]
        version = int(meta["resourceVersion"])
        if version > self._written.get(meta["uid"], 0):
            self._written[meta["uid"]] = version

    def behind(self, obj: Obj) -> bool:
        """The cache has not seen the last write; whoever asks is not to act, and is woken when it has."""
        meta = obj["metadata"]
        written = self._written.get(meta["uid"])
        if written is None or int(meta["resourceVersion"]) >= written:
            return False
        self._awaited.add(meta["uid"])
        return True

    def is_own(self, obj: Obj) -> bool:
        """It is the last write, come back, and nobody waits for it."""
        meta = obj["metadata"]
        uid, version = meta["uid"], int(meta["resourceVersion"])
        written = self._written.get(uid)
        if written is None or version < written:
            return False
        del self._written[uid]
        awaited = uid in self._awaited
        self._awaited.discard(uid)
        return version == written and not awaited

    def lost(self, obj: Obj) -> None:
        """A write of this object met a Conflict: somebody's write is still to come, and wakes us."""
        meta = obj["metadata"]
        uid = meta["uid"]
        self._written[uid] = max(int(meta["resourceVersion"]) + 1, self._written.get(uid, 0))
        self._awaited.add(uid)

    def forget(self, obj: Obj) -> None:
        uid = obj["metadata"]["uid"]
        self._written.pop(uid, None)
        self._awaited.discard(uid)
