"""Services as clients meet them: pods, the node, and the world beyond it."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Local
from tests.network.lab import Lab
from tests.network.stage import NODE_IP, WORLD_IP, Stage, staged

pytestmark = pytest.mark.slow

Obj = dict[str, Any]
DNS = {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 8053}
WEB = {"name": "web", "port": 80, "targetPort": 8080}


@pytest.fixture
async def stage(lab: Lab, api: Local, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(lab, api, tmp_path) as made:
        yield made


async def refused(stage: Stage, who: str, host: str, port: int = 80) -> None:
    with pytest.raises(ConnectionRefusedError):
        await stage.ask(who, host, port)


async def dropped(stage: Stage, who: str, host: str, port: int = 80) -> None:
    with pytest.raises(TimeoutError):
        await stage.ask(who, host, port, seconds=0.3)


async def test_a_cluster_ip_spreads_over_its_endpoints_as_they_come_and_go(stage: Stage) -> None:
    service = await stage.service("web")
    ip = service["spec"]["clusterIP"]
    for who in ("c", "node"):
        await refused(stage, who, ip)
    await stage.slice("web", "a", "b", "far")
    assert await stage.names("c", ip) == {"a", "b", "far"}
    assert await stage.names("node", ip) == {"a", "b", "far"}
    assert await stage.ask("c", ip) in {f"{name} {stage.ips['c']}" for name in ("a", "b", "far")}
    # itself, too
    assert await stage.names("a", ip) == {"a", "b", "far"}
    # from beyond, as another node or the host would come: the answer must come back through here
    stage.lab.command(stage.world, "ip", "route", "add", ip, "via", NODE_IP)
    assert await stage.names("world", ip) == {"a", "b", "far"}
    await stage.slice("web", "b")
    assert await stage.names("c", ip) == {"b"}
    await refused(stage, "c", ip, 81)
    await stage.slice("web")
    await refused(stage, "c", ip)
    await stage.slice("web", "b")
    await stage.client.delete("services", "web", "default")
    other = await stage.service("other", "a")
    await stage.settled(other)
    await refused(stage, "c", ip)


async def test_node_ports_are_served_at_every_address_of_the_node(stage: Stage) -> None:
    service = await stage.service("web", "a", "far", type="NodePort")
    port = service["spec"]["ports"][0]["nodePort"]
    for who, host in (("world", NODE_IP), ("node", NODE_IP), ("node", "127.0.0.1"), ("c", NODE_IP), ("a", NODE_IP)):
        assert await stage.names(who, host, port) == {"a", "far"}, (who, host)
    # the answer comes back through the node, so the pod sees the node
    assert await stage.ask("world", NODE_IP, port) in {f"a {NODE_IP}", "far 10.244.9.1"}
    await stage.slice("web")
    for who, host in (("world", NODE_IP), ("node", "127.0.0.1")):
        await refused(stage, who, host, port)


async def test_external_traffic_policy_local_keeps_the_client_and_stays_on_the_node(stage: Stage) -> None:
    service = await stage.service("web", "a", "far", type="NodePort", externalTrafficPolicy="Local")
    port = service["spec"]["ports"][0]["nodePort"]
    assert {await stage.ask("world", NODE_IP, port) for _ in range(8)} == {f"a {WORLD_IP}"}
    # those inside get all endpoints
    assert await stage.names("c", NODE_IP, port) == {"a", "far"}
    assert await stage.names("node", NODE_IP, port) == {"a", "far"}
    assert await stage.names("node", "127.0.0.1", port) == {"a", "far"}
    await stage.slice("web", "far")
    await dropped(stage, "world", NODE_IP, port)
    assert await stage.names("c", NODE_IP, port) == {"far"}
    await stage.slice("web")
    await refused(stage, "world", NODE_IP, port)


async def test_internal_traffic_policy_local(stage: Stage) -> None:
    service = await stage.service("web", "a", "far", internalTrafficPolicy="Local")
    ip = service["spec"]["clusterIP"]
    assert await stage.names("c", ip) == {"a"}
    await stage.slice("web", "far")
    await dropped(stage, "c", ip)
    await stage.slice("web")
    await refused(stage, "c", ip)


async def test_external_ips_and_load_balancers(stage: Stage) -> None:
    service = await stage.service("web", "a", "far", type="LoadBalancer", externalIPs=["203.0.113.7"],
                                  loadBalancerSourceRanges=["192.0.2.0/28", "10.244.0.0/16"])  # fmt: skip
    status = {
        "loadBalancer": {"ingress": [{"ip": "203.0.113.9", "ipMode": "VIP"}, {"ip": "203.0.113.8", "ipMode": "Proxy"}]}
    }
    await stage.settled(
        await stage.client.patch("services", "web", {"status": status}, "default", type="merge", subresource="status")
    )
    assert service["spec"]["ports"][0]["nodePort"]
    stage.lab.command(stage.world, "ip", "route", "add", "203.0.113.0/24", "via", NODE_IP)
    for ip in ("203.0.113.7", "203.0.113.9"):
        for who in ("world", "c", "node"):
            assert await stage.names(who, ip) == {"a", "far"}, (ip, who)
    with pytest.raises((ConnectionError, TimeoutError)):
        await stage.ask("world", "203.0.113.8", seconds=0.3)
    # another client of the world, whom the ranges leave out
    stage.lab.command(stage.world, "ip", "addr", "add", "192.0.2.200/24", "dev", "up0")
    with pytest.raises(TimeoutError):
        await stage.lab.ask(stage.world, "203.0.113.9", 80, source="192.0.2.200", seconds=0.3)
    assert (await stage.lab.ask(stage.world, "203.0.113.7", 80, source="192.0.2.200")).split()[0] in ("a", "far")


async def test_session_affinity_holds_until_the_endpoint_goes(stage: Stage) -> None:
    service = await stage.service("web", "a", "b", "c", "far", type="NodePort", sessionAffinity="ClientIP",
                                  sessionAffinityConfig={"clientIP": {"timeoutSeconds": 600}})  # fmt: skip
    ip, port = service["spec"]["clusterIP"], service["spec"]["ports"][0]["nodePort"]
    # the first of many at once may each be led anew: one goes ahead
    mine = (await stage.ask("node", ip)).split()[0]
    assert await stage.names("node", ip) == {mine}
    theirs = (await stage.ask("world", NODE_IP, port)).split()[0]
    assert await stage.names("world", NODE_IP, port) == {theirs}
    rest = [name for name in ("a", "b", "c", "far") if name != mine]
    await stage.slice("web", *rest)
    new = (await stage.ask("node", ip)).split()[0]
    assert new in rest
    assert await stage.names("node", ip) == {new}
    if theirs != mine:  # and nobody else is led away
        assert await stage.names("world", NODE_IP, port) == {theirs}


async def test_udp_flows_are_led_anew_when_their_endpoint_goes(stage: Stage) -> None:
    service = await stage.service("dns", ports=[WEB, DNS], type="NodePort")
    ip = service["spec"]["clusterIP"]
    node_port = service["spec"]["ports"][1]["nodePort"]
    with (
        stage.lab.socket(stage.at("c"), socket.SOCK_DGRAM) as inner,
        stage.lab.socket(stage.world, socket.SOCK_DGRAM) as outer,
    ):
        with pytest.raises((TimeoutError, ConnectionError)):
            await stage.lab.tell(inner, ip, 53, seconds=0.2)
        # the same flow, once there is somebody
        await stage.slice("dns", "a")
        assert (await stage.lab.tell(inner, ip, 53)).startswith("a ")
        assert (await stage.lab.tell(outer, NODE_IP, node_port)).startswith("a ")
        await stage.slice("dns", "b")
        assert (await stage.lab.tell(inner, ip, 53)).startswith("b ")
        assert (await stage.lab.tell(outer, NODE_IP, node_port)).startswith("b ")
        # an endpoint more leaves flows where they are
        await stage.slice("dns", "a", "b", "far")
        assert [(await stage.lab.tell(inner, ip, 53))[0] for _ in range(8)] == ["b"] * 8
    assert await stage.names("c", ip) == {"a", "b", "far"}


async def test_ending_endpoints_serve_while_there_are_no_others(stage: Stage) -> None:
    ending: Obj = {"pod": "a", "ready": False, "serving": True, "terminating": True}
    service = await stage.service("web", ending, "b")
    ip = service["spec"]["clusterIP"]
    assert await stage.names("c", ip) == {"b"}
    await stage.slice("web", ending)
    assert await stage.names("c", ip) == {"a"}
    await stage.slice("web", {**ending, "serving": False})
    await refused(stage, "c", ip)


async def test_what_two_services_claim_is_the_firsts_until_it_goes(stage: Stage) -> None:
    await stage.service("first", "a", externalIPs=["203.0.113.7"])
    second = await stage.service("second", "b", externalIPs=["203.0.113.7"])
    assert await stage.names("c", "203.0.113.7") == {"a"}
    assert await stage.names("c", second["spec"]["clusterIP"]) == {"b"}
    await stage.client.delete("services", "first", "default")
    await stage.slice("second", "b", "far")
    assert await stage.names("c", "203.0.113.7") == {"b", "far"}


async def test_a_table_that_was_taken_away_comes_back_and_connections_stay(
    lab: Lab, api: Local, tmp_path: Path
) -> None:
    async with staged(lab, api, tmp_path, sync_seconds=0.05) as stage:
        service = await stage.service("web", "a")
        stage.proxy.idle.clear()  # type: ignore[union-attr]
        lab.command(stage.node, "nft", "delete", "table", "ip", "kube-proxy")
        async with asyncio.timeout(5):
            await stage.proxy.idle.wait()  # type: ignore[union-attr]
        assert await stage.names("c", service["spec"]["clusterIP"]) == {"a"}
        # a change that the kernel refuses: all is written anew
        lab.command(stage.node, "nft", "flush", "map", "ip", "kube-proxy", "to-cluster-1")
        await stage.slice("web", "b")
        assert await stage.names("c", service["spec"]["clusterIP"]) == {"b"}


async def test_much_at_once_through_a_service(stage: Stage) -> None:
    data = random.Random(2).randbytes(4 << 20)
    for pod in ("a", "far"):
        await stage.lab.echo(stage.at(pod), 7)
        echo = [{"name": "web", "port": 7, "protocol": "TCP"}]
        service = await stage.service(pod, type="NodePort")
        await stage.slice(pod, pod, ports=echo)
        ip, port = service["spec"]["clusterIP"], service["spec"]["ports"][0]["nodePort"]
        for who, host, number in (("c", ip, 80), ("a", ip, 80), ("world", NODE_IP, port), ("node", "127.0.0.1", port)):
            assert await stage.lab.there_and_back(stage.at(who), host, number, data) == data, (pod, who)


async def test_options(lab: Lab, api: Local, tmp_path: Path) -> None:
    addresses = (IPv4Network("192.0.2.0/24"),)
    async with staged(lab, api, tmp_path, node_port_addresses=addresses, masquerade_all=True) as stage:
        service = await stage.service("web", "a", type="NodePort")
        port = service["spec"]["ports"][0]["nodePort"]
        assert await stage.names("world", NODE_IP, port) == {"a"}
        await refused(stage, "node", "127.0.0.1", port)
        assert await stage.ask("c", service["spec"]["clusterIP"]) == f"a {NODE_IP}"


async def test_several_ports_and_protocols_of_one_service(stage: Stage) -> None:
    ports = [{"name": name, "port": number} for name, number in (("web", 80), ("admin", 81))] + [DNS]
    service = await stage.service("many", ports=ports)
    ip = service["spec"]["clusterIP"]
    await stage.lab.serve(stage.at("b"), 9090, "b-admin")
    made = [{"name": "web", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 8053, "protocol": "UDP"}]
    await stage.slice("many", "a", ports=made)
    assert await stage.names("c", ip, 80) == {"a"}
    await refused(stage, "c", ip, 81)
    await stage.slice("many", "b", ports=[*made, {"name": "admin", "port": 9090, "protocol": "TCP"}])
    assert await stage.names("c", ip, 80) == {"b"}
    assert await stage.names("c", ip, 81) == {"b-admin"}
    with stage.lab.socket(stage.at("c"), socket.SOCK_DGRAM) as udp:
        assert (await stage.lab.tell(udp, ip, 53)).startswith("b ")
    # the same port number, another protocol: nobody
    await refused(stage, "c", ip, 53)
