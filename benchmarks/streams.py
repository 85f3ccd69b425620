"""exec and port-forward with real kubectl: `sudo python -m benchmarks.streams`.

A cluster as `sampan up` makes it. What a command costs beyond kubectl's own start is the difference to `kubectl version --client`. The
newest kubectl speaks WebSocket, which the API server translates; the oldest SPDY, which is passed on. Below each rate stands what API
server and kubelet spend, as that alone can be compared on a machine that does other things too.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

from tests import kubectls

from benchmarks.logs import processor
from benchmarks.node import Bench, cluster
from benchmarks.report import Figure, few, run

RUNS = few(20)
MEGABYTES = few(500)
VERSIONS = ("1.37", "1.20")


class Kubectl:
    def __init__(self, version: str, home: Path) -> None:
        self.version = version
        self._binary = str(kubectls.kubectl(version))
        self._env = {**os.environ, "KUBECONFIG": str(home / "config")}

    async def start(self, *arguments: str, stdin: Path = Path("/dev/null")) -> asyncio.subprocess.Process:
        with stdin.open("rb") as given:
            return await asyncio.create_subprocess_exec(
                self._binary, *arguments, env=self._env, stdin=given, stdout=asyncio.subprocess.PIPE
            )

    async def __call__(self, *arguments: str, stdin: Path = Path("/dev/null")) -> float:
        """Seconds; the output is read and dropped."""
        begun = time.perf_counter()
        process = await self.start(*arguments, stdin=stdin)
        assert process.stdout is not None
        while await process.stdout.read(1 << 20):
            continue
        if code := await process.wait():
            raise RuntimeError(f"kubectl {' '.join(arguments)} failed with {code}")
        return time.perf_counter() - begun


async def latency(kubectl: Kubectl) -> Figure:
    beyond = []
    for _ in range(RUNS):
        own = await kubectl("version", "--client")
        beyond.append(await kubectl("exec", "talks", "--", "true") - own)
    what = f"kubectl {kubectl.version} exec POD -- true, beyond its own start"
    return what, statistics.median(beyond) * 1000, "ms", "<= 150"


async def forward(kubectl: Kubectl) -> float:
    """Seconds for the whole file by port-forward."""
    process = await kubectl.start("port-forward", "pod/talks", ":8080", "--address", "127.0.0.1")
    try:
        assert process.stdout is not None
        port = int((await process.stdout.readline()).decode().split(":")[1].split()[0])
        begun = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        writer.write(b"GET /large HTTP/1.0\r\n\r\n")
        while await reader.read(1 << 20):
            continue
        writer.close()
        return time.perf_counter() - begun
    finally:
        process.kill()
        await process.wait()


async def rates(bench: Bench, kubectl: Kubectl, file: Path) -> list[Figure]:
    settings = bench.cluster.settings()
    assert settings is not None
    servers = {
        name: bench.cluster.pid(which)
        for name, which in (("API server", "apiserver"), ("kubelet", f"nodes/{settings.nodes[0].name}/node"))
    }
    out: list[Figure] = []
    for what in ("output of exec", "input of exec", "port-forward"):
        spent = {name: processor(pid) for name, pid in servers.items()}
        if what == "port-forward":
            took = await forward(kubectl)
        elif what == "output of exec":
            took = await kubectl("exec", "talks", "--", "cat", "/www/large")
        else:
            took = await kubectl("exec", "-i", "talks", "--", "sh", "-c", "cat > /dev/null", stdin=file)
        out.append((f"kubectl {kubectl.version}: {what}, {MEGABYTES} MB", MEGABYTES / took, "MB/s", ">= 50"))
        for name, pid in servers.items():
            used = max(processor(pid) - spent[name], 0.01)
            out.append((f"  for each second of a processor: {name}", MEGABYTES / used, "MB", "-"))
    return out


async def measure() -> list[Figure]:
    out: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="sampan-bench-") as directory:
        home = Path(directory)
        file = home / "large"
        file.touch()
        os.truncate(file, MEGABYTES * 1_000_000)
        async with cluster(home) as bench:
            await bench.up("talks")
            clients = [Kubectl(version, home) for version in VERSIONS]
            make = f"busybox dd if=/dev/zero of=/www/large bs=1000000 count={MEGABYTES}; httpd -p 8080 -h /www"
            await clients[0]("exec", "talks", "--", "sh", "-c", f"({make}) >/dev/null 2>&1 </dev/null")
            for kubectl in clients:
                out.append(await latency(kubectl))
                out += await rates(bench, kubectl, file)
            await bench.down("talks")
    return out


if __name__ == "__main__":
    run(measure)
