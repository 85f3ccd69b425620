"""Pods on a node's network, as real namespaces: reaching, being reached, coming and going."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from sampan.network.cni.addresses import Addresses, HostPort
from sampan.network.cni.errors import CniError
from sampan.network.cni.pods import Pods, Settings
from sampan.network.namespaces import inside
from tests.network.lab import Lab

pytestmark = pytest.mark.slow
CIDR = IPv4Network("10.244.7.0/24")


class Node:
    """With the world behind its uplink."""

    def __init__(self, lab: Lab, state: Path, **settings: object) -> None:
        self.lab = lab
        self.namespace = lab.namespace("node")
        self.world = lab.namespace("world")
        lab.wire(self.namespace, "192.0.2.10/24", self.world, "192.0.2.1/24")
        self.pods = Pods(Settings(state, CIDR, **settings))  # type: ignore[arg-type]
        with inside(self.namespace):
            self.pods.prepare()

    def pod(self, name: str, *ports: HostPort) -> tuple[Path, str]:
        namespace = self.lab.namespace(name)
        with inside(self.namespace):
            return namespace, str(self.pods.attach(name, namespace, ports=ports).address)

    def gone(self, name: str) -> None:
        with inside(self.namespace):
            self.pods.detach(name)


@pytest.fixture
def node(lab: Lab, tmp_path: Path) -> Iterator[Node]:
    made = Node(lab, tmp_path)
    yield made
    with inside(made.namespace):
        made.pods.remove()
    assert lab.tables(made.namespace) == []
    assert lab.links(made.namespace) == ["eth0"]
    assert [each.name for each in tmp_path.iterdir()] == [".last"]


async def test_pods_reach_each_other_the_node_and_the_world(lab: Lab, node: Node) -> None:
    (one, first), (two, second) = node.pod("one"), node.pod("two")
    await lab.serve(two, 80, "two")
    await lab.serve(node.namespace, 80, "node")
    await lab.serve(node.world, 80, "world")
    assert await lab.ask(one, second, 80) == f"two {first}"
    assert await lab.ask(node.namespace, second, 80) == "two 192.0.2.10"
    assert await lab.ask(one, "192.0.2.10", 80) == f"node {first}"
    assert await lab.ask(one, "192.0.2.1", 80) == "world 192.0.2.10"


async def test_pods_are_let_through_where_others_drop_what_they_do_not_know(lab: Lab, node: Node) -> None:
    for rule in ("-N DOCKER-USER", "-A DOCKER-USER -j RETURN", "-A FORWARD -j DOCKER-USER", "-A INPUT -i lo -j ACCEPT",
                 "-A INPUT -i eth0 -m conntrack --ctstate ESTABLISHED -j ACCEPT", "-P FORWARD DROP", "-P INPUT DROP"):  # fmt: skip
        lab.command(node.namespace, "iptables", *rule.split())
    before = lab.command(node.namespace, "iptables", "-S").stdout
    (one, first), (two, second) = node.pod("one"), node.pod("two", HostPort("tcp", "", 8080, 80))
    await lab.serve(two, 80, "two")
    await lab.serve(node.namespace, 80, "node")
    await lab.serve(node.world, 80, "world")
    with pytest.raises(TimeoutError):
        await lab.ask(one, second, 80, seconds=0.3)
    with inside(node.namespace):
        for _ in range(2):
            node.pods.prepare()
    assert await lab.ask(one, second, 80) == f"two {first}"
    assert await lab.ask(one, "192.0.2.10", 80) == f"node {first}"
    assert await lab.ask(one, "192.0.2.1", 80) == "world 192.0.2.10"
    assert await lab.ask(node.world, "192.0.2.10", 8080) == "two 192.0.2.1"
    assert lab.command(node.namespace, "iptables", "-S").stdout.count("sampan pods") == 3
    with inside(node.namespace):
        node.pods.remove()
    assert lab.command(node.namespace, "iptables", "-S").stdout == before
    lab.command(node.namespace, "nft", "flush", "ruleset")


async def test_a_port_of_the_node_leads_to_the_pod(lab: Lab, node: Node) -> None:
    ports = HostPort("tcp", "", 8080, 80), HostPort("tcp", "127.0.0.1", 8081, 80), HostPort("udp", "", 5353, 53)
    pod, _ = node.pod("web", *ports)
    other, other_address = node.pod("other")
    await lab.serve(pod, 80, "web")
    await lab.serve_udp(pod, 53, "dns")
    assert await lab.ask(node.world, "192.0.2.10", 8080) == "web 192.0.2.1"
    assert await lab.ask(node.namespace, "192.0.2.10", 8080) == "web 192.0.2.10"
    assert await lab.ask(node.namespace, "127.0.0.1", 8080) == "web 192.0.2.10"
    assert await lab.ask(node.namespace, "127.0.0.1", 8081) == "web 192.0.2.10"
    assert await lab.ask(other, "192.0.2.10", 8080) == f"web {other_address}"
    # the pod itself: what it sends to itself must come from elsewhere
    assert await lab.ask(pod, "192.0.2.10", 8080) == "web 192.0.2.10"
    with lab.socket(node.world, socket.SOCK_DGRAM) as udp:
        assert await lab.tell(udp, "192.0.2.10", 5353) == "dns 192.0.2.1"
    with pytest.raises(ConnectionRefusedError):
        await lab.ask(node.world, "192.0.2.10", 8081)
    node.gone("web")
    with pytest.raises(ConnectionRefusedError):
        await lab.ask(node.world, "192.0.2.10", 8080)


async def test_a_flow_does_not_outlive_the_pod_it_led_to(lab: Lab, node: Node) -> None:
    first, _ = node.pod("first", HostPort("udp", "", 5353, 53))
    await lab.serve_udp(first, 53, "first")
    with lab.socket(node.world, socket.SOCK_DGRAM) as udp:
        udp.bind(("192.0.2.1", 4000))
        assert await lab.tell(udp, "192.0.2.10", 5353) == "first 192.0.2.1"
        node.gone("first")
        second, _ = node.pod("second", HostPort("udp", "", 5353, 53))
        await lab.serve_udp(second, 53, "second")
        assert await lab.tell(udp, "192.0.2.10", 5353) == "second 192.0.2.1"


async def test_nobody_on_the_wire_reaches_what_listens_on_loopback(lab: Lab, node: Node) -> None:
    pod, _ = node.pod("one")
    await lab.serve(node.namespace, 9999, "secret", host="127.0.0.1")
    # a pod that takes 127.0.0.1 for an address of the network
    lab.command(pod, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
    lab.command(pod, "ip", "route", "add", "127.0.0.1/32", "via", "169.254.1.1", "dev", "eth0")
    lab.command(pod, "sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
    lab.command(pod, "ip", "route", "del", "local", "127.0.0.0/8", "table", "local")
    with pytest.raises((TimeoutError, OSError)):
        await lab.ask(pod, "127.0.0.1", 9999, seconds=0.5)


async def test_the_same_attachment_again_takes_no_second_address(lab: Lab, node: Node) -> None:
    _, first = node.pod("one")
    with inside(node.namespace):
        again = node.pods.attach("one", lab.run / "one")
        node.pods.check("one", lab.run / "one")
        assert len(lab.links(node.namespace)) == 2
        node.pods.detach("one")
        node.pods.detach("one")
        node.pods.detach("never-seen")
        with pytest.raises(CniError, match="has no address"):
            node.pods.check("one", lab.run / "one")
    assert str(again.address) != first


async def test_what_belongs_to_nobody_is_collected(lab: Lab, node: Node) -> None:
    node.pod("kept", HostPort("tcp", "", 8080, 80))
    node.pod("lost", HostPort("tcp", "", 8081, 80))
    with inside(node.namespace):
        node.pods.collect({("kept", "eth0")})
        node.pods.check("kept", lab.run / "kept")
    assert len(lab.links(node.namespace)) == 2
    ports = lab.command(node.namespace, "nft", "list", "map", "ip", node.pods.settings.table, "ports").stdout
    assert "8080" in ports
    assert "8081" not in ports


async def test_an_attachment_that_fails_leaves_nothing(lab: Lab, node: Node) -> None:
    node.pod("one", HostPort("tcp", "", 8080, 80))
    with pytest.raises(CniError, match="failed to attach eth0"):
        node.pod("two", HostPort("tcp", "", 8080, 80))  # the port is another's
    with inside(node.namespace), pytest.raises(CniError, match="No such file"):
        node.pods.attach("three", Path("/run/nowhere"))
    assert len(lab.links(node.namespace)) == 2


LOOP = """
import sys
from ipaddress import IPv4Network
from pathlib import Path
from sampan.network.cni.addresses import Addresses, HostPort
from sampan.network.cni.pods import Pods, Settings
from sampan.network.namespaces import enter
enter(Path(sys.argv[1]))
pods = Pods(Settings(Path(sys.argv[2]), IPv4Network("10.244.7.0/24")))
print("ready", flush=True)
while True:
    pods.attach(sys.argv[4], Path(sys.argv[3]), ports=(HostPort("tcp", "", int(sys.argv[5]), 80),))
    pods.detach(sys.argv[4])
"""


async def test_kills_at_any_moment_lose_and_double_no_address(lab: Lab, node: Node, tmp_path: Path) -> None:
    chance = random.Random(7)
    pods = [lab.namespace(f"pod{number}") for number in range(2)]
    for _ in range(4):
        running = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-c", LOOP, str(node.namespace), str(tmp_path), str(pod), f"s{number}", str(8000 + number),
                stdout=subprocess.PIPE,
            )
            for number, pod in enumerate(pods)
        ]  # fmt: skip
        for process in running:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        await asyncio.sleep(chance.uniform(0.05, 0.3))
        for process in running:
            process.kill()
            await process.wait()
        with inside(node.namespace):
            for number, pod in enumerate(pods):
                node.pods.attach(f"s{number}", pod)
                node.pods.check(f"s{number}", pod)
            assert sorted(each.sandbox for each in Addresses(tmp_path).all().values()) == ["s0", "s1"]
            node.pods.sweep()
            node.pods.collect(())
        assert lab.links(node.namespace) == ["eth0"]


# -- the executable ----------------------------------------------------------------------------------------------------


def cni(
    lab: Lab, node: Path, command: str, config: dict[str, object], **environment: str
) -> tuple[int, dict[str, object]]:
    done = subprocess.run(
        ["nsenter", f"--net={node}", sys.executable, "-m", "sampan.cli"], input=json.dumps(config), text=True,
        capture_output=True, check=False, env={**os.environ, "CNI_COMMAND": command, **environment},
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout or "{}")


async def test_the_executable_speaks_cni(lab: Lab, tmp_path: Path) -> None:
    node, pod = lab.namespace("node"), lab.namespace("pod")
    lab.wire(node, "192.0.2.10/24", lab.namespace("world"), "192.0.2.1/24")
    config: dict[str, object] = {
        "cniVersion": "1.1.0", "name": "net", "type": "sampan", "podCIDR": "10.244.7.0/29", "stateDir": str(tmp_path),
        "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]},
    }  # fmt: skip
    who = {"CNI_CONTAINERID": "abc", "CNI_NETNS": str(pod), "CNI_IFNAME": "eth0"}
    code, result = cni(lab, node, "ADD", config, **who)
    assert code == 0, result
    assert result["ips"] == [{"address": "10.244.7.2/32", "gateway": "169.254.1.1", "interface": 1}]
    await lab.serve(pod, 80, "pod")
    assert (await lab.ask(node, "127.0.0.1", 8080)).startswith("pod")
    assert cni(lab, node, "CHECK", config, **who) == (0, {})
    assert cni(lab, node, "STATUS", config) == (0, {})
    assert cni(
        lab, node, "GC", {**config, "cni.dev/valid-attachments": [{"containerID": "abc", "ifname": "eth0"}]}
    ) == (0, {})
    assert cni(lab, node, "CHECK", config, **who) == (0, {})
    assert cni(lab, node, "DEL", config, **who) == (0, {})
    assert cni(lab, node, "DEL", config, **who) == (0, {})
    code, result = cni(lab, node, "CHECK", config, **who)
    assert (code, result["code"]) == (1, 100)
    assert lab.links(node) == ["eth0"]
