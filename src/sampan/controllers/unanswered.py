"""Creations that nobody answered: the server died, or the connection did, and whether the object is there is unknown.

To make another on top of what a cache knows would be one too many. So the server is asked first, and nothing more is
made until the cache has all that is there.

    unanswered = Unanswered(client, "pods", pods.cache)
    except HttpError: unanswered.note(key)
    if not await unanswered.settled(key, owner, selector): return RETRY_SECONDS
"""

from __future__ import annotations

from typing import Any

from sampan.api.selectors import LabelSelector
from sampan.client import Cache, Client, key_of
from sampan.controllers.pod_control import controller_of

Obj = dict[str, Any]
#: until the cache is looked at again
RETRY_SECONDS = 0.2


class Unanswered:
    def __init__(self, client: Client, what: str, cache: Cache) -> None:
        self._client = client
        self._what = what
        self._cache = cache
        self._owners: set[str] = set()

    def note(self, key: str) -> None:
        """By the owner's key."""
        self._owners.add(key)

    async def settled(self, key: str, owner: Obj, selector: LabelSelector) -> bool:
        """Does the cache hold all that the owner has? Asks the server, but only after something went unanswered. Raises
        StatusError, HttpError."""
        if key not in self._owners:
            return True
        meta = owner["metadata"]
        found = await self._client.list(self._what, meta["namespace"], label_selector=str(selector))
        for item in found["items"]:
            reference = controller_of(item)
            mine = reference is not None and reference["uid"] == meta["uid"]
            if mine and self._cache.by_key(key_of(item)) is None:
                return False
        self._owners.discard(key)
        return True
