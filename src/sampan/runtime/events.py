"""What happens to containers, told to whoever listens.

Who listens hears all that comes after the call, with nothing between it and a list asked for then. gRPC's flow control holds back
what a listener does not take; one who falls too far behind is let go, knows it by the error, and begins anew with a list.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from sampan.runtime.errors import Unavailable

#: about a minute of a busy node
BOUND = 1000


class Events:
    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[Any]] = set()

    def tell(self, event: Any) -> None:
        for queue in list(self._listeners):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                self._listeners.discard(queue)
                queue.get_nowait()
                queue.put_nowait(None)  # behind what it has not read yet: there it ends

    def listen(self) -> AsyncIterator[Any]:
        """From now on. The iterator raises Unavailable when it has fallen behind."""
        queue: asyncio.Queue[Any] = asyncio.Queue(BOUND)
        self._listeners.add(queue)
        return self._heard(queue)

    async def _heard(self, queue: asyncio.Queue[Any]) -> AsyncIterator[Any]:
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._listeners.discard(queue)
        raise Unavailable("events were lost: the listener is too slow")
