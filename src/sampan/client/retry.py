"""Doing it again after a conflict: for whoever must write now, rather than bring a key back later.

    async def relabel() -> None:
        node = await client.get("nodes", name)
        node["metadata"].setdefault("labels", {})["zone"] = "a"
        await client.update("nodes", node)

    await retry_on_conflict(relabel)

Source: client-go/util/retry/util.go
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sampan.api.errors import StatusError
from sampan.client.errors import is_conflict

T = TypeVar("T")
TRIES = 5
SECONDS = 0.01


async def retry_on_conflict(action: Callable[[], Awaitable[T]], *, rng: random.Random | None = None) -> T:
    """`action` reads and writes; it is called again, five times in all, while somebody else was faster."""
    for _ in range(TRIES - 1):
        try:
            return await action()
        except StatusError as error:
            if not is_conflict(error):
                raise
        await asyncio.sleep(SECONDS * (1 + 0.1 * (rng.random() if rng else 0.0)))
    return await action()
