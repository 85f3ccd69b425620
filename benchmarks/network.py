"""The network: pods attached, Services in the kernel, bytes between nodes. As root: `python -m benchmarks.network`.

Everything happens in namespaces of its own. Upstream's peer for rules is kube-proxy's nftables mode, whose shape (a chain
for each Service and endpoint) took 41 s for 10,000 Services on the machine this was written on, and 66 ms for one more.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

from benchmarks.report import Figure, few, run
from sampan.api.user import User
from sampan.apiserver.config import ApiServerConfig
from sampan.apiserver.server import ApiServer
from sampan.client import Client, Informers
from sampan.network import namespaces
from sampan.network.cni.pods import Pods, Settings
from sampan.network.namespaces import inside
from sampan.network.netlink import Routing
from sampan.network.nft import Nft
from sampan.network.nodes import ClusterNetwork
from sampan.network.proxy import model
from sampan.network.proxy.frontends import frontends
from sampan.network.proxy.options import Options
from sampan.network.proxy.proxy import Proxy
from sampan.network.proxy.routes import SLICES, in_node
from sampan.network.proxy.ruleset import Ruleset, Wanted, many
from sampan.network.ranges import choose
from sampan.testing.inprocess import InProcessTransport

Obj = dict[str, Any]
SERVICES, RUNS = few(10_000), few(9)
MEGABYTES = few(1500)
SINK = """
import socket, sys
from pathlib import Path
from sampan.network.namespaces import enter
enter(Path(sys.argv[1]))
listener = socket.create_server(("0.0.0.0", 9000))
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    buffer, total = bytearray(1 << 20), 0
    while count := connection.recv_into(buffer):
        total += count
    connection.close()
"""


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A directory for namespaces; they go with it."""
    directory = Path("/run") / f"sampan-bench-{uuid.uuid4().hex[:6]}"
    directory.mkdir()
    try:
        yield directory
    finally:
        for path in directory.rglob("*"):
            if namespaces.is_pinned(path):
                namespaces.unpin(path)
        shutil.rmtree(directory)


def pinned(path: Path) -> Path:
    namespaces.pin(path)
    with inside(path), Routing() as routing:
        routing.set_link(1, up=True)
    return path


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


# -- pods --------------------------------------------------------------------------------------------------------------


def attaching(directory: Path) -> list[Figure]:
    node = pinned(directory / "attaching")
    with tempfile.TemporaryDirectory() as state, inside(node):
        pods = Pods(Settings(Path(state), IPv4Network("10.244.0.0/24")))
        pods.prepare()
        namespaces_ = [pinned(directory / f"pod{number}") for number in range(30)]
        up = [timed(partial(pods.attach, str(number), each)) for number, each in enumerate(namespaces_)]
        down = [timed(partial(pods.detach, str(number))) for number in range(30)]
        pods.remove()
    return [
        ("pod attached", statistics.median(up), "ms", "<= 10"),
        ("pod detached", statistics.median(down), "ms", "-"),
    ]


# -- Services ----------------------------------------------------------------------------------------------------------


def service(number: int) -> Obj:
    ip = f"10.96.{number // 250}.{number % 250 + 1}"
    port = {"name": "web", "port": 80, "protocol": "TCP", "targetPort": 8080}
    return {
        "metadata": {"name": f"s{number}", "namespace": "default"},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [port]},
    }


def slice_of(number: int, count: int = 2) -> Obj:
    endpoints = [
        {
            "addresses": [f"10.{128 + each}.{number // 250}.{number % 250 + 1}"],
            "conditions": {"ready": True},
            "nodeName": f"n{each}",
        }
        for each in range(count)
    ]
    return {"addressType": "IPv4", "ports": [{"name": "web", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints}


def wanted(number: int, count: int = 2) -> Wanted:
    return _wanted(service(number), slice_of(number, count))


def _wanted(made: Obj, *slices: Obj) -> Wanted:
    ports = model.ports_of(made, slices, "n0")
    return Wanted(tuple(each for port in ports for each in frontends(port)), frozenset(model.local_ips(slices, "n0")))


def services(directory: Path) -> list[Figure]:
    nft = Nft(pinned(directory / "services"))
    objects = [(service(number), slice_of(number)) for number in range(SERVICES)]
    whole, kernel = [], []
    for _ in range(few(5)):
        start = time.perf_counter()
        rules = Ruleset(cluster=IPv4Network("10.128.0.0/9"))
        rules.set_ranges([IPv4Network("10.96.0.0/16")])
        with many():
            rules.change({f"default/s{number}": _wanted(*each) for number, each in enumerate(objects)}, text=False)
        text = rules.program()
        middle = time.perf_counter()
        nft.run(text)
        end = time.perf_counter()
        whole.append(end - start)
        kernel.append(end - middle)

    def put(number: int, count: int = 2) -> None:
        nft.run(rules.change({f"default/s{number}": wanted(number, count)}).text)

    more = [timed(partial(put, number)) for number in range(SERVICES, SERVICES + RUNS)]
    endpoint = [timed(partial(put, number, 3)) for number in range(RUNS)]
    nft.close()
    return [
        (f"{SERVICES:,} Services into an empty kernel", statistics.median(whole), "s", "<= 1"),
        ("  of which nftables", statistics.median(kernel), "s", "-"),
        ("one more Service then", statistics.median(more), "ms", "<= 5"),
        ("one endpoint more", statistics.median(endpoint), "ms", "<= 5"),
    ]


async def to_traffic(directory: Path) -> float:
    """Milliseconds from the answer to an endpoint's change until a connection arrives at the new one, in a proxy that has
    a thousand Services more."""
    node, far = pinned(directory / "proxied"), pinned(directory / "endpoints")
    link(node, "10.9.8.1/24", far, ("10.9.8.2/24", "10.9.8.3/24"))
    for ip in ("10.9.8.2", "10.9.8.3"):
        with inside(far):
            sock = socket.create_server((ip, 8080))
        await asyncio.start_server(_says(ip), sock=sock)
    server = ApiServer(ApiServerConfig(port=0, store="memory"), listen=False)
    await server.start()
    admin = User("admin", ("system:masters", "system:authenticated"))
    client = Client(InProcessTransport(server.handler, admin))
    for number in range(few(1000)):
        await client.create(
            "services", {"metadata": {"name": f"s{number}"}, "spec": {"ports": [{"port": 80}]}}, "default"
        )
    made = await client.create("services", {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}, "default")
    body: Obj = {"metadata": {"name": "web", "namespace": "default", "labels": {model.SERVICE_NAME: "web"}},
                 "addressType": "IPv4", "ports": [{"name": "", "port": 8080}]}  # fmt: skip
    await client.create(SLICES, {**body, "endpoints": []}, "default")
    options = Options("node", cluster_cidr=IPv4Network("10.244.0.0/16"), health=("", 0), metrics=("", 0), routes=False)
    took = []
    async with Informers(client) as informers:
        proxy = Proxy(informers, options, clock=time.time, namespace=node)
        informers.start()
        running = asyncio.create_task(proxy.run())
        await proxy.idle.wait()
        for number in range(2 * few(10)):
            ip = f"10.9.8.{2 + number % 2}"
            await client.update(SLICES, {**body, "endpoints": [{"addresses": [ip]}]})
            start = time.perf_counter()
            while await _asked(node, made["spec"]["clusterIP"]) != ip:  # noqa: ASYNC110 - a client knows no better
                await asyncio.sleep(0)  # it is all one loop
            took.append((time.perf_counter() - start) * 1000)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await server.stop(0)
    return statistics.median(took)


def _says(text: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
    def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text.encode())
        writer.close()

    return answer


async def _asked(namespace: Path, ip: str) -> str:
    loop = asyncio.get_running_loop()
    with inside(namespace):
        sock = socket.socket()
    sock.setblocking(False)
    with sock:
        try:
            await loop.sock_connect(sock, (ip, 80))
            return (await loop.sock_recv(sock, 100)).decode()
        except ConnectionError:
            return ""


# -- nodes -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def sink(namespace: Path) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", SINK, str(namespace)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.communicate()


def throughput(source: Path, to: str) -> float:
    """MB/s, the best of a few runs."""
    best = 0.0
    data = bytes(1 << 20)
    for _ in range(few(4)):
        with inside(source):
            sock = socket.create_connection((to, 9000), timeout=10)
        start = time.perf_counter()
        for _ in range(MEGABYTES):
            sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)
        sock.close()
        best = max(best, MEGABYTES / (time.perf_counter() - start))
    return best


def link(one: Path, address: str, two: Path, addresses: Sequence[str]) -> None:
    """A plain veth pair, with addresses at its ends."""
    with inside(one), Routing() as here, two.open() as handle:
        here.add_veth("eth0", "eth0", handle.fileno(), mtu=0)
        found = here.link("eth0")
        assert found is not None
        here.add_address(found.index, IPv4Interface(address))
        here.add_route(IPv4Network("0.0.0.0/0"), found.index, gateway=IPv4Interface(addresses[0]).ip)
    with inside(two), Routing() as there:
        found = there.link("eth0")
        assert found is not None
        there.set_link(found.index, up=True)
        for each in addresses:
            there.add_address(found.index, IPv4Interface(each))


def plain(directory: Path) -> float:
    one, two = pinned(directory / "one"), pinned(directory / "two")
    link(one, "10.9.9.1/24", two, ["10.9.9.2/24"])
    with sink(two):
        return throughput(one, "10.9.9.2")


def between_nodes(directory: Path) -> tuple[float, float]:
    """Milliseconds for the cluster's network, and MB/s from a pod to one on the other node."""
    host = pinned(directory / "host")
    network = ClusterNetwork("bench", choose([]), run=directory / "nodes", host=host)
    cidrs = [IPv4Network("10.244.0.0/24"), IPv4Network("10.244.1.0/24")]
    start = time.perf_counter()
    network.create()
    nodes = [network.add(f"node{number}", number) for number in range(2)]
    made = (time.perf_counter() - start) * 1000
    network.route({cidr: node.address for cidr, node in zip(cidrs, nodes, strict=True)})
    ips: list[IPv4Address] = []
    with tempfile.TemporaryDirectory() as state:
        for number, node in enumerate(nodes):
            in_node(network.ranges.pods, node.namespace)({cidrs[1 - number]: nodes[1 - number].address})
            with inside(node.namespace):
                pods = Pods(Settings(Path(state) / node.name, cidrs[number], network.ranges.pods, masquerade=False))
                ips.append(pods.attach("pod", pinned(directory / f"far{number}")).address)
        with sink(directory / "far1"):
            found = throughput(directory / "far0", str(ips[1]))
    network.destroy()
    return made, found


async def measure() -> list[Figure]:
    with place() as directory:
        out = await asyncio.to_thread(attaching, directory)
        out += await asyncio.to_thread(services, directory)
        traffic = await to_traffic(directory)
        veth = await asyncio.to_thread(plain, directory)
        made, across = await asyncio.to_thread(between_nodes, directory)
    return [
        *out,
        ("endpoint changed, to traffic", traffic, "ms", "<= 50"),
        ("bridge, table and two nodes", made, "ms", "-"),
        ("a plain veth pair", veth, "MB/s", "-"),
        ("pod to pod across nodes", across, "MB/s", "-"),
        ("  of the veth pair", 100 * across / veth, "%", ">= 90"),
    ]


if __name__ == "__main__":
    run(measure)
