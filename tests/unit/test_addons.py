"""What `up` puts into a cluster, and that users' changes to it outlive the next `up`."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sampan.cluster import addons
from sampan.cluster.addons.kept import without
from tests.virtual import admin, server, virtually

Obj = dict[str, Any]
WANTED = addons.Settings(image="sampan.io/sampan:v1", server="https://127.0.0.1:6443", ca="PEM\n")


@pytest.mark.slow
def test_users_changes_are_kept_and_the_rest_follows() -> None:
    async def test() -> None:
        api = await server()
        client = admin(api, "kubectl")
        await addons.apply(client, WANTED)
        service = await client.get("services", "kube-dns", "kube-system")
        assert service["spec"]["clusterIP"] == "10.96.0.10" and [p["name"] for p in service["spec"]["ports"]] == [
            "dns",
            "dns-tcp",
            "metrics",
        ]
        config = await client.get("configmaps", "coredns", "kube-system")
        corefile = config["data"]["Corefile"].replace("ttl 30", "ttl 7")
        await client.update("configmaps", {**config, "data": {"Corefile": corefile, "more": "x"}})
        deployment = await client.get("deployments.apps", "coredns", "kube-system")
        changed = copy.deepcopy(deployment)
        changed["spec"]["replicas"] = 3
        container = changed["spec"]["template"]["spec"]["containers"][0]
        container["resources"]["limits"]["memory"] = "512Mi"
        await client.update("deployments.apps", changed)
        await client.delete("clusterroles.rbac.authorization.k8s.io", "system:coredns")

        await addons.apply(client, addons.Settings(image="sampan.io/sampan:v2"))
        config = await client.get("configmaps", "coredns", "kube-system")
        assert config["data"] == {"Corefile": corefile, "more": "x"}
        deployment = await client.get("deployments.apps", "coredns", "kube-system")
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        assert deployment["spec"]["replicas"] == 3 and container["resources"]["limits"]["memory"] == "512Mi"
        assert container["image"] == "sampan.io/sampan:v2"
        assert (await client.get("clusterroles.rbac.authorization.k8s.io", "system:coredns"))["rules"]
        # and nothing changes when nothing has
        await addons.apply(client, addons.Settings(image="sampan.io/sampan:v2"))
        again = await client.get("deployments.apps", "coredns", "kube-system")
        assert again["metadata"]["resourceVersion"] == deployment["metadata"]["resourceVersion"]
        await api.stop(0)

    virtually(test)


def test_conflicting_fields_are_left_out() -> None:
    obj: Obj = {
        "metadata": {"annotations": {"a.b/c": "1", "a": "2"}},
        "spec": {"containers": [{"name": "x", "image": "i", "ports": [{"containerPort": 53, "protocol": "UDP"}]}]},
        "data": {"Corefile": "text"},
    }
    paths = [
        ".metadata.annotations.a.b/c",
        '.spec.containers[name="x"].image',
        '.spec.containers[name="x"].ports[containerPort=53,protocol="UDP"]',
        ".data.Corefile",
        ".data.Other",
        '.spec.containers[name="y"].image',
    ]
    details = {"causes": [{"reason": "FieldManagerConflict", "field": path} for path in paths]}
    assert without(obj, details) == {
        "metadata": {"annotations": {"a": "2"}},
        "spec": {"containers": [{"name": "x", "ports": []}]},
        "data": {},
    }
    assert without(obj, None) == obj
