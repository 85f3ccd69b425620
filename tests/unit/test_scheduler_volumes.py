"""Volumes: where pods with claims may go, in upstream's words, and how claims get their volumes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.test_scheduler import World, node, pod, settle, world
from tests.virtual import virtually

Obj = dict[str, Any]
END = " preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
ZONE = "topology.kubernetes.io/zone"
WAIT, NOW = "wait", "now"
DRIVER, NONE = "x.example.com", "kubernetes.io/no-provisioner"


def storage_class(name: str, **more: Any) -> Obj:
    mode = "WaitForFirstConsumer" if name == WAIT else "Immediate"
    return {"metadata": {"name": name}, "provisioner": DRIVER, "volumeBindingMode": mode, **more}


def claim(name: str = "data", class_: str = WAIT, size: str = "1Gi", mode: str = "ReadWriteOnce", **spec: Any) -> Obj:
    asked = {"accessModes": [mode], "storageClassName": class_, "resources": {"requests": {"storage": size}}}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {**asked, **spec}}


def volume(name: str, at: str = "", size: str = "1Gi", class_: str = WAIT, labels: Obj | None = None) -> Obj:
    spec: Obj = {
        "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": class_,
        "csi": {"driver": "x.example.com", "volumeHandle": name},
    }  # fmt: skip
    if at:
        expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": [at]}
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec}


def using(*claims: str, name: str = "p", **spec: Any) -> Obj:
    volumes = [{"name": f"v{i}", "persistentVolumeClaim": {"claimName": it}} for i, it in enumerate(claims)]
    return pod(name, volumes=volumes, **spec)


async def make(w: World, **objects: list[Obj]) -> None:
    names = {
        "classes": "storageclasses.storage.k8s.io", "claims": "persistentvolumeclaims", "drivers":
        "csidrivers.storage.k8s.io", "csinodes": "csinodes.storage.k8s.io", "capacities":
        "csistoragecapacities.storage.k8s.io",
    }  # fmt: skip
    for kind, items in objects.items():
        for item in items:
            if kind == "volumes":
                made = await w.client.create("persistentvolumes", item)
                await w.client.patch("persistentvolumes", made["metadata"]["name"], {"status": {"phase": "Available"}},
                                     subresource="status")  # fmt: skip
            else:
                await w.client.create(names[kind], item)
    await settle()


async def bind(w: World, name: str, to: str) -> None:
    """As the controller of volumes does."""
    meta = {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}
    await w.client.patch("persistentvolumeclaims", name, {"metadata": meta, "spec": {"volumeName": to}}, "default")
    await w.client.patch(
        "persistentvolumeclaims", name, {"status": {"phase": "Bound"}}, "default", subresource="status"
    )
    await settle()


def test_a_free_volume_is_chosen_kept_and_waited_for() -> None:
    async def test() -> None:
        async with world() as w:
            await w.nodes(node("a"), node("b"))
            await make(w, classes=[storage_class(WAIT, provisioner=NONE)], claims=[claim()])
            await make(w, volumes=[volume("small", "a", "500Mi"), volume("right", "b"), volume("large", "b", "9Gi")])
            await w.pods(using("data"))
            chosen = await w.client.get("persistentvolumes", "right")
            assert chosen["spec"]["claimRef"]["name"] == "data"
            assert chosen["metadata"]["annotations"]["pv.kubernetes.io/bound-by-controller"] == "yes"
            found = await w.client.get("pods", "p", "default")
            assert "nodeName" not in found["spec"] and found["status"]["nominatedNodeName"] == "b"
            await bind(w, "data", "right")
            found = await w.client.get("pods", "p", "default")
            assert found["spec"]["nodeName"] == "b" and "nominatedNodeName" not in found["status"]

    virtually(test)


def test_where_no_volume_is_free_one_is_made() -> None:
    async def test() -> None:
        async with world() as w:
            here = [{"matchLabelExpressions": [{"key": ZONE, "values": ["z"]}]}]
            await w.nodes(node("a"), node("b", **{ZONE: "z"}))
            await make(w, classes=[storage_class(WAIT, allowedTopologies=here)], claims=[claim()])
            await w.pods(using("data"))
            found = await w.client.get("persistentvolumeclaims", "data", "default")
            assert found["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] == "b"
            # the provisioner cannot: the scheduler begins again
            await w.client.patch("persistentvolumeclaims", "data", {"metadata": {"annotations": {
                "volume.kubernetes.io/selected-node": None}}}, "default")  # fmt: skip
            await settle()
            assert 'provisioning failed for PVC "data"' in await w.message("p")
            await settle(2)
            await make(w, volumes=[volume("made", "b")])
            await bind(w, "data", "made")
            await settle(3)
            assert await w.where("p") == "b"

    virtually(test)


def test_one_volume_is_not_given_twice() -> None:
    async def test() -> None:
        async with world() as w:
            await w.nodes(node("a"), node("b"))
            await make(
                w,
                classes=[storage_class(WAIT, provisioner=NONE)],
                claims=[claim("one"), claim("two")],
                volumes=[volume("only")],
            )
            await w.client.create("pods", using("one", name="p"))
            await w.client.create("pods", using("two", name="q"))
            await settle()
            assert await w.message("q") == (
                "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind." + END
            )

    virtually(test)


@pytest.mark.parametrize(
    ("objects", "wanted", "words"),
    [
        ({}, using("data"), 'persistentvolumeclaim "data" not found.'),
        ({"claims": [claim(class_=NOW)]}, using("data"), "pod has unbound immediate PersistentVolumeClaims."),
        (
            {"claims": [claim(class_=NOW)], "volumes": [volume("v")], "bind": True},
            using("data", nodeSelector={"no": "where"}),
            "2 node(s) didn't match Pod's node affinity/selector.",
        ),
        (
            {"claims": [claim()], "volumes": [volume("v", "c")], "bind": True},
            using("data"),
            "2 node(s) didn't match PersistentVolume's node affinity.",
        ),
        (
            {"claims": [claim()], "volumes": [volume("v", labels={ZONE: "y__z"})], "bind": True},
            using("data"),
            "2 node(s) had no available volume zone.",
        ),
        ({"claims": [claim(class_="none")]}, using("data"), "pod has unbound immediate PersistentVolumeClaims."),
        (
            {
                "claims": [claim()],
                "drivers": [{"metadata": {"name": "x.example.com"}, "spec": {"storageCapacity": True}}],
            },
            using("data"),
            "2 node(s) did not have enough free storage.",
        ),
        (
            {},
            pod("p", volumes=[{"name": "s", "ephemeral": {"volumeClaimTemplate": {"spec": claim()["spec"]}}}]),
            'waiting for ephemeral volume controller to create the persistentvolumeclaim "p-s".',
        ),
    ],
)
def test_words(objects: Obj, wanted: Obj, words: str) -> None:
    async def test() -> None:
        async with world() as w:
            await w.nodes(node("a", **{ZONE: "a"}), node("b", **{ZONE: "b"}))
            await make(w, classes=[storage_class(WAIT), storage_class(NOW)])
            bound = objects.pop("bind", False)
            await make(w, **objects)
            if bound:
                await bind(w, "data", "v")
            objects["bind"] = bound
            await w.pods(wanted)
            # what DynamicResources looks for is not there when a prefilter before its own has refused the pod
            end = END if words.startswith("2 ") else " not found"
            assert await w.message("p") == f"0/2 nodes are available: {words}{end}"

    virtually(test)


def test_a_claim_for_one_pod_and_what_helps() -> None:
    async def test() -> None:
        async with world() as w:
            await w.nodes(node("a"), node("b"))
            lonely = claim(mode="ReadWriteOncePod")
            kept = volume("v")
            kept["spec"]["accessModes"] = ["ReadWriteOncePod"]
            await make(w, classes=[storage_class(WAIT)], claims=[lonely], volumes=[kept])
            await bind(w, "data", "v")
            await w.pods(using("data"))
            await w.pods(using("data", name="q"))
            why = "PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod"
            start = f"0/2 nodes are available: 2 node(s) unavailable due to {why}. preemption: "
            assert (await w.message("q")).startswith(start)
            await w.client.delete("pods", "p", "default", grace_seconds=0)
            await settle(2)
            assert await w.where("q") != ""

    virtually(test)


def test_disks_and_limits() -> None:
    async def test() -> None:
        async with world() as w:
            await w.nodes(node("a"))
            disk = [{"name": "d", "gcePersistentDisk": {"pdName": "d"}}]
            await w.pods(pod("p", volumes=disk), pod("q", volumes=disk))
            assert (await w.message("q")).startswith("0/1 nodes are available: 1 node(s) had no available disk.")
            driver = {"name": "x.example.com", "nodeID": "a", "allocatable": {"count": 1}}
            csinode = {"metadata": {"name": "a"}, "spec": {"drivers": [driver]}}
            await make(w, classes=[storage_class(WAIT)], claims=[claim("c1"), claim("c2")], csinodes=[csinode],
                       volumes=[volume("v1"), volume("v2")])  # fmt: skip
            await bind(w, "c1", "v1")
            await bind(w, "c2", "v2")
            await w.pods(using("c1", name="r"), using("c1", name="same"))
            await w.pods(using("c2", name="s"))
            assert (await w.where("r"), await w.where("same")) == ("a", "a")
            assert (await w.message("s")).startswith("0/1 nodes are available: 1 node(s) exceed max volume count.")
            # a pod that has the same volume too does not make it two
            await w.client.delete("pods", "r", "default", grace_seconds=0)
            await settle(2)
            assert await w.where("s") == ""
            await w.client.delete("pods", "same", "default", grace_seconds=0)
            await settle(3)
            assert await w.where("s") == "a"

    virtually(test)


def test_nodes_need_the_drivers_that_ask_for_it() -> None:
    async def test() -> None:
        async with world() as w:
            await w.nodes(node("a"), node("b"))
            driver = {"metadata": {"name": DRIVER}, "spec": {"preventPodSchedulingIfMissing": True}}
            other = {"name": "other.example.com", "nodeID": "a"}
            csinode = {"metadata": {"name": "a"}, "spec": {"drivers": [other]}}
            await make(w, classes=[storage_class(WAIT)], claims=[claim()], csinodes=[csinode], drivers=[driver],
                       volumes=[volume("v")])  # fmt: skip
            await bind(w, "data", "v")
            await w.pods(using("data"))
            why = f"0/2 nodes are available: 2 {DRIVER} CSI driver is not installed on the node. preemption: "
            assert (await w.message("p")).startswith(why)
            spec = {"drivers": [other, {"name": DRIVER, "nodeID": "a"}]}
            await w.client.patch("csinodes.storage.k8s.io", "a", {"spec": spec})
            await settle(2)
            assert await w.where("p") == "a"

    virtually(test)


def test_the_more_room_is_left_the_better() -> None:
    async def test() -> None:
        async with world() as w:
            await w.nodes(*(node(name) for name in "abcd"))
            await make(w, classes=[storage_class(WAIT, provisioner=NONE)], claims=[claim()])
            sizes = {"a": "1Gi", "b": "2Gi", "c": "8Gi", "d": "3Gi"}
            await make(w, volumes=[volume(f"v{name}", name, size) for name, size in sizes.items()])
            await w.pods(using("data"))
            assert (await w.client.get("pods", "p", "default"))["status"]["nominatedNodeName"] == "c"

    virtually(test)


def test_the_more_room_a_driver_says_it_has_the_better() -> None:
    async def test() -> None:
        async with world() as w:
            await w.nodes(*(node(name) for name in "abcd"))
            driver = {"metadata": {"name": DRIVER}, "spec": {"storageCapacity": True}}
            await make(w, classes=[storage_class(WAIT)], drivers=[driver], claims=[claim("one"), claim("two")])
            sizes = {"a": "2Gi", "b": "4Gi", "c": "3Gi", "d": "500Mi"}
            for name, size in sizes.items():
                where = {"matchLabels": {"kubernetes.io/hostname": name}}
                meta = {"name": name, "namespace": "default"}
                capacity = {"metadata": meta, "storageClassName": WAIT, "nodeTopology": where, "capacity": size}
                await make(w, capacities=[capacity])
            await w.pods(using("one", "two"))
            assert (await w.client.get("pods", "p", "default"))["status"]["nominatedNodeName"] == "b"

    virtually(test)


def test_what_is_attached_counts_though_no_pod_uses_it() -> None:
    async def test() -> None:
        async with world() as w:
            await w.nodes(node("a"))
            driver = {"name": DRIVER, "nodeID": "a", "allocatable": {"count": 1}}
            csinode = {"metadata": {"name": "a"}, "spec": {"drivers": [driver]}}
            await make(w, classes=[storage_class(WAIT)], claims=[claim("c1"), claim("c2")], csinodes=[csinode],
                       volumes=[volume("v1"), volume("v2")])  # fmt: skip
            await bind(w, "c1", "v1")
            await bind(w, "c2", "v2")
            spec = {"attacher": DRIVER, "nodeName": "a", "source": {"persistentVolumeName": "v1"}}
            attachment = {"metadata": {"name": "v1-a"}, "spec": spec}
            await w.client.create("volumeattachments.storage.k8s.io", attachment)
            await settle()
            await w.pods(using("c2", name="q"))
            assert (await w.message("q")).startswith("0/1 nodes are available: 1 node(s) exceed max volume count.")
            await w.client.delete("volumeattachments.storage.k8s.io", "v1-a")
            await settle(3)
            assert await w.where("q") == "a"
            # a node that says nothing of limits has none
            await w.pods(using("c1", name="r"))
            assert await w.where("r") == ""
            await w.nodes(node("b"))
            await settle(3)
            assert await w.where("r") == "b"

    virtually(test)


def test_binding_that_takes_too_long() -> None:
    async def test() -> None:
        async with world() as w:
            await w.nodes(node("a"))
            await make(w, classes=[storage_class(WAIT)], claims=[claim()])
            await w.pods(using("data"))
            await asyncio.sleep(601)
            why = 'running PreBind plugin "VolumeBinding": binding volumes: context deadline exceeded'
            assert await w.message("p") == why
            # and the next try has it in view again
            assert (await w.client.get("pods", "p", "default"))["status"]["nominatedNodeName"] == "a"

    virtually(test)


def test_who_waits_for_volumes_keeps_nobody_waiting() -> None:
    async def test() -> None:
        async with world(bindings=1) as w:
            await w.nodes(node("a"))
            await make(w, classes=[storage_class(WAIT)], claims=[claim("c1"), claim("c2")])
            await w.pods(using("c1", name="p"), using("c2", name="q"), pod("plain"))
            assert [await w.where(name) for name in ("p", "q", "plain")] == ["", "", "a"]

    virtually(test)
