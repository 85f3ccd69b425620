"""The garbage collector: background, foreground, orphans, owners that never were, kinds that come and go."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.client import Resource, StatusError
from tests.controllers_crash import Crashing
from tests.controllers_world import World

Obj = dict[str, Any]
GC = "garbage-collector-controller"
WIDGETS = Resource("example.com", "v1", "widgets", "Widget")
CRD: Obj = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "names": {"plural": "widgets", "kind": "Widget", "singular": "widget", "listKind": "WidgetList"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


def owner(obj: Obj, **more: Any) -> Obj:
    meta = obj["metadata"]
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": meta["name"], "uid": meta["uid"], **more}


async def config_map(world: World, name: str, *owners: Obj, namespace: str = "default", **meta: Any) -> Obj:
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, **({"ownerReferences": list(owners)} if owners else {}), **meta},
    }
    return await world.admin.create("configmaps", body, namespace)


def names(world: World, namespace: str = "default") -> set[str]:
    return {obj["metadata"]["name"] for obj in world.all("configmaps", namespace=namespace)} - {"kube-root-ca.crt"}


async def family(world: World, **reference: Any) -> Obj:
    """A parent, two children, a grandchild of the first."""
    parent = await config_map(world, "parent")
    child = await config_map(world, "child", owner(parent, **reference))
    await config_map(world, "other", owner(parent, **reference))
    await config_map(world, "grandchild", owner(child, **reference))
    return parent


async def test_background(world: World) -> None:
    await family(world)
    await world.start(GC)
    await config_map(world, "stranger")
    await world.admin.delete("configmaps", "parent", "default", propagation="Background")
    await world.until(lambda: names(world) == {"stranger"}, "collection")


async def test_foreground_waits_for_blocking_dependents(world: World) -> None:
    await world.start(GC)
    parent = await family(world, blockOwnerDeletion=True)
    await config_map(world, "kept", owner(parent, blockOwnerDeletion=True), finalizers=["example.com/keep"])
    await config_map(world, "free", owner(parent), finalizers=["example.com/keep"])
    await world.admin.delete("configmaps", "parent", "default", propagation="Foreground")
    await world.until(lambda: names(world) == {"parent", "kept", "free"}, "all but what is kept")
    await world.settle()
    found = world.get("configmaps", "parent")
    assert found is not None and found["metadata"]["finalizers"] == ["foregroundDeletion"]
    await world.admin.patch("configmaps", "kept", {"metadata": {"finalizers": None}}, "default")
    await world.until(lambda: names(world) == {"free"}, "the parent's end")


async def test_orphans(world: World) -> None:
    await world.start(GC)
    await family(world)
    await world.admin.delete("configmaps", "parent", "default", propagation="Orphan")
    await world.until(lambda: "parent" not in names(world), "the parent's end")
    await world.settle()
    assert names(world) == {"child", "other", "grandchild"}
    for name in ("child", "other"):
        found = world.get("configmaps", name)
        assert found is not None and "ownerReferences" not in found["metadata"]
    found = world.get("configmaps", "grandchild")
    assert found is not None and found["metadata"]["ownerReferences"]


async def test_one_of_two_owners_goes(world: World) -> None:
    await world.start(GC)
    one, two = await config_map(world, "one"), await config_map(world, "two")
    await config_map(world, "child", owner(one), owner(two))
    await world.admin.delete("configmaps", "one", "default")

    def left() -> list[str]:
        found = world.get("configmaps", "child")
        return [item["name"] for item in found["metadata"]["ownerReferences"]] if found else []

    await world.until(lambda: left() == ["two"], "the dangling reference's end")
    await world.admin.delete("configmaps", "two", "default")
    await world.until(lambda: names(world) == set(), "collection")


async def test_an_owner_that_waits_is_let_go_where_another_stays(world: World) -> None:
    await world.start(GC)
    one, two = await config_map(world, "one"), await config_map(world, "two")
    await config_map(world, "child", owner(one, blockOwnerDeletion=True), owner(two))
    await world.admin.delete("configmaps", "one", "default", propagation="Foreground")
    await world.until(lambda: names(world) == {"two", "child"}, "the first owner's end")


async def test_an_owner_that_never_was(world: World) -> None:
    await world.start(GC)
    ghost = {"apiVersion": "v1", "kind": "Secret", "name": "ghost", "uid": "no-such-uid"}
    await config_map(world, "child", ghost)
    await config_map(world, "odd", {**ghost, "apiVersion": "none.example.com/v1", "kind": "Nothing", "uid": "odd"})
    await world.until(lambda: names(world) == {"odd"}, "collection")


async def test_an_owner_of_the_same_name_but_another_uid(world: World) -> None:
    await world.start(GC)
    real = await config_map(world, "real")
    await config_map(world, "child", {**owner(real), "uid": "other"})
    await config_map(world, "mine", owner(real))
    await world.until(lambda: names(world) == {"real", "mine"}, "collection")


async def test_an_owner_of_a_kind_that_is_not_served_is_no_error(world: World, caplog: Any) -> None:
    await world.start(GC)
    reference = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": "9a8b"}
    await config_map(world, "kept", reference)
    await world.loop.advance(100)
    assert names(world) == {"kept"} and not [record for record in caplog.records if record.levelname == "ERROR"]
    await world.admin.create("customresourcedefinitions.apiextensions.k8s.io", CRD)
    await world.until(lambda: not names(world), "collection")


async def test_an_owner_in_another_namespace(world: World) -> None:
    await world.start(GC)
    real = await config_map(world, "real", namespace="kube-public")
    child = await config_map(world, "child", owner(real))
    await world.until(lambda: names(world) == set(), "collection")
    event = (await world.until(lambda: world.events("OwnerRefInvalidNamespace"), "an event"))[0]
    uid = real["metadata"]["uid"]
    assert event["message"] == (
        f'ownerRef [v1/ConfigMap, namespace: default, name: real, uid: {uid}] does not exist in namespace "default"'
    )
    assert event["type"] == "Warning" and event["source"]["component"] == GC
    assert event["involvedObject"]["uid"] == child["metadata"]["uid"]
    assert "real" in names(world, "kube-public")


async def test_a_cluster_object_cannot_be_owned_from_a_namespace(world: World) -> None:
    await world.start(GC)
    real = await config_map(world, "real")
    body = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "n", "ownerReferences": [owner(real)]}}
    await world.admin.create("namespaces", body)
    await world.settle()
    found = world.get("namespaces", "n", "")
    assert found is not None and "deletionTimestamp" not in found["metadata"]


async def test_a_circle_of_foreground_deletions(world: World) -> None:
    await world.start(GC)
    one = await config_map(world, "one")
    two = await config_map(world, "two", owner(one, blockOwnerDeletion=True))
    circle = {"metadata": {"ownerReferences": [owner(two, blockOwnerDeletion=True)]}}
    await world.admin.patch("configmaps", "one", circle, "default")
    await world.admin.delete("configmaps", "one", "default", propagation="Foreground")
    await world.until(lambda: names(world) == set(), "collection")


async def test_custom_resources_come_and_go(world: World) -> None:
    await world.start(GC)
    await world.admin.create("customresourcedefinitions.apiextensions.k8s.io", CRD)

    async def create(body: Obj) -> Obj:
        while True:
            try:
                return await world.admin.create(WIDGETS, body, "default")
            except StatusError as error:
                assert error.code == 404
                await asyncio.sleep(0.1)

    widget = await create({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}})
    await config_map(world, "child", owner(widget))
    parent = await config_map(world, "parent")
    owned = {"name": "v", "ownerReferences": [owner(parent)]}
    await create({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": owned})
    await world.settle()
    assert names(world) == {"child", "parent"}
    await world.admin.delete("configmaps", "parent", "default", propagation="Orphan")
    await world.until(lambda: "parent" not in names(world), "the parent's end")
    free = await world.admin.get(WIDGETS, "v", "default")
    assert not free["metadata"].get("ownerReferences")
    await world.admin.delete("customresourcedefinitions.apiextensions.k8s.io", "widgets.example.com")
    await world.until(lambda: names(world) == set(), "collection")


@pytest.mark.parametrize("propagation", ["", "Background"])
async def test_jobs_orphan_unless_told_otherwise(world: World, propagation: Any) -> None:
    await world.start(GC)
    container = {"name": "c", "image": "i"}
    template = {"spec": {"containers": [container], "restartPolicy": "Never"}}
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": template}}
    job = await world.admin.create("jobs.batch", body, "default")
    await config_map(world, "child", owner(job))
    await world.admin.delete("jobs.batch", "j", "default", propagation=propagation)
    await world.until(lambda: world.get("jobs", "j", group="batch") is None, "the job's end")
    await world.settle()
    assert names(world) == (set() if propagation else {"child"})


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
async def test_a_crash_at_any_write(world: World, after: bool) -> None:
    for at in range(1, 8):
        crashing: list[Crashing] = []

        def wrap(inner: Any, at: int = at, crashing: list[Crashing] = crashing) -> Crashing:
            crashing.append(Crashing(inner, at, after=after))
            return crashing[-1]

        world.wrap = wrap
        parent = await family(world, blockOwnerDeletion=True)
        await config_map(world, "both", owner(parent, blockOwnerDeletion=True), owner(await config_map(world, "two")))
        await world.start(GC)
        await world.admin.delete("configmaps", "parent", "default", propagation="Foreground")
        await world.settle(1)
        await world.stop(GC)
        world.wrap = lambda inner: inner
        await world.start(GC)
        await world.until(lambda: names(world) == {"two", "both"}, f"recovery from call {at}")
        await world.stop(GC)
        await world.admin.delete_collection("configmaps", "default")


async def test_virtual_time_passes_quickly(world: World) -> None:
    await world.start(GC)
    await family(world)
    await world.settle()
    await asyncio.sleep(30 * 86400)
