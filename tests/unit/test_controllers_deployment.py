"""Deployments roll from one template to the next within their bounds, and say how it goes."""

from __future__ import annotations

from typing import Any

from sampan.client import Client
from tests.controllers_world import World

Obj = dict[str, Any]
NAMES = ("deployment-controller", "replicaset-controller")


def deployment(name: str = "web", replicas: int = 3, image: str = "nginx:1", **spec: Any) -> Obj:
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": image}], "nodeName": "n1"},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def image(name: str) -> Obj:
    return {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": name}]}}}}


async def change(world: World, patch: Obj, name: str = "web") -> Obj:
    return await world.admin.patch("deployments", name, patch, "default", type="strategic")


def found(world: World, name: str = "web") -> Obj:
    return world.get("deployments", name, group="apps") or {"metadata": {"generation": 0}, "status": {}}


def sets(world: World) -> list[Obj]:
    return world.all("replicasets", group="apps")


def condition(world: World, kind: str, name: str = "web") -> Obj:
    conditions = found(world, name)["status"].get("conditions") or ()
    return next((c for c in conditions if c["type"] == kind), {})


def complete(world: World, name: str = "web") -> bool:
    obj = found(world, name)
    status, wanted = obj.get("status") or {}, obj.get("spec", {}).get("replicas")
    counts = [status.get(field, 0) for field in ("replicas", "updatedReplicas", "availableReplicas")]
    return status.get("observedGeneration") == obj["metadata"]["generation"] and counts == [wanted] * 3


async def begin(world: World, **spec: Any) -> None:
    await world.hollow()
    await world.start(*NAMES)
    await world.admin.create("deployments", deployment(**spec), namespace="default")
    await world.until(lambda: complete(world))


async def test_its_life(world: World) -> None:
    await begin(world)
    (first,) = sets(world)
    hashed = first["metadata"]["labels"]["pod-template-hash"]
    assert first["metadata"]["name"] == f"web-{hashed}"
    assert first["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": hashed}
    assert first["metadata"]["annotations"] == {
        "deployment.kubernetes.io/desired-replicas": "3",
        "deployment.kubernetes.io/max-replicas": "4",
        "deployment.kubernetes.io/revision": "1",
    }
    await world.settle()
    obj = found(world)
    assert obj["metadata"]["annotations"] == {"deployment.kubernetes.io/revision": "1"}
    assert {key: value for key, value in obj["status"].items() if key != "conditions"} == {
        "observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
        "terminatingReplicas": 0,
    }  # fmt: skip
    assert condition(world, "Available")["message"] == "Deployment has minimum availability."
    progressing = condition(world, "Progressing")
    assert progressing["reason"] == "NewReplicaSetAvailable"
    assert progressing["message"] == f'ReplicaSet "web-{hashed}" has successfully progressed.'
    assert [event["message"] for event in world.events("ScalingReplicaSet")] == [
        f"Scaled up replica set web-{hashed} from 0 to 3"
    ]
