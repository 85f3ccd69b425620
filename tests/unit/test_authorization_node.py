"""The node authorizer: a kubelet reads what its pods need and writes what is its own."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.user import User
from sampan.apiserver.authorization.attributes import Attributes
from sampan.apiserver.authorization.graph import pod_references
from sampan.store.contract import Put
from tests.conftest import Local
from tests.people import account, bind, node, person, send

ONE, TWO = node("one"), node("two")
UNRELATED = "no relationship found between node 'two' and this object"


def pod(name: str, on: str, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "c", "image": "i"}]
    meta = {"name": name, "namespace": "default", "uid": name}
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": meta,
        "spec": {"containers": containers, "nodeName": on, "serviceAccountName": "bot", **spec},
    }


async def store(api: Local, group: str, resource: str, obj: dict[str, Any]) -> None:
    """Straight into the store: what admission would make of it is no matter here."""
    from sampan.apiserver.cache import encode

    meta = obj["metadata"]
    key = f"{meta['namespace']}/{meta['name']}" if "namespace" in meta else meta["name"]
    cache = api.server.api.cached(group, resource)
    await api.server.store.txn([], [Put((cache.prefix + key).encode(), encode(obj))])


def ask(api: Local, user: User, verb: str, resource: str, name: str = "", **more: Any) -> tuple[bool, str]:
    resource, _, subresource = resource.partition("/")
    asked = Attributes(
        verb, more.pop("group", ""), "v1", resource, subresource, more.pop("namespace", "default"), name, **more
    )
    decision = api.server.api.authorizer.authorize(user, asked)
    return decision.allowed is True, decision.reason


async def test_what_pods_refer_to(api: Local) -> None:
    assert ask(api, ONE, "get", "secrets", "s")[0] is False
    spec = {
        "imagePullSecrets": [{"name": "pull"}],
        "volumes": [
            {"name": "a", "secret": {"secretName": "s"}},
            {"name": "b", "configMap": {"name": "c"}},
            {"name": "d", "persistentVolumeClaim": {"claimName": "p"}},
            {"name": "e", "ephemeral": {}},
        ],
    }
    await store(api, "", "pods", pod("x", "one", **spec))
    for resource, name in (
        ("secrets", "s"),
        ("secrets", "pull"),
        ("configmaps", "c"),
        ("persistentvolumeclaims", "p"),
        ("persistentvolumeclaims", "x-e"),
        ("serviceaccounts", "bot"),
        ("pods", "x"),
    ):
        assert ask(api, ONE, "get", resource, name) == (True, ""), name
        assert ask(api, TWO, "get", resource, name) == (False, UNRELATED)
        assert ask(api, ONE, "get", resource, name, namespace="kube-system")[0] is False
    assert ask(api, ONE, "create", "serviceaccounts/token", "bot")[0]
    assert ask(api, TWO, "create", "serviceaccounts/token", "bot") == (False, UNRELATED)
    assert ask(api, ONE, "patch", "persistentvolumeclaims/status", "p")[0]
    assert not ask(api, ONE, "update", "secrets", "s")[0]
    # a second pod holds on to the secret when the first is gone
    await store(api, "", "pods", pod("y", "one", volumes=[{"name": "a", "secret": {"secretName": "s"}}]))
    await api("DELETE", "/api/v1/namespaces/default/pods/x?gracePeriodSeconds=0")
    assert ask(api, ONE, "get", "secrets", "s")[0]
    assert not ask(api, ONE, "get", "configmaps", "c")[0]


async def test_a_pod_gives_nothing_before_it_is_bound_nor_as_a_mirror(api: Local) -> None:
    volumes = [{"name": "a", "secret": {"secretName": "s"}}]
    await store(api, "", "pods", pod("x", "", volumes=volumes))
    assert not ask(api, ONE, "get", "secrets", "s")[0]
    mirror = pod("m", "one", volumes=volumes)
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "hash"}
    await store(api, "", "pods", mirror)
    assert not ask(api, ONE, "get", "secrets", "s")[0]
    assert ask(api, ONE, "get", "pods", "m")[0]
    await store(api, "", "pods", pod("x", "one", volumes=volumes))
    assert ask(api, ONE, "get", "secrets", "s")[0]


async def test_volumes_and_their_secrets_by_claim(api: Local) -> None:
    source = {"driver": "d", "volumeHandle": "h", "nodeStageSecretRef": {"name": "stage", "namespace": "kube-system"}}
    volume: dict[str, Any] = {
        "kind": "PersistentVolume",
        "apiVersion": "v1",
        "metadata": {"name": "v"},
        "spec": {"csi": source, "claimRef": {"namespace": "default", "name": "p"}},
    }
    await store(api, "", "persistentvolumes", volume)
    await store(api, "", "pods", pod("x", "one", volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "p"}}]))
    assert ask(api, ONE, "get", "persistentvolumes", "v", namespace="")[0]
    assert ask(api, ONE, "get", "secrets", "stage", namespace="kube-system")[0]
    assert ask(api, TWO, "get", "secrets", "stage", namespace="kube-system") == (False, UNRELATED)
    del volume["spec"]["claimRef"]
    await store(api, "", "persistentvolumes", volume)
    assert not ask(api, ONE, "get", "persistentvolumes", "v", namespace="")[0]
    assert not ask(api, ONE, "get", "secrets", "stage", namespace="kube-system")[0]


async def test_objects_that_name_their_node(api: Local) -> None:
    for group, resource, kind in (
        ("storage.k8s.io", "volumeattachments", "VolumeAttachment"),
        ("resource.k8s.io", "resourceslices", "ResourceSlice"),
    ):
        obj = {"kind": kind, "apiVersion": f"{group}/v1", "metadata": {"name": "o"}, "spec": {"nodeName": "one"}}
        await store(api, group, resource, obj)
        assert ask(api, ONE, "get", resource, "o", group=group, namespace="")[0]
        assert ask(api, TWO, "get", resource, "o", group=group, namespace="") == (False, UNRELATED)


CASES = [
    ("get", "secrets", "", "No Object name found"),
    ("list", "secrets", "", "No Object name found"),
    ("delete", "secrets", "s", "can only read resources of this type"),
    ("get", "secrets/x", "s", "cannot read subresource"),
    ("list", "persistentvolumeclaims", "", "can only get individual resources of this type"),
    ("get", "persistentvolumeclaims/status", "p", "can only get/update/patch this type"),
    ("create", "serviceaccounts", "bot", "can only create token subresource of serviceaccount"),
    ("create", "serviceaccounts/token", "", "can only create tokens for individual service accounts"),
    ("list", "nodes", "", "node 'one' cannot read all nodes, only its own Node object"),
    ("get", "nodes", "two", "node 'one' cannot read 'two', only its own Node object"),
    ("list", "pods", "", "can only list/watch pods with spec.nodeName field selector"),
]


@pytest.mark.parametrize(("verb", "resource", "name", "why"), CASES)
async def test_refusals(api: Local, verb: str, resource: str, name: str, why: str) -> None:
    assert ask(api, ONE, verb, resource, name) == (False, why)


async def test_leases_and_csinodes(api: Local) -> None:
    lease = {"group": "coordination.k8s.io", "namespace": "kube-node-lease"}
    assert ask(api, ONE, "create", "leases", "", **lease)[0]
    assert ask(api, ONE, "update", "leases", "one", **lease)[0]
    same = "can only access node lease with the same name as the requesting node"
    assert ask(api, ONE, "update", "leases", "two", **lease) == (False, same)
    assert ask(api, ONE, "get", "leases", "one", group="coordination.k8s.io") == (
        False,
        'can only access leases in the "kube-node-lease" system namespace',
    )
    csi = {"group": "storage.k8s.io", "namespace": ""}
    assert ask(api, ONE, "patch", "csinodes", "one", **csi)[0]
    same = "can only access CSINode with the same name as the requesting node"
    assert ask(api, ONE, "patch", "csinodes", "two", **csi) == (False, same)


async def test_lists_by_selector(api: Local) -> None:
    pods = "/api/v1/pods"
    assert (await send(api, ONE, "GET", f"{pods}?fieldSelector=spec.nodeName%3Done"))[0] == 200
    for query in ("", "?fieldSelector=spec.nodeName%3Dtwo", "?fieldSelector=spec.nodeName!=one", "?fieldSelector=a"):
        code, status = await send(api, ONE, "GET", pods + query)
        assert code == 403
        assert status["message"].endswith(": can only list/watch pods with spec.nodeName field selector")
    assert (await send(api, ONE, "GET", "/api/v1/nodes?fieldSelector=metadata.name=one&watch=1"))[0] == 200
    assert (await send(api, ONE, "GET", "/api/v1/nodes?fieldSelector=metadata.name=two"))[0] == 403


async def test_who_is_a_node(api: Local) -> None:
    assert (await send(api, ONE, "GET", "/api/v1/services"))[0] == 200
    assert (await send(api, person("system:node:one"), "GET", "/api/v1/services"))[0] == 403
    assert (await send(api, person("one", "system:nodes"), "GET", "/api/v1/services"))[0] == 403
    assert (await send(api, account("default", "one"), "GET", "/api/v1/services"))[0] == 403
    _, status = await send(api, node(""), "GET", "/api/v1/services")
    assert status["message"].endswith('at the cluster scope: unknown node for user "system:node:"')


async def test_roles_may_give_a_node_more(api: Local) -> None:
    await bind(api, "b", "ClusterRole/view", "Group/system:nodes")
    assert (await send(api, ONE, "GET", "/api/v1/pods"))[0] == 200


def test_every_reference_of_a_pod() -> None:
    environment = {
        "env": [
            {"name": "a", "valueFrom": {"secretKeyRef": {"name": "s1", "key": "k"}}},
            {"name": "b", "valueFrom": {"configMapKeyRef": {"name": "c1", "key": "k"}}},
        ],
        "envFrom": [{"secretRef": {"name": "s2"}}, {"configMapRef": {"name": "c2"}}],
    }
    projected = {"sources": [{"secret": {"name": "s3"}}, {"configMap": {"name": "c3"}}, {"serviceAccountToken": {}}]}
    full = pod(
        "x",
        "one",
        initContainers=[{"name": "i", **environment}],
        ephemeralContainers=[{"name": "e", "envFrom": [{"secretRef": {"name": "s4"}}]}],
        volumes=[
            {"name": "p", "projected": projected},
            {"name": "q", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "s5"}}},
            {"name": "r", "iscsi": {"secretRef": {"name": "s6"}}},
        ],
        resourceClaims=[{"name": "one", "resourceClaimName": "r1"}, {"name": "two", "resourceClaimTemplateName": "t"}],
    )
    full["status"] = {
        "resourceClaimStatuses": [{"name": "two", "resourceClaimName": "r2"}],
        "extendedResourceClaimStatus": {"resourceClaimName": "r3"},
    }
    found = {(resource, name) for resource, namespace, name in pod_references(full) if namespace == "default"}
    assert found == {
        ("serviceaccounts", "bot"),
        *(("secrets", f"s{i}") for i in range(1, 7)),
        *(("configmaps", f"c{i}") for i in range(1, 4)),
        *(("resourceclaims", f"r{i}") for i in range(1, 4)),
    }
