"""The scheduler: one cycle with 5,000 nodes, and pods a second over the API.

    python -m benchmarks.scheduler              all of it
    python -m benchmarks.scheduler cycles       the cycles alone, in CPU time
    python -m benchmarks.scheduler https 0 2000 1000    one case over HTTPS, with so many pods and nodes

Upstream's peer is scheduler_perf's SchedulingBasic (5,000 nodes, 10,000 pods, threshold 270 to 680 pods/s there, with
protobuf and 16 or more cores). Over the API the server is a process of its own with the durable store, over HTTPS.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterable
from pathlib import Path
from typing import Any

from sampan.client import Client, Config, HttpsTransport, Informers
from sampan.cluster import certificates
from sampan.scheduler.cluster import Cluster
from sampan.scheduler.framework import Cycle
from sampan.scheduler.plugins.image_locality import ImageLocality
from sampan.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from sampan.scheduler.plugins.node_affinity import NodeAffinity
from sampan.scheduler.plugins.node_name import NodeName
from sampan.scheduler.plugins.node_ports import NodePorts
from sampan.scheduler.plugins.node_unschedulable import NodeUnschedulable
from sampan.scheduler.plugins.pod_topology_spread import PodTopologySpread
from sampan.scheduler.plugins.resources_balanced import NodeResourcesBalancedAllocation
from sampan.scheduler.plugins.resources_fit import NodeResourcesFit
from sampan.scheduler.plugins.taint_toleration import TaintToleration
from sampan.scheduler.profile import Profile
from sampan.scheduler.scheduler import Scheduler
from sampan.scheduler.shape import pod_info

Obj = dict[str, Any]
Figure = tuple[str, float, str, str]
NODES, PODS = 5000, 10_000
HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"


def node(number: int) -> Obj:
    amounts = {"cpu": "4", "memory": "32Gi", "pods": "110", "ephemeral-storage": "100Gi"}
    labels = {HOST: f"node-{number}", ZONE: f"zone-{number % 3}"}
    return {
        "metadata": {"name": f"node-{number}", "labels": labels},
        "status": {"capacity": amounts, "allocatable": amounts},
    }


def pod(number: int, **spec: Any) -> Obj:
    container: Obj = {"name": "pause", "image": "registry.k8s.io/pause:3.10", "ports": [{"containerPort": 80}]}
    container["resources"] = {"requests": {"cpu": "100m", "memory": "500Mi"}}
    meta = {"name": f"pod-{number}", "namespace": "default", "uid": f"{number}", "labels": {"app": "bench"}}
    return {"metadata": meta, "spec": {"containers": [container], **spec}}


SELECTOR = {"matchLabels": {"app": "bench"}}
SPREAD = {
    "topologySpreadConstraints": [
        {"maxSkew": 5, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": SELECTOR}
    ]
}
ANTI = {
    "affinity": {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": HOST, "labelSelector": SELECTOR}]
        }
    }
}
CASES: list[tuple[str, Obj, int, int]] = [
    ("basic", {}, PODS, 700),
    ("topology spreading", SPREAD, PODS, 400),
    ("required anti-affinity", ANTI, 2000, 200),
]


def profile() -> Profile:
    filters = [
        NodeUnschedulable(), NodeName(), TaintToleration(), NodeAffinity(), NodePorts(), NodeResourcesFit(),
        PodTopologySpread(), InterPodAffinity(),
    ]  # fmt: skip
    scorers = [*filters[2:4], *filters[5:], NodeResourcesBalancedAllocation(), ImageLocality()]
    return Profile("default-scheduler", filters, [(plugin, plugin.weight) for plugin in scorers])


def cycles(spec: Obj, pods: int) -> float:
    """Microseconds from a pod to the node it is taken to be on."""
    cluster, made, rng = Cluster(), profile(), random.Random(1)
    for number in range(NODES):
        cluster.set_node(node(number))
    waiting = [pod_info(pod(number, **spec)) for number in range(pods)]
    start = time.process_time()
    for info in waiting:
        cycle = Cycle(info, cluster)
        feasible, _ = made.feasible(cycle)
        chosen = cluster.by_slot[made.choose(cycle, feasible, rng)]
        assert chosen is not None
        info.node = chosen.name
        cluster.add_pod(info)
    return (time.process_time() - start) / pods * 1e6


def in_process() -> list[Figure]:
    budgets = {"basic": "<= 150"}
    return [
        (f"cycle, {NODES:,} nodes, {name}", cycles(spec, pods), "us", budgets.get(name, "-"))
        for name, spec, pods, _ in CASES
    ]


class Server:
    """An API server in a process of its own, with the durable store."""

    def __init__(self, directory: Path) -> None:
        self.pki = certificates.ensure(directory / "pki", ["10.96.0.1"])
        self.port = _free_port()
        reader, writer = os.pipe()
        path = self.pki.path
        command = [
            sys.executable, "-m", "sampan.cli", "apiserver", "--secure-port", str(self.port),
            "--tls-cert-file", str(path("apiserver.crt")), "--tls-private-key-file", str(path("apiserver.key")),
            "--client-ca-file", str(path("ca.crt")), "--storage", "sqlite", "--data-dir", str(directory),
            "--service-account-key-file", str(path("sa.pub")), "--service-account-signing-key-file",
            str(path("sa.key")), "--ready-fd", str(writer),
        ]  # fmt: skip
        self.process = subprocess.Popen(command, pass_fds=[writer], stderr=subprocess.DEVNULL)
        os.close(writer)
        said = os.read(reader, 1000)
        os.close(reader)
        if said != b"ready\n":
            raise RuntimeError(said.decode())

    def client(self, who: str, agent: str) -> Client:
        path = self.pki.path
        config = Config(
            f"https://127.0.0.1:{self.port}", ca_file=path("ca.crt"), certificate_file=path(f"{who}.crt"),
            key_file=path(f"{who}.key"),
        )  # fmt: skip
        return Client(HttpsTransport(config), user_agent=agent)

    def cpu(self) -> float:
        """Seconds so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def all_at_once(calls: Iterable[Awaitable[Any]], limit: int = 16) -> None:
    waiting = iter(calls)

    async def work() -> None:
        for call in waiting:
            await call

    await asyncio.gather(*(work() for _ in range(limit)))


async def over_https(spec: Obj, pods: int, nodes: int = NODES) -> Obj:
    """Pods are there before the scheduler starts, so that it alone is measured: until the last is bound."""
    with tempfile.TemporaryDirectory() as directory:
        server = Server(Path(directory))
        try:
            admin = server.client("admin", "bench")
            await all_at_once(admin.create("nodes", ready(node(number))) for number in range(nodes))
            await all_at_once(_prepare(admin, number) for number in range(nodes))
            await all_at_once(admin.create("pods", without_uid(pod(number, **spec))) for number in range(pods))
            client = server.client("scheduler", "kube-scheduler")
            async with Informers(client) as informers:
                scheduler = Scheduler(client, informers, clock=time.time, rng=random.Random(1))
                informers.start()
                await informers.wait_synced()
                before, mine, start = server.cpu(), time.process_time(), time.perf_counter()
                running = asyncio.create_task(scheduler.run())
                while scheduler.queue.statistics.attempts["scheduled"] < pods:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                took = time.perf_counter() - start
                late = scheduler.recorders["default-scheduler"].waiting
                figures = {
                    "rate": pods / took, "mine": (time.process_time() - mine) / pods * 1e6,
                    "server": (server.cpu() - before) / pods * 1e6,
                    "late": late, "dropped": scheduler.recorders["default-scheduler"].dropped,
                }  # fmt: skip
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            await client.aclose()
            await admin.aclose()
            return figures
        finally:
            server.stop()


def ready(obj: Obj) -> Obj:
    return {key: value for key, value in obj.items() if key != "status"}


async def _prepare(admin: Client, number: int) -> None:
    """As its kubelet and the node controller would: it offers something, and is ready."""
    name = f"node-{number}"
    await admin.patch("nodes", name, {"status": node(number)["status"]}, subresource="status")
    await admin.patch("nodes", name, {"spec": {"taints": None}})


def without_uid(obj: Obj) -> Obj:
    return {**obj, "metadata": {key: value for key, value in obj["metadata"].items() if key != "uid"}}


async def measure() -> list[Figure]:
    out = in_process()
    for name, spec, pods, budget in CASES:
        found = await over_https(spec, pods)
        more = f"{found['mine']:.0f} us here, {found['server']:.0f} us in the server; {found['late']} events later, {found['dropped']} never"
        out.append((f"over HTTPS, {name} ({more})", found["rate"], "/s", f">= {budget}"))
    return out


async def main(arguments: list[str]) -> None:
    if arguments[:1] == ["https"]:
        name, spec, _, _ = CASES[int(arguments[1])]
        print(name, await over_https(spec, int(arguments[2]), int(arguments[3])))
        return
    for what, figure, unit, budget in in_process() if arguments == ["cycles"] else await measure():
        print(f"{what:100} {figure:10,.1f} {unit:4} budget {budget}")


if __name__ == "__main__":
    try:
        import uvloop

        uvloop.run(main(sys.argv[1:]))
    except ImportError:
        asyncio.run(main(sys.argv[1:]))
