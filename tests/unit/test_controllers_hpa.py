"""Autoscaling: what metrics ask for, how fast it is done, and what is said about it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.controllers.hpa_behavior import (
    DOWN_LIMIT,
    DOWN_STABILIZED,
    READY,
    TOO_FEW,
    TOO_MANY,
    UP_LIMIT,
    WITHIN,
    History,
)
from sampan.controllers.hpa_metrics import Metrics
from sampan.controllers.hpa_replicas import CannotCompute, Rules, Sample, by_ratio, by_utilization, by_value, per_pod
from tests.controllers_world import World

Obj = dict[str, Any]
NAME = "horizontal-pod-autoscaler-controller"
NOW = 1_767_225_600.0
OLD, YOUNG = "2025-12-31T23:00:00Z", "2025-12-31T23:59:00Z"
RULES = Rules(0.1, 0.1, 300.0, 30.0, NOW)


# -- how many --------------------------------------------------------------------------------------------------------


def pod(name: str, cpu: str | None = "1", *, phase: str = "Running", ready: bool = True, start: str = OLD) -> Obj:
    container = {"name": "c", "resources": {"requests": {"cpu": cpu}} if cpu else {}}
    condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": start}
    status = {"phase": phase, "startTime": start, "conditions": [condition]}
    return {"metadata": {"name": name}, "spec": {"containers": [container]}, "status": status}


def used(*values: int, at: float = NOW) -> dict[str, Sample]:
    return {f"p{number}": Sample(value, at, 15.0) for number, value in enumerate(values)}


def pods(count: int, **more: Any) -> list[Obj]:
    return [pod(f"p{number}", **more) for number in range(count)]


@pytest.mark.parametrize(
    ("values", "target", "count"),
    [
        ((300, 500, 700), 30, 5),
        ((300, 500, 700), 50, 3),
        ((300, 500, 700), 48, 3),
        ((100, 100, 100), 50, 1),
        ((0, 0, 0), 50, 0),
        ((1010, 1030, 1020), 100, 3),
    ],
)
def test_utilization(values: tuple[int, ...], target: int, count: int) -> None:
    found = by_utilization(3, target, "cpu", "", pods(3), used(*values), RULES)
    assert found == (count, sum(values) * 100 // 3000, sum(values) // 3)


def test_pods_that_are_not_ready_damp_growth() -> None:
    some = [*pods(2), pod("p2", phase="Pending"), pod("p3", ready=False, start=YOUNG)]
    # the two that are ready ask for 4; with the others as idle it is 4 pods at 40 %, where 30 % is wanted
    assert by_utilization(4, 30, "cpu", "", some, used(800, 800, 9000, 9000), RULES)[0] == 6
    assert by_utilization(4, 50, "cpu", "", some, used(800, 800), RULES)[0] == 4
    # shrinking takes no account of them
    assert by_utilization(4, 50, "cpu", "", some, used(100, 100, 100, 100), RULES)[0] == 1


def test_a_young_pods_first_samples_count_not() -> None:
    some = [*pods(2), pod("p2", start=YOUNG)]
    early = used(800, 800) | {"p2": Sample(800, NOW - 59, 15.0)}
    assert by_utilization(3, 50, "cpu", "", some, early, RULES)[1:] == (80, 800)
    assert by_utilization(3, 40, "cpu", "", some, early, RULES)[0] == 4
    assert by_utilization(3, 50, "cpu", "", some, used(800, 800, 800), RULES)[0] == 5


def test_pods_without_metrics_damp_both_ways() -> None:
    # as idle when it would grow
    assert by_utilization(3, 50, "cpu", "", pods(3), used(800, 800), RULES)[0] == 3
    # as fully used when it would shrink
    assert by_utilization(3, 50, "cpu", "", pods(3), used(100, 100), RULES)[0] == 3
    assert by_utilization(4, 80, "cpu", "", pods(4), used(100, 100, 100), RULES)[0] == 2


def test_why_not() -> None:
    with pytest.raises(CannotCompute, match=r"^no pods returned by selector while calculating replica count$"):
        by_utilization(3, 50, "cpu", "", [], used(1), RULES)
    with pytest.raises(CannotCompute, match=r"^did not receive metrics for targeted pods \(pods might be unready\)$"):
        by_utilization(3, 50, "cpu", "", pods(1, phase="Pending", cpu=None), used(1), RULES)
    with pytest.raises(CannotCompute, match=r"^missing request for cpu in container c of Pod p0$"):
        by_utilization(3, 50, "cpu", "", pods(1, cpu=None), used(1), RULES)
    with pytest.raises(CannotCompute, match=r"^container other not found in Pod p0$"):
        by_utilization(3, 50, "cpu", "other", pods(1), used(1), RULES)
    with pytest.raises(CannotCompute, match=r"^no metrics returned matched known pods$"):
        by_utilization(3, 50, "cpu", "", pods(1, cpu="0"), used(1), RULES)


def test_requests_of_pods_as_a_whole() -> None:
    whole = pods(1)
    whole[0]["spec"]["resources"] = {"requests": {"memory": "1Gi"}}
    assert by_utilization(1, 50, "cpu", "", whole, used(1000), RULES)[1] == 100  # of its container
    whole[0]["spec"]["resources"]["requests"]["cpu"] = "2"
    assert by_utilization(1, 50, "cpu", "", whole, used(1000), RULES)[1] == 50
    whole = pods(1, cpu=None)
    whole[0]["spec"]["resources"] = {"requests": {"memory": "1Gi"}}
    with pytest.raises(CannotCompute, match=r"^missing pod-level request for cpu in Pod p0$"):
        by_utilization(1, 50, "cpu", "", whole, used(1000), RULES)


def test_values() -> None:
    assert by_value(3, 500, "cpu", pods(3), used(1000, 1000, 1000), RULES) == (6, 1000)
    assert by_value(3, 500, "", pods(3), used(520, 520, 520), RULES) == (3, 520)
    assert by_value(3, 500, "", pods(3), used(1000, 1000), RULES) == (4, 1000)
    assert by_ratio(2, 2.5, pods(2), RULES) == 5
    assert by_ratio(2, 1.05, pods(2), RULES) == 2
    assert by_ratio(0, 0.1, [], RULES) == 1
    assert per_pod(3, 1000, 9000, RULES) == (9, 3000)
    assert per_pod(3, 1000, 3100, RULES) == (3, 1034)


# -- how fast --------------------------------------------------------------------------------------------------------


def test_no_more_than_twice_as_many_or_four() -> None:
    history = History()
    assert history.decide(1, 100, 1, 50, 300, NOW) == (found := history.decide(1, 100, 1, 50, 300, NOW))
    assert (found.replicas, found.limited, found.limit, found.able) == (4, True, UP_LIMIT, READY)
    assert history.decide(30, 100, 1, 50, 300, NOW).limit == TOO_MANY
    assert History().decide(3, 0, 2, 50, 300, NOW).limit == TOO_FEW
    assert History().decide(3, 3, 2, 50, 300, NOW).limit == WITHIN


def test_shrinking_waits_for_the_window() -> None:
    history = History()
    history.begin(5, NOW)
    found = history.decide(5, 2, 1, 10, 300, NOW + 100)
    assert (found.replicas, found.able) == (5, DOWN_STABILIZED)
    assert history.decide(5, 2, 1, 10, 300, NOW + 301).replicas == 2


def test_policies() -> None:
    up: Obj = {"stabilizationWindowSeconds": 0, "selectPolicy": "Max"}
    up["policies"] = [
        {"type": "Pods", "value": 4, "periodSeconds": 60},
        {"type": "Percent", "value": 100, "periodSeconds": 60},
    ]
    down: Obj = {"stabilizationWindowSeconds": 0, "selectPolicy": "Max"}
    down["policies"] = [{"type": "Percent", "value": 10, "periodSeconds": 60}]
    behavior = {"scaleUp": up, "scaleDown": down}
    history = History()

    def decide(current: int, wanted: int, now: float) -> int:
        found = history.decide_by(behavior, current, wanted, 1, 1000, 300, NOW + now)
        if found.replicas != current:
            history.scaled(behavior, current, found.replicas, NOW + now)
        return found.replicas

    assert decide(1, 100, 0) == 5
    assert decide(5, 100, 15) == 5
    assert decide(5, 100, 61) == 10
    assert decide(100, 10, 200) == 90
    assert decide(90, 10, 215) == 90
    assert decide(90, 10, 261) == 81
    up["selectPolicy"] = "Min"
    assert decide(20, 100, 1000) == 24
    down["selectPolicy"] = "Disabled"
    assert decide(20, 10, 2000) == 20
    assert history.decide_by(behavior, 20, 10, 1, 1000, 300, NOW + 2000).limit == DOWN_LIMIT


def test_both_windows() -> None:
    rules = {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 1000, "periodSeconds": 15}]}
    behavior = {
        "scaleUp": {**rules, "stabilizationWindowSeconds": 60},
        "scaleDown": {**rules, "stabilizationWindowSeconds": 30},
    }
    history = History()
    history.begin(5, NOW)
    assert history.decide_by(behavior, 5, 9, 1, 10, 300, NOW + 50).replicas == 5
    assert history.decide_by(behavior, 5, 8, 1, 10, 300, NOW + 61).replicas == 8
    assert history.decide_by(behavior, 8, 2, 1, 10, 300, NOW + 70).replicas == 8


# -- all of it -------------------------------------------------------------------------------------------------------


async def deployment(world: World, replicas: int = 2) -> None:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    body = {"metadata": {"name": "web"}, "spec": spec}
    await world.admin.create("deployments.apps", body, "default")


async def running(world: World, count: int, cpu: str = "500m", requests: bool = True) -> None:
    await world.admin.create("nodes", {"metadata": {"name": "n", "labels": {"sampan.io/hollow": "true"}}})
    for number in range(count):
        resources = {"requests": {"cpu": "1"}} if requests else {}
        container = {"name": "c", "image": "i", "resources": resources}
        meta = {
            "name": f"p{number}",
            "labels": {"app": "web"},
            "annotations": {"hollow.sampan.io/cpu-usage": cpu},
        }
        body = {"metadata": meta, "spec": {"containers": [container], "nodeName": "n"}}
        await world.admin.create("pods", body, "default")
        condition = {"type": "Ready", "status": "True", "lastTransitionTime": OLD}
        status = {"status": {"phase": "Running", "startTime": OLD, "conditions": [condition]}}
        await world.admin.patch("pods", f"p{number}", status, "default", subresource="status")


async def autoscaler(world: World, name: str = "web", **spec: Any) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 10, **spec}
    body = {"metadata": {"name": name}, "spec": spec}
    await world.admin.create("horizontalpodautoscalers.v2.autoscaling", body, "default")


def cpu(percent: int) -> list[Obj]:
    return [{"type": "Resource", "resource": {"name": "cpu", "target": target("Utilization", percent)}}]


def target(kind: str, value: Any) -> Obj:
    return {
        "type": kind,
        {"Utilization": "averageUtilization", "AverageValue": "averageValue"}.get(kind, "value"): value,
    }


def status(world: World, name: str = "web") -> Obj:
    found: Obj = (world.get("horizontalpodautoscalers", name, group="autoscaling") or {}).get("status") or {}
    return found


def condition(world: World, kind: str, name: str = "web") -> tuple[str, str, str] | None:
    for item in status(world, name).get("conditions") or ():
        if item["type"] == kind:
            return (item["status"], item["reason"], item["message"])
    return None


def replicas(world: World) -> int:
    found: int = world.get("deployments", "web", group="apps")["spec"]["replicas"]  # type: ignore[index]
    return found


@pytest.mark.slow
async def test_it_grows_and_shrinks(world: World) -> None:
    await world.start(NAME)
    await deployment(world)
    await running(world, 2, "900m")
    await autoscaler(world, metrics=cpu(50))
    await world.until(lambda: replicas(world) == 4, "growth", 60)
    event = (await world.until(lambda: world.events("SuccessfulRescale"), "an event"))[0]
    assert event["message"] == ("New size: 4; reason: cpu resource utilization (percentage of request) above target")
    assert event["source"]["component"] == "horizontal-pod-autoscaler"
    assert status(world)["currentMetrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 90, "averageValue": "900m"}}}
    ]
    assert status(world)["desiredReplicas"] == 4 and status(world)["lastScaleTime"]
    assert condition(world, "AbleToScale") == (
        "True", "SucceededRescale", "the HPA controller was able to update the target scale to 4",
    )  # fmt: skip
    assert condition(world, "ScalingActive") == (
        "True",
        "ValidMetricFound",
        "the HPA was able to successfully calculate a replica count from cpu resource utilization "
        "(percentage of request)",
    )
    for name in ("p0", "p1"):
        notes = {"metadata": {"annotations": {"hollow.sampan.io/cpu-usage": "10m"}}}
        await world.admin.patch("pods", name, notes, "default")
    await asyncio.sleep(120)
    assert replicas(world) == 4
    assert (condition(world, "AbleToScale") or ("", "", ""))[1] == "ScaleDownStabilized"
    await world.until(lambda: replicas(world) == 1, "shrinking", 300)
    event = (await world.until(lambda: world.events("SuccessfulRescale")[1:], "an event"))[0]
    assert event["message"] == "New size: 1; reason: All metrics below target"


async def test_what_it_has_seen(world: World) -> None:
    await world.start(NAME)
    await deployment(world)
    await running(world, 2)
    await autoscaler(world, metrics=cpu(50))
    await world.until(lambda: status(world).get("observedGeneration") == 1, "a look")
    seen = {item["type"]: item["observedGeneration"] for item in status(world)["conditions"]}
    assert seen == {"AbleToScale": 1, "ScalingActive": 1, "ScalingLimited": 1}
    patch: Obj = {"metadata": {"labels": {"a": "b"}}}
    await world.admin.patch("horizontalpodautoscalers.v2.autoscaling", "web", patch, "default")
    await world.admin.set_scale("deployments.apps", "web", "default", 0)
    patch = {"spec": {"maxReplicas": 11}}
    await world.admin.patch("horizontalpodautoscalers.v2.autoscaling", "web", patch, "default")
    await world.until(lambda: status(world).get("observedGeneration") == 2, "another look")
    seen = {item["type"]: item["observedGeneration"] for item in status(world)["conditions"]}
    assert seen == {"AbleToScale": 2, "ScalingActive": 2, "ScalingLimited": 1}


async def test_a_container_that_some_pods_do_not_have(world: World) -> None:
    await world.start(NAME)
    await deployment(world)
    await running(world, 2)
    metric = {"name": "cpu", "container": "other", "target": target("AverageValue", "1")}
    await autoscaler(world, metrics=[{"type": "ContainerResource", "containerResource": metric}])
    (event,) = await world.until(lambda: world.events("FailedGetContainerResourceMetric"), "an event")
    missing = "did not receive metrics for targeted pods (pods might be unready)"
    assert event["message"] == f"failed to get cpu usage: {missing}"


async def test_limits(world: World) -> None:
    await world.start(NAME)
    await deployment(world, 20)
    await autoscaler(world)
    await world.until(lambda: replicas(world) == 10, "the maximum", 60)
    event = (await world.until(lambda: world.events("SuccessfulRescale"), "an event"))[0]
    assert event["message"] == "New size: 10; reason: Current number of replicas above Spec.MaxReplicas"
    await world.admin.set_scale("deployments.apps", "web", "default", 0)
    await world.until(lambda: (condition(world, "ScalingActive") or ("", ""))[1] == "ScalingDisabled", "rest", 60)
    assert replicas(world) == 0


class Queue:
    """Of a metric that is no pod's: how long it is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.length = 0

        async def found(*_: Any) -> int:
            return self.length * 1000

        monkeypatch.setattr(Metrics, "external", found)
        monkeypatch.setattr(Metrics, "object", found)


SERVICE = {"kind": "Service", "name": "s", "apiVersion": "v1"}
QUEUES: list[Obj] = [
    {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "2"}}},
    {
        "type": "External",
        "external": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "2"}},
    },
    {
        "type": "Object",
        "object": {
            "metric": {"name": "queue"},
            "describedObject": SERVICE,
            "target": {"type": "Value", "value": "2"},
        },
    },
]
AT_ONCE = {"scaleDown": {"stabilizationWindowSeconds": 0}}
ZERO = ("True", "ScaledToZero", "the HPA controller scaled the workload to zero")
NOT_ZERO = ("False", "NotScaledToZero", "the HPA controller did not scale the workload to zero")


async def at_zero(world: World, metric: Obj, **spec: Any) -> None:
    await world.start(NAME)
    await deployment(world)
    await running(world, 2)
    await autoscaler(world, minReplicas=0, metrics=[metric], **spec)
    await world.until(lambda: condition(world, "ScaledToZero") == ZERO, "zero", 600)
    assert replicas(world) == 0


@pytest.mark.parametrize("metric", QUEUES, ids=["value", "average", "object"])
async def test_to_zero_and_back(world: World, monkeypatch: pytest.MonkeyPatch, metric: Obj) -> None:
    queue = Queue(monkeypatch)
    await at_zero(world, metric, behavior=AT_ONCE)
    await asyncio.sleep(60)
    assert replicas(world) == 0 and status(world)["desiredReplicas"] == 0
    assert (condition(world, "ScalingActive") or ())[:2] == ("True", "ValidMetricFound")
    queue.length = 5
    await world.until(lambda: replicas(world) == 3, "growth", 60)
    await world.until(lambda: condition(world, "ScaledToZero") == NOT_ZERO, "a condition", 60)
    await world.until(lambda: len(world.events("SuccessfulRescale")) == 2, "events")
    events = world.events("SuccessfulRescale")
    assert sorted(event["message"].partition(" metric ")[0] for event in events) == [
        "New size: 0; reason: All metrics below target",
        f"New size: 3; reason: {'Service' if metric['type'] == 'Object' else 'external'}",
    ]


async def test_what_others_scale_to_zero_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    Queue(monkeypatch).length = 5
    await world.start(NAME)
    await deployment(world, 0)
    await autoscaler(world, minReplicas=0, metrics=[QUEUES[0]])
    await world.until(lambda: condition(world, "ScalingActive"), "a condition", 60)
    said = "scaling is disabled since the replica count of the target is zero"
    assert condition(world, "ScalingActive") == ("False", "ScalingDisabled", said)
    await asyncio.sleep(60)
    assert replicas(world) == 0 and condition(world, "ScaledToZero") is None


@pytest.mark.parametrize("more", [{}, {"behavior": AT_ONCE}], ids=["plain", "behavior"])
async def test_a_minimum_that_grows_ends_zero(world: World, monkeypatch: pytest.MonkeyPatch, more: Obj) -> None:
    Queue(monkeypatch)
    await at_zero(world, QUEUES[0], **more)
    await world.admin.patch("horizontalpodautoscalers.v2.autoscaling", "web", {"spec": {"minReplicas": 2}}, "default")
    await world.until(lambda: condition(world, "ScaledToZero") == NOT_ZERO, "growth", 60)
    assert replicas(world) == 2


class Contending:
    """Around a transport: somebody else changes the Deployment before each of the first `count` writes of its scale."""

    def __init__(self, inner: Any, world: World, count: int) -> None:
        self.inner = inner
        self.world = world
        self.left = count

    async def request(self, method: str, path: str, **more: Any) -> Any:
        if method == "PUT" and path.endswith("/scale") and self.left:
            self.left -= 1
            note = {"metadata": {"annotations": {"left": str(self.left)}}}
            await self.world.admin.patch("deployments.apps", "web", note, "default")
        return await self.inner.request(method, path, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest.mark.parametrize(("conflicts", "size"), [(4, 10), (5, 20)])
async def test_others_may_write_the_scale_meanwhile(world: World, conflicts: int, size: int) -> None:
    left = [conflicts]

    def wrap(inner: Any) -> Any:
        return Contending(inner, world, left.pop() if left else 0)

    world.wrap = wrap
    await world.start(NAME)
    await deployment(world, 20)
    await autoscaler(world)
    reason = "SuccessfulRescale" if size == 10 else "FailedRescale"
    await world.until(lambda: world.events(reason), "a decision", 10)
    assert replicas(world) == size
    await world.until(lambda: status(world).get("currentReplicas") == 20, "status", 10)


async def test_no_target(world: World) -> None:
    await world.start(NAME)
    await autoscaler(world)
    await world.until(lambda: condition(world, "AbleToScale"), "a condition", 60)
    assert condition(world, "AbleToScale") == (
        "False",
        "FailedGetScale",
        'the HPA controller was unable to get the target\'s current scale: deployments.apps "web" not found',
    )
    assert (await world.until(lambda: world.events("FailedGetScale"), "an event"))[0]["type"] == "Warning"
    kind = {"apiVersion": "apps/v1", "kind": "Nothing", "name": "web"}
    await autoscaler(world, "other", scaleTargetRef=kind)
    await world.until(lambda: condition(world, "AbleToScale", "other"), "a condition", 60)
    assert (condition(world, "AbleToScale", "other") or ("", "", ""))[2].endswith(
        'no matches for kind "Nothing" in group "apps"'
    )


async def test_no_metrics(world: World) -> None:
    await world.start(NAME)
    await deployment(world)
    await autoscaler(world, metrics=cpu(50))
    why = (
        "failed to get cpu utilization: unable to get metrics for resource cpu: no metrics returned from resource "
        "metrics API"
    )
    await world.until(lambda: condition(world, "ScalingActive"), "a condition", 60)
    assert condition(world, "ScalingActive") == (
        "False", "FailedGetResourceMetric", f"the HPA was unable to compute the replica count: {why}",
    )  # fmt: skip
    assert (await world.until(lambda: world.events("FailedGetResourceMetric"), "an event"))[0]["message"] == why
    event = (await world.until(lambda: world.events("FailedComputeMetricsReplicas"), "an event"))[0]
    assert event["message"] == (
        "invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: " + why
    )
    assert status(world)["currentMetrics"] == [{"type": ""}]


async def test_other_metrics_that_nobody_serves(world: World) -> None:
    await world.start(NAME)
    await deployment(world)
    await running(world, 2)
    metric = {"name": "queue", "selector": {"matchLabels": {"a": "b"}}}
    described = {"kind": "Service", "name": "s", "apiVersion": "v1"}
    await autoscaler(
        world,
        metrics=[
            {"type": "Pods", "pods": {"metric": metric, "target": target("AverageValue", "1")}},
            {
                "type": "Object",
                "object": {"metric": metric, "describedObject": described, "target": target("Value", 1)},
            },
            {"type": "External", "external": {"metric": metric, "target": target("AverageValue", "1")}},
        ],
    )
    await world.until(lambda: world.events("FailedGetExternalMetric"), "events", 60)
    none = "unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered"
    assert world.events("FailedGetPodsMetric")[0]["message"] == f"unable to get metric queue: {none}"
    said = world.events("FailedGetObjectMetric")[0]["message"]
    assert said == f"unable to get metric queue on Service default/s: {none}"
    said = world.events("FailedGetExternalMetric")[0]["message"]
    labels = "&LabelSelector{MatchLabels:map[string]string{a: b,},MatchExpressions:[]LabelSelectorRequirement{},}"
    assert said.startswith(f"unable to get external metric default/queue/{labels}: unable to fetch metrics from")
    assert said.endswith("the server could not find the requested resource (get queue.external.metrics.k8s.io)")


async def test_some_metrics_are_enough_to_grow(world: World) -> None:
    await world.start(NAME)
    await deployment(world)
    await running(world, 2, "900m")
    external = {"type": "External", "external": {"metric": {"name": "q"}, "target": target("Value", "1")}}
    container = {"name": "cpu", "container": "c", "target": target("AverageValue", "300m")}
    await autoscaler(world, metrics=[external, {"type": "ContainerResource", "containerResource": container}])
    await world.until(lambda: replicas(world) == 4, "growth", 60)
    await world.settle()
    assert status(world)["currentMetrics"][1]["containerResource"] == {
        "name": "cpu", "container": "c", "current": {"averageValue": "900m"},
    }  # fmt: skip
    assert condition(world, "ScalingLimited") == (
        "True", "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate",
    )  # fmt: skip


async def test_two_autoscalers_of_the_same_pods(world: World) -> None:
    await world.start(NAME)
    await deployment(world)
    await running(world, 2)
    await autoscaler(world)
    await autoscaler(world, "other")
    await world.until(lambda: (condition(world, "ScalingActive") or ("", ""))[1] == "AmbiguousSelector", "doubt", 60)
    said = "pods by selector app=web are controlled by multiple HPAs: [{other default} {web default}]"
    assert (condition(world, "ScalingActive") or ("", "", ""))[2] == said


async def test_nothing_new_is_not_written(world: World) -> None:
    await world.start(NAME)
    await deployment(world)
    await running(world, 2)
    await autoscaler(world, metrics=cpu(50))
    await world.until(lambda: condition(world, "ScalingLimited"), "a look", 60)
    await world.settle(20)
    before = world.server.api.cache.revision
    await asyncio.sleep(300)
    assert world.server.api.cache.revision == before


async def test_behavior(world: World) -> None:
    await world.start(NAME)
    await deployment(world)
    await running(world, 2, "900m")
    policies = [{"type": "Pods", "value": 1, "periodSeconds": 60}]
    await autoscaler(world, metrics=cpu(50), behavior={"scaleUp": {"policies": policies, "tolerance": "0.5"}})
    began = world.clock()
    await world.until(lambda: replicas(world) == 3, "growth", 60)
    await world.until(lambda: replicas(world) == 4, "growth", 120)
    assert world.clock() - began >= 60
