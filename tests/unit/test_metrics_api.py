"""The built-in metrics API."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.client import Resource
from tests.conftest import Local

Obj = dict[str, Any]
BASE = "/apis/metrics.k8s.io/v1beta1"
PODS = Resource("metrics.k8s.io", "v1beta1", "pods", "PodMetrics")
RBAC = "rbac.authorization.k8s.io"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


async def pod(api: Local, name: str, requests: list[Obj], node: str = "n1", **meta: Any) -> None:
    containers = [
        {"name": f"c{number}", "image": "i", **({"resources": {"requests": each}} if each else {})}
        for number, each in enumerate(requests)
    ]
    body = {"metadata": {"name": name, **meta}, "spec": {"containers": containers, "nodeName": node}}
    code, reply = await api("POST", "/api/v1/namespaces/default/pods", body)
    assert code == 201, reply
    status = {"status": {"phase": "Running"}}
    await api("PATCH", f"/api/v1/namespaces/default/pods/{name}/status", status, "application/merge-patch+json")


@pytest.fixture
async def nodes(api: Local) -> Local:
    for name, labels in (("n1", {"sampan.io/hollow": "true"}), ("n2", {})):
        await api("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})
    await pod(api, "plain", [{}], labels={"app": "x"})
    await pod(api, "asks", [{"cpu": "500m", "memory": "100Mi"}, {"cpu": "1", "memory": "64Mi"}])
    told = {"hollow.sampan.io/cpu-usage": "300m", "hollow.sampan.io/memory-usage": "64Mi"}
    await pod(api, "told", [{"cpu": "1"}, {}], annotations=told)
    await pod(api, "elsewhere", [{}], node="n2")
    return api


async def test_pods(nodes: Local) -> None:
    code, found = await nodes("GET", f"{BASE}/namespaces/default/pods")
    assert code == 200 and found["kind"] == "PodMetricsList"
    usage = {item["metadata"]["name"]: [c["usage"] for c in item["containers"]] for item in found["items"]}
    assert usage == {
        "plain": [{"cpu": "1m", "memory": "8Mi"}],
        "asks": [{"cpu": "50m", "memory": "10Mi"}, {"cpu": "100m", "memory": "6554Ki"}],
        "told": [{"cpu": "150m", "memory": "32Mi"}] * 2,
    }
    _, found = await nodes("GET", f"{BASE}/pods?labelSelector=app%3Dx")
    assert [item["metadata"]["name"] for item in found["items"]] == ["plain"]
    assert found["items"][0]["window"] == "15s" and found["items"][0]["timestamp"]


async def test_one(nodes: Local) -> None:
    code, found = await nodes("GET", f"{BASE}/namespaces/default/pods/told")
    assert code == 200 and found["kind"] == "PodMetrics" and len(found["containers"]) == 2
    code, status = await nodes("GET", f"{BASE}/namespaces/default/pods/elsewhere")
    assert code == 404 and status["message"] == 'pods.metrics.k8s.io "elsewhere" not found'


async def test_nodes(nodes: Local) -> None:
    code, found = await nodes("GET", f"{BASE}/nodes")
    assert code == 200
    assert [(item["metadata"]["name"], item["usage"]) for item in found["items"]] == [
        ("n1", {"cpu": "451m", "memory": "90522Ki"})
    ]
    code, _ = await nodes("GET", f"{BASE}/nodes/n2")
    assert code == 404


async def test_tables(nodes: Local) -> None:
    _, found = await nodes("GET", f"{BASE}/namespaces/default/pods", accept=TABLE)
    assert [column["name"] for column in found["columnDefinitions"]] == ["Name", "cpu", "memory", "Window"]
    assert ["told", "300m", "65536Ki", "15s"] in [row["cells"] for row in found["rows"]]


async def test_it_can_be_discovered(nodes: Local) -> None:
    _, groups = await nodes("GET", "/apis")
    assert "metrics.k8s.io" in [group["name"] for group in groups["groups"]]
    _, found = await nodes("GET", BASE)
    assert {item["name"]: item["verbs"] for item in found["resources"]} == {
        "nodes": ["get", "list"],
        "pods": ["get", "list"],
    }
    code, document = await nodes("GET", f"/openapi/v3{BASE}")
    assert code == 200 and "io.k8s.api.metrics.v1beta1.PodMetrics" in document["components"]["schemas"]
    code, service = await nodes("GET", "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io")
    assert code == 200 and service["status"]["conditions"][0]["reason"] == "Local"


async def test_it_is_read_only(nodes: Local) -> None:
    assert (await nodes("DELETE", f"{BASE}/namespaces/default/pods/told"))[0] == 405
    assert (await nodes("GET", f"{BASE}/pods?watch=true"))[0] == 405


async def test_whoever_may_view_pods_may_see_what_they_use(nodes: Local) -> None:
    binding = {"metadata": {"name": "v"}, "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "view"}}
    subject = {"kind": "User", "name": "jane", "apiGroup": RBAC}
    await nodes("POST", f"/apis/{RBAC}/v1/namespaces/default/rolebindings", {**binding, "subjects": [subject]})
    jane = {"impersonate-user": "jane"}
    assert (await nodes("GET", f"{BASE}/namespaces/default/pods", **jane))[0] == 200
    assert (await nodes("GET", f"{BASE}/nodes", **jane))[0] == 403
