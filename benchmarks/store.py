"""Durable writes of the SQLite store: `python -m benchmarks.store`."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.report import Figure, few, run
from sampan.store.contract import Compare, Put
from sampan.store.sqlite import SqliteStore

RUNS, EACH = few(5), few(400)


async def writes(writers: int) -> float:
    """Creates of 5 KB a second."""
    with tempfile.TemporaryDirectory() as directory:
        store = SqliteStore(Path(directory) / "state.db")
        await store.open()

        async def write(name: int) -> None:
            for number in range(EACH):
                key = b"/registry/%d/%d" % (name, number)
                await store.txn([Compare(key, "mod", "=", 0)], [Put(key, b"x" * 5000)])

        start = time.perf_counter()
        await asyncio.gather(*(write(name) for name in range(writers)))
        took = time.perf_counter() - start
        await store.close()
    return writers * EACH / took


async def measure() -> list[Figure]:
    out: list[Figure] = []
    for writers, budget in ((1, "-"), (16, ">= 4,000")):
        figure = statistics.median([await writes(writers) for _ in range(RUNS)])
        out.append((f"store: durable creates of 5 KB, writers: {writers}", figure, "/s", budget))
    return out


if __name__ == "__main__":
    run(measure)
