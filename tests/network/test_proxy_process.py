"""`sampan proxy` as a process in a node, with a real API server, our controllers, and kills."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from sampan.api.user import User
from sampan.apiserver.config import ApiServerConfig
from sampan.apiserver.server import ApiServer
from sampan.client import Client, EventRecorder, Informers
from sampan.cluster import certificates, kubeconfig
from sampan.cluster.addons import network
from sampan.controllers.context import Context
from sampan.controllers.manager import build
from sampan.network.proxy.balancers import LoadBalancers
from sampan.testing.inprocess import InProcessTransport
from tests.controllers_world import account
from tests.network.lab import Lab
from tests.network.stage import ADMIN, NODE, NODE_IP, Stage, scene

pytestmark = pytest.mark.slow
Obj = dict[str, Any]
POOL = IPv4Network("203.0.113.0/24")
API_PORT = 6443


@asynccontextmanager
async def control_plane(pki: certificates.Pki) -> AsyncIterator[tuple[ApiServer, Client, Informers]]:
    """An API server, the controller of EndpointSlices and that of load balancers."""
    config = ApiServerConfig(
        port=0, store="memory", cert_file=pki.path("apiserver.crt"), key_file=pki.path("apiserver.key"),
        client_ca_file=pki.path("ca.crt"),
    )  # fmt: skip
    server = ApiServer(config)
    await server.start()

    def client(name: str) -> Client:
        return Client(InProcessTransport(server.handler, account(name)), user_agent=name)

    admin = Client(InProcessTransport(server.handler, ADMIN), user_agent="test")
    manager = User("system:kube-controller-manager", ("system:authenticated",))
    recorders: list[EventRecorder] = []

    def recorder(component: str, own: Client) -> EventRecorder:
        recorders.append(EventRecorder(own, component, clock=time.time))
        recorders[-1].start()
        return recorders[-1]

    async with Informers(Client(InProcessTransport(server.handler, manager), user_agent="manager")) as informers:
        context = Context(informers, client, recorder, time.time, random.Random())
        own = client("service-controller")
        parts = [
            build("endpointslice-controller", context),
            LoadBalancers(own, informers, recorder("service-controller", own), POOL),
        ]
        informers.start()
        running = [asyncio.create_task(part.run()) for part in parts]
        yield server, admin, informers
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for each in recorders:
            await each.aclose(0)
    await server.stop(0)


async def pod(stage: Stage, name: str, *, node: str = NODE) -> None:
    spec = {"nodeName": node, "containers": [{"name": "main", "image": "x"}]}
    await stage.client.create("pods", {"metadata": {"name": name, "labels": {"app": "web"}}, "spec": spec}, "default")
    ip, ready = stage.ips[name], [{"type": "Ready", "status": "True"}]
    status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": ready}
    await stage.client.patch("pods", name, {"status": status}, "default", type="merge", subresource="status")


async def until(true: Callable[[], Awaitable[object]]) -> None:
    """Asks again and again, as people do who wait for a cluster."""
    async with asyncio.timeout(30):
        while True:
            try:
                if await true():
                    return
            except (OSError, TimeoutError):
                pass
            await asyncio.sleep(0.02)


async def start(stage: Stage, *arguments: str) -> Process:
    command = ["nsenter", f"--net={stage.node}", sys.executable, "-m", "sampan.cli", "proxy", *arguments]
    return await asyncio.create_subprocess_exec(*command, stdout=DEVNULL)


async def test_the_life_of_a_proxy(lab: Lab, pki: certificates.Pki, tmp_path: Path) -> None:
    async with control_plane(pki) as (server, client, informers):
        stage = await scene(lab, client, informers, tmp_path / "addresses")
        await lab.relay(stage.node, API_PORT, server.port)
        config = tmp_path / "kubeconfig"
        kubeconfig.write(
            config,
            kubeconfig.whole(pki, "x", f"https://127.0.0.1:{API_PORT}", *certificates.issue(pki, "system:kube-proxy")),
        )
        for obj in network.objects():
            await client.create(f"{obj['kind'].lower()}s.rbac.authorization.k8s.io", obj)
        for name in (NODE, "other"):
            await client.create("nodes", {"metadata": {"name": name}})
        for name in ("a", "b"):
            await pod(stage, name)
        await pod(stage, "far", node="other")
        ports = [{"name": "web", "port": 80, "targetPort": 8080}]
        body = {
            "metadata": {"name": "web"},
            "spec": {
                "type": "LoadBalancer",
                "externalTrafficPolicy": "Local",
                "ports": ports,
                "selector": {"app": "web"},
            },
        }
        made = await client.create("services", body, "default")
        ip, check = made["spec"]["clusterIP"], made["spec"]["healthCheckNodePort"]
        arguments = ["--kubeconfig", str(config), "--hostname-override", NODE, "--cluster-cidr", "10.244.0.0/16"]
        process = await start(stage, *arguments)
        try:
            await until(lambda: stage.ask("c", ip))
            assert await stage.names("c", ip) == {"a", "b", "far"}
            # the address from the pool, answered here for what is here
            lab.command(stage.world, "ip", "route", "add", str(POOL), "via", NODE_IP)
            await until(lambda: stage.ask("world", str(POOL[1])))
            assert await stage.names("world", str(POOL[1])) == {"a", "b"}
            code, text = await lab.get(stage.world, NODE_IP, check, "/")
            assert (code, json.loads(text)) == (
                200, {"service": {"namespace": "default", "name": "web"}, "localEndpoints": 2, "serviceProxyHealthy": True},
            )  # fmt: skip
            assert (await lab.get(stage.world, NODE_IP, 10256, "/healthz"))[0] == 200
            assert (await lab.get(stage.node, "127.0.0.1", 10249, "/proxyMode")) == (200, "nftables")
            _, metrics = await lab.get(stage.node, "127.0.0.1", 10249, "/metrics")
            assert "kubeproxy_sync_proxy_rules_nftables_sync_failures_total 0" in metrics
            process.kill()
            await process.wait()
            # nobody needs it for what is set up
            assert await stage.names("c", ip) == {"a", "b", "far"}
            await client.delete("pods", "a", "default", grace_seconds=0)
            process = await start(stage, *arguments)

            async def without() -> bool:
                return await stage.names("c", ip) == {"b", "far"}

            await until(without)
            process.terminate()
            assert await process.wait() == 0
            assert await stage.names("c", ip) == {"b", "far"}
            process = await start(stage, "--cleanup")
            assert await process.wait() == 0
            assert not {"kube-proxy", "kube-policies"} & set(lab.tables(stage.node))
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
