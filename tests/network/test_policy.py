"""NetworkPolicies as connections meet them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sampan.client import key_of
from tests.conftest import Local
from tests.network.lab import Lab
from tests.network.stage import NODE, NODE_IP, Stage, staged

pytestmark = pytest.mark.slow
Obj = dict[str, Any]
POLICIES = "networkpolicies.networking.k8s.io"


@pytest.fixture
async def stage(lab: Lab, api: Local, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(lab, api, tmp_path) as made:
        await made.client.create("namespaces", {"metadata": {"name": "other", "labels": {"team": "red"}}})
        await pod(made, "a", {"app": "web"})
        await pod(made, "b", {"app": "client"})
        await pod(made, "c", {"app": "client"}, namespace="other")
        await pod(made, "far", {"app": "far"}, node="other")
        yield made


async def pod(stage: Stage, name: str, labels: dict[str, str], *, namespace: str = "default", node: str = NODE) -> None:
    ports = [{"name": "web", "containerPort": 8080}]
    spec = {"nodeName": node, "containers": [{"name": "main", "image": "x", "ports": ports}]}
    await stage.client.create("pods", {"metadata": {"name": name, "labels": labels}, "spec": spec}, namespace)
    ip = stage.ips[name]
    status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}
    await stage.client.patch("pods", name, {"status": status}, namespace, type="merge", subresource="status")


async def policy(stage: Stage, name: str, **spec: Any) -> None:
    body = {"metadata": {"name": name, "namespace": "default"}, "spec": spec}
    await stage.client.create(POLICIES, body)
    await enforced(stage)


async def enforced(stage: Stage) -> None:
    """Once the rules say what the API says now."""
    assert stage.proxy is not None
    assert stage.proxy.policies is not None
    async with asyncio.timeout(20):
        for name in (POLICIES, "pods", "namespaces"):
            cache = stage.informers.get(name).cache
            now = {
                key_of(each): each["metadata"]["resourceVersion"] for each in (await stage.client.list(name))["items"]
            }
            while {record.key: record.version for record in cache.records()} != now:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.005)
        await stage.proxy.policies.idle.wait()


async def reached(stage: Stage, who: str, whom: str, port: int = 8080) -> bool:
    host = NODE_IP if whom == "node" else stage.ips[whom]
    try:
        return (await stage.ask(who, host, port, seconds=0.6)).startswith(whom)
    except TimeoutError:
        return False


async def who_reaches(stage: Stage, whom: str, port: int = 8080) -> set[str]:
    names = ["b", "c", "far", "world", "node"]
    found = await asyncio.gather(*(reached(stage, name, whom, port) for name in names))
    return {name for name, well in zip(names, found, strict=True) if well}


async def test_ingress(stage: Stage) -> None:
    lab = stage.lab
    lab.command(stage.world, "ip", "route", "add", "10.244.0.0/16", "via", NODE_IP)
    await lab.serve(stage.at("a"), 9090, "a")
    assert await who_reaches(stage, "a") == {"b", "c", "far", "world", "node"}
    await policy(stage, "deny", podSelector={}, policyTypes=["Ingress"])
    # the node reaches its own pods whatever anyone says, and a pod itself
    assert await who_reaches(stage, "a") == {"node"}
    assert await reached(stage, "a", "a")
    assert await who_reaches(stage, "b") & {"far", "world"} == set()
    await policy(stage, "clients", podSelector={"matchLabels": {"app": "web"}},
                 ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}], "ports": [{"port": "web"}]}])  # fmt: skip
    assert await who_reaches(stage, "a") == {"b", "node"}
    assert await who_reaches(stage, "a", 9090) == {"node"}
    await policy(stage, "reds", podSelector={"matchLabels": {"app": "web"}},
                 ingress=[{"from": [{"namespaceSelector": {"matchLabels": {"team": "red"}}}]},
                          {"from": [{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}}],
                           "ports": [{"port": 9000, "endPort": 9100}]}])  # fmt: skip
    assert await who_reaches(stage, "a") == {"b", "c", "node"}
    assert await who_reaches(stage, "a", 9090) == {"c", "world", "node"}
    # a label, a namespace's label and a pod change
    await stage.client.patch("pods", "b", {"metadata": {"labels": {"app": "x"}}}, "default", type="merge")
    await stage.client.patch("namespaces", "other", {"metadata": {"labels": {"team": "blue"}}}, type="merge")
    await enforced(stage)
    assert await who_reaches(stage, "a") == {"node"}
    for name in ("deny", "clients", "reds"):
        await stage.client.delete(POLICIES, name, "default")
    await enforced(stage)
    assert await who_reaches(stage, "a") == {"b", "c", "far", "world", "node"}
    assert "kube-policies" not in lab.tables(stage.node)


async def test_egress_goes_by_the_endpoint_behind_a_service(stage: Stage) -> None:
    web = await stage.service("web", "a")
    far = await stage.service("far", "far")
    await policy(stage, "b", podSelector={"matchLabels": {"app": "client"}}, policyTypes=["Egress"],
                 egress=[{"to": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": 8080}]}])  # fmt: skip
    assert (await stage.ask("b", web["spec"]["clusterIP"])).startswith("a ")
    assert not await reached(stage, "b", "far")
    with pytest.raises(TimeoutError):
        await stage.ask("b", far["spec"]["clusterIP"], seconds=0.6)
    # its own node is always there, and answers come in
    await stage.serve("node")
    assert await reached(stage, "b", "node")
    assert await reached(stage, "far", "b")
    # policies are of their namespace
    assert await reached(stage, "c", "far")
