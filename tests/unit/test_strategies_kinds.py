"""What the API does to objects of one kind or another before it stores them: `pkg/registry/*/*/strategy.go`."""

from __future__ import annotations

import base64
import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

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
    spec: Obj = {
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


# -- what is dropped, and what is told ---------------------------------------------------------------------------------

SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
RESOURCES = "/apis/resource.k8s.io/v1"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"


async def test_endpoint_slices_count_labels_and_drop_topology(api: Local) -> None:
    endpoint: Obj = {"addresses": ["192.0.2.1"], "deprecatedTopology": {"kubernetes.io/hostname": "n"}}
    body = {"metadata": {"name": "x"}, "addressType": "IPv4", "endpoints": [endpoint]}
    found = await made(api, SLICES, body)
    assert (found["metadata"]["generation"], "deprecatedTopology" in found["endpoints"][0]) == (1, False)
    for change, generation in (
        ({"metadata": {"labels": {"a": "b"}}}, 2),
        ({"metadata": {"annotations": {"a": "b"}}}, 2),
        ({"ports": [{"port": 1}]}, 3),
        ({"endpoints": [endpoint]}, 4),
    ):
        found = await patched(api, f"{SLICES}/x", change)
        assert found["metadata"]["generation"] == generation
        assert "deprecatedTopology" not in found["endpoints"][0]


def test_the_node_of_an_older_slice_is_kept() -> None:
    kind = Registry().get("discovery.k8s.io", "v1", "endpointslices")
    assert kind is not None
    old: Obj = {"metadata": {}, "endpoints": [{"deprecatedTopology": {"kubernetes.io/hostname": "n"}}]}
    same: Obj = {"metadata": {}, "endpoints": [dict(old["endpoints"][0])]}
    kind.prepare_for_update(same, old, Context("now"))
    assert same == old
    new: Obj = {"metadata": {}, "endpoints": [{"deprecatedTopology": {"kubernetes.io/hostname": n}} for n in "nm"]}
    kind.prepare_for_update(new, old, Context("now"))
    assert new["endpoints"] == [{"nodeName": "n"}, {}]


async def test_what_is_told_of_endpoint_slices(api: Local) -> None:
    body = {"metadata": {"name": "x"}, "addressType": "FQDN", "endpoints": [{"addresses": ["a.b.io"]}]}
    assert await warned(api, "POST", SLICES, body) == ["spec.addressType: FQDN endpoints are deprecated"]
    assert await warned(api, "PATCH", f"{SLICES}/x", {"metadata": {"labels": {"a": "b"}}}, MERGE) == []


async def test_taint_rules_are_dated_anew_with_their_effect(api: Local) -> None:
    path, time = f"{RESOURCES}/devicetaintrules", "2001-02-03T04:05:06Z"
    taint = {"key": "a.io/b", "effect": "NoSchedule", "timeAdded": time}
    await made(api, path, {"metadata": {"name": "x"}, "spec": {"taint": taint}})
    for change, kept in ({"value": "v"}, True), ({"effect": "NoExecute"}, False), ({"timeAdded": time}, True):
        rule = await patched(api, f"{path}/x", {"spec": {"taint": change}})
        assert (rule["spec"]["taint"]["timeAdded"] == time) == kept


async def test_a_service_cidr_may_bring_its_status(api: Local) -> None:
    path = "/apis/networking.k8s.io/v1/servicecidrs"
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "r",
        "message": "",
        "lastTransitionTime": "2001-02-03T04:05:06Z",
    }
    body = {"metadata": {"name": "x"}, "spec": {"cidrs": ["10.7.0.0/16"]}, "status": {"conditions": [ready]}}
    assert (await made(api, path, body))["status"] == {"conditions": [ready]}
    for sub in ("", "/status"):
        ready["reason"] += "r"
        cidr = await patched(api, f"{path}/x{sub}", {"status": {"conditions": [ready]}})
        assert cidr["status"] == {"conditions": [ready]}


def test_devices_that_went_leave_no_status() -> None:
    kind = Registry().get("resource.k8s.io", "v1", "resourceclaims")
    assert kind is not None
    one, two, mine = ({"driver": "d", "pool": "p", "device": name} for name in ("a", "b", "c"))
    old = {"status": {"allocation": {"devices": {"results": [one, two]}}, "devices": [one, two, mine]}}
    new: Obj = {"status": {"allocation": {"devices": {"results": [two]}}, "devices": [one, two, mine]}}
    kind.prepare_for_status_update(new, old, Context("now"))
    assert new["status"]["devices"] == [two, mine]
    new = {"status": {"devices": [one]}}
    kind.prepare_for_status_update(new, old, Context("now"))
    assert new["status"] == {}


@pytest.mark.parametrize(
    ("group", "resource", "spec"),
    [
        ("coordination.k8s.io", "leases", {"strategy": "OldestEmulationVersion", "preferredHolder": "a"}),
        ("", "nodes", {"configSource": {"configMap": {}}}),
        ("resource.k8s.io", "resourceslices", {"partitionTypeAttribute": "a"}),
    ],
)
def test_what_no_gate_opens_is_dropped_unless_it_was_there(group: str, resource: str, spec: Obj) -> None:
    kind = Registry().get(group, "v1", resource)
    assert kind is not None
    new: Obj = {"spec": dict(spec), "status": {}}
    kind.prepare_for_create(new, Context("now"))
    assert new["spec"] == {}
    new = {"spec": dict(spec)}
    kind.prepare_for_update(new, {"spec": {}}, Context("now"))
    assert new["spec"] == {}
    new = {"spec": dict(spec)}
    kind.prepare_for_update(new, {"spec": dict(spec)}, Context("now"))
    assert new["spec"] == spec


def test_the_configuration_of_a_node_is_dropped_from_its_status() -> None:
    kind = Registry().get("", "v1", "nodes")
    assert kind is not None
    for old, left in ({"status": {}}, {}), ({"status": {"config": {}}}, {"config": {}}):
        new: Obj = {"status": {"config": {}}}
        kind.prepare_for_status_update(new, old, Context("now"))
        assert new["status"] == left


def test_lists_as_attributes_of_devices_are_dropped() -> None:
    kind = Registry().get("resource.k8s.io", "v1", "resourceslices")
    assert kind is not None

    def made_one() -> Obj:
        device = {"attributes": {"a": {"bools": [True]}, "b": {"int": 1}}, "nodeAllocatableResources": {"x": {}}}
        return {"spec": {"devices": [device]}}

    new = made_one()
    kind.prepare_for_create(new, Context("now"))
    assert new == {"spec": {"devices": [{"attributes": {"a": {}, "b": {"int": 1}}}]}}
    new = made_one()
    kind.prepare_for_update(new, made_one(), Context("now"))
    assert new == made_one()


async def test_drivers_have_small_letters(api: Local) -> None:
    pool = {"name": "p", "generation": 1, "resourceSliceCount": 1}
    body = {"metadata": {"name": "x"}, "spec": {"driver": "Dra.Example.com", "nodeName": "n", "pool": pool}}
    said = 'spec.driver: driver names should be lowercase; "Dra.Example.com" contains uppercase characters'
    assert said in await warned(api, "POST", f"{RESOURCES}/resourceslices", body)


async def test_what_is_told_of_claims(api: Local) -> None:
    amounts = {"requests": {"storage": "1500m"}, "limits": {"storage": "2500m"}}
    body = claim("x", resources=amounts)
    body["metadata"]["annotations"] = {"volume.beta.kubernetes.io/storage-class": "a"}
    fractions = [
        f'resources.{side}[storage]: fractional byte value "{amounts[side]["storage"]}" is invalid, must be an integer'
        for side in ("requests", "limits")
    ]
    assert await warned(api, "POST", CLAIMS, body) == [
        "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; "
        'use "storageClassName" attribute instead',
        *(f"spec.{text}" for text in fractions),
    ]
    path = "/apis/apps/v1/namespaces/default/statefulsets"
    spec = {
        "selector": {"matchLabels": {"a": "b"}},
        "template": template(),
        "volumeClaimTemplates": [claim("v", resources=amounts)],
        "revisionHistoryLimit": -1,
    }
    limit = "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
    told = await warned(api, "POST", path, {"metadata": {"name": "x"}, "spec": spec})
    assert told == [*(f"spec.volumeClaimTemplates[0].{text}" for text in fractions), limit]
    told = await warned(api, "PATCH", f"{path}/x", {"spec": {"replicas": 2}}, MERGE)
    assert told == [*(f"spec.volumeClaimTemplates[0].Spec.{text}" for text in fractions), limit]


def test_zones_in_schedules_are_told_of_when_they_stay() -> None:
    kind = Registry().get("batch", "v1", "cronjobs")
    assert kind is not None
    spec = {"schedule": "CRON_TZ=UTC * * * * *", "jobTemplate": {"spec": {"template": template()}}}
    job = {"metadata": {"name": "x"}, "spec": spec}
    assert kind.warnings(job, None) == []
    assert kind.warnings(job, job) == [
        "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see "
        "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
    ]


def pair(key: ec.EllipticCurvePrivateKey) -> tuple[str, str]:
    """A certificate and its key, in PEM."""
    name, start = x509.Name([]), datetime.datetime(2026, 1, 1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start + datetime.timedelta(days=1))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(encoding)
    return certificate.decode(), key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


async def test_keys_that_do_not_fit(api: Local) -> None:
    crt, key = pair(ec.generate_private_key(ec.SECP256R1()))
    other = pair(ec.generate_private_key(ec.SECP256R1()))[1]
    foreign = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    broken = "-----BEGIN {0}-----\neA==\n-----END {0}-----\n".format
    skipped = "PEM block in certificate input after skipping PEM blocks of the following types: [X Y]"
    for number, (certificate, private, said) in enumerate([
        (crt, key, ""),
        ("", "", "failed to find any PEM data in certificate input"),
        (crt, "", "failed to find any PEM data in key input"),
        (key, crt, "failed to find certificate PEM data in certificate input, but did find a private key; "
                   "PEM inputs may have been switched"),
        (broken("X") + broken("Y"), key, f'failed to find "CERTIFICATE" {skipped}'),
        (crt, crt, "found a certificate rather than a key in the PEM for the private key"),
        (crt, broken("PRIVATE KEY"), "failed to parse private key"),
        (crt, other, "private key does not match public key"),
        (crt, foreign.decode(), "private key type does not match public key type"),
    ]):  # fmt: skip
        data = {"tls.crt": certificate, "tls.key": private}
        body = {"metadata": {"name": f"x{number}"}, "type": "kubernetes.io/tls", "stringData": data}
        assert await warned(api, "POST", f"{CORE}/secrets", body) == ([f"tls: {said}"] if said else [])
        told = await warned(api, "PATCH", f"{CORE}/secrets/x{number}", {"metadata": {"labels": {"a": "b"}}}, MERGE)
        assert told == ([f"tls: {said}"] if said else [])
