"""ResourceQuota: the arithmetic, what is refused, and that concurrent requests never exceed it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.api import quota
from sampan.apiserver.admission.order import chain
from tests.conftest import Local
from tests.unit.test_admission_pods import PODS, pod

QUOTAS = "/api/v1/namespaces/default/resourcequotas"


async def limit(api: Local, hard: dict[str, str], name: str = "q", **spec: Any) -> None:
    code, made = await api("POST", QUOTAS, {"metadata": {"name": name}, "spec": {"hard": hard, **spec}})
    assert code == 201, made


async def used(api: Local, name: str = "q") -> dict[str, str]:
    _, found = await api("GET", f"{QUOTAS}/{name}")
    out: dict[str, str] = found["status"]["used"]
    return out


def sized(name: str, requests: dict[str, str], limits: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    resources = {"requests": requests, **({"limits": limits} if limits else {})}
    return pod(name, containers=[{"name": "c", "image": "x", "resources": resources}], **spec)


async def test_a_quota_bites_from_its_first_moment(api: Local) -> None:
    await api("POST", PODS, pod("before"))
    await limit(api, {"pods": "2"})
    assert (await api("POST", PODS, pod("one")))[0] == 201
    code, refused = await api("POST", PODS, pod("two"))
    assert (code, refused["reason"], refused["message"]) == (
        403,
        "Forbidden",
        'pods "two" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2',
    )
    _, shown = await api("GET", f"{QUOTAS}/q")
    assert shown["status"] == {"hard": {"pods": "2"}, "used": {"pods": "2"}}


async def test_a_raised_limit_counts_at_once(api: Local) -> None:
    await limit(api, {"pods": "1"})
    await api("POST", PODS, pod("one"))
    assert (await api("POST", PODS, pod("two")))[0] == 403
    patch = {"spec": {"hard": {"pods": "2", "count/pods": "5"}}}
    await api("PATCH", f"{QUOTAS}/q", patch, "application/merge-patch+json")
    assert (await api("POST", PODS, pod("two")))[0] == 201
    assert await used(api) == {"pods": "2", "count/pods": "2"}


async def test_compute_that_is_said_for_the_pod_as_a_whole(api: Local) -> None:
    await limit(api, {"requests.cpu": "1", "limits.memory": "1Gi"})
    body = pod("whole")
    body["spec"]["resources"] = {"requests": {"cpu": "700m"}, "limits": {"memory": "512Mi"}}
    code, made = await api("POST", PODS, body)
    assert code == 201, made
    assert await used(api) == {"requests.cpu": "700m", "limits.memory": "512Mi"}


async def test_compute_must_be_said_and_is_summed(api: Local) -> None:
    await limit(api, {"requests.cpu": "1", "limits.memory": "1Gi", "requests.example.com/gpu": "2"})
    _, refused = await api("POST", PODS, pod())
    assert refused["message"] == (
        'pods "p" is forbidden: failed quota: q: must specify limits.memory for: c; requests.cpu for: c'
    )
    gpu = {"example.com/gpu": "1"}
    body = sized("a", {"cpu": "400m", **gpu}, {"cpu": "1", "memory": "512Mi", **gpu})
    code, made = await api("POST", PODS, body)
    assert code == 201, made
    body = sized("b", {"cpu": "700m", **gpu}, {"cpu": "1", "memory": "512Mi", **gpu})
    _, refused = await api("POST", PODS, body)
    assert refused["message"].endswith(
        "exceeded quota: q, requested: requests.cpu=700m, used: requests.cpu=400m, limited: requests.cpu=1"
    )
    assert await used(api) == {"requests.cpu": "400m", "limits.memory": "512Mi", "requests.example.com/gpu": "1"}


async def test_concurrent_creates_never_exceed(api: Local) -> None:
    await limit(api, {"pods": "7", "count/configmaps": "20"})
    replies = await asyncio.gather(*(api("POST", PODS, pod(f"p{number}")) for number in range(30)))
    assert sorted(code for code, _ in replies) == [201] * 7 + [403] * 23
    assert await used(api) == {"pods": "7", "count/configmaps": "1"}
    _, listed = await api("GET", PODS)
    assert len(listed["items"]) == 7


async def test_what_is_not_written_is_not_charged(api: Local) -> None:
    await limit(api, {"pods": "3"})
    await api("POST", PODS, pod("one"))
    assert (await api("POST", PODS, pod("one")))[0] == 409
    assert (await api("POST", f"{PODS}?dryRun=All", pod("dry")))[0] == 201
    assert await used(api) == {"pods": "1"}
    await api("POST", PODS, pod("two"))
    await api("POST", PODS, pod("three"))
    code, refused = await api("POST", f"{PODS}?dryRun=All", pod("dry"))
    assert code == 403 and "exceeded quota" in refused["message"]


async def test_scopes(api: Local) -> None:
    await limit(api, {"pods": "0"}, "best", scopes=["BestEffort"])
    await limit(api, {"pods": "0"}, "brief", scopes=["Terminating"])
    await limit(api, {"pods": "0"}, "across", scopes=["CrossNamespacePodAffinity"])
    selector = {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}
    await limit(api, {"pods": "0"}, "high", scopeSelector=selector)
    await api("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "high"}, "value": 5})
    term = {"topologyKey": "k", "namespaces": ["other"], "labelSelector": {}}
    affinity = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    for name, body in (
        ("best", pod()),
        ("brief", sized("p", {"cpu": "1"}, activeDeadlineSeconds=5)),
        ("across", sized("p", {"cpu": "1"}, affinity=affinity)),
        ("high", sized("p", {"cpu": "1"}, priorityClassName="high")),
    ):
        code, refused = await api("POST", PODS, body)
        assert code == 403 and f"exceeded quota: {name}," in refused["message"]
    assert (await api("POST", PODS, sized("free", {"cpu": "1"})))[0] == 201


async def test_a_pod_that_is_given_a_deadline_goes_over_to_other_quotas(api: Local) -> None:
    await limit(api, {"pods": "1", "requests.cpu": "1"}, "brief", scopes=["Terminating"])
    await limit(api, {"pods": "5"}, "all")
    for name, cpu in (("one", "1"), ("two", "10m")):
        assert (await api("POST", PODS, sized(name, {"cpu": cpu})))[0] == 201
    assert await used(api, "brief") == {"pods": "0", "requests.cpu": "0"}

    async def deadline(name: str) -> tuple[int, Any]:
        patch = {"spec": {"activeDeadlineSeconds": 60}, "metadata": {"labels": {"a": "b"}}}
        return await api("PATCH", f"{PODS}/{name}", patch, "application/merge-patch+json")

    assert (await deadline("one"))[0] == 200
    assert await used(api, "brief") == {"pods": "1", "requests.cpu": "1"}
    code, refused = await deadline("two")
    assert code == 403 and "exceeded quota: brief, requested: pods=1,requests.cpu=10m" in refused["message"]
    assert (await deadline("one"))[0] == 200
    assert await used(api, "all") == {"pods": "2"}


async def test_services_and_their_updates(api: Local) -> None:
    await limit(api, {"services": "2", "services.nodeports": "1", "services.loadbalancers": "0"})
    path = "/api/v1/namespaces/default/services"
    code, made = await api("POST", path, {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    assert code == 201
    made["spec"]["type"] = "NodePort"
    code, made = await api("PUT", f"{path}/s", made)
    assert code == 200, made
    assert await used(api) == {"services": "2", "services.nodeports": "1", "services.loadbalancers": "0"}
    made["spec"]["type"] = "LoadBalancer"
    code, refused = await api("PUT", f"{path}/s", made)
    assert code == 403 and "requested: services.loadbalancers=1" in refused["message"]
    made["spec"]["type"] = "NodePort"
    made["spec"]["ports"].append({"port": 81, "name": "b"})
    made["spec"]["ports"][0]["name"] = "a"
    code, refused = await api("PUT", f"{path}/s", made)
    assert code == 403 and "requested: services.nodeports=1, used: services.nodeports=1" in refused["message"]


async def test_claims_by_storage_class(api: Local) -> None:
    await limit(api, {"requests.storage": "10Gi", "gold.storageclass.storage.k8s.io/requests.storage": "5Gi"})

    def claim(name: str, size: str, of: str) -> dict[str, Any]:
        resources = {"requests": {"storage": size}}
        spec = {"accessModes": ["ReadWriteOnce"], "resources": resources, "storageClassName": of}
        return {"metadata": {"name": name}, "spec": spec}

    path = "/api/v1/namespaces/default/persistentvolumeclaims"
    assert (await api("POST", path, claim("a", "4Gi", "gold")))[0] == 201
    code, refused = await api("POST", path, claim("b", "2Gi", "gold"))
    assert code == 403 and "gold.storageclass.storage.k8s.io/requests.storage=2Gi" in refused["message"]
    assert (await api("POST", path, claim("c", "6Gi", "iron")))[0] == 201
    assert (await api("POST", path, claim("d", "1", "iron")))[0] == 403


async def test_resize_is_charged_by_what_is_added(api: Local) -> None:
    await limit(api, {"requests.cpu": "2"})
    await api("POST", PODS, sized("p", {"cpu": "1"}))

    async def resize(cpu: str) -> int:
        patch = {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}}
        return (await api("PATCH", f"{PODS}/p/resize", patch, "application/strategic-merge-patch+json"))[0]

    assert await resize("3") == 403 and await resize("1500m") == 200
    assert await used(api) == {"requests.cpu": "1500m"}


DEVICES = "/apis/resource.k8s.io/v1"
CLAIMS = f"{DEVICES}/namespaces/default/resourceclaims"
BY_CLASS = "requests.deviceclass.resource.kubernetes.io/gold"


def devices(name: str, count: int, of: str = "gold", **meta: Any) -> dict[str, Any]:
    exactly = {"deviceClassName": of, "allocationMode": "ExactCount", "count": count}
    spec = {"devices": {"requests": [{"name": "r", "exactly": exactly}]}}
    return {"metadata": {"name": name, **meta}, "spec": spec}


async def test_devices_count_under_all_of_their_names(api: Local) -> None:
    by_name = "requests.example.com/gpu"
    await limit(api, {by_name: "4", BY_CLASS: "9", "gold.deviceclass.resource.k8s.io/devices": "9"})
    assert (await api("POST", CLAIMS, devices("unknown", 1)))[0] == 201
    assert (await used(api))[by_name] == "0"
    spec = {"extendedResourceName": "example.com/gpu"}
    code, made = await api("POST", f"{DEVICES}/deviceclasses", {"metadata": {"name": "gold"}, "spec": spec})
    assert code == 201, made
    assert (await api("POST", CLAIMS, devices("two", 2)))[0] == 201
    assert await used(api) == {by_name: "2", BY_CLASS: "3", "gold.deviceclass.resource.k8s.io/devices": "3"}
    code, refused = await api("POST", CLAIMS, devices("three", 3))
    assert code == 403 and f"requested: {by_name}=3, used: {by_name}=2, limited: {by_name}=4" in refused["message"]
    assert (await api("POST", CLAIMS, devices("three", 3, "iron")))[0] == 201


async def test_pods_ask_for_devices_by_their_class(api: Local) -> None:
    await limit(api, {BY_CLASS: "2"})
    one, two = ({BY_CLASS.removeprefix("requests."): count} for count in "12")
    assert (await api("POST", PODS, sized("one", one, one)))[0] == 201
    assert await used(api) == {BY_CLASS: "1"}
    code, refused = await api("POST", PODS, sized("two", two, two))
    assert code == 403 and f"requested: {BY_CLASS}=2, used: {BY_CLASS}=1" in refused["message"]


async def test_devices_that_a_pod_is_charged_for_are_not_charged_again(api: Local) -> None:
    await limit(api, {BY_CLASS: "9"})
    await api("POST", f"{DEVICES}/deviceclasses", {"metadata": {"name": "gold"}, "spec": {}})
    asked = {BY_CLASS.removeprefix("requests."): "2"}
    _, made = await api("POST", PODS, sized("p", asked, asked))
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": made["metadata"]["uid"], "controller": True}
    said = {"annotations": {"resource.kubernetes.io/extended-resource-claim": "true"}}

    async def claim(name: str, count: int, **meta: Any) -> str:
        assert (await api("POST", CLAIMS, devices(name, count, **meta)))[0] == 201
        return (await used(api))[BY_CLASS]

    assert await claim("a", 3, ownerReferences=[owner], **said) == "3"
    # another one of the same pod is no excuse, nor is one that the pod does not know or that says nothing
    assert await claim("b", 1, ownerReferences=[owner], **said) == "4"
    assert await claim("c", 1, ownerReferences=[{**owner, "uid": "x"}], **said) == "5"
    assert await claim("d", 1, ownerReferences=[owner]) == "6"
    named = {"extendedResourceClaimStatus": {"resourceClaimName": "e", "requestMappings": []}}
    status = {"metadata": {"name": "p", "uid": owner["uid"]}, "status": named}
    code, made = await api("PATCH", f"{PODS}/p/status", status, "application/merge-patch+json")
    assert code == 200, made
    assert await claim("e", 2, ownerReferences=[owner], **said) == "6"
    assert await claim("0", 2, ownerReferences=[owner], **said) == "8"


def test_pods_that_are_over_count_as_objects_only() -> None:
    body = {"metadata": {}, "spec": sized("p", {"cpu": "1"})["spec"], "status": {"phase": "Succeeded"}}
    assert quota.usage(quota.PODS, body, 0) == {"count/pods": "1"}
    body["metadata"] = {"deletionTimestamp": "1970-01-01T00:00:10Z", "deletionGracePeriodSeconds": 5}
    body["status"] = {"phase": "Running"}
    assert "requests.cpu" in quota.usage(quota.PODS, body, 15) and quota.usage(quota.PODS, body, 16) == {
        "count/pods": "1"
    }


def test_init_containers_sidecars_and_overhead_count_as_the_scheduler_counts_them() -> None:
    def container(cpu: str, **more: Any) -> dict[str, Any]:
        return {"name": cpu, "resources": {"requests": {"cpu": cpu}}, **more}

    spec = {
        "initContainers": [container("1"), container("2", restartPolicy="Always"), container("4")],
        "containers": [container("3"), container("500m")],
        "overhead": {"cpu": "100m"},
    }
    # 4 + the sidecar's 2 while the last init container runs, more than 3.5 + 2 later
    assert quota.usage(quota.PODS, {"metadata": {}, "spec": spec}, 0)["requests.cpu"] == "6100m"


@pytest.mark.parametrize(
    ("resource", "name", "tracked"),
    [
        (("apps", "deployments"), "count/deployments.apps", True),
        (("", "secrets"), "secrets", True),
        (("", "secrets"), "count/secrets", True),
        (("", "endpoints"), "endpoints", False),
        (quota.PODS, "requests.nvidia.com/gpu", True),
        (quota.PODS, "nvidia.com/gpu", False),
        (quota.PODS, "requests.deviceclass.resource.kubernetes.io/gold", True),
        (quota.PODS, "requests.other.kubernetes.io/gold", False),
        (quota.DEVICE_CLAIMS, "requests.nvidia.com/gpu", False),
        (quota.PODS, "hugepages-2Mi", True),
        (quota.PODS, "requests.storage", False),
    ],
)
def test_names(resource: tuple[str, str], name: str, tracked: bool) -> None:
    assert quota.tracks(resource, name) is tracked


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from(["cpu", "pods"]), st.integers(0, 50).map(lambda n: f"{n}00m")))
def test_minus_undoes_plus(amounts: dict[str, str]) -> None:
    before = {"cpu": "1", "pods": "5"}
    assert quota.minus(quota.plus(before, amounts), amounts) == before


async def test_what_is_limited_by_configuration_needs_a_quota(api: Local, tmp_path: Path) -> None:
    file = tmp_path / "admission.yaml"
    (tmp_path / "quota.yaml").write_text(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: ResourceQuotaConfiguration\nlimitedResources:\n"
        "- {resource: pods, matchScopes: [{scopeName: PriorityClass, operator: In, values: [system-node-critical]}]}\n"
        "- {resource: persistentvolumeclaims, matchContains: [.storageclass.storage.k8s.io/requests.storage]}\n"
    )
    file.write_text(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\n"
        "plugins: [{name: ResourceQuota, path: quota.yaml}]\n"
    )
    claims = "/api/v1/namespaces/default/persistentvolumeclaims"
    resources = {"requests": {"storage": "1Gi"}}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": resources, "storageClassName": "gold"}
    await api("POST", claims, {"metadata": {"name": "before"}, "spec": spec})
    api.server.api.admission = chain(configuration=file)
    labelled = {"metadata": {"labels": {"a": "b"}}}
    assert (await api("PATCH", f"{claims}/before", labelled, "application/merge-patch+json"))[0] == 200
    critical = pod("critical", priorityClassName="system-node-critical")
    code, refused = await api("POST", PODS, critical)
    assert code == 500 and refused["message"] == (
        "insufficient quota to match these scopes: [{PriorityClass In [system-node-critical]}]"
    )
    assert (await api("POST", PODS, pod()))[0] == 201
    claim = {"metadata": {"name": "c"}, "spec": spec}
    code, refused = await api("POST", claims, claim)
    why = "insufficient quota to consume: gold.storageclass.storage.k8s.io/requests.storage"
    assert (code, refused["message"]) == (403, f'persistentvolumeclaims "c" is forbidden: {why}')
    selector = {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "Exists"}]}
    await limit(api, {"pods": "1"}, scopeSelector=selector)
    assert (await api("POST", PODS, critical))[0] == 201


def test_configurations_that_cannot_be_understood(tmp_path: Path) -> None:
    file = tmp_path / "admission.yaml"
    for text, why in (
        ("kind: Nothing", "not a AdmissionConfiguration"),
        ("kind: AdmissionConfiguration\nplugins: [{name: Nobody}]", 'plugin "Nobody" takes no configuration'),
        (
            "kind: AdmissionConfiguration\nplugins: [{name: PodSecurity, configuration: {kind: Other}}]",
            "must be a PodSecurityConfiguration",
        ),
        (
            "kind: AdmissionConfiguration\nplugins:\n- name: PodSecurity\n"
            "  configuration: {kind: PodSecurityConfiguration, defaults: {enforce: tight}}",
            "must be one of privileged, baseline, restricted",
        ),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=why):
            chain(configuration=file)
