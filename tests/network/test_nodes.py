"""Nodes and clusters on one host, which is a namespace too: with an uplink, a world, and Docker's firewall."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from sampan.network.cni.pods import Pods, Settings
from sampan.network.host_rules import Published
from sampan.network.namespaces import inside
from sampan.network.netlink import Routing
from sampan.network.nodes import ClusterNetwork, Node
from sampan.network.proxy.routes import in_node
from sampan.network.ranges import choose, in_use
from tests.network.lab import Lab

pytestmark = pytest.mark.slow

HOST, WORLD = "198.51.100.10", "198.51.100.1"


@pytest.fixture
def host(lab: Lab) -> Path:
    made = lab.namespace("host")
    lab.wire(made, f"{HOST}/24", lab.namespace("world"), f"{WORLD}/24")
    return made


def state(lab: Lab, host: Path) -> list[str]:
    """All that a cluster may change."""
    forwarding = lab.command(
        host, "sh", "-c", "grep . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/eth0/forwarding"
    )
    rules = lab.command(host, "iptables", "-S").stdout
    with inside(host):
        routes = [str(each) for each in in_use()]
    return [*lab.links(host), forwarding.stdout, rules, *lab.tables(host), *routes]


def cluster(lab: Lab, host: Path, name: str) -> ClusterNetwork:
    with inside(host):
        ranges = choose(in_use())
    return ClusterNetwork(f"{lab.name}-{name}", ranges, run=lab.run / name, host=host)


class OnNode:
    """Pods on one of the nodes."""

    def __init__(self, lab: Lab, network: ClusterNetwork, node: Node, number: int, state: Path) -> None:
        self.lab, self.node = lab, node
        self.cidr = list(network.ranges.pods.subnets(new_prefix=24))[number]
        self.pods = Pods(Settings(state / node.name, self.cidr, network.ranges.pods, masquerade=False))

    def pod(self, name: str) -> tuple[Path, str]:
        namespace = self.lab.namespace(name)
        with inside(self.node.namespace):
            return namespace, str(self.pods.attach(name, namespace).address)


async def test_pods_of_two_nodes_the_host_and_the_world(lab: Lab, host: Path, tmp_path: Path) -> None:
    for hook in ("FORWARD", "INPUT"):  # as Docker and ufw do
        lab.command(host, "iptables", "-P", hook, "DROP")
    lab.command(host, "iptables", "-A", "INPUT", "-i", "lo", "-j", "ACCEPT")
    before = state(lab, host)
    network = cluster(lab, host, "default")
    published = (
        Published(network.ranges.node(0), 30080, 8080),
        Published(network.ranges.node(0), 30080, 8081, listen="127.0.0.1"),
    )
    for _ in range(2):  # the second time changes nothing
        network.create(published, resolver=IPv4Address("127.0.0.1"))
        nodes = [network.add(f"node-{number}", number) for number in range(2)]
    assert [str(node.address) for node in nodes] == ["10.213.0.2", "10.213.0.3"]
    one, two = (OnNode(lab, network, node, number, tmp_path) for number, node in enumerate(nodes))
    ways = {one.cidr: nodes[0].address, two.cidr: nodes[1].address}
    network.route(ways)
    for node, other in ((one, two), (two, one)):
        with inside(node.node.namespace):
            in_node(network.ranges.pods)({other.cidr: other.node.address})
    (first, first_ip), (second, second_ip) = one.pod("first"), two.pod("second")
    await lab.serve(second, 80, "second")
    await lab.serve(nodes[0].namespace, 30080, "node-0")
    await lab.serve(lab.run / "world", 80, "world")
    await lab.serve(host, 6443, "api")
    # every pod, node and the host by their own addresses
    assert await lab.ask(first, second_ip, 80) == f"second {first_ip}"
    assert await lab.ask(nodes[0].namespace, second_ip, 80) == f"second {nodes[0].address}"
    assert await lab.ask(host, second_ip, 80) == f"second {network.ranges.gateway}"
    assert await lab.ask(first, str(network.ranges.gateway), 6443) == f"api {first_ip}"
    # the world sees the host
    assert await lab.ask(first, WORLD, 80) == f"world {HOST}"
    assert await lab.ask(nodes[1].namespace, WORLD, 80) == f"world {HOST}"
    # much at once, between nodes and out by a link that takes less
    data = random.Random(1).randbytes(8 << 20)
    await lab.echo(second, 7)
    await lab.echo(lab.run / "world", 7)
    for address in (second_ip, WORLD):
        assert await lab.there_and_back(first, address, 7, data) == data
    # a resolver on the host's loopback answers, and nothing else there does
    gateway = str(network.ranges.gateway)
    await lab.serve(host, 53, "resolver", host="127.0.0.1")
    await lab.serve(host, 54, "secret", host="127.0.0.1")
    assert (await lab.ask(first, gateway, 53)).startswith("resolver")
    with pytest.raises((ConnectionError, TimeoutError)):
        await lab.ask(first, gateway, 54, seconds=0.3)
    # what is published is all that the world sees
    assert await lab.ask(lab.run / "world", HOST, 8080) == f"node-0 {WORLD}"
    assert (await lab.ask(host, "127.0.0.1", 8080)).startswith("node-0")
    assert (await lab.ask(host, "127.0.0.1", 8081)).startswith("node-0")
    assert (await lab.ask(first, HOST, 8080)).startswith("node-0")
    lab.command(lab.run / "world", "ip", "route", "add", str(network.ranges.pods), "via", HOST)
    with pytest.raises(TimeoutError):
        await lab.ask(lab.run / "world", second_ip, 80, seconds=0.3)
    network.route({one.cidr: nodes[0].address})
    with inside(host):
        assert two.cidr not in in_use()
    services = network.ranges.services
    network.route({one.cidr: nodes[0].address, services: nodes[1].address})
    network.remove("node-1")
    network.remove("node-1")
    with inside(host), Routing() as routing:
        assert [each.gateway for each in routing.routes() if each.to == services] == [nodes[0].address]
    network.destroy()
    assert state(lab, host) == before
    assert not network.run.exists()
    network.destroy()


async def test_neighbours_stay_known(lab: Lab, host: Path) -> None:
    def macs() -> list[str]:
        out = []
        for namespace, name in ((host, network.bridge), (network.run / "node-1", "eth0")):
            with inside(namespace), Routing() as routing:
                link = routing.link(name)
                assert link is not None
                out.append(link.mac)
        return out

    network = cluster(lab, host, "macs")
    network.create()
    node = network.add("node-1", 1)
    before = macs()
    for number in (2, 3, 4, 5):
        network.add(f"node-{number}", number)
    for number in (2, 3, 4, 5, 1):
        network.remove(f"node-{number}")
    network.add("node-1", 1)
    assert macs() == before
    await lab.serve(host, 80, "host")
    assert await lab.ask(node.namespace, str(network.ranges.gateway), 80) == f"host {node.address}"
    network.destroy()


async def test_clusters_do_not_meet(lab: Lab, host: Path) -> None:
    before = state(lab, host)
    one = cluster(lab, host, "a-cluster-with-a-long-name")
    one.create()
    node = one.add("node", 0)
    one.route({one.ranges.services: node.address, one.ranges.pods: node.address, one.ranges.balancers: node.address})
    two = cluster(lab, host, "a-cluster-with-a-longer-name")
    two.create()
    two.add("node", 0)
    assert not any(a.overlaps(b) for a in one.ranges.all() for b in two.ranges.all())
    assert one.ranges.services == IPv4Network("10.96.0.0/16")
    assert one.bridge != two.bridge
    await lab.serve(two.node("node", 0).namespace, 80, "two")
    with pytest.raises((ConnectionError, TimeoutError)):
        await lab.ask(node.namespace, str(two.ranges.node(0)), 80, seconds=0.3)
    one.destroy()
    # the other still needs the way out that the first one opened
    assert one.bridge not in lab.links(host)
    assert lab.command(host, "sysctl", "-n", "net.ipv4.conf.eth0.forwarding").stdout == "1\n"
    two.destroy()
    assert state(lab, host) == before


def test_addresses_of_another_cluster_are_seen_before_it_uses_them(lab: Lab, host: Path) -> None:
    first = cluster(lab, host, "first")
    first.create()
    second = cluster(lab, host, "second")
    assert not any(one.overlaps(other) for one in first.ranges.all() for other in second.ranges.all())
    assert second.rival() == ""
    assert ClusterNetwork(f"{lab.name}-third", first.ranges, run=lab.run / "third", host=host).rival() == first.cluster
    first.destroy()
