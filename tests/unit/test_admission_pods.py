"""Plugins that complete or refuse Pods: ServiceAccount, Priority, LimitRanger, tolerations, RuntimeClass."""

from typing import Any

from sampan.apiserver.admission.runtime_class import merged
from tests.conftest import Local

PODS = "/api/v1/namespaces/default/pods"
MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def pod(name: str = "p", *, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": name, **({"annotations": annotations} if annotations else {})}
    spec = {"containers": [{"name": "c", "image": "x"}], **spec}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": meta, "spec": spec}


# -- ServiceAccount ----------------------------------------------------------------------------------------------------


async def test_a_pod_runs_as_an_account_and_finds_its_token(api: Local) -> None:
    init = [{"name": "i", "image": "x"}, {"name": "own", "image": "x", "volumeMounts": [mount("mine")]}]
    body = pod(initContainers=init, volumes=[{"name": "mine", "emptyDir": {}}])
    code, made = await api("POST", PODS, body)
    assert code == 201, made
    spec = made["spec"]
    assert spec["serviceAccountName"] == spec["serviceAccount"] == "default"
    volume = spec["volumes"][1]
    assert volume["name"].startswith("kube-api-access-") and len(volume["name"]) == len("kube-api-access-") + 5
    field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    assert volume["projected"] == {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
        ],
        "defaultMode": 420,
    }
    expected = {"name": volume["name"], "readOnly": True, "mountPath": MOUNT}
    assert spec["containers"][0]["volumeMounts"] == [expected]
    assert spec["initContainers"][0]["volumeMounts"] == [expected]
    assert [m["name"] for m in spec["initContainers"][1]["volumeMounts"]] == ["mine"]


def mount(name: str) -> dict[str, Any]:
    return {"name": name, "mountPath": MOUNT}


async def test_accounts_that_are_not_there(api: Local) -> None:
    code, refused = await api("POST", PODS, pod(serviceAccountName="nobody"))
    why = 'error looking up service account default/nobody: serviceaccount "nobody" not found'
    assert (code, refused["reason"], refused["message"]) == (403, "Forbidden", f'pods "p" is forbidden: {why}')
    # the account of a new namespace comes a moment after it; nobody need wait for it
    await api("POST", "/api/v1/namespaces", {"metadata": {"name": "fresh"}})
    assert (await api("POST", "/api/v1/namespaces/fresh/pods", pod()))[0] == 201


async def test_automounting_can_be_declined_by_account_and_by_pod(api: Local) -> None:
    account = {
        "metadata": {"name": "quiet"},
        "automountServiceAccountToken": False,
        "imagePullSecrets": [{"name": "s"}],
    }
    await api("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    _, quiet = await api("POST", PODS, pod("quiet", serviceAccountName="quiet"))
    assert "volumes" not in quiet["spec"] and quiet["spec"]["imagePullSecrets"] == [{"name": "s"}]
    _, loud = await api("POST", PODS, pod("loud", serviceAccountName="quiet", automountServiceAccountToken=True))
    assert len(loud["spec"]["volumes"]) == 1
    _, declined = await api("POST", PODS, pod("declined", automountServiceAccountToken=False))
    assert "volumes" not in declined["spec"]


async def test_mirror_pods_refer_to_nothing(api: Local) -> None:
    mirror = {"kubernetes.io/config.mirror": "x"}
    secret = [{"name": "s", "secret": {"secretName": "s"}}]
    token = [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]
    for spec, why in (
        ({"serviceAccountName": "default"}, "a mirror pod may not reference service accounts"),
        ({"volumes": secret}, "a mirror pod may not reference secrets"),
        ({"volumes": token}, "a mirror pod may not use ServiceAccountToken volume projections"),
    ):
        code, refused = await api("POST", PODS, pod(annotations=mirror, **spec))
        assert (code, refused["message"]) == (403, f'pods "p" is forbidden: {why}')
    code, made = await api("POST", PODS, pod(annotations=mirror, nodeName="n"))
    assert code == 201 and "serviceAccountName" not in made["spec"] and "volumes" not in made["spec"]


async def test_accounts_may_limit_the_secrets_of_their_pods(api: Local) -> None:
    meta = {"name": "strict", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}
    account = {"metadata": meta, "secrets": [{"name": "mine"}]}
    await api("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    volumes: list[dict[str, Any]] = [{"name": "v", "secret": {"secretName": "theirs"}}]
    _, refused = await api("POST", PODS, pod(serviceAccountName="strict", volumes=volumes))
    why = 'volume with secret.secretName="theirs" is not allowed because service account strict does not reference'
    assert why in refused["message"]
    volumes[0]["secret"]["secretName"] = "mine"
    assert (await api("POST", PODS, pod(serviceAccountName="strict", volumes=volumes)))[0] == 201
    env = [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "theirs", "key": "k"}}}]
    patch = {"spec": {"ephemeralContainers": [{"name": "e", "image": "x", "env": env}]}}
    target = f"{PODS}/p/ephemeralcontainers"
    code, refused = await api("PATCH", target, patch, "application/strategic-merge-patch+json")
    assert code == 403 and "ephemeral container e with envVar E" in refused["message"]


# -- Priority ----------------------------------------------------------------------------------------------------------

CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"


async def test_priority_comes_from_the_class(api: Local) -> None:
    await api("POST", CLASSES, {"metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"})
    _, plain = await api("POST", PODS, pod("plain"))
    assert (plain["spec"]["priority"], plain["spec"]["preemptionPolicy"]) == (0, "PreemptLowerPriority")
    assert "priorityClassName" not in plain["spec"]
    _, high = await api("POST", PODS, pod("high", priorityClassName="high"))
    assert (high["spec"]["priority"], high["spec"]["preemptionPolicy"]) == (1000, "Never")
    _, critical = await api("POST", PODS, pod("critical", priorityClassName="system-node-critical"))
    assert critical["spec"]["priority"] == 2000001000
    _, refused = await api("POST", PODS, pod("x", priorityClassName="none"))
    assert refused["message"] == 'pods "x" is forbidden: no PriorityClass with name none was found'
    code, refused = await api("POST", PODS, pod("x", priorityClassName="high", priority=5))
    assert code == 403 and refused["message"] == (
        'pods "x" is forbidden: the integer value of priority (5) must not be provided in pod spec; '
        "priority admission controller computed 1000 from the given PriorityClass name"
    )
    code, refused = await api("POST", PODS, pod("x", priorityClassName="high", preemptionPolicy="PreemptLowerPriority"))
    assert code == 403 and "the string value of PreemptionPolicy (PreemptLowerPriority)" in refused["message"]


async def test_one_priority_class_is_the_default(api: Local) -> None:
    code, _ = await api("POST", CLASSES, {"metadata": {"name": "usual"}, "value": 7, "globalDefault": True})
    assert code == 201
    code, refused = await api("POST", CLASSES, {"metadata": {"name": "other"}, "value": 8, "globalDefault": True})
    why = "PriorityClass usual is already marked as default. Only one default can exist"
    assert (code, refused["message"]) == (403, f'priorityclasses.scheduling.k8s.io "other" is forbidden: {why}')
    _, made = await api("POST", PODS, pod())
    assert (made["spec"]["priorityClassName"], made["spec"]["priority"]) == ("usual", 7)


async def test_updates_need_not_know_what_was_filled_in(api: Local) -> None:
    await api("POST", PODS, pod())
    body = pod()
    body["spec"]["containers"][0]["image"] = "y"
    _, live = await api("GET", f"{PODS}/p")
    for field in ("priority", "preemptionPolicy"):
        live["spec"].pop(field)
    live["spec"]["tolerations"] = []
    live["spec"]["containers"][0]["image"] = "y"
    code, updated = await api("PUT", f"{PODS}/p", live)
    assert code == 200, updated
    assert updated["spec"]["priority"] == 0 and len(updated["spec"]["tolerations"]) == 2


# -- LimitRanger -------------------------------------------------------------------------------------------------------


async def limit(api: Local, *items: dict[str, Any]) -> None:
    code, made = await api(
        "POST",
        "/api/v1/namespaces/default/limitranges",
        {"metadata": {"name": "l"}, "spec": {"limits": list(items)}},
    )
    assert code == 201, made


async def test_limit_ranges_fill_in(api: Local) -> None:
    await limit(api, {"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "500m", "memory": "1Gi"}})
    body = pod(initContainers=[{"name": "i", "image": "x", "resources": {"limits": {"cpu": "2"}}}])
    code, made = await api("POST", PODS, body)
    assert code == 201, made
    spec = made["spec"]
    assert spec["containers"][0]["resources"] == {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1"}}
    assert spec["initContainers"][0]["resources"] == {"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"cpu": "2"}}
    assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu, memory request for container c; cpu limit for container c; "
        "memory request for init container i"
    )
    assert made["status"]["qosClass"] == "Burstable"


async def test_limit_ranges_bound(api: Local) -> None:
    await limit(
        api,
        {"type": "Container", "min": {"cpu": "100m"}, "max": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "2"}},
        {"type": "Pod", "max": {"memory": "1Gi"}},
        {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}},
    )

    async def said(requests: dict[str, str], limits: dict[str, str]) -> str:
        resources = {"requests": requests, "limits": limits}
        containers = [{"name": "c", "image": "x", "resources": resources}]
        _, reply = await api("POST", PODS, pod(containers=containers))
        return str(reply["message"]).removeprefix('pods "p" is forbidden: ')

    memory = {"memory": "512Mi"}
    assert await said({"cpu": "50m", **memory}, {"cpu": "100m", **memory}) == (
        "minimum cpu usage per Container is 100m, but request is 50m"
    )
    assert await said({"cpu": "1500m"}, {"cpu": "1500m"}) == (
        "[maximum cpu usage per Container is 1, but limit is 1500m, "
        "maximum memory usage per Pod is 1Gi.  No limit is specified]"
    )
    assert await said({"cpu": "100m", **memory}, {"cpu": "1", **memory}) == (
        "cpu max limit to request ratio per Container is 2, but provided ratio is 10.000000"
    )
    assert await said({"cpu": "500m"}, {"cpu": "500m", "memory": "2Gi"}) == (
        "maximum memory usage per Pod is 1Gi, but limit is 2Gi"
    )
    claim = {
        "metadata": {"name": "c"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "4Gi"}}},
    }
    code, refused = await api("POST", "/api/v1/namespaces/default/persistentvolumeclaims", claim)
    assert code == 403 and refused["message"] == (
        'persistentvolumeclaims "c" is forbidden: maximum storage usage per PersistentVolumeClaim is 2Gi, '
        "but request is 4Gi"
    )


async def test_a_resize_stays_within_limits_and_node(api: Local) -> None:
    await limit(api, {"type": "Container", "max": {"cpu": "4"}})
    meta = {"name": "n", "labels": {"kubernetes.io/os": "linux"}}
    node = {"metadata": meta, "status": {"capacity": {"cpu": "2", "memory": "1Gi"}}}
    await api("POST", "/api/v1/nodes", node)
    await api("PATCH", "/api/v1/nodes/n/status", {"status": node["status"]}, "application/merge-patch+json")
    containers = [{"name": "c", "image": "x", "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}}]
    code, made = await api("POST", PODS, pod(containers=containers, nodeName="n"))
    assert code == 201, made

    async def resized(request: str, limits: str) -> tuple[int, Any]:
        resources = {"requests": {"cpu": request}, "limits": {"cpu": limits}}
        patch = {"spec": {"containers": [{"name": "c", "resources": resources}]}}
        return await api("PATCH", f"{PODS}/p/resize", patch, "application/strategic-merge-patch+json")

    code, refused = await resized("1", "5")
    assert code == 403 and "maximum cpu usage per Container is 4, but limit is 5" in refused["message"]
    code, refused = await resized("3", "4")
    assert code == 403 and refused["details"]["causes"] == [{"reason": "NodeCapacity"}]
    assert (
        "Node didn't have enough allocatable resources: cpu, requested: 3000, allocatable: 2000" in refused["message"]
    )
    code, made = await resized("1500m", "2")
    assert code == 200 and made["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "1500m"


# -- tolerations, runtime classes --------------------------------------------------------------------------------------


async def test_default_tolerations(api: Local) -> None:
    _, made = await api("POST", PODS, pod("plain"))
    assert made["spec"]["tolerations"] == [
        {"key": f"node.kubernetes.io/{why}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for why in ("not-ready", "unreachable")
    ]
    _, made = await api("POST", PODS, pod("all", tolerations=[{"operator": "Exists"}]))
    assert made["spec"]["tolerations"] == [{"operator": "Exists"}]


async def test_runtime_classes_bring_overhead_and_scheduling(api: Local) -> None:
    runtime = {
        "metadata": {"name": "vm"},
        "handler": "vm",
        "overhead": {"podFixed": {"cpu": "250m"}},
        "scheduling": {"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm", "operator": "Exists"}]},
    }
    await api("POST", "/apis/node.k8s.io/v1/runtimeclasses", runtime)
    _, made = await api("POST", PODS, pod(runtimeClassName="vm", nodeSelector={"disk": "fast"}))
    assert made["spec"]["overhead"] == {"cpu": "250m"}
    assert made["spec"]["nodeSelector"] == {"disk": "fast", "vm": "yes"}
    assert {"key": "vm", "operator": "Exists"} in made["spec"]["tolerations"]
    for spec, why in (
        ({"runtimeClassName": "none"}, 'pod rejected: RuntimeClass "none" not found'),
        ({"runtimeClassName": "vm", "overhead": {"cpu": "1"}}, "pod rejected: Pod's Overhead doesn't match"),
        ({"overhead": {"cpu": "1"}}, "pod rejected: Pod Overhead set without corresponding RuntimeClass"),
        ({"runtimeClassName": "vm", "nodeSelector": {"vm": "no"}}, "pod.spec.nodeSelector[vm] = no"),
    ):
        code, refused = await api("POST", PODS, pod("x", **spec))
        assert code == 403 and why in refused["message"]


def test_tolerations_that_others_imply_are_left_out() -> None:
    any_a, a_is_1 = {"key": "a", "operator": "Exists"}, {"key": "a", "operator": "Equal", "value": "1"}
    brief = {"key": "b", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
    longer = {**brief, "tolerationSeconds": 50}
    assert merged([a_is_1, brief], [any_a, longer, any_a]) == [any_a, longer]
    assert merged([any_a], [a_is_1]) == [any_a]
