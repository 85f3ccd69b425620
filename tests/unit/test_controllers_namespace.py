"""The namespace controller: everything goes, pods first; what stays is told."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sampan.client import StatusError
from tests.controllers_crash import Crashing
from tests.controllers_world import World
from tests.unit.test_controllers_gc import CRD, WIDGETS

Obj = dict[str, Any]
NAME = "namespace-controller"


async def config_map(world: World, name: str, **meta: Any) -> Obj:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **meta}}
    return await world.admin.create("configmaps", body, "doomed")


async def namespace(world: World) -> None:
    await world.admin.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "doomed"}})


async def pod(world: World, name: str = "p", **spec: Any) -> Obj:
    spec = {"containers": [{"name": "c", "image": "i"}], **spec}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    return await world.admin.create("pods", body, "doomed")


def gone(world: World) -> bool:
    return world.get("namespaces", "doomed", "") is None


def conditions(world: World) -> dict[str, tuple[str, str, str]]:
    found = (world.get("namespaces", "doomed", "") or {}).get("status", {}).get("conditions") or ()
    return {item["type"]: (item["status"], item["reason"], item["message"]) for item in found}


async def test_everything_goes(world: World) -> None:
    await world.start(NAME)
    await world.admin.create("customresourcedefinitions.apiextensions.k8s.io", CRD)
    await world.until(lambda: world.server.registry.get("example.com", "v1", "widgets"), "the kind")
    await namespace(world)
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}}
    await world.admin.create(WIDGETS, widget, "doomed")
    for number in range(5):
        await config_map(world, f"c{number}")
    await pod(world)
    await world.admin.delete("namespaces", "doomed")
    await world.until(lambda: gone(world), "the end")
    kinds = ("pods", "configmaps", "serviceaccounts")
    assert not [obj for kind in kinds for obj in world.all(kind, namespace="doomed")]
    with pytest.raises(StatusError, match="not found"):
        await world.admin.get(WIDGETS, "w", "doomed")


async def test_what_has_finalizers_is_waited_for(world: World) -> None:
    await world.start(NAME)
    await namespace(world)
    await config_map(world, "kept", finalizers=["example.com/keep", "example.com/hold"])
    await config_map(world, "free")
    await world.admin.delete("namespaces", "doomed")
    await world.until(lambda: conditions(world), "conditions")
    await world.settle()
    assert conditions(world) == {
        "NamespaceDeletionDiscoveryFailure": (
            "False", "ResourcesDiscovered", "All resources successfully discovered",
        ),
        "NamespaceDeletionGroupVersionParsingFailure": (
            "False", "ParsedGroupVersions", "All legacy kube types successfully parsed",
        ),
        "NamespaceDeletionContentFailure": (
            "False", "ContentDeleted", "All content successfully deleted, may be waiting on finalization",
        ),
        "NamespaceContentRemaining": (
            "True", "SomeResourcesRemain", "Some resources are remaining: configmaps. has 1 resource instances",
        ),
        "NamespaceFinalizersRemaining": (
            "True", "SomeFinalizersRemain",
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances, "
            "example.com/keep in 1 resource instances",
        ),
    }  # fmt: skip
    await world.admin.patch("configmaps", "kept", {"metadata": {"finalizers": ["example.com/keep"]}}, "doomed")
    await world.until(lambda: "hold" not in conditions(world)["NamespaceFinalizersRemaining"][2], "news")
    await world.admin.patch("configmaps", "kept", {"metadata": {"finalizers": None}}, "doomed")
    await world.until(lambda: gone(world), "the end", 60)


async def test_pods_go_first(world: World) -> None:
    await world.start(NAME)
    await namespace(world)
    await config_map(world, "needed")
    await pod(world, nodeName="n1", terminationGracePeriodSeconds=20)
    await world.admin.delete("namespaces", "doomed")
    await world.until(lambda: conditions(world), "conditions")
    await world.settle()
    assert world.get("configmaps", "needed", "doomed") is not None
    said = "Some resources are remaining: pods. has 1 resource instances"
    assert conditions(world)["NamespaceContentRemaining"][2] == said
    fine = "False", "ContentHasNoFinalizers", "All content-preserving finalizers finished"
    assert conditions(world)["NamespaceFinalizersRemaining"] == fine
    assert conditions(world)["NamespaceDeletionContentFailure"][0] == "False"
    await world.until(lambda: conditions(world)["NamespaceDeletionContentFailure"][0] == "True", "impatience", 60)
    assert conditions(world)["NamespaceDeletionContentFailure"][1:] == (
        "ContentDeletionFailed",
        "Failed to delete all resource types, 1 remaining: unexpected items still remain in namespace: doomed "
        "for gvr: /v1, Resource=pods",
    )
    await world.admin.delete("pods", "p", "doomed", grace_seconds=0)
    await world.until(lambda: gone(world), "the end", 60)


async def test_other_finalizers_of_the_namespace_stay(world: World) -> None:
    await world.start(NAME)
    await namespace(world)
    found = await world.admin.get("namespaces", "doomed")
    found["spec"]["finalizers"].append("example.com/mine")
    await world.admin.update("namespaces", found, subresource="finalize")
    await world.admin.delete("namespaces", "doomed")
    await world.settle()
    found = await world.admin.get("namespaces", "doomed")
    assert found["spec"]["finalizers"] == ["example.com/mine"]


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
async def test_a_crash_at_any_write(world: World, after: bool) -> None:
    for at in range(1, 8):
        world.wrap = lambda inner, at=at: Crashing(inner, at, after=after)  # type: ignore[misc]
        await world.start(NAME)
        await namespace(world)
        await config_map(world, "c")
        await pod(world)
        await world.admin.delete("namespaces", "doomed")
        await world.settle(2)
        await world.stop(NAME)
        world.wrap = lambda inner: inner
        await world.start(NAME)
        await world.until(lambda: gone(world), "the end", 60)
        await world.stop(NAME)


@pytest.mark.slow
async def test_a_thousand_objects(world: World) -> None:
    await world.start(NAME, "garbage-collector-controller")
    await namespace(world)
    for number in range(1000):
        await config_map(world, f"c{number}")
    began = time.process_time()
    await world.admin.delete("namespaces", "doomed")
    await world.until(lambda: gone(world), "the end")
    assert time.process_time() - began < 3
