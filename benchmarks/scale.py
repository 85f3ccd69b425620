"""A large cluster: what the control plane holds in memory with 5,000 simulated nodes and 30,000 pods that run.

    python -m benchmarks.scale [NODES PODS]

`sampan up --hollow 5000` with the durable store: API server in one process; controllers, scheduler and the simulated nodes
in another, so that the figure is more than the control plane's own. The nodes keep their leases all the while.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.api import Bench
from benchmarks.controllers import cpu, deployment, nodes_ready, processes
from benchmarks.report import Figure, few, run
from sampan.client import Client, Config, HttpsTransport

REPLICAS = 1000
SIZE = [int(argument) for argument in sys.argv[1:] if argument.isdigit()]
NODES, PODS = SIZE or (few(5000), few(30_000))


def memory(pid: int) -> float:
    """MB, shared pages counted once."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


async def all_run(client: Client) -> None:
    """Deployments of so many pods, until all are available."""
    names = [f"web-{number}" for number in range(PODS // REPLICAS)]
    for name in names:
        await client.create("deployments", deployment(REPLICAS, name))
    left = set(names)
    async with await client.watch("deployments", "default", initial=True) as watch:
        async for event in watch:
            if event.object.get("status", {}).get("availableReplicas") == REPLICAS:
                left.discard(event.object["metadata"]["name"])
            if not left:
                return


async def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory))
        server = json.loads(bench.run("up", "--hollow", str(NODES), "-o", "json"))["server"]
        pids, pki = processes(Path(directory)), bench.pki
        config = Config(server, ca_file=pki / "ca.crt", certificate_file=pki / "admin.crt", key_file=pki / "admin.key")
        try:
            async with Client(HttpsTransport(config), user_agent="bench") as client:
                start = time.perf_counter()
                await nodes_ready(client, NODES)
                registered = time.perf_counter() - start
                before = {name: memory(pid) for name, pid in pids.items()}
                await all_run(client)
                took = time.perf_counter() - start - registered
            after = {name: memory(pid) for name, pid in pids.items()}
            spent = {name: cpu(pid) for name, pid in pids.items()}
        finally:
            bench.run("down")
    what = f"memory with {NODES:,} nodes and {PODS:,} pods"
    return [
        (f"{NODES:,} nodes registered", registered, "s", "-"),
        (f"{PODS:,} pods run", took, "s", "-"),
        *((f"processor time of {name}", seconds, "s", "-") for name, seconds in spent.items()),
        *((f"memory of {name}, nodes alone", figure, "MB", "-") for name, figure in before.items()),
        *((f"memory of {name}, all pods run", figure, "MB", "-") for name, figure in after.items()),
        (what, sum(after.values()), "MB", "<= 1,500"),
    ]


if __name__ == "__main__":
    run(measure)
