"""Pods and Services through the API server's proxies, with a real web server behind them, and `kubectl proxy` before them."""
# ruff: noqa: ASYNC110 - what is waited for tells nobody

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from sampan.http.client import dial
from tests.kubelet.conftest import NodeUnderTest
from tests.kubelet.kubectl import Kubectl

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
PAGE = '<a href="/other.html">other</a>'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kubectl(node: NodeUnderTest) -> Kubectl:
    return Kubectl(node.cluster.kubeconfig)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(node: NodeUnderTest) -> AsyncIterator[str]:
    """A pod with a web server, and a Service before it; the API server reaches pods as the node does."""

    async def reach(factory: Any, host: str, port: int, *, ssl: Any, server_hostname: str | None) -> Any:
        way = dial if host.startswith("127.") else node.dial
        return await way(factory, host, port, ssl=ssl, server_hostname=server_hostname)

    node.cluster.server.api.dialer.connect = reach
    script = f"mkdir -p /w/dir/cgi-bin /w/cgi-bin; echo '{PAGE}' > /w/index.html; echo other > /w/other.html; echo sub > /w/dir/index.html;" \
        "printf '#!/bin/sh\\necho; echo $REQUEST_METHOD; cat' > /w/cgi-bin/echo; chmod +x /w/cgi-bin/echo; exec httpd -f -p 8080 -h /w"  # fmt: skip
    probe = {"httpGet": {"port": 8080}, "periodSeconds": 1}
    container = node.container(
        "sh", "-c", script, ports=[{"name": "http", "containerPort": 8080}], readinessProbe=probe
    )
    name = await node.run({"containers": [container]}, labels={"app": "web"})
    await node.running(name)
    ports = [{"name": "web", "port": 80, "targetPort": "http"}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"}}
    await node.cluster.client.create("services", {**service, "spec": {"selector": {"app": "web"}, "ports": ports}})
    while not any(
        (each.get("endpoints") or ()) for each in node.cluster.list("endpointslices.discovery.k8s.io", "default")
    ):
        await asyncio.sleep(0.02)
    yield name


async def test_pods_and_services(kubectl: Kubectl, web: str) -> None:
    pods, services = "/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/services"
    for path in (
        f"{pods}/{web}",
        f"{pods}/{web}:8080",
        f"{pods}/http:{web}:8080",
        f"{services}/web",
        f"{services}/web:web",
        f"{services}/web:80",
    ):
        if path == f"{services}/web":
            # a Service whose port has a name is asked for by it
            assert 'no endpoints available for service "web"' in await kubectl.fails("get", "--raw", f"{path}/proxy/")
            continue
        assert await kubectl("get", "--raw", f"{path}/proxy/") == f'<a href="{path}/proxy/other.html">other</a>\n'
        assert await kubectl("get", "--raw", f"{path}/proxy/other.html") == "other\n"
    assert (
        await kubectl("create", "--raw", f"{pods}/{web}/proxy/cgi-bin/echo", "-f", "-", stdin=b"sent") == "POST\nsent"
    )
    assert "not found" in await kubectl.fails("get", "--raw", f"{pods}/nobody/proxy/")


async def test_kubectl_proxy(node: NodeUnderTest, kubectl: Kubectl, web: str) -> None:
    async with kubectl.started("proxy", "--port=0") as process:
        assert process.stdout is not None
        said = (await asyncio.wait_for(process.stdout.readline(), 10)).decode()
        base = f"http://{said.rsplit(' ', 1)[-1].strip()}"

        def get(path: str) -> tuple[str, str]:
            with urllib.request.urlopen(f"{base}{path}", timeout=10) as reply:
                return reply.geturl().removeprefix(base), reply.read().decode()

        prefix = f"/api/v1/namespaces/default/pods/{web}/proxy"
        # redirects of both, the API server's and the web server's, end where they should
        assert await asyncio.to_thread(get, prefix) == (f"{prefix}/", f'<a href="{prefix}/other.html">other</a>\n')
        assert await asyncio.to_thread(get, f"{prefix}/dir") == (f"{prefix}/dir/", "sub\n")
        _, found = await asyncio.to_thread(get, f"/api/v1/nodes/{node.name}/proxy/stats/summary")
        assert json.loads(found)["node"]["nodeName"] == node.name
