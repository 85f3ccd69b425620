"""A container's log through the API server: `sudo python -m benchmarks.logs`.

A cluster as `sampan up` makes it; the log is there already, in the runtime's format. Read by a client of ours in this process: from the
file to the client it is parsed once and encrypted twice. Below the rate stands what the two servers spend, as that alone can be compared
on a machine that does other things too.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from benchmarks.node import Bench, cluster
from benchmarks.report import QUICK, Figure, few, run

LINES = few(2_000_000)
LINE = b"2026-01-02T03:04:05.123456789+00:00 stdout F " + b"x" * 99 + b"\n"


def processor(pid: int | None) -> float:
    """Seconds spent so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def read(bench: Bench, query: str = "") -> tuple[int, float]:
    """Bytes and seconds."""
    start, size = time.perf_counter(), 0
    stream = await bench.client.transport.stream(f"/api/v1/namespaces/default/pods/talks/log?{query}")
    try:
        async for data in stream:
            size += len(data)
    finally:
        await stream.aclose()
    return size, time.perf_counter() - start


async def measure() -> list[Figure]:
    out: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="sampan-bench-") as directory:
        async with cluster(Path(directory)) as bench:
            await bench.up("talks")
            pod = await bench.client.get("pods", "talks", "default")
            uid, settings = pod["metadata"]["uid"], bench.cluster.settings()
            assert settings is not None
            (log,) = bench.cluster.directory.parent.parent.rglob(f"default_talks_{uid}/main/0.log")
            with log.open("ab") as file:
                for _ in range(LINES // 1000):
                    file.write(LINE * 1000)
            servers = bench.cluster.pid("apiserver"), bench.cluster.pid(f"nodes/{settings.nodes[0].name}/node")
            for what, query, budget in (("whole", "", ">= 50"), ("with times", "timestamps=true", "-")):
                spent = [processor(pid) for pid in servers]
                rates = []
                sizes = 0
                for _ in range(1 if QUICK else 3):
                    size, took = await read(bench, query)
                    sizes += size
                    rates.append(size / took / 1e6)
                out.append((f"log of {size // 1_000_000} MB, {what}", sorted(rates)[len(rates) // 2], "MB/s", budget))
                for name, pid, before in zip(("API server", "kubelet"), servers, spent, strict=True):
                    out.append(
                        (
                            f"  for each second of a processor: {name}",
                            sizes / 1e6 / (processor(pid) - before),
                            "MB",
                            "-",
                        )
                    )
            _, took = await read(bench, "tailLines=10")
            out.append(("  its last ten lines", took * 1000, "ms", "-"))
            await bench.down("talks")
    return out


if __name__ == "__main__":
    run(measure)
