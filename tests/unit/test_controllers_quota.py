"""Quotas' status: counted up by admission, down by the controller."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.client import StatusError
from tests.controllers_world import World
from tests.unit.test_controllers_gc import CRD, WIDGETS

Obj = dict[str, Any]
NAME = "resourcequota-controller"


async def quota(world: World, name: str = "q", scopes: Any = None, **hard: str) -> None:
    names = {key.replace("_", "/", 1) if key.startswith("count") else key: value for key, value in hard.items()}
    spec = {"hard": names, **({"scopes": scopes} if scopes else {})}
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": spec}
    await world.admin.create("resourcequotas", body, "default")


def used(world: World, name: str = "q") -> Obj:
    found: Obj = ((world.get("resourcequotas", name) or {}).get("status") or {}).get("used") or {}
    return found


async def pod(world: World, name: str, **spec: Any) -> Obj:
    requests = {"cpu": "500m", "memory": "64Mi"}
    container = {"name": "c", "image": "i", "resources": {"requests": requests}}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container], **spec}}
    return await world.admin.create("pods", body, "default")


async def config_map(world: World, name: str) -> None:
    await world.admin.create(
        "configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}, "default"
    )


async def test_what_is_there_is_counted(world: World) -> None:
    await world.start(NAME)
    await pod(world, "a")
    await config_map(world, "c")
    await quota(world, pods="4", cpu="2", secrets="3", count_configmaps="9", **{"count_deployments.apps": "2"})
    await world.until(lambda: used(world), "a count")
    # kube-root-ca.crt counts too
    wanted = {"pods": "1", "cpu": "500m", "secrets": "0", "count/configmaps": "2", "count/deployments.apps": "0"}
    assert used(world) == wanted
    found = world.get("resourcequotas", "q")
    assert found is not None and found["status"]["hard"] == found["spec"]["hard"]


async def test_what_goes_is_given_back(world: World) -> None:
    await world.start(NAME)
    await quota(world, pods="1", count_configmaps="2")
    await world.until(lambda: used(world), "a count")
    await pod(world, "a")
    await config_map(world, "c")
    with pytest.raises(StatusError, match="exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"):
        await pod(world, "b")
    await asyncio.sleep(1)
    await world.admin.delete("pods", "a", "default")
    await world.admin.delete("configmaps", "c", "default")
    await world.until(lambda: used(world) == {"pods": "0", "count/configmaps": "1"}, "release", 5)
    await pod(world, "b")


async def test_pods_that_are_over_use_nothing(world: World) -> None:
    await world.start(NAME)
    await quota(world, pods="2", count_pods="9")
    await world.until(lambda: used(world), "a count")
    await pod(world, "a", nodeName="n", terminationGracePeriodSeconds=10)
    await pod(world, "b")
    await asyncio.sleep(1)
    status = {"status": {"phase": "Succeeded"}}
    await world.admin.patch("pods", "b", status, "default", subresource="status", type="strategic")
    await world.until(lambda: used(world) == {"pods": "1", "count/pods": "2"}, "release", 5)
    await world.admin.delete("pods", "a", "default")
    await world.until(lambda: used(world) == {"pods": "0", "count/pods": "2"}, "the end of its grace", 40)


async def test_pods_that_are_given_a_deadline_leave_the_quota_of_those_that_stay(world: World) -> None:
    await world.start(NAME)
    await quota(world, scopes=["NotTerminating"], pods="2")
    await quota(world, "brief", scopes=["Terminating"], pods="2")
    await world.until(lambda: used(world) and used(world, "brief"), "counts")
    await pod(world, "a")
    assert used(world) == {"pods": "1"}
    await asyncio.sleep(3)
    await world.admin.patch("pods", "a", {"spec": {"activeDeadlineSeconds": 60}}, "default", type="merge")
    await world.until(lambda: used(world) == {"pods": "0"}, "release", 5)
    assert used(world, "brief") == {"pods": "1"}


async def test_charged_and_never_made(world: World) -> None:
    """What a crash of the API server leaves is corrected at the next occasion."""
    await world.start(NAME)
    await quota(world, pods="5")
    await world.until(lambda: used(world), "a count")
    status = {"status": {"used": {"pods": "3"}}}
    await world.admin.patch("resourcequotas", "q", status, "default", subresource="status")
    await pod(world, "a")
    assert used(world) == {"pods": "4"}
    await world.until(lambda: used(world) == {"pods": "1"}, "correction", 5)


async def test_limits_that_change(world: World) -> None:
    await world.start(NAME)
    await quota(world, pods="5")
    await world.until(lambda: used(world) == {"pods": "0"}, "a count")
    await world.admin.patch("resourcequotas", "q", {"spec": {"hard": {"pods": None, "secrets": "7"}}}, "default")
    await world.until(lambda: used(world) == {"secrets": "0"}, "the other count")


async def test_claims_of_devices_are_counted_as_their_class_says(world: World) -> None:
    await world.start(NAME)
    by_class, by_name = "requests.deviceclass.resource.kubernetes.io/gold", "requests.example.com/gpu"
    group = {"apiVersion": "resource.k8s.io/v1"}
    exactly = {"deviceClassName": "gold", "allocationMode": "ExactCount", "count": 2}
    spec: Obj = {"devices": {"requests": [{"name": "r", "exactly": exactly}]}}
    claim = {**group, "kind": "ResourceClaim", "metadata": {"name": "a"}, "spec": spec}
    await world.admin.create("resourceclaims.resource.k8s.io", claim, "default")
    await quota(world, **{by_class: "4", by_name: "4"})
    await world.until(lambda: used(world) == {by_class: "0", by_name: "0"}, "a count")
    gold = {**group, "kind": "DeviceClass", "metadata": {"name": "gold"}, "spec": {}}
    await world.admin.create("deviceclasses.resource.k8s.io", gold)
    await world.until(lambda: used(world) == {by_class: "2", by_name: "0"}, "a class", 5)
    named = {"spec": {"extendedResourceName": "example.com/gpu"}}
    await world.admin.patch("deviceclasses.resource.k8s.io", "gold", named, type="merge")
    await world.until(lambda: used(world) == {by_class: "2", by_name: "2"}, "its name", 5)
    await world.admin.delete("resourceclaims.resource.k8s.io", "a", "default")
    await world.until(lambda: used(world) == {by_class: "0", by_name: "0"}, "release", 5)


async def test_custom_resources(world: World) -> None:
    await world.start(NAME)
    await quota(world, **{"count_widgets.example.com": "1"})
    await world.admin.create("customresourcedefinitions.apiextensions.k8s.io", CRD)
    await world.until(lambda: used(world) == {"count/widgets.example.com": "0"}, "a count")
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}}
    await world.admin.create(WIDGETS, widget, "default")
    assert used(world) == {"count/widgets.example.com": "1"}
    await asyncio.sleep(1)
    await world.admin.delete(WIDGETS, "w", "default")
    await world.until(lambda: used(world) == {"count/widgets.example.com": "0"}, "release", 5)


async def test_a_busy_namespace_is_counted_right(world: World) -> None:
    await world.start(NAME)
    await quota(world, pods="100")
    await world.until(lambda: used(world), "a count")

    async def churn(number: int) -> None:
        for turn in range(5):
            await pod(world, f"p{number}-{turn}")
            await world.admin.delete("pods", f"p{number}-{turn}", "default")
        await pod(world, f"p{number}")

    await asyncio.gather(*(churn(number) for number in range(10)))
    await world.settle()
    assert used(world) == {"pods": "10"}
