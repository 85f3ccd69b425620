"""NodeRestriction: what a kubelet is refused; taints of new nodes; labels that pods get from their node."""

from typing import Any

import pytest

from sampan.api.user import User
from sampan.apiserver.admission.node_restriction import _forbidden
from tests.conftest import Local
from tests.unit.test_admission_pods import PODS, pod
from tests.unit.test_admission_subresources import As

#: a master besides, so that admission alone refuses
KUBELET = User("system:node:n", ("system:nodes", "system:masters", "system:authenticated"))
MERGE = "application/merge-patch+json"


async def node(api: Local, name: str = "n", **labels: str) -> Any:
    _, made = await api("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})
    return made


async def refused(call: Any) -> str:
    code, reply = await call
    assert code == 403, reply
    return str(reply["message"]).split("is forbidden: ", 1)[1]


async def test_a_new_node_is_tainted(api: Local) -> None:
    assert (await node(api))["spec"]["taints"] == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]


async def test_kubelets_register_themselves_alone(api: Local) -> None:
    kubelet = As(api, KUBELET)
    said = await refused(kubelet("POST", "/api/v1/nodes", {"metadata": {"name": "other"}}))
    assert said == 'node "n" is not allowed to modify node "other"'
    bad = {
        "name": "n",
        "labels": {"node-role.kubernetes.io/control-plane": "", "node-restriction.kubernetes.io/a": "b"},
    }
    assert await refused(kubelet("POST", "/api/v1/nodes", {"metadata": bad})) == (
        'node "n" is not allowed to set the following labels: '
        "node-restriction.kubernetes.io/a, node-role.kubernetes.io/control-plane"
    )
    fine = {"name": "n", "labels": {"kubernetes.io/hostname": "n", "example.com/a": "b"}}
    assert (await kubelet("POST", "/api/v1/nodes", {"metadata": fine}))[0] == 201
    for patch, why in (
        ({"spec": {"taints": None}}, 'node "n" is not allowed to modify taints'),
        ({"metadata": {"labels": {"node-role.kubernetes.io/x": ""}}}, "is not allowed to modify labels:"),
        (
            {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}]}},
            'node "n" is not allowed to modify ownerReferences',
        ),
    ):
        for path in ("/api/v1/nodes/n", "/api/v1/nodes/n/status"):
            assert why in await refused(kubelet("PATCH", path, patch, MERGE))


async def test_kubelets_make_mirror_pods_alone(api: Local) -> None:
    uid = (await node(api))["metadata"]["uid"]
    kubelet = As(api, KUBELET)
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": uid, "controller": True}

    def mirror(owners: list[Any], **spec: Any) -> dict[str, Any]:
        body = pod("m", annotations={"kubernetes.io/config.mirror": "x"}, **{"nodeName": "n", **spec})
        body["metadata"]["ownerReferences"] = owners
        return body

    can = 'node "n" can only create pods with'
    secret = [{"name": "s", "secret": {"secretName": "s"}}]
    for body, why in (
        (pod("m"), 'pod does not have "kubernetes.io/config.mirror" annotation, node "n" can only create mirror pods'),
        (mirror([owner], nodeName="other"), f"{can} spec.nodeName set to itself"),
        (mirror([]), f"{can} an owner reference set to itself"),
        (mirror([owner, {**owner, "controller": False}]), f"{can} a single owner reference set to itself"),
        (mirror([{**owner, "controller": False}]), f"{can} a controller owner reference set to itself"),
        (mirror([{**owner, "uid": "x"}]), f"node n UID mismatch: expected x got {uid}"),
        (mirror([owner], serviceAccountName="default"), "a mirror pod may not reference service accounts"),
        (mirror([owner], volumes=secret), "a mirror pod may not reference secrets"),
        (
            mirror([owner], volumes=[{"name": "c", "configMap": {"name": "c"}}]),
            'node "n" can not create pods that reference configmaps',
        ),
        (
            mirror([owner], volumes=[{"name": "c", "persistentVolumeClaim": {"claimName": "c"}}]),
            'node "n" can not create pods that reference persistentvolumeclaims',
        ),
    ):
        assert await refused(kubelet("POST", PODS, body)) == why
    assert (await kubelet("POST", PODS, mirror([owner])))[0] == 201
    patch = {"metadata": {"labels": {"a": "b"}}}
    assert "can only create and delete mirror pods" in await refused(kubelet("PATCH", f"{PODS}/m", patch, MERGE))
    said = await refused(kubelet("PATCH", f"{PODS}/m/ephemeralcontainers", {"spec": {}}, MERGE))
    assert said == "unexpected pod subresource \"ephemeralcontainers\", only 'status' and 'eviction' are allowed"


async def test_kubelets_see_to_their_own_pods(api: Local) -> None:
    await node(api)
    await api("POST", PODS, pod("mine", nodeName="n"))
    await api("POST", PODS, pod("theirs", nodeName="other"))
    kubelet = As(api, KUBELET)
    running = {"status": {"phase": "Running"}}
    assert (await kubelet("PATCH", f"{PODS}/mine/status", running, MERGE))[0] == 200
    said = await refused(kubelet("PATCH", f"{PODS}/theirs/status", running, MERGE))
    assert said == 'node "n" can only update pod status for pods with spec.nodeName set to itself'
    labelled = {"metadata": {"labels": {"a": "b"}}}
    said = await refused(kubelet("PATCH", f"{PODS}/mine/status", labelled, MERGE))
    assert said == 'node "n" cannot update labels through pod status'
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "theirs"}}
    said = await refused(kubelet("POST", f"{PODS}/theirs/eviction", eviction))
    assert said == "node n can only evict pods with spec.nodeName set to itself"
    said = await refused(kubelet("DELETE", f"{PODS}/theirs"))
    assert said == 'node "n" can only delete pods with spec.nodeName set to itself'
    assert "can only delete pods" in await refused(kubelet("DELETE", PODS))
    assert (await api("GET", f"{PODS}/theirs"))[0] == 200


async def test_kubelets_renew_their_own_leases(api: Local) -> None:
    kubelet = As(api, KUBELET)
    leases = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"
    said = await refused(kubelet("POST", leases.format("default"), {"metadata": {"name": "n"}}))
    assert said == 'can only access leases in the "kube-node-lease" system namespace'
    said = await refused(kubelet("POST", leases.format("kube-node-lease"), {"metadata": {"name": "x"}}))
    assert said == "can only access node lease with the same name as the requesting node"
    assert (await kubelet("POST", leases.format("kube-node-lease"), {"metadata": {"name": "n"}}))[0] == 201


async def test_kubelets_get_tokens_of_their_pods_alone(api: Local) -> None:
    await node(api)
    _, mine = await api("POST", PODS, pod("mine", nodeName="n"))
    _, theirs = await api("POST", PODS, pod("theirs", nodeName="other"))
    kubelet = As(api, KUBELET)

    def token(of: Any, **spec: Any) -> Any:
        bound = {"apiVersion": "v1", "kind": "Pod", "name": of["metadata"]["name"], "uid": of["metadata"]["uid"]}
        path = "/api/v1/namespaces/default/serviceaccounts/default/token"
        return kubelet("POST", path, {"spec": {"boundObjectRef": bound, **spec}})

    assert await refused(token(mine, boundObjectRef=None)) == "node requested token not bound to a pod"
    said = await refused(token(theirs))
    assert said == "node requested token bound to a pod scheduled on a different node"
    mine["metadata"]["uid"], uid = "x", mine["metadata"]["uid"]
    assert "does not match the UID in record" in await refused(token(mine))
    mine["metadata"]["uid"] = uid
    assert await refused(token(mine, audiences=["a", "b"])) == "node may only request 0 or 1 audiences"


@pytest.mark.parametrize(
    ("label", "refused"),
    [
        ("a", False),
        ("example.com/a", False),
        ("kubernetes.io/arch", False),
        ("node.kubernetes.io/a", False),
        ("x.kubelet.kubernetes.io/a", False),
        ("kubernetes.io/a", True),
        ("x.k8s.io/a", True),
        ("a.node-restriction.kubernetes.io/b", True),
    ],
)
def test_labels(label: str, refused: bool) -> None:
    assert _forbidden(label) is refused


async def test_pods_carry_zone_and_region_of_their_node(api: Local) -> None:
    await node(api, "z", **{"topology.kubernetes.io/zone": "a", "topology.kubernetes.io/region": "r", "x": "y"})
    _, made = await api("POST", PODS, pod("placed", nodeName="z"))
    labels = {"topology.kubernetes.io/zone": "a", "topology.kubernetes.io/region": "r"}
    assert made["metadata"]["labels"] == labels
    body = pod("bound")
    body["metadata"]["labels"] = {"topology.kubernetes.io/zone": "mine"}
    await api("POST", PODS, body)
    binding = {"metadata": {"name": "bound"}, "target": {"kind": "Node", "name": "z"}}
    assert (await api("POST", f"{PODS}/bound/binding", binding))[0] == 201
    _, found = await api("GET", f"{PODS}/bound")
    # where it really is, whatever it said
    assert found["metadata"]["labels"] == labels
