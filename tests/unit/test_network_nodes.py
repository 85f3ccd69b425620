"""Ranges, names, the host's rules and routes, without touching a network."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from sampan.network.host_rules import Published, program
from sampan.network.nodes import short_name
from sampan.network.proxy.routes import balancer_ways, ways
from sampan.network.ranges import NoRoom, Ranges, choose
from sampan.network.resolver import for_nodes


def test_the_usual_ranges_unless_the_machine_uses_them() -> None:
    usual = choose([IPv4Network("192.168.0.0/16")])
    assert usual.plain() == {"nodes": "10.213.0.0/24", "pods": "10.244.0.0/16", "services": "10.96.0.0/16",
                             "balancers": "10.213.1.0/24"}  # fmt: skip
    assert [str(each) for each in (usual.gateway, usual.api, usual.dns, usual.node(0))] == [
        "10.213.0.1", "10.96.0.1", "10.96.0.10", "10.213.0.2",
    ]  # fmt: skip
    assert Ranges.parse(usual.plain()) == usual
    other = choose([*usual.all(), IPv4Network("10.97.3.0/24")])
    assert not any(each.overlaps(known) for each in other.all() for known in usual.all())
    assert other.services == IPv4Network("10.98.0.0/16")
    asked = choose([], pods=IPv4Network("10.96.0.0/12"))
    assert not asked.services.overlaps(asked.pods)
    with pytest.raises(NoRoom):
        choose([IPv4Network("10.0.0.0/8")])


def test_names_of_links_fit() -> None:
    assert short_name("sp-", "default") == "sp-default"
    long = short_name("sp-", "a" * 42)
    assert len(long) == 15
    assert long != short_name("sp-", "a" * 41)


def test_published_ports_are_elements() -> None:
    ranges = choose([])
    text = program("sampan-x", "sp-x", ranges, [Published(IPv4Address("10.213.0.2"), 30080, 8080, "udp"),
                                                Published(IPv4Address("10.213.0.2"), 443, 8443, "tcp", "127.0.0.1")])  # fmt: skip
    assert "elements = { udp . 8080 : 10.213.0.2 . 30080 }" in text
    assert "elements = { 127.0.0.1 . tcp . 8443 : 10.213.0.2 . 443 }" in text
    assert len(text.splitlines()) == len(program("sampan-x", "sp-x", ranges, []).splitlines())


def node(name: str, address: str, cidr: str, *, ready: bool = True) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "Unknown"}]
    addresses = [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address}]
    return {"metadata": {"name": name}, "spec": {"podCIDR": cidr, "podCIDRs": [cidr]} if cidr else {},
            "status": {"addresses": addresses, "conditions": conditions}}  # fmt: skip


def test_routes_lead_to_pods_through_their_nodes_and_to_services_through_one_that_is_ready() -> None:
    nodes = [
        node("a", "10.0.0.2", "10.244.0.0/24", ready=False),
        node("b", "10.0.0.3", "10.244.1.0/24"),
        node("c", "10.0.0.4", ""),
    ]
    services = IPv4Network("10.96.0.0/16")
    assert ways(nodes, services=[services]) == {
        IPv4Network("10.244.0.0/24"): IPv4Address("10.0.0.2"),
        IPv4Network("10.244.1.0/24"): IPv4Address("10.0.0.3"),
        services: IPv4Address("10.0.0.3"),
    }
    assert ways(nodes[:1]) == {IPv4Network("10.244.0.0/24"): IPv4Address("10.0.0.2")}
    assert ways([], services=[services]) == {}
    assert ways([node("d", "name.example", "10.244.3.0/24"), node("e", "10.0.0.5", "wrong")], services=[services]) == {
        services: IPv4Address("10.0.0.5")
    }


def test_a_balancer_whose_traffic_stays_local_leads_to_a_node_with_an_endpoint() -> None:
    nodes = [node("a", "10.0.0.2", ""), node("b", "10.0.0.3", ""), node("c", "10.0.0.4", "")]
    service = {"status": {"loadBalancer": {"ingress": [{"ip": "10.9.0.1"}, {"hostname": "x"}]}}}

    def led(*endpoints: tuple[str, bool]) -> dict[IPv4Network, IPv4Address]:
        every = [{"nodeName": name, "conditions": {"ready": ready}} for name, ready in endpoints]
        return balancer_ways(service, [{"endpoints": every}], nodes)

    assert led(("a", False), ("c", True), ("b", True)) == {IPv4Network("10.9.0.1/32"): IPv4Address("10.0.0.3")}
    assert led(("a", False)) == {}


@pytest.mark.parametrize(
    ("etc", "systemd", "text", "led"),
    [
        ("search a\nnameserver 127.0.0.53\nnameserver 9.9.9.9\n", None, "search a\nnameserver 9.9.9.9\n", None),
        (
            "nameserver 127.0.0.53\n",
            "nameserver 192.168.1.1\nsearch lan\n",
            "nameserver 192.168.1.1\nsearch lan\n",
            None,
        ),
        ("nameserver 127.0.0.1\nsearch lan\n", None, "nameserver 10.213.0.1\nsearch lan\n", "127.0.0.1"),
        ("nameserver 127.0.0.53\n", "nameserver 127.0.0.1\n", "nameserver 10.213.0.1\n", "127.0.0.1"),
        ("nameserver 127.0.0.53\n", None, "nameserver 10.213.0.1\n", "127.0.0.53"),
        ("nameserver 127.0.0.53\n", "nameserver 2001:db8::1\n", "nameserver 10.213.0.1\n", "127.0.0.54"),
        ("nameserver ::1\n", None, "nameserver 10.213.0.1\n", "127.0.0.1"),
        ("nameserver fe80::1%eth0\n", None, "nameserver fe80::1%eth0\n", None),
        (None, None, "nameserver 10.213.0.1\n", "127.0.0.1"),
    ],
)
def test_nodes_resolve_as_the_host_does(
    tmp_path: Path, etc: str | None, systemd: str | None, text: str, led: str | None
) -> None:
    for name, content in (("etc", etc), ("systemd", systemd)):
        if content is not None:
            (tmp_path / name).write_text(content)
    found = for_nodes(IPv4Address("10.213.0.1"), tmp_path / "etc", tmp_path / "systemd")
    assert found == (text, None if led is None else IPv4Address(led))
