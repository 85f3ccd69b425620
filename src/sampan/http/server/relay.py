"""A streamed reply that ends with its reader: somebody else's body as ours, or any work that writes.

Nothing goes faster than our client takes it. A client that goes takes the other connection with it, and a body that breaks off is broken
off here too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Protocol

from sampan.http.errors import HttpError
from sampan.http.server.messages import StreamBody, Writer

HIGH_WATER = 1 << 20


class Source(Protocol):
    """`sampan.http.ResponseStream`, or what reads like it."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


async def until_closed(writer: Writer, work: Coroutine[Any, Any, None]) -> None:
    """Run `work`; it is cancelled when the peer goes or the server stops."""
    task = asyncio.ensure_future(work)

    def gone() -> None:
        task.cancel()

    writer.on_close(gone)
    try:
        await task
    except asyncio.CancelledError:
        me = asyncio.current_task()
        if me is not None and me.cancelling():
            raise
    finally:
        task.cancel()


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
        try:
            await until_closed(writer, copy(writer))
        except HttpError:
            writer.abort()
        finally:
            await source.aclose()

    return run
