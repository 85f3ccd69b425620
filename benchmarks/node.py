"""A node that runs real containers: `sudo python -m benchmarks.node`.

A cluster as `sampan up` makes it, with one node on the embedded runtime (and one on containerd, where that is installed) and the image
present. Times are those of a client that watches:
from the create until the pod is Running and Ready, from the delete until it is gone. What an idle node costs is the processor time of its
two processes (kubelet with service proxy, runtime) and of the containers' monitors, and what is resident in the two.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.images import busybox

from benchmarks.report import QUICK, Figure, few, run
from sampan.client import Client, HttpsTransport, from_kubeconfig
from sampan.cluster import images
from sampan.cluster.state import Cluster

Obj = dict[str, Any]
IMAGE = "docker.io/library/busybox:bench"
NODE_CPU_SECONDS = 5 if QUICK else 30


class Bench:
    def __init__(self, home: Path, client: Client) -> None:
        self.cluster = Cluster("default", home / "clusters" / "default")
        self.client = client
        #: by name: is it ready, is it gone
        self._ready: dict[str, asyncio.Event] = {}
        self._gone: dict[str, asyncio.Event] = {}

    async def watch(self) -> None:
        async with await self.client.watch("pods", "default", initial=True) as watch:
            async for event in watch:
                if event.type == "BOOKMARK":
                    continue
                name = event.object["metadata"]["name"]
                if event.type == "DELETED":
                    self._event(self._gone, name).set()
                elif any(each["type"] == "Ready" and each["status"] == "True"
                         for each in event.object.get("status", {}).get("conditions") or ()):  # fmt: skip
                    self._event(self._ready, name).set()

    @staticmethod
    def _event(events: dict[str, asyncio.Event], name: str) -> asyncio.Event:
        return events.setdefault(name, asyncio.Event())

    async def up(self, name: str) -> float:
        """Seconds from applied to ready."""
        # as a shell's child, a program is not PID 1 of its namespace and ends at once when it is told to
        container = {"name": "main", "image": IMAGE, "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"]}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"containers": [container]},
        }
        start = time.perf_counter()
        await self.client.create("pods", pod)
        await self._event(self._ready, name).wait()
        return time.perf_counter() - start

    async def down(self, name: str) -> float:
        """Seconds from deleted to gone."""
        start = time.perf_counter()
        await self.client.delete("pods", name, "default")
        await self._event(self._gone, name).wait()
        return time.perf_counter() - start

    # -- what the node costs -------------------------------------------------------------------------------------------

    def pids(self) -> list[int]:
        settings = self.cluster.settings()
        assert settings is not None
        found = [
            self.cluster.pid(f"nodes/{node.name}/{which}") for node in settings.nodes for which in ("runtime", "node")
        ]
        return [pid for pid in found if pid is not None]

    def memory(self) -> float:
        """MB resident in kubelet and runtime; what they share is theirs in part."""
        return sum(_pages(pid, "Pss:") for pid in self.pids()) / 1024

    def monitors(self) -> list[int]:
        out = []
        for each in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (each / "cmdline").read_bytes()
                if b"conmon" in words.split(b"\0")[0] and str(self.cluster.run).encode() in words:
                    out.append(int(each.name))
        return out

    def private(self) -> float:
        """MB that belong to the node and to nobody else: its processes and the monitors of its containers."""
        return sum(_pages(pid, "Private_") for pid in (*self.pids(), *self.monitors())) / 1024

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        ticks = 0
        for pid in (*self.pids(), *self.monitors()):
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def _pages(pid: int, kind: str) -> int:
    """KB."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(kind))
    return 0


@contextlib.asynccontextmanager
async def cluster(home: Path, runtime: str = "sampan") -> AsyncIterator[Bench]:
    env = {**os.environ, "SAMPAN_HOME": str(home), "KUBECONFIG": str(home / "config")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # as users have it: compiled once

    def sampan(*arguments: str) -> str:
        command = [sys.executable, "-m", "sampan.cli", *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"sampan {arguments[0]}: {done.stderr}")
        return done.stdout

    json.loads(await asyncio.to_thread(sampan, "up", "--nodes", "1", "--runtime", runtime, "-o", "json"))
    try:
        async with Client(HttpsTransport(from_kubeconfig(home / "config")), user_agent="bench") as client:
            bench = Bench(home, client)
            settings = bench.cluster.settings()
            assert settings is not None
            for node in settings.nodes:
                socket = f"unix://{bench.cluster.socket(node.name)}"
                await images.load(socket, busybox().docker_save(home / "busybox.tar", IMAGE))
            watching = asyncio.create_task(bench.watch())
            yield bench
            watching.cancel()
    finally:
        await asyncio.to_thread(sampan, "delete", "cluster", "--name", "default")


async def lives(bench: Bench, where: str, up: str, down: str) -> list[Figure]:
    """One pod after the other."""
    await bench.up("first")
    ups, downs = [], []
    for number in range(few(15)):
        ups.append(await bench.up(f"one-{number}"))
        downs.append(await bench.down(f"one-{number}"))
    await bench.down("first")
    return [
        (f"pod applied{where}: until Running and Ready", statistics.median(ups) * 1000, "ms", up),
        (f"pod deleted{where}: until gone", statistics.median(downs) * 1000, "ms", down),
    ]


async def measure() -> list[Figure]:
    out: list[Figure] = []
    if shutil.which("containerd"):
        with tempfile.TemporaryDirectory(prefix="sampan-bench-") as directory:
            async with cluster(Path(directory), "containerd") as bench:
                out += await lives(bench, ", containerd", "<= 450", "-")
    with tempfile.TemporaryDirectory(prefix="sampan-bench-") as directory:
        async with cluster(Path(directory)) as bench:
            out = [*await lives(bench, "", "<= 250", "<= 250"), *out]
            count = few(100)
            start = time.perf_counter()
            await asyncio.gather(*(bench.up(f"many-{number}") for number in range(count)))
            out.append((f"{count} pods applied at once: until all are Ready", time.perf_counter() - start, "s", "<= 8"))
            start = time.perf_counter()
            await asyncio.gather(*(bench.down(f"many-{number}") for number in range(count)))
            out.append((f"{count} pods deleted at once: until all are gone", time.perf_counter() - start, "s", "-"))
            before = bench.private()
            await asyncio.gather(*(bench.up(f"idle-{number}") for number in range(20)))
            await asyncio.sleep(2)
            each = (bench.private() - before) / 20
            spent, began = bench.cpu(), time.perf_counter()
            await asyncio.sleep(NODE_CPU_SECONDS)
            share = (bench.cpu() - spent) / (time.perf_counter() - began) * 100
            out.append(("idle node with 20 pods: of a processor", share, "%", "<= 2"))
            out.append(("  memory of kubelet and runtime", bench.memory(), "MB", "<= 120"))
            out.append(("  more memory for each pod", each, "MB", "<= 3"))
            await asyncio.gather(*(bench.down(f"idle-{number}") for number in range(20)))
    return out


if __name__ == "__main__":
    run(measure)
