"""Virtual time: it jumps, in order, and waits for what is real."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from sampan.testing.loop import START, VirtualLoop


def run(main: Coroutine[Any, Any, Any], loop: VirtualLoop) -> Any:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main)


def test_a_day_passes_at_once_and_in_order() -> None:
    loop = VirtualLoop()

    async def main() -> list[tuple[str, float]]:
        seen: list[tuple[str, float]] = []

        async def note(name: str, after: float) -> None:
            await asyncio.sleep(after)
            seen.append((name, loop.wall() - START))

        await asyncio.gather(note("late", 86_400), note("early", 1.5), note("between", 3600))
        return seen

    began = time.monotonic()
    assert run(main(), loop) == [("early", 1.5), ("between", 3600), ("late", 86_400)]
    assert time.monotonic() - began < 5


def test_timeouts_obey_it() -> None:
    async def main() -> bool:
        try:
            async with asyncio.timeout(600):
                await asyncio.Event().wait()
        except TimeoutError:
            return True
        return False

    assert run(main(), VirtualLoop())


def test_sockets_within_the_loop_are_served_before_time_jumps() -> None:
    loop = VirtualLoop()

    async def main() -> float:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        async with asyncio.timeout(0.001):
            writer.write(b"hello\n")
            assert await reader.readline() == b"hello\n"
        writer.close()
        server.close()
        return loop.time()

    assert run(main(), loop) < 0.001


def test_threads_stop_time() -> None:
    loop = VirtualLoop()

    async def main() -> str:
        async with asyncio.timeout(0.001):
            return await asyncio.to_thread(lambda: "done")

    assert run(main(), loop) == "done"


def test_flowing_time_jumps_only_when_told() -> None:
    loop = VirtualLoop(flowing=True)

    async def main() -> float:
        await loop.advance(3600)
        return loop.time()

    assert 3600 <= run(main(), loop) < 3610
