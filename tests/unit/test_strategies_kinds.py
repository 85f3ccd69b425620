"""What the API does to objects of one kind or another before it stores them: `pkg/registry/*/*/strategy.go`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Local

CORE = "/api/v1/namespaces/default"
MERGE = "application/merge-patch+json"
Obj = dict[str, Any]


async def made(api: Local, path: str, body: Obj) -> Obj:
    code, obj = await api("POST", path, body)
    assert code == 201, obj
    assert isinstance(obj, dict)
    return obj


async def patched(api: Local, path: str, body: Obj) -> Obj:
    code, obj = await api("PATCH", path, body, MERGE)
    assert code == 200, obj
    assert isinstance(obj, dict)
    return obj


async def refused(api: Local, method: str, path: str, body: Obj, media: str = "application/json") -> list[str]:
    """What is said to be wrong, as `field: message`."""
    code, status = await api(method, path, body, media)
    assert code == 422, status
    return [f"{cause['field']}: {cause['message']}" for cause in status["details"]["causes"]]


async def warned(api: Local, method: str, path: str, body: Obj, media: str = "application/json") -> list[str]:
    reply = await api.raw(method, path, body, media)
    assert reply.code in (200, 201), reply.body
    found = [value for name, value in reply.headers if name == "Warning"]
    return [text.removeprefix('299 - "').removesuffix('"').replace('\\"', '"') for text in found]


# -- Services ----------------------------------------------------------------------------------------------------------

SERVICES = f"{CORE}/services"


def service(name: str, **spec: Any) -> Obj:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


async def test_ports_of_services_keep_their_node_ports_by_name(api: Local) -> None:
    ports: list[Obj] = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
    svc = await made(api, SERVICES, service("x", type="NodePort", ports=ports))
    first, second = (port["nodePort"] for port in svc["spec"]["ports"])
    # another number, another protocol
    ports = [{"name": "a", "port": 82, "protocol": "UDP"}, {"name": "c", "port": 81}]
    _, svc = await api("PUT", f"{SERVICES}/x", service("x", type="NodePort", ports=ports))
    found = [port["nodePort"] for port in svc["spec"]["ports"]]
    assert found[0] == first and found[1] not in (first, second)
    # what is asked for under another name is not given twice
    ports = [{"name": "a", "port": 82}, {"name": "d", "port": 83, "nodePort": first}]
    _, svc = await api("PUT", f"{SERVICES}/x", service("x", type="NodePort", ports=ports))
    assert svc["spec"]["ports"][1]["nodePort"] == first != svc["spec"]["ports"][0]["nodePort"]


async def test_services_of_another_type_lose_what_it_does_not_need(api: Local) -> None:
    spec = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "loadBalancerClass": "a.io/b"}
    await made(api, SERVICES, service("x", **spec))
    svc = await patched(api, f"{SERVICES}/x/status", {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}})
    assert svc["status"]["loadBalancer"]["ingress"] and svc["spec"]["healthCheckNodePort"]
    svc = await patched(api, f"{SERVICES}/x", {"spec": {"externalTrafficPolicy": "Cluster"}})
    assert "healthCheckNodePort" not in svc["spec"] and svc["status"]["loadBalancer"]["ingress"]
    svc = await patched(api, f"{SERVICES}/x", {"spec": {"type": "ClusterIP", "externalIPs": ["192.0.2.7"]}})
    assert svc["status"] == {"loadBalancer": {}} and svc["spec"]["externalTrafficPolicy"] == "Cluster"
    assert not {"loadBalancerClass", "allocateLoadBalancerNodePorts"} & set(svc["spec"])
    assert svc["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    svc = await patched(api, f"{SERVICES}/x", {"spec": {"externalIPs": None}})
    assert "externalTrafficPolicy" not in svc["spec"]
    svc = await patched(api, f"{SERVICES}/x", {"spec": {"type": "ExternalName", "externalName": "a.io"}})
    assert not {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} & set(svc["spec"])


@pytest.mark.parametrize(
    ("spec", "change", "said"),
    [
        (
            {},
            {"type": "ExternalName", "externalName": "a.io", "ipFamilyPolicy": "PreferDualStack"},
            ["spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services"],
        ),
        (
            {"type": "NodePort"},
            {"type": "ClusterIP", "ports": [{"port": 80, "nodePort": 30001}]},
            ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
        (
            {"type": "NodePort"},
            {"type": "ClusterIP", "externalTrafficPolicy": "Local"},
            ['spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services'],
        ),
    ],
)
async def test_what_a_change_of_type_brings_is_not_dropped(api: Local, spec: Obj, change: Obj, said: list[str]) -> None:
    await made(api, SERVICES, service("x", **spec))
    assert await refused(api, "PATCH", f"{SERVICES}/x", {"spec": change}, MERGE) == said


async def test_cluster_ips_follow_cluster_ip(api: Local) -> None:
    body = service("x", type="ExternalName", externalName="a.io", clusterIP="10.96.0.77")
    assert await refused(api, "POST", SERVICES, body) == [
        "spec.clusterIPs: Forbidden: may not be set for ExternalName services"
    ]
    body = service("x", clusterIPs=["10.96.0.77"])
    assert await refused(api, "POST", SERVICES, body) == [
        'spec.clusterIPs: Invalid value: ["10.96.0.77"]: must be empty when `clusterIP` is not specified'
    ]
    await made(api, SERVICES, service("x", type="ExternalName", externalName="a.io"))
    svc = await patched(api, f"{SERVICES}/x", {"spec": {"type": "ClusterIP", "clusterIP": "10.96.0.77"}})
    assert svc["spec"]["clusterIPs"] == ["10.96.0.77"]
    said = await refused(api, "PATCH", f"{SERVICES}/x", {"spec": {"clusterIP": "10.96.0.78"}}, MERGE)
    assert said == ['spec.clusterIPs[0]: Invalid value: ["10.96.0.78"]: may not change once set']
