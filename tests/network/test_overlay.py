"""Nodes on different machines: two namespaces in different subnets, joined by a router that knows nothing of pods."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from sampan.client import Client, Informers
from sampan.network import namespaces
from sampan.network.cni.pods import Pods, Settings
from sampan.network.namespaces import inside
from sampan.network.netlink import Routing
from sampan.network.overlay import DEVICE
from sampan.network.proxy.model import SERVICE_NAME
from sampan.network.proxy.options import Options
from sampan.network.proxy.proxy import Proxy, clean_up
from sampan.network.proxy.routes import SLICES, in_node
from sampan.testing.inprocess import InProcessTransport
from tests.conftest import Local
from tests.network.lab import Lab
from tests.network.stage import ADMIN

pytestmark = pytest.mark.slow
Obj = dict[str, Any]
CLUSTER = IPv4Network("10.244.0.0/16")
ADDRESSES = {"one": "192.0.2.10", "two": "198.51.100.10", "near": "192.0.2.11"}
RANGES = {"one": "10.244.1.0/24", "two": "10.244.2.0/24", "near": "10.244.3.0/24"}
DISCOVER, DO = 10, 2  # IP_MTU_DISCOVER, IP_PMTUDISC_DO: packets must not be cut
REPORT = 11  # IP_RECVERR: what comes back of a packet is told to whoever reads
LINKS, NEIGHBOURS, ROUTES, NFTABLES = 1, 4, 0x40, 7  # groups of netlink
SOL_NETLINK, ADD_MEMBERSHIP = 270, 1


@dataclass
class Machines:
    lab: Lab
    client: Client
    informers: Informers
    state: Path
    pods: dict[str, Pods] = field(default_factory=dict)
    ips: dict[str, str] = field(default_factory=dict)
    proxies: list[Proxy] = field(default_factory=list)
    told: Told = field(init=False)

    def at(self, name: str) -> Path:
        return self.lab.run / name

    async def node(self, name: str) -> None:
        spec = {"podCIDR": RANGES[name], "podCIDRs": [RANGES[name]]}
        await self.client.create("nodes", {"metadata": {"name": name}, "spec": spec})
        status = {"addresses": [{"type": "InternalIP", "address": ADDRESSES[name]}]}
        await self.client.patch("nodes", name, {"status": status}, type="merge", subresource="status")

    async def pod(self, name: str, node: str) -> None:
        """It serves its name on TCP 8080 and UDP 8053."""
        namespace = self.lab.namespace(name)
        with inside(self.at(node)):
            self.ips[name] = str(self.pods[node].attach(name, namespace).address)
        await self.lab.serve(namespace, 8080, name)
        await self.lab.serve_udp(namespace, 8053, name)
        spec = {"nodeName": node, "containers": [{"name": "main", "image": "x"}]}
        await self.client.create("pods", {"metadata": {"name": name, "labels": {"app": name}}, "spec": spec}, "default")
        status = {"phase": "Running", "podIP": self.ips[name], "podIPs": [{"ip": self.ips[name]}]}
        await self.client.patch("pods", name, {"status": status}, "default", type="merge", subresource="status")

    async def service(self, name: str, *pods: tuple[str, str], **spec: Any) -> Obj:
        ports = [
            {"name": "web", "port": 80, "targetPort": 8080},
            {"name": "dns", "port": 53, "targetPort": 8053, "protocol": "UDP"},
        ]
        made = await self.client.create(
            "services", {"metadata": {"name": name}, "spec": {"ports": ports, **spec}}, "default"
        )
        body = {
            "metadata": {"name": name, "labels": {SERVICE_NAME: name}}, "addressType": "IPv4",
            "ports": [{"name": "web", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 8053, "protocol": "UDP"}],
            "endpoints": [{"addresses": [self.ips[pod]], "nodeName": node, "conditions": {"ready": True}} for pod, node in pods],
        }  # fmt: skip
        await self.client.create(SLICES, body, "default")
        return made

    async def ask(self, who: str, host: str, port: int = 8080, seconds: float = 3.0) -> str:
        return await self.lab.ask(self.at(who), host, port, seconds=seconds)

    async def tell(self, who: str, host: str, port: int = 8053) -> str:
        with self.lab.socket(self.at(who), socket.SOCK_DGRAM) as sock:
            return await self.lab.tell(sock, host, port)

    def longest(self, who: str, host: str) -> int:
        """MTU of the way there, as `who` has learnt it."""
        with self.lab.socket(self.at(who), socket.SOCK_DGRAM) as sock:
            sock.connect((host, 8053))
            return sock.getsockopt(socket.IPPROTO_IP, 14)  # IP_MTU

    def links(self, node: str) -> list[str]:
        return [each for each in self.lab.links(self.at(node)) if not each.startswith("veth")]

    def routes(self, node: str) -> dict[str, str]:
        with inside(self.at(node)), Routing() as routing:
            found = [each for each in routing.routes() if each.to.prefixlen == 24]
            names = {each.index: each.name for each in routing.links()}
            # a link may have gone meanwhile
            return {str(each.to): names.get(each.index, "") for each in found}


class Told:
    """What the kernel tells of links, neighbours, routes and rules of some namespaces, as it changes them."""

    def __init__(self, *namespaces: Path) -> None:
        self._news = asyncio.Event()
        self._sockets = [sock for each in namespaces for sock in self._listening(each)]
        for sock in self._sockets:
            asyncio.get_running_loop().add_reader(sock, self._read, sock)

    @staticmethod
    def _listening(namespace: Path) -> list[socket.socket]:
        with inside(namespace):
            out = [socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, kind) for kind in (0, 12)]
        out[0].bind((0, LINKS | NEIGHBOURS | ROUTES))
        out[1].setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, NFTABLES)
        return out

    def _read(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):  # more than fits: it is news all the same
            sock.recv(1 << 16)
        self._news.set()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not true():
                await self._news.wait()
                self._news.clear()

    def close(self) -> None:
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()


@pytest.fixture
async def machines(lab: Lab, api: Local, tmp_path: Path) -> AsyncIterator[Machines]:
    router = lab.namespace("router")
    with inside(router):
        namespaces.sysctl("net.ipv4.ip_forward", "1")
    for name, link in (("one", "up1"), ("two", "up2")):
        gateway = ADDRESSES[name].removesuffix("0")
        lab.wire(lab.namespace(name), f"{ADDRESSES[name]}/24", router, f"{gateway}/24", names=("eth0", link))
    client = Client(InProcessTransport(api.server.handler, ADMIN), user_agent="test")
    async with Informers(client) as informers:
        made = Machines(lab, client, informers, tmp_path)
        made.told = Told(made.at("one"), made.at("two"))
        for name in ("one", "two"):
            options = Options(name, cluster_cidr=CLUSTER, health=("", 0), metrics=("", 0))
            made.proxies.append(Proxy(informers, options, clock=time.time, namespace=made.at(name)))
            made.pods[name] = Pods(Settings(tmp_path / name, IPv4Network(RANGES[name]), CLUSTER))
        informers.start()
        running = [asyncio.create_task(each.run()) for each in made.proxies]
        try:
            async with asyncio.timeout(10):
                for proxy in made.proxies:
                    await proxy.idle.wait()
            yield made
            assert not any(each.done() for each in running), running
        finally:
            made.told.close()
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def test_pods_and_services_of_two_machines(machines: Machines) -> None:
    lab, ips = machines.lab, machines.ips
    await machines.pod("early", "one")
    for name in ("one", "two"):
        await machines.node(name)
    await machines.told.until(lambda: DEVICE in machines.links("one") and DEVICE in machines.links("two"))
    await machines.told.until(
        lambda: machines.routes("one").get(RANGES["two"]) == DEVICE == machines.routes("two").get(RANGES["one"])
    )
    for name, node in (("a", "one"), ("b", "two"), ("c", "two")):
        await machines.pod(name, node)

    # pods see each other's own addresses, nodes reach the pods of others
    for who, whom in (("a", "b"), ("b", "a"), ("early", "c"), ("c", "early")):
        assert await machines.ask(who, ips[whom]) == f"{whom} {ips[who]}"
        assert await machines.tell(who, ips[whom]) == f"{whom} {ips[who]}"
    assert await machines.ask("one", ips["b"]) == "b 10.244.1.0"
    # whatever their length: a pod that came later knows the limit, to the others the node says it
    assert machines.longest("a", ips["b"]) == 1450
    data = random.Random(3).randbytes(4 << 20)
    for name in ("a", "b", "early"):
        await lab.echo(machines.at(name), 7)
    for who, whom in (("a", "b"), ("b", "early"), ("early", "b"), ("c", "a")):
        if whom != "c":
            assert await lab.there_and_back(machines.at(who), ips[whom], 7, data) == data, (who, whom)
    with lab.socket(machines.at("early"), socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, DISCOVER, DO)
        sock.sendto(bytes(1422), (ips["b"], 8053))
        assert (await asyncio.get_running_loop().sock_recv(sock, 99)).startswith(b"b ")
        assert machines.longest("early", ips["b"]) == 1500
        sock.setsockopt(socket.IPPROTO_IP, REPORT, 1)
        sock.sendto(bytes(1472), (ips["b"], 8053))
        with pytest.raises(OSError, match="too long"):
            await asyncio.get_running_loop().sock_recv(sock, 99)
        assert machines.longest("early", ips["b"]) == 1450
        with pytest.raises(OSError, match="too long") as raised:
            sock.sendto(bytes(1423), (ips["b"], 8053))
        assert raised.value.errno == errno.EMSGSIZE

    # Services, by every way in
    seen = [each.metrics.endpoint_changes for each in machines.proxies]
    everywhere = await machines.service("all", ("a", "one"), ("b", "two"), type="NodePort")
    there = await machines.service("there", ("b", "two"), type="NodePort", externalTrafficPolicy="Local")
    await machines.told.until(lambda: [each.metrics.endpoint_changes - 2 for each in machines.proxies] == seen)
    await asyncio.gather(*(each.idle.wait() for each in machines.proxies))
    ip, port = everywhere["spec"]["clusterIP"], everywhere["spec"]["ports"][0]["nodePort"]
    for who in ("early", "c", "one", "two", "a"):
        assert set(await lab.names(machines.at(who), ip, 80)) == {"a", "b"}, who
        assert (await machines.tell(who, ip, 53))[0] in "ab"
    for host in ADDRESSES["one"], ADDRESSES["two"]:
        assert set(await lab.names(machines.at("router"), host, port)) == {"a", "b"}, host
    local = there["spec"]["ports"][0]["nodePort"]
    assert await machines.ask("router", ADDRESSES["two"], local) == "b 198.51.100.1"
    with pytest.raises(TimeoutError):
        await machines.ask("router", ADDRESSES["one"], local, seconds=0.3)
    assert (await machines.ask("early", ADDRESSES["one"], local)).startswith("b ")

    # policies know the pods of the other machine
    peers = [{"podSelector": {"matchLabels": {"app": "a"}}}]
    policy = {
        "metadata": {"name": "b"},
        "spec": {"podSelector": {"matchLabels": {"app": "b"}}, "ingress": [{"from": peers}]},
    }
    await machines.client.create("networkpolicies.networking.k8s.io", policy, "default")
    await machines.told.until(lambda: "kube-policies" in lab.tables(machines.at("two")))
    assert await machines.ask("a", ips["b"]) == f"b {ips['a']}"
    with pytest.raises(TimeoutError):
        await machines.ask("early", ips["b"], seconds=0.3)


async def test_what_comes_with_a_node_goes_with_it(machines: Machines) -> None:
    before = machines.links("one")
    assert before == ["eth0"]
    await machines.node("one")
    await machines.node("near")
    await machines.told.until(lambda: machines.routes("one").get(RANGES["near"]) == "eth0")
    assert machines.links("one") == ["eth0"]  # who is on our wire needs no more
    await machines.node("two")
    await machines.told.until(lambda: machines.routes("one").get(RANGES["two"]) == DEVICE)
    shown = neighbours(machines, "one")
    assert "10.244.2.0 lladdr 0e:53:0a:f4:02:00 PERMANENT" in shown
    assert "0e:53:0a:f4:02:00 dst 198.51.100.10 self permanent" in shown
    # it moves
    status = {"addresses": [{"type": "InternalIP", "address": "203.0.113.5"}]}
    await machines.client.patch("nodes", "two", {"status": status}, type="merge", subresource="status")
    await machines.told.until(lambda: "dst 203.0.113.5" in neighbours(machines, "one"))
    assert "198.51.100.10" not in neighbours(machines, "one")
    # simulated nodes are nowhere
    made = {
        "metadata": {"name": "hollow", "labels": {"sampan.io/hollow": "true"}},
        "spec": {"podCIDR": "10.244.9.0/24"},
    }
    await machines.client.create("nodes", made)
    status = {"addresses": [{"type": "InternalIP", "address": "172.31.0.1"}]}
    await machines.client.patch("nodes", "hollow", {"status": status}, type="merge", subresource="status")
    await machines.client.delete("nodes", "two")
    await machines.told.until(lambda: machines.links("one") == before)
    assert machines.routes("one") == {RANGES["near"]: "eth0", "192.0.2.0/24": "eth0"}


async def test_modes(machines: Machines) -> None:
    networks = {name: IPv4Network(each) for name, each in RANGES.items()}
    ways = {networks[name]: IPv4Address(ADDRESSES[name]) for name in ADDRESSES}
    node, on_wire = machines.at("one"), {"192.0.2.0/24": "eth0"}
    in_node(CLUSTER, node, "vxlan")(ways)
    assert machines.routes("one") == {**on_wire, RANGES["two"]: DEVICE, RANGES["near"]: DEVICE}
    in_node(CLUSTER, node, "auto")(ways)
    assert machines.routes("one") == {**on_wire, RANGES["two"]: DEVICE, RANGES["near"]: "eth0"}
    in_node(CLUSTER, node, "routes")(ways)
    assert machines.routes("one") == {**on_wire, RANGES["near"]: "eth0"}
    assert machines.links("one") == ["eth0"]
    # its range is another, once it was registered anew
    in_node(CLUSTER, node)(ways)
    other = {IPv4Network("10.244.8.0/24"): IPv4Address(ADDRESSES["one"]), **dict(list(ways.items())[1:])}
    in_node(CLUSTER, node)(other)
    assert machines.routes("one")[RANGES["two"]] == DEVICE
    assert "10.244.8.0/32" in addresses_of(machines, "one")
    with inside(node):
        clean_up(CLUSTER)
    assert machines.routes("one") == on_wire
    assert machines.links("one") == ["eth0"]
    assert machines.lab.tables(node) == []


def addresses_of(machines: Machines, node: str) -> str:
    return machines.lab.command(machines.at(node), "ip", "-o", "-4", "addr", "show", "dev", DEVICE).stdout


def neighbours(machines: Machines, node: str) -> str:
    show = machines.lab.command(
        machines.at(node), "sh", "-c", f"ip neigh show dev {DEVICE}; bridge fdb show dev {DEVICE}"
    )
    return show.stdout
