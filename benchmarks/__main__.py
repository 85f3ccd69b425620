"""Figures beside their budgets: `make bench`.

Medians of several runs, in this process and over the loopback; run it on a quiet machine.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks import admission, client, controllers, virtual_time
from benchmarks.api import measure
from sampan.store.contract import Compare, Put
from sampan.store.sqlite import SqliteStore

RUNS = 5


def report(what: str, figure: float, unit: str, budget: str) -> None:
    print(f"{what:58} {figure:12,.1f} {unit:6} budget {budget}")


async def store_writes(writers: int, each: int = 400) -> float:
    """Durable creates of 5 KB a second."""
    with tempfile.TemporaryDirectory() as directory:
        store = SqliteStore(Path(directory) / "state.db")
        await store.open()

        async def write(name: int) -> None:
            for number in range(each):
                key = b"/registry/%d/%d" % (name, number)
                await store.txn([Compare(key, "mod", "=", 0)], [Put(key, b"x" * 5000)])

        start = time.perf_counter()
        await asyncio.gather(*(write(name) for name in range(writers)))
        took = time.perf_counter() - start
        await store.close()
    return writers * each / took


def start_up() -> float:
    """Milliseconds of `sampan up` from nothing, certificates made."""
    with tempfile.TemporaryDirectory() as directory:
        env = {"SAMPAN_HOME": directory, "KUBECONFIG": f"{directory}/config", "PATH": "/usr/bin:/bin"}
        command = [sys.executable, "-m", "sampan.cli"]
        start = time.perf_counter()
        subprocess.run([*command, "up"], env=env, check=True, capture_output=True)
        took = time.perf_counter() - start
        subprocess.run([*command, "down"], env=env, check=True, capture_output=True)
    return took * 1000


async def in_process() -> float:
    """Milliseconds from nothing to serving, in this process, with the memory store."""
    from sampan.apiserver.config import ApiServerConfig
    from sampan.apiserver.server import ApiServer

    start = time.perf_counter()
    server = ApiServer(ApiServerConfig(port=0, store="memory"))
    await server.start()
    took = time.perf_counter() - start
    await server.stop(0)
    return took * 1000


async def main() -> None:
    report(
        "sampan up: spawn to ready, CLI included", statistics.median(start_up() for _ in range(RUNS)), "ms", "<= 400"
    )
    report(
        "server in this process, memory store",
        statistics.median([await in_process() for _ in range(RUNS)]),
        "ms",
        "<= 150",
    )
    figures: list[tuple[str, Callable[[], Awaitable[float]], str]] = [
        ("store: durable creates of 5 KB, 1 writer", lambda: store_writes(1), "-"),
        ("store: durable creates of 5 KB, 16 writers", lambda: store_writes(16), ">= 4,000"),
    ]
    for what, taken, budget in figures:
        report(what, statistics.median([await taken() for _ in range(RUNS)]), "/s", budget)
    for what, figure, unit, budget in [
        *await measure(),
        *await client.measure(),
        *await admission.measure(),
        *await controllers.measure(),
        *await virtual_time.measure(),
    ]:
        report(what, figure, unit, budget)


if __name__ == "__main__":
    asyncio.run(main())
