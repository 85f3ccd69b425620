"""What the API does to objects of one kind or another before it stores them: `pkg/registry/*/*/strategy.go`."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sampan.api.kind import Context
from sampan.api.registry import Registry
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


def signing_request() -> str:
    made_one = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    signed = made_one.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.b64encode(signed.public_bytes(serialization.Encoding.PEM)).decode()


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


# -- claims and volumes ------------------------------------------------------------------------------------------------

CLAIMS = f"{CORE}/persistentvolumeclaims"
CLAIM: Obj = {"kind": "PersistentVolumeClaim", "name": "a"}
SNAPSHOT: Obj = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "a"}
OTHER: Obj = {"apiGroup": "a.io", "kind": "Foo", "name": "a"}


def claim(name: str, **spec: Any) -> Obj:
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"metadata": {"name": name}, "spec": {**wanted, **spec}}


@pytest.mark.parametrize(
    ("sources", "stored"),
    [
        ({"dataSource": CLAIM}, {"dataSource": CLAIM, "dataSourceRef": CLAIM}),
        ({"dataSource": SNAPSHOT}, {"dataSource": SNAPSHOT, "dataSourceRef": SNAPSHOT}),
        ({"dataSource": OTHER}, {}),
        ({"dataSourceRef": OTHER}, {"dataSource": OTHER, "dataSourceRef": OTHER}),
        ({"dataSourceRef": {**OTHER, "namespace": "b"}}, {}),
    ],
)
async def test_sources_of_claims_are_the_same(api: Local, sources: Obj, stored: Obj) -> None:
    made_one = await made(api, CLAIMS, claim("x", **sources))
    assert {key: value for key, value in made_one["spec"].items() if key.startswith("dataSource")} == stored
    # who sends it again changes nothing, an old client with the old field alone included
    for again in (sources, {"dataSource": stored["dataSource"]} if stored else {}):
        code, obj = await api("PUT", f"{CLAIMS}/x", claim("x", **again))
        assert code == 200 and obj["spec"] == made_one["spec"], obj


async def test_a_volume_keeps_the_time_of_its_phase(api: Local) -> None:
    path = "/api/v1/persistentvolumes"
    spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}
    since = (await made(api, path, {"metadata": {"name": "x"}, "spec": spec}))["status"]["lastPhaseTransitionTime"]
    status = {"reason": "x", "lastPhaseTransitionTime": None}
    assert (await patched(api, f"{path}/x/status", {"status": status}))["status"]["lastPhaseTransitionTime"] == since


# -- workloads ---------------------------------------------------------------------------------------------------------

JOBS = "/apis/batch/v1/namespaces/default/jobs"
SETS = "/apis/apps/v1/namespaces/default/daemonsets"
GENERATION = "deprecated.daemonset.template.generation"


def template(**spec: Any) -> Obj:
    return {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


async def test_a_copied_job_is_refused(api: Local) -> None:
    job = await made(api, JOBS, {"metadata": {"name": "x"}, "spec": {"template": template(restartPolicy="Never")}})
    assert job["spec"]["template"]["metadata"]["labels"]["job-name"] == "x"
    said = await refused(api, "POST", JOBS, {"metadata": {"name": "y"}, "spec": job["spec"]})
    assert len(said) == 5
    assert said[1].startswith("spec.template.metadata.labels[job-name]: ") and said[1].endswith("must be 'y'")
    assert said[4].startswith("spec.selector: ") and said[4].endswith("`selector` not auto-generated")


async def test_generations_of_the_templates_of_daemon_sets(api: Local) -> None:
    body = {"metadata": {"name": "x"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template()}}
    daemons = await made(api, SETS, body)
    assert daemons["metadata"]["annotations"] == {GENERATION: "1"}
    assert f"f:{GENERATION}" in daemons["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"]["f:annotations"]
    for change, number in (
        ({"metadata": {"annotations": {GENERATION: "7"}}}, "1"),
        ({"metadata": {"annotations": None}}, "1"),
        ({"spec": {"minReadySeconds": 3}}, "1"),
        ({"spec": {"template": {"spec": {"hostNetwork": True}}}}, "2"),
    ):
        for sub in ("", "/status"):
            daemons = await patched(api, f"{SETS}/x{sub}", change)
            assert daemons["metadata"]["annotations"] == {GENERATION: number}
    body["metadata"] = {"name": "y", "annotations": {GENERATION: "5"}}
    assert (await made(api, SETS, body))["metadata"]["annotations"] == {GENERATION: "5"}
    body["metadata"] = {"name": "z", "annotations": {GENERATION: "z"}}
    code, status = await api("POST", SETS, body)
    assert code == 400 and status["message"].endswith('strconv.ParseInt: parsing "z": invalid syntax')


# -- others ------------------------------------------------------------------------------------------------------------


async def test_an_api_service_without_a_service_is_available(api: Local) -> None:
    path = "/apis/apiregistration.k8s.io/v1/apiservices"
    spec: Obj = {"version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}
    local = await made(api, path, {"metadata": {"name": "v1.a.io"}, "spec": {**spec, "group": "a.io"}})
    (condition,) = local["status"]["conditions"]
    assert condition.pop("lastTransitionTime") == local["metadata"]["creationTimestamp"]
    assert condition == {
        "type": "Available",
        "status": "True",
        "reason": "Local",
        "message": "Local APIServices are always available",
    }
    spec |= {"group": "b.io", "service": {"namespace": "a", "name": "b"}, "insecureSkipTLSVerify": True}
    assert (await made(api, path, {"metadata": {"name": "v1.b.io"}, "spec": spec}))["status"] == {}


async def test_accounts_name_secrets(api: Local) -> None:
    path, secrets = f"{CORE}/serviceaccounts", [{"name": "a", "kind": "Secret", "namespace": "b"}]
    account = await made(api, path, {"metadata": {"name": "x"}, "secrets": secrets})
    assert account["secrets"] == [{"name": "a"}]
    assert (await patched(api, f"{path}/x", {"secrets": secrets}))["secrets"] == [{"name": "a"}]


async def test_limits_need_no_name(api: Local) -> None:
    path, spec = f"{CORE}/limitranges", {"limits": [{"type": "Pod", "max": {"cpu": "1"}}]}
    name = (await made(api, path, {"spec": spec}))["metadata"]["name"]
    assert len(name) == 36 and (await api("GET", f"{path}/{name}"))[0] == 200


async def test_conditions_of_signing_requests(api: Local) -> None:
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    spec = {"request": signing_request(), "signerName": "a.b/c", "usages": ["client auth"]}
    request = await made(api, path, {"metadata": {"name": "x", "labels": {"a": "a"}}, "spec": spec})
    assert set(request["metadata"]["managedFields"][0]["fieldsV1"]) == {"f:metadata"}
    approved = {"type": "Approved", "status": "True", "reason": "r", "lastUpdateTime": "2001-02-03T04:05:06Z"}
    change = {"metadata": {"labels": {"a": "b"}}, "status": {"conditions": [approved], "certificate": "eA=="}}
    request = await patched(api, f"{path}/x/approval", change)
    assert request["metadata"]["labels"] == {"a": "b"} and "certificate" not in request["status"]
    owned = next(item for item in request["metadata"]["managedFields"] if item.get("subresource") == "approval")
    assert set(owned["fieldsV1"]["f:status"]) == {"f:conditions"}
    (was,) = request["status"]["conditions"]
    assert was == {**approved, "lastTransitionTime": was["lastTransitionTime"]}
    # the signer cannot change that, and what it says has times
    failed = {"type": "Failed", "status": "True", "reason": "r"}
    change = {"status": {"conditions": [{**approved, "message": "m"}, failed]}}
    request = await patched(api, f"{path}/x/status", change)
    assert request["status"]["conditions"][0] == was
    assert {"lastUpdateTime", "lastTransitionTime"} < set(request["status"]["conditions"][1])
    assert all(item.get("subresource") != "status" for item in request["metadata"]["managedFields"])
    # a decision is about one object
    change = {"metadata": {"uid": "x"}, "status": {"conditions": []}}
    assert (await api("PATCH", f"{path}/x/approval", change, MERGE))[0] == 409


async def test_a_signing_request_can_be_applied(api: Local) -> None:
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests/x"
    spec = {"request": signing_request(), "signerName": "a.b/c", "usages": ["client auth"]}
    body = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "x"}}
    code, request = await api("PATCH", f"{path}?fieldManager=m", {**body, "spec": spec}, "application/apply-patch+yaml")
    assert code == 201 and request["spec"]["signerName"] == "a.b/c"


def test_conditions_of_requests_of_pods() -> None:
    kind = Registry().get("certificates.k8s.io", "v1", "podcertificaterequests")
    assert kind is not None
    failed = {"type": "Failed", "status": "True", "reason": "r", "message": "m", "lastTransitionTime": "before"}
    new: Obj = {"status": {"conditions": [{**failed, "message": "n"}]}}
    kind.prepare_for_status_update(new, {"status": {"conditions": [failed]}}, Context("now"))
    assert new["status"]["conditions"] == [failed]
    new = {"status": {"conditions": [{"type": "Issued", "status": "True"}]}}
    kind.prepare_for_status_update(new, {}, Context("now"))
    assert new["status"]["conditions"] == [{"type": "Issued", "status": "True", "lastTransitionTime": "now"}]


# -- pods --------------------------------------------------------------------------------------------------------------

PODS = f"{CORE}/pods"


def pod(name: str, labels: Obj | None = None, annotations: Obj | None = None, **spec: Any) -> Obj:
    meta = {"name": name, "labels": labels or {}, "annotations": annotations or {}}
    return {"metadata": meta, "spec": template(automountServiceAccountToken=False, **spec)["spec"]}


async def test_label_keys_of_pods_join_their_selectors(api: Local) -> None:
    keys = {"matchLabelKeys": ["a", "none"], "labelSelector": {"matchLabels": {"x": "y"}}}
    term = {**keys, "mismatchLabelKeys": ["b"], "topologyKey": "zone"}
    preferred = [{"weight": 1, "podAffinityTerm": term}]
    spread = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    spec = {
        "affinity": {
            "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]},
            "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred},
        },
        "topologySpreadConstraints": [{**spread, **keys}, {**spread, "topologyKey": "host"}],
    }
    found = (await made(api, PODS, pod("x", {"a": "1", "b": "2"}, **spec)))["spec"]
    inside = {"key": "a", "operator": "In", "values": ["1"]}
    outside = {"key": "b", "operator": "NotIn", "values": ["2"]}
    affinity = found["affinity"]
    (required,) = affinity["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert required["labelSelector"]["matchExpressions"] == [inside, outside]
    (weighted,) = affinity["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert weighted["podAffinityTerm"]["labelSelector"]["matchExpressions"] == [inside, outside]
    first, second = found["topologySpreadConstraints"]
    assert first["labelSelector"]["matchExpressions"] == [inside] and "labelSelector" not in second
    # once is enough
    assert (await patched(api, f"{PODS}/x", {"metadata": {"labels": {"c": "3"}}}))["spec"] == found
    both = {**spread, **keys, "labelSelector": {"matchLabels": {"a": "1"}}}
    said = await refused(api, "POST", PODS, pod("y", {"a": "1"}, topologySpreadConstraints=[both]))
    assert said == [
        'spec.topologySpreadConstraints[0][0]: Invalid value: "a": exists in both matchLabelKeys and labelSelector'
    ]


@pytest.mark.parametrize(
    ("value", "spec", "profile", "told"),
    [
        ("unconfined", {}, {"type": "Unconfined"}, True),
        ("localhost/a", {}, {"type": "Localhost", "localhostProfile": "a"}, True),
        ("localhost/ a", {}, None, True),
        ("", {}, None, True),
        ("runtime/default", {"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}, None, False),
        ("unconfined", {"os": {"name": "windows"}}, None, False),
    ],
)
async def test_profiles_that_annotations_name(
    api: Local, value: str, spec: Obj, profile: Obj | None, told: bool
) -> None:
    key = "container.apparmor.security.beta.kubernetes.io/c"
    said = await warned(api, "POST", PODS, pod("x", annotations={key: value}, **spec))
    detail = f'metadata.annotations[{key}]: deprecated since v1.30; use the "appArmorProfile" field instead'
    assert said == [detail] * told
    _, found = await api("GET", f"{PODS}/x")
    (container,) = found["spec"]["containers"]
    assert (container.get("securityContext") or {}).get("appArmorProfile") == profile
