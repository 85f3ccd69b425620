"""A reply of somebody else's as ours: its body goes on as it comes, no faster than our client takes it.

A client that goes takes the other connection with it; a body that breaks off is broken off here too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from sampan.http import HttpError
from sampan.http.server.messages import StreamBody, Writer

HIGH_WATER = 1 << 20


class Source(Protocol):
    """`sampan.http.ResponseStream`, or what reads like it."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


def body(source: Source, begun: bytes = b"") -> StreamBody:
    """All of `source`, after what was read of it already; it is closed at the end."""

    async def copy(writer: Writer) -> None:
        if begun:
            writer.write(begun)
        async for data in source:
            writer.write(data)
            if writer.pending() > HIGH_WATER:
                await writer.drain()

    async def run(writer: Writer) -> None:
        task = asyncio.ensure_future(copy(writer))

        def gone() -> None:
            task.cancel()

        writer.on_close(gone)
        try:
            await task
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if me is not None and me.cancelling():
                raise
        except HttpError:
            writer.abort()
        finally:
            task.cancel()
            await source.aclose()

    return run
