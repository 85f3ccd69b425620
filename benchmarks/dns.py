"""How fast names are answered: `python -m benchmarks.dns`.

One process with 10,000 Services in it, asked over UDP on the loopback with 128 questions on their way at any time: for names
that were asked for before, and for names that were not: of Services, and such as do not exist. What counts on a machine that
does other things too is the processor time of an answer; from that comes what one core answers.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks.report import Figure, few, run
from sampan.network.dns import wire
from sampan.network.dns.wire import Query

SERVICES, QUESTIONS, FEW, WINDOW = 10_000, few(40_000), few(9_000), 128
TICKS = os.sysconf("SC_CLK_TCK")


async def serve() -> None:
    from sampan.network.dns.kubernetes import Kubernetes
    from sampan.network.dns.listener import Listener
    from sampan.network.dns.metrics import Metrics
    from sampan.network.dns.server import Server, Site
    from sampan.network.dns.world import World
    from sampan.network.dns.zone import Options

    async def nobody(query: Query) -> wire.Reply:
        return wire.Reply(wire.REFUSED)

    world = World(time.time)
    world.put_namespace({"metadata": {"name": "default"}})
    for number in range(SERVICES):
        ip = f"10.96.{number // 250}.{number % 250}"
        spec = {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "http", "port": 80}]}
        world.put_service({"metadata": {"namespace": "default", "name": f"svc{number}"}, "spec": spec})
    plugin = Kubernetes(world, Options(("cluster.local.",), ttl=30), through=(), lookup=nobody, mirror=None)
    site = Site(".", "dns://:53", plugin, measured=True, balanced=True)
    listener = Listener("127.0.0.1", 0)
    listener.server = Server(
        {".": site}, metrics=Metrics(), epoch=lambda: world.epoch, rng=random.Random(), fatal=sys.exit
    )
    await listener.open()
    print(listener.port, flush=True)
    await asyncio.Event().wait()


def used(pid: int) -> float:
    """Seconds of the processor."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def megabytes(pid: int) -> float:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def ask(port: int, pid: int, name: Callable[[int], str], count: int) -> tuple[float, float]:
    """Answers a second, and in a second of the processor."""
    packets = [wire.pack_query(Query(0, name(n), name(n), wire.A), n & 0xFFFF) for n in range(count)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        sock.settimeout(2)
        begun, spent = time.perf_counter(), used(pid)
        for packet in packets[:WINDOW]:
            sock.send(packet)
        for number in range(count):
            sock.recv(4096)
            if number + WINDOW < count:
                sock.send(packets[number + WINDOW])
        return count / (time.perf_counter() - begun), count / max(used(pid) - spent, 1 / TICKS)


async def measure() -> list[Figure]:
    command = [sys.executable, "-m", __spec__.name, "serve"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - nothing else runs here
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        out: list[Figure] = []
        for what, count, budget, name in (
            ("names asked for before", QUESTIONS, ">= 10,000", lambda n: f"svc{n % 100}.default.svc.cluster.local."),
            ("each name for the first time", FEW, "-", lambda n: f"svc{n + 100}.default.svc.cluster.local."),
            ("names that do not exist, too", FEW, "-", lambda n: f"www{n}.example.com.default.svc.cluster.local."),
        ):
            each, core = ask(port, process.pid, name, count)
            out += [(f"DNS, {what}: answers", each, "/s", "-"), ("  in a second of one core", core, "/s", budget)]
        out.append(("memory of the server then", megabytes(process.pid), "MB", "<= 60"))
        return out
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
    else:
        run(measure)
