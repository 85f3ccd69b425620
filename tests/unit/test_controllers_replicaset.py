"""ReplicaSets and ReplicationControllers keep so many pods, no more and no fewer, whatever happens to them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.controllers_world import World

Obj = dict[str, Any]
NAME = "replicaset-controller"


def replica_set(name: str = "web", replicas: int = 3, **spec: Any) -> Obj:
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "nginx:1"}], "nodeName": "n1"},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name}, "spec": spec}


def status(world: World, name: str = "web", resource: str = "replicasets", group: str = "apps") -> Obj:
    found = world.get(resource, name, group=group)
    return found["status"] if found else {}


async def test_pods_come_and_are_counted(world: World) -> None:
    await world.hollow()
    await world.start(NAME)
    await world.admin.create("replicasets", replica_set(), namespace="default")
    await world.until(lambda: status(world).get("availableReplicas") == 3)
    assert status(world) == {
        "replicas": 3, "fullyLabeledReplicas": 3, "readyReplicas": 3, "availableReplicas": 3, "observedGeneration": 1,
        "terminatingReplicas": 0,
    }  # fmt: skip
    for pod in world.pods():
        (owner,) = pod["metadata"]["ownerReferences"]
        assert owner["kind"] == "ReplicaSet" and owner["controller"] and owner["blockOwnerDeletion"]
        assert pod["metadata"]["generateName"] == "web-"
    await world.settle()
    made = {event["message"] for event in world.events("SuccessfulCreate")}
    assert made == {f"Created pod: {pod['metadata']['name']}" for pod in world.pods()}
    assert world.events("SuccessfulCreate")[0]["source"] == {"component": NAME}
