"""How long until a server answers: `python -m benchmarks.startup`.

The process with a new SQLite store and with one that is there, certificates made before, from its start until the first
`/readyz` over TLS says 200; and a server in this process with the memory store, imports not counted.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.api import Bench, request
from benchmarks.report import Figure, few, run
from sampan.apiserver.config import ApiServerConfig
from sampan.apiserver.server import ApiServer

RUNS = few(9)


async def measure() -> list[Figure]:
    first, again = [], []
    memory = 0.0
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory))
        await ready(bench, Path(directory))  # makes the certificates
        for number in range(RUNS):
            data = Path(directory) / f"data{number}"
            data.mkdir()
            first.append(await ready(bench, data))
            again.append(await ready(bench, data))
            memory = max(memory, again[-1][2])
    inside = [await in_process() for _ in range(RUNS)]
    out: list[Figure] = []
    for what, runs, budget in (("new store", first, "<= 400"), ("store that was there", again, "<= 400")):
        out.append((f"API server, {what}: start to first /readyz", median(runs, 0), "ms", budget))
        out.append(("  its processor time", median(runs, 1), "ms", "-"))
    out.append(("memory of the server then", memory, "MB", "<= 90"))
    out.append(("server in this process, memory store", median(inside, 0), "ms", "<= 150"))
    out.append(("  its processor time", median(inside, 1), "ms", "-"))
    return out


def median(runs: list[tuple[float, ...]], which: int) -> float:
    return statistics.median(run[which] for run in runs)


async def ready(bench: Bench, data: Path) -> tuple[float, ...]:
    """Milliseconds, those of the processor, and megabytes."""
    start = time.perf_counter()
    bench.serve(data)
    client = await bench.connect(known=False)
    code, _ = await client.send(request("GET", "/readyz"))
    took = time.perf_counter() - start
    assert code == 200
    found = took * 1000, bench.cpu() * 1000, bench.memory()
    client.transport.close()
    bench.stop()
    return found


async def in_process() -> tuple[float, ...]:
    start, spent = time.perf_counter(), time.process_time()
    server = ApiServer(ApiServerConfig(port=0, store="memory"))
    await server.start()
    found = (time.perf_counter() - start) * 1000, (time.process_time() - spent) * 1000
    await server.stop(0)
    return found


if __name__ == "__main__":
    run(measure)
