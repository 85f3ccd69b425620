"""The client: calls a second over HTTPS and in process, and what an informer with 30,000 pods takes.

    python -m benchmarks.client

Over HTTPS the server is a process of its own, as under `sampan up`: with two cores each has one. Upstream's peer is
client-go with protobuf; like it, the client of a component runs on one core beside the server's. Kept as dicts, the pods
of the informer would take 870 MB, and a full garbage collection most of a second.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from benchmarks.api import Bench, pod
from sampan.api.user import ALL_AUTHENTICATED, MASTERS, User
from sampan.apiserver.config import ApiServerConfig
from sampan.apiserver.server import ApiServer
from sampan.client import NODE, OWNER, Client, Config, HttpsTransport, Informer, by_node, by_owner
from sampan.http import Reply
from sampan.testing.inprocess import InProcessTransport

Figure = tuple[str, float, str, str]
PODS = 30_000


async def rate(call: Callable[[int], Awaitable[Any]], total: int, at_once: int = 16) -> float:
    """Calls a second."""
    numbers = iter(range(total))

    async def work() -> None:
        for number in numbers:
            await call(number)

    start = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(at_once)))
    return total / (time.perf_counter() - start)


async def calls(client: Client, where: str, budget: str) -> list[Figure]:
    """Create pods, read and bind them."""
    out: list[Figure] = []

    async def create(number: int) -> None:
        await client.create("pods", pod(f"p{number}"), "default")

    async def get(number: int) -> None:
        await client.get("pods", f"p{number % 2000}", "default")

    async def bind(number: int) -> None:
        await client.bind(f"p{number}", "default", "node-1")

    await client.create("nodes", {"metadata": {"name": "node-1"}})
    out.append((f"create pods, {where}", await rate(create, 2000), "/s", "-"))
    out.append((f"get pods, {where}", await rate(get, 8000), "/s", "-"))
    spent = time.process_time()
    out.append((f"bind pods, {where}", await rate(bind, 2000), "/s", budget))
    if where == "HTTPS":
        out.append(("bind pods: the client's own share", (time.process_time() - spent) / 2000 * 1e6, "us", "<= 250"))
    return out


async def over_https() -> list[Figure]:
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory))
        server = json.loads(bench.run("up", "-o", "json"))["server"]
        pki = bench.pki
        config = Config(server, ca_file=pki / "ca.crt", certificate_file=pki / "admin.crt", key_file=pki / "admin.key")
        try:
            async with Client(HttpsTransport(config), user_agent="bench") as client:
                return await calls(client, "HTTPS", ">= 700")
        finally:
            bench.run("down")


async def in_process() -> list[Figure]:
    server = ApiServer(ApiServerConfig(port=0, store="memory"))
    await server.start()
    try:
        transport = InProcessTransport(server.handler, User("admin", (MASTERS, ALL_AUTHENTICATED)))
        async with Client(transport, user_agent="bench") as client:
            return await calls(client, "in process", "-")
    finally:
        await server.stop(0)


class Sender:
    """A transport that makes pods up as it sends them, so that all memory measured is the informer's."""

    async def request(self, method: str, path: str, **more: Any) -> Reply:
        raise NotImplementedError

    async def upgrade(self, method: str, path: str, **more: Any) -> Any:
        raise NotImplementedError

    async def stream(self, path: str, **more: Any) -> Any:
        return Lines()

    async def aclose(self) -> None:
        """Nothing is open."""


class Lines:
    code = 200
    headers: dict[str, str] = {}

    def __init__(self) -> None:
        self.chunks = self.make()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.chunks

    async def make(self) -> AsyncIterator[bytes]:
        for first in range(0, PODS, 40):
            yield b"".join(self.line(number) for number in range(first, first + 40))
            await asyncio.sleep(0)
        end = {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}}
        yield b'{"type":"BOOKMARK","object":%b}\n' % orjson.dumps({"kind": "Pod", "metadata": end})
        await asyncio.sleep(10**6)

    def line(self, number: int) -> bytes:
        obj = pod(f"web-{number % 300}-{number}")
        obj["metadata"] |= {
            "namespace": f"team-{number % 50}", "uid": f"{number:032x}", "resourceVersion": str(number + 1),
            "labels": {"app": f"web-{number % 300}", "pod-template-hash": f"{number % 300:010x}"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"web-{number % 300}", "uid": f"rs-{number % 300}",
                                 "controller": True, "apiVersion": "apps/v1", "blockOwnerDeletion": True}],
            "managedFields": [{"manager": "m", "fieldsV1": {f"f:{k}": {"f:x": {}} for k in range(60)}}],
        }  # fmt: skip
        obj["spec"]["nodeName"] = f"node-{number % 1000}"
        obj["status"] = {"phase": "Running", "podIP": "10.0.0.1", "conditions": [
            {"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
        ]}  # fmt: skip
        return b'{"type":"ADDED","object":%b}\n' % orjson.dumps(obj)

    async def read(self, max_body: int = 0) -> bytes:
        return b""

    async def aclose(self) -> None:
        await self.chunks.aclose()  # type: ignore[attr-defined]


def resident() -> float:
    """MB of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


async def informer_memory() -> list[Figure]:
    """Also printed as JSON by `python -m benchmarks.client memory`, which is run in a process of its own."""
    informer = Informer(Client(Sender()), "pods", indexers={OWNER: by_owner, NODE: by_node}, rng=random.Random(1))
    gc.collect()
    before = resident()
    start = time.perf_counter()
    task = asyncio.create_task(informer.run())
    await informer.wait_synced()
    took = time.perf_counter() - start
    gc.collect()
    size = sum(len(record.raw) for record in informer.cache.records()) / 1e6
    out: list[Figure] = [
        (f"informer: memory of {PODS:,} pods ({size:.0f} MB encoded)", resident() - before, "MB", "<= 150"),
        (f"informer: {PODS:,} pods taken in, with two indexes", took, "s", "<= 4"),
    ]
    start = time.perf_counter()
    gc.collect()
    out.append(("informer: a full garbage collection with them", (time.perf_counter() - start) * 1000, "ms", "<= 60"))
    start = time.perf_counter()
    for number in range(300):
        assert len(informer.cache.by_index(OWNER, f"rs-{number}")) == PODS // 300
    out.append(("informer: reads by owner, objects", PODS / (time.perf_counter() - start), "/s", ">= 20,000"))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return out


def apart() -> list[Figure]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.client", "memory"], check=True, capture_output=True, text=True
    )
    return [tuple(line) for line in json.loads(done.stdout)]


async def measure() -> list[Figure]:
    return [*await over_https(), *await in_process(), *apart()]


if __name__ == "__main__":
    if sys.argv[1:] == ["memory"]:
        print(json.dumps(asyncio.run(informer_memory())))
    else:
        import uvloop  # as the commands run

        for what, figure, unit, budget in uvloop.run(measure()):
            print(f"{what:64} {figure:12,.1f} {unit:4} budget {budget}")
