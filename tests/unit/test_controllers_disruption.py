"""PodDisruptionBudgets know how many pods may go, evictions are counted until they are seen, stale marks are taken off."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.client import StatusError
from tests.controllers_crash import Crashing
from tests.controllers_world import World

Obj = dict[str, Any]
NAME = "disruption-controller"


def budget(**spec: Any) -> Obj:
    spec = {"selector": {"matchLabels": {"app": "web"}}, **spec}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}, "spec": spec}


def template() -> Obj:
    spec = {"containers": [{"name": "c", "image": "web:1"}], "nodeName": "n1"}
    return {"metadata": {"labels": {"app": "web"}}, "spec": spec}


def replica_set(replicas: int) -> Obj:
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template()}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web"}, "spec": spec}


async def begin(world: World, pdb: Obj, replicas: int = 4) -> None:
    await world.hollow(heartbeats=False)
    await world.start("replicaset-controller", NAME)
    if replicas:
        await world.admin.create("replicasets.apps", replica_set(replicas), namespace="default")
        await world.until(lambda: sum(pod["status"].get("phase") == "Running" for pod in world.pods()) == replicas)
    await world.admin.create("poddisruptionbudgets.policy", pdb, namespace="default")
    await world.settle()


def status(world: World) -> Obj:
    found = world.get("poddisruptionbudgets", "web", group="policy")
    return (found or {}).get("status") or {}


def numbers(world: World) -> tuple[int, int, int, int]:
    """Expected, desired, healthy, allowed."""
    found = status(world)
    return tuple(found[name] for name in ("expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed"))


def said(world: World) -> tuple[str, str, str]:
    (condition,) = status(world)["conditions"]
    assert condition["type"] == "DisruptionAllowed"
    return condition["status"], condition["reason"], condition["message"]


@pytest.mark.parametrize(
    ("spec", "want"),
    [
        ({"minAvailable": 3}, (4, 3, 4, 1)),
        ({"minAvailable": "50%"}, (4, 2, 4, 2)),
        ({"maxUnavailable": 1}, (4, 3, 4, 1)),
        ({"maxUnavailable": "30%"}, (4, 2, 4, 2)),
        ({"minAvailable": 4}, (4, 4, 4, 0)),
        ({}, (0, 0, 4, 0)),
    ],
)
async def test_how_many_may_go(world: World, spec: Obj, want: tuple[int, int, int, int]) -> None:
    await begin(world, budget(**spec))
    assert numbers(world) == want and status(world)["observedGeneration"] == 1
    assert said(world) == (("True", "SufficientPods", "") if want[3] else ("False", "InsufficientPods", ""))


async def test_replicas_of_deployments_and_stateful_sets_count(world: World) -> None:
    await world.start("deployment-controller", "statefulset-controller")
    body = replica_set(2)
    await world.admin.create("deployments.apps", {**body, "kind": "Deployment"}, namespace="default")
    spec = {**body["spec"], "serviceName": "s", "podManagementPolicy": "Parallel", "replicas": 3}
    spec["selector"] = {"matchLabels": {"set": "a"}}
    spec["template"] = {**template(), "metadata": {"labels": {"app": "web", "set": "a"}}}
    stateful = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": spec}
    await world.admin.create("statefulsets.apps", stateful, namespace="default")
    await begin(world, budget(maxUnavailable=1), replicas=0)
    await world.until(lambda: status(world).get("currentHealthy") == 5)
    assert numbers(world) == (5, 4, 5, 1)


async def test_without_pods_nothing_may_go(world: World) -> None:
    await begin(world, budget(maxUnavailable=1), replicas=0)
    assert numbers(world) == (0, 0, 0, 0)
    (event,) = world.events("NoPods")
    assert event["message"] == "No matching pods found"


async def test_pods_of_nobody_are_told_of(world: World) -> None:
    await begin(world, budget(maxUnavailable=1))
    alone = {"metadata": {"name": "alone", "labels": {"app": "web"}}, "spec": template()["spec"]}
    await world.stop("replicaset-controller")
    await world.admin.create("pods", alone, "default")
    await world.settle()
    assert (
        "&LabelSelector{MatchLabels:map[string]string{app: web,},MatchExpressions:[]LabelSelectorRequirement{},}"
        in (world.events("UnmanagedPods")[0]["message"])
    )
    assert numbers(world) == (4, 3, 5, 2)


async def test_owners_that_cannot_be_scaled_stop_everything(world: World) -> None:
    await world.start("job-controller")
    spec = {"template": {**template(), "spec": {**template()["spec"], "restartPolicy": "Never"}}}
    await world.admin.create("jobs.batch", {"metadata": {"name": "work"}, "spec": spec}, namespace="default")
    await begin(world, budget(maxUnavailable=1), replicas=0)
    await world.until(lambda: status(world).get("conditions") and said(world)[1] == "SyncFailed")
    assert said(world) == ("False", "SyncFailed", "jobs.batch does not implement the scale subresource")
    await world.settle()
    message = "Failed to calculate the number of expected pods: jobs.batch does not implement the scale subresource"
    assert message in {event["message"] for event in world.events("CalculateExpectedPodCountFailed")}


async def test_one_eviction_at_a_time(world: World) -> None:
    await begin(world, budget(maxUnavailable=1))
    first, second, *_ = (pod["metadata"]["name"] for pod in world.pods())
    await world.admin.evict(first, "default")
    with pytest.raises(StatusError) as refused:
        await world.admin.evict(second, "default")
    assert refused.value.code == 429
    await world.until(lambda: numbers(world) == (4, 3, 4, 1))
    assert "disruptedPods" not in status(world)
    await world.admin.evict(second, "default")


async def test_a_pod_that_does_not_go_is_forgotten(world: World) -> None:
    await begin(world, budget(maxUnavailable=1))
    name = world.pods()[0]["metadata"]["name"]
    found = await world.admin.get("poddisruptionbudgets.policy", "web", "default")
    found["status"]["disruptedPods"] = {name: "2026-01-01T00:00:06Z"}
    await world.admin.update_status("poddisruptionbudgets.policy", found)
    await world.until(lambda: numbers(world) == (4, 3, 3, 0))
    await world.until(lambda: numbers(world) == (4, 3, 4, 1))
    assert world.loop.time() > 120
    await world.settle()
    (event,) = world.events("NotDeleted")
    assert event["message"] == "Pod was expected by PDB default/web to be deleted but it wasn't"


async def test_a_stale_mark_is_taken_off(world: World) -> None:
    await begin(world, budget(maxUnavailable=1))
    name = world.pods()[0]["metadata"]["name"]
    mark = {
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "m",
        "lastTransitionTime": "2026-01-01T00:00:05Z",
    }  # fmt: skip
    patch = {"status": {"conditions": [mark]}}
    await world.admin.patch("pods", name, patch, "default", type="strategic", subresource="status")

    def now() -> Obj:
        pod = world.get("pods", name)
        assert pod is not None
        return next(item for item in pod["status"]["conditions"] if item["type"] == "DisruptionTarget")

    assert now()["status"] == "True"
    await world.until(lambda: now()["status"] == "False")
    assert 120 < world.loop.time() < 130 and "reason" not in now()


@pytest.mark.parametrize("at", [1, 2, 3])
async def test_a_crash_leads_to_the_same_end(world: World, at: int) -> None:
    world.wrap = lambda transport: Crashing(transport, at)
    await world.start(NAME)
    world.wrap = lambda transport: transport
    await begin_without(world)
    await world.stop(NAME)
    await world.start(NAME)
    await world.until(lambda: status(world) and numbers(world) == (4, 3, 4, 1))


async def begin_without(world: World) -> None:
    await world.hollow(heartbeats=False)
    await world.start("replicaset-controller")
    await world.admin.create("poddisruptionbudgets.policy", budget(maxUnavailable=1), namespace="default")
    await world.admin.create("replicasets.apps", replica_set(4), namespace="default")
    await asyncio.sleep(30)
