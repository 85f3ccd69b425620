"""What happens to containers, told to whoever listens. One who does not keep up is let go, and begins anew with a list."""

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

    async def listen(self) -> AsyncIterator[Any]:
        """Raises Unavailable when it has fallen behind."""
        queue: asyncio.Queue[Any] = asyncio.Queue(BOUND)
        self._listeners.add(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._listeners.discard(queue)
        raise Unavailable("events were lost: the listener is too slow")
