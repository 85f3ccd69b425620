"""The kubelet's own server, by way of the API server and directly: health, pods, statistics, metrics, who may ask what."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from sampan.api import durations
from sampan.cluster import certificates
from sampan.http import HttpClient, Reply
from tests.kubelet.conftest import NodeUnderTest, made
from tests.kubelet.kubectl import Kubectl
from tests.runtime.homes import Containerd

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sampan", "containerd"])
async def node(request: pytest.FixtureRequest) -> AsyncIterator[NodeUnderTest]:
    async with made(request.param) as node:
        yield node


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kubectl(node: NodeUnderTest) -> Kubectl:
    return Kubectl(node.cluster.kubeconfig)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def busy(node: NodeUnderTest) -> AsyncIterator[dict[str, Any]]:
    """A pod that computes, and writes into a volume, its own layer and its log."""
    script = "dd if=/dev/zero of=/there/x bs=1M count=3 2>/there/said; dd if=/dev/zero of=/mine bs=1M count=2 2>/there/said; echo log; while :; do :; done"
    limits = {"limits": {"cpu": "200m", "memory": "64Mi"}}
    container = node.container(
        "sh", "-c", script, volumeMounts=[{"name": "v", "mountPath": "/there"}], resources=limits
    )
    name = await node.run(
        {"containers": [container], "volumes": [{"name": "v", "emptyDir": {}}], "terminationGracePeriodSeconds": 0}
    )
    pod = await node.running(name)
    await node.logged(pod, "log\n")
    yield pod


async def test_health_and_pods(node: NodeUnderTest, kubectl: Kubectl, busy: dict[str, Any]) -> None:
    raw = f"/api/v1/nodes/{node.name}/proxy"
    assert await kubectl("get", "--raw", f"{raw}/healthz") == "ok"
    assert "[+]syncloop ok" in await kubectl("get", "--raw", f"{raw}/healthz?verbose")
    found = json.loads(await kubectl("get", "--raw", f"{raw}/pods"))
    assert found["kind"] == "PodList"
    (pod,) = [each for each in found["items"] if each["metadata"]["name"] == busy["metadata"]["name"]]
    assert pod["status"]["phase"] == "Running" and pod["spec"]["nodeName"] == node.name
    running = json.loads(await kubectl("get", "--raw", f"{raw}/runningpods/"))["items"]
    (pod,) = [each for each in running if each["metadata"]["uid"] == busy["metadata"]["uid"]]
    assert pod["spec"]["containers"][0]["name"] == "main"
    config = json.loads(await kubectl("get", "--raw", f"{raw}/configz"))["kubeletconfig"]
    assert config["authentication"]["anonymous"] == {"enabled": False} and config["nodeStatusUpdateFrequency"] == "10s"
    assert "pods/</a>" in await kubectl("get", "--raw", f"{raw}/logs/") or "<pre>" in await kubectl(
        "get", "--raw", f"{raw}/logs/"
    )


async def test_summary(node: NodeUnderTest, kubectl: Kubectl, busy: dict[str, Any]) -> None:
    raw = f"/api/v1/nodes/{node.name}/proxy/stats/summary"
    await kubectl("get", "--raw", f"{raw}?only_cpu_and_memory=true")
    found = json.loads(await kubectl("get", "--raw", raw))
    of_node = found["node"]
    assert of_node["nodeName"] == node.name and of_node["memory"]["workingSetBytes"] > 1 << 20
    system = {each["name"]: each for each in of_node["systemContainers"]}
    assert set(system) == {"kubelet", "pods"} and system["pods"]["cpu"]["usageCoreNanoSeconds"] > 0
    assert (
        of_node["cpu"]["usageCoreNanoSeconds"] > 0 and of_node["fs"]["capacityBytes"] > of_node["fs"]["usedBytes"] > 0
    )
    assert of_node["rlimit"]["maxpid"] > of_node["rlimit"]["curproc"] > 0
    # containerd counts what is on disk every ten seconds only
    layers = 0 if isinstance(node.home, Containerd) else 2 << 20
    assert of_node["runtime"]["imageFs"]["usedBytes"] > 0 or not layers
    (pod,) = [each for each in found["pods"] if each["podRef"]["uid"] == busy["metadata"]["uid"]]
    (container,) = pod["containers"]
    assert container["cpu"]["usageCoreNanoSeconds"] > 0 and 0 < container["memory"]["usageBytes"] < 64 << 20
    assert container["rootfs"]["usedBytes"] >= layers and container["logs"]["usedBytes"] > 0
    assert (
        pod["network"]["name"] == "eth0" and pod["network"]["interfaces"] and pod["process_stats"]["process_count"] >= 1
    )
    (volume,) = pod["volume"]
    assert volume["name"] == "v" and volume["usedBytes"] >= 3 << 20
    assert pod["ephemeral-storage"]["usedBytes"] >= (3 << 20) + layers
    assert pod["cpu"]["usageCoreNanoSeconds"] >= container["cpu"]["usageCoreNanoSeconds"] * 0.9


async def test_metrics_pages(node: NodeUnderTest, kubectl: Kubectl, busy: dict[str, Any]) -> None:
    raw, name = f"/api/v1/nodes/{node.name}/proxy/metrics", busy["metadata"]["name"]
    page = await kubectl("get", "--raw", f"{raw}/resource")
    assert f'container_cpu_usage_seconds_total{{container="main",namespace="default",pod="{name}"}}' in page
    assert "resource_scrape_error 0" in page
    page = await kubectl("get", "--raw", f"{raw}/cadvisor")
    lines = [
        line
        for line in page.splitlines()
        if f'pod="{name}"' in line and line.startswith("container_spec_memory_limit_bytes")
    ]
    assert lines and lines[0].endswith(f" {64 << 20}")
    page = await kubectl("get", "--raw", raw)
    assert f'kubelet_node_name{{node="{node.name}"}} 1' in page and "kubelet_running_pods" in page
    await kubectl("get", "--raw", f"{raw}/probes")


async def test_top(node: NodeUnderTest, kubectl: Kubectl, busy: dict[str, Any]) -> None:
    name = busy["metadata"]["name"]
    metrics = node.cluster.server.api.node_metrics
    while True:
        await metrics.scrape()
        code, out, _ = await kubectl.run("top", "pod", name, "--no-headers")
        if not code:
            break
    _, cpu, memory = out.split()
    assert int(cpu.removesuffix("m")) >= 1 and int(memory.removesuffix("Mi")) < 64
    raw = json.loads(await kubectl("get", "--raw", f"/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/{name}"))
    used = int(raw["containers"][0]["usage"]["cpu"].removesuffix("n")) / 1e9
    # of a quarter of a processor; what some more periods of a tenth of a second allow may fall into a short window
    assert used * (window := durations.seconds(raw["window"])) <= 0.25 * window + 4 * 0.025
    assert node.name in await kubectl("top", "nodes")
    assert "main" in await kubectl("top", "pods", "--containers")


async def test_an_autoscaler_sees_real_pods(node: NodeUnderTest, kubectl: Kubectl) -> None:
    if isinstance(node.home, Containerd):
        pytest.skip("the figures come the same way")
    container = node.container(
        "sh", "-c", "while :; do :; done", resources={"requests": {"cpu": "10m"}, "limits": {"cpu": "100m"}}
    )
    pod = node.pod({"containers": [container], "terminationGracePeriodSeconds": 0})
    del pod["spec"]["nodeName"]
    template = {"metadata": {"labels": {"app": "hot"}}, "spec": pod["spec"]}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "hot"}}, "template": template}
    client = node.cluster.client
    await client.create("deployments.apps", {"metadata": {"name": "hot"}, "spec": spec}, "default")
    await kubectl("autoscale", "deployment", "hot", "--cpu=50%", "--max=2")
    metrics = node.cluster.server.api.node_metrics
    async with asyncio.timeout(90):
        while (await client.get("deployments.apps", "hot", "default"))["spec"]["replicas"] < 2:
            await metrics.scrape()
            await asyncio.sleep(1)
    await client.delete("horizontalpodautoscalers.autoscaling", "hot", "default")
    await client.delete("deployments.apps", "hot", "default", propagation="Foreground")


async def test_run(node: NodeUnderTest, kubectl: Kubectl, busy: dict[str, Any]) -> None:
    path = f"/api/v1/nodes/{node.name}/proxy/run/default/{busy['metadata']['name']}/main?cmd=echo%20hi"
    assert await kubectl("create", "--raw", path, "-f", "/dev/null") == "hi\n"


async def test_who_may_ask_what(node: NodeUnderTest, busy: dict[str, Any]) -> None:
    assert node.kubelet is not None
    pki = certificates.Pki(node.cluster.client_ca.parent)
    url = f"https://127.0.0.1:{node.kubelet.server.port}"
    client = node.cluster.client
    await client.create("clusterroles", {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "measures"},
        "rules": [{"apiGroups": [""], "resources": ["nodes/metrics", "nodes/pods"], "verbs": ["get"]}],
    })  # fmt: skip
    await client.create("clusterrolebindings", {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "measures"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "measures"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}, {"kind": "User", "name": "alice",
                     "apiGroup": "rbac.authorization.k8s.io"}],
    })  # fmt: skip
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    made = await client.create("serviceaccounts", request, "default", name="default", subresource="token")
    token = made["status"]["token"]

    async def ask(http: HttpClient, path: str, *headers: tuple[str, str]) -> Reply:
        return await http.request("GET", f"{url}{path}", headers=headers)

    async with HttpClient(ssl_context=trusting()) as http:
        assert (await ask(http, "/healthz")).code == 401
        assert (await ask(http, "/healthz", ("Authorization", "Bearer nonsense"))).code == 401
        bearer = ("Authorization", f"Bearer {token}")
        assert (await ask(http, "/metrics/resource", bearer)).code == 200
        assert (await ask(http, "/pods", bearer)).code == 200
        refused = await ask(http, "/healthz", bearer)
        who = "user=system:serviceaccount:default:default, verb=get, resource=nodes, subresource(s)=[healthz proxy]"
        assert (refused.code, refused.body.decode()) == (403, f"Forbidden ({who})\n")
        assert (await ask(http, f"/containerLogs/default/{busy['metadata']['name']}/main", bearer)).code == 403
    context = trusting()
    file = node.home.root / "alice.pem"
    file.write_bytes(b"\n".join(certificates.issue(pki, "alice")))
    context.load_cert_chain(file)
    async with HttpClient(ssl_context=context) as http:
        assert (await ask(http, "/metrics/resource")).code == 200
        assert (await ask(http, "/stats/summary")).code == 403


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
