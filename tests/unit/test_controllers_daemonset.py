"""DaemonSets: a pod on every node that suits, rolled node by node; and the same end after a crash anywhere."""

from __future__ import annotations

import asyncio
import functools
import itertools
from typing import Any

import pytest

from sampan.client import StatusError
from sampan.controllers.daemon_nodes import suits, target_of, tolerations_of
from sampan.controllers.daemonset import DaemonSetController
from sampan.controllers.manager import build
from tests.controllers_crash import TIMED_OUT, Crashing, Unanswering
from tests.controllers_world import World

Obj = dict[str, Any]
NAME = "daemonset-controller"


def daemon_set(notes: Obj | None = None, pod: Obj | None = None, **spec: Any) -> Obj:
    options = {f"hollow.sampan.io/{key}": value for key, value in (notes or {}).items()}
    template = {
        "metadata": {"labels": {"app": "agent"}, "annotations": options},
        "spec": {"containers": [{"name": "c", "image": "agent:1"}], **(pod or {})},
    }
    spec = {"selector": {"matchLabels": {"app": "agent"}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"}, "spec": spec}


async def schedule(world: World) -> None:
    """In place of a scheduler: pods go where their affinity says."""
    tasks = set()

    async def bind(pod: Obj) -> None:
        try:
            await world.admin.bind(pod["metadata"]["name"], "default", target_of(pod))
        except StatusError:
            assert world.get("pods", pod["metadata"]["name"]) is None

    def seen(pod: Obj) -> None:
        if not pod["spec"].get("nodeName"):
            tasks.add(task := asyncio.create_task(bind(pod)))
            task.add_done_callback(tasks.discard)

    world.informers.get("pods").add_handler(seen)


async def nodes(world: World, count: int) -> None:
    """New nodes are tainted until someone sees that they are ready."""
    await world.hollow(count, heartbeats=False)
    for number in range(count):
        await world.admin.patch("nodes", f"n{number + 1}", {"spec": {"taints": None}})


async def begin(world: World, obj: Obj, count: int = 3) -> None:
    await nodes(world, count)
    await world.start(NAME)
    await schedule(world)
    await world.admin.create("daemonsets.apps", obj, namespace="default")


def status(world: World) -> Obj:
    found = world.get("daemonsets", "agent", group="apps")
    return (found or {}).get("status") or {}


def placed(world: World) -> list[tuple[str, str]]:
    """Node and image of every pod that stays."""
    return sorted(
        (target_of(pod), str(pod["spec"]["containers"][0]["image"]).partition(":")[2])
        for pod in world.pods()
        if "deletionTimestamp" not in pod["metadata"]
    )


def uids(world: World) -> set[str]:
    return {pod["metadata"]["uid"] for pod in world.pods()}


async def ready(world: World, count: int = 3) -> None:
    def holds() -> bool:
        now, found = status(world), world.get("daemonsets", "agent", group="apps")
        seen = found is not None and now.get("observedGeneration") == found["metadata"]["generation"]
        settled = now.get("updatedNumberScheduled", 0) == now.get("numberAvailable", 0) == count
        return seen and settled and now["desiredNumberScheduled"] == now["numberReady"] == count == len(world.pods())

    await world.until(holds, f"{count} daemons that are ready")


async def patch(world: World, **spec: Any) -> None:
    await world.admin.patch("daemonsets.apps", "agent", {"spec": spec}, "default", type="strategic")


def image(version: int) -> Obj:
    return {"template": {"spec": {"containers": [{"name": "c", "image": f"agent:{version}"}]}}}


async def test_a_pod_on_every_node(world: World) -> None:
    await begin(world, daemon_set())
    await ready(world)
    await world.settle()
    assert status(world) == {
        "currentNumberScheduled": 3, "numberMisscheduled": 0, "desiredNumberScheduled": 3, "numberReady": 3,
        "observedGeneration": 1, "updatedNumberScheduled": 3, "numberAvailable": 3,
    }  # fmt: skip
    assert placed(world) == [("n1", "1"), ("n2", "1"), ("n3", "1")]
    (revision,) = world.all("controllerrevisions", group="apps")
    hashed = revision["metadata"]["labels"]["controller-revision-hash"]
    assert {pod["metadata"]["labels"]["controller-revision-hash"] for pod in world.pods()} == {hashed}
    tolerated = [(item["key"].partition("/")[2], item["effect"]) for item in world.pods()[0]["spec"]["tolerations"]]
    assert tolerated == [
        ("not-ready", "NoExecute"), ("unreachable", "NoExecute"), ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"), ("pid-pressure", "NoSchedule"), ("unschedulable", "NoSchedule"),
    ]  # fmt: skip


async def test_nodes_come_and_go_and_change(world: World) -> None:
    await begin(world, daemon_set(pod={"nodeSelector": {"disk": "ssd"}}))
    await world.settle()
    assert status(world)["desiredNumberScheduled"] == 0 and world.pods() == []
    await world.admin.patch("nodes", "n2", {"metadata": {"labels": {"disk": "ssd"}}})
    await ready(world, 1)
    assert placed(world) == [("n2", "1")]
    await world.admin.patch("nodes", "n2", {"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}})
    await world.until(lambda: status(world)["numberMisscheduled"] == 1)
    await world.settle()
    assert len(world.pods()) == 1
    await world.admin.patch("nodes", "n2", {"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}})
    await world.until(lambda: world.pods() == [])
    await world.admin.patch("nodes", "n2", {"spec": {"taints": None, "unschedulable": True}})
    await ready(world, 1)


async def test_an_update_takes_no_more_nodes_down_than_allowed(world: World) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "50%"}}
    await begin(world, daemon_set(updateStrategy=rolling, minReadySeconds=5), count=4)
    await ready(world, 4)
    await patch(world, **image(2))
    least = 4

    def watch() -> bool:
        nonlocal least
        least = min(least, sum(pod["status"].get("phase") == "Running" for pod in world.pods()))
        return [version for _, version in placed(world)] == ["2"] * 4

    await world.until(watch)
    await ready(world, 4)
    assert least == 2


async def test_with_surge_the_new_pod_is_there_before_the_old_one_goes(world: World) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    await begin(world, daemon_set(updateStrategy=rolling, notes={"ready-delay": "3"}))
    await ready(world)
    await patch(world, **image(2))
    least, most = 3, 0

    def watch() -> bool:
        nonlocal least, most
        least = min(least, status(world)["numberReady"])
        most = max(most, len(placed(world)))
        return [version for _, version in placed(world)] == ["2"] * 3

    await world.until(watch)
    await ready(world)
    assert (least, most) == (3, 4)


async def test_with_surge_a_node_does_not_wait_for_a_pod_to_go(world: World) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    await begin(world, daemon_set(updateStrategy=rolling, notes={"stop-delay": "20"}), count=1)
    await ready(world, 1)
    (leaving,) = world.pods()
    await world.admin.delete("pods", leaving["metadata"]["name"], "default")
    await world.until(lambda: placed(world) == [("n1", "1")], "another", 5)
    assert leaving["metadata"]["uid"] in uids(world) and len(world.pods()) == 2
    await ready(world, 1)


async def test_a_generation_is_not_observed_before_anything_is_done_about_it(world: World) -> None:
    await nodes(world, 1)
    controller = build(NAME, world.context())
    assert isinstance(controller, DaemonSetController)
    controller.expectations.expect("default/agent", 1, 0)
    world.tasks[NAME] = asyncio.create_task(controller.run())
    await world.admin.create("daemonsets.apps", daemon_set(), namespace="default")
    await world.until(lambda: status(world).get("desiredNumberScheduled") == 1)
    assert "observedGeneration" not in status(world) and world.pods() == []
    controller.expectations.creation_observed("default/agent")
    await patch(world, minReadySeconds=1)
    await world.until(lambda: status(world).get("observedGeneration") == 2)


async def test_on_delete_pods_are_updated_when_they_are_deleted(world: World) -> None:
    await begin(world, daemon_set(updateStrategy={"type": "OnDelete"}))
    await ready(world)
    await patch(world, **image(2))
    await world.settle()
    assert [version for _, version in placed(world)] == ["1"] * 3
    (victim,) = [pod for pod in world.pods() if target_of(pod) == "n2"]
    await world.admin.delete("pods", victim["metadata"]["name"], "default")
    await world.until(lambda: placed(world) == [("n1", "1"), ("n2", "2"), ("n3", "1")])


async def test_failed_pods_are_replaced_later_and_later(world: World) -> None:
    await begin(world, daemon_set(), count=1)
    times = []
    for _ in range(4):
        await ready(world, 1)
        (pod,) = world.pods()
        times.append(world.loop.time())
        await world.admin.patch(
            "pods", pod["metadata"]["name"], {"status": {"phase": "Failed"}}, "default", subresource="status"
        )
        await world.until(lambda gone=pod: gone["metadata"]["uid"] not in uids(world))  # type: ignore[misc]
    await ready(world, 1)
    times.append(world.loop.time())
    assert [round(later - earlier) for earlier, later in itertools.pairwise(times)] == [0, 1, 2, 4]
    await world.settle()
    said = f"Found failed daemon pod default/{pod['metadata']['name']} on node n1, will try to kill it"
    assert said in {event["message"] for event in world.events("FailedDaemonPod")}


async def test_two_pods_on_a_node_are_one_too_many(world: World) -> None:
    await begin(world, daemon_set(), count=1)
    await ready(world, 1)
    (first,) = world.pods()
    await asyncio.sleep(5)
    copied = {"labels": first["metadata"]["labels"], "name": "extra"}
    await world.admin.create("pods", {"metadata": copied, "spec": first["spec"]}, "default")
    await world.until(lambda: len(world.pods()) == 2)
    await world.until(lambda: [pod["metadata"]["name"] for pod in world.pods()] == [first["metadata"]["name"]])


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 14))
async def test_a_crash_at_any_write_leads_to_the_same_end(world: World, at: int, after: bool) -> None:
    crashing: list[Crashing] = []

    def wrap(transport: Any) -> Any:
        crashing.append(Crashing(transport, at, after=after))
        return crashing[-1]

    await nodes(world, 2)
    world.wrap = wrap
    await world.start(NAME)
    world.wrap = lambda transport: transport
    await schedule(world)
    await world.admin.create("daemonsets.apps", daemon_set(), namespace="default")

    async def life() -> None:
        await ready(world, 2)
        await patch(world, **image(2))
        await ready(world, 2)

    over = asyncio.create_task(life())
    crashed = asyncio.create_task(crashing[0].crashed.wait())
    await asyncio.wait((crashed, over), return_when=asyncio.FIRST_COMPLETED)
    await world.stop(NAME)
    await world.start(NAME)
    await over
    crashed.cancel()
    await world.settle()
    assert placed(world) == [("n1", "2"), ("n2", "2")] and len(world.all("controllerrevisions", group="apps")) == 2


def test_affinity_and_tolerations() -> None:
    node = {"metadata": {"name": "n", "labels": {"cpus": "8", "zone": "a"}}}

    def affine(**term: Any) -> bool:
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
        return suits({"affinity": {"nodeAffinity": required}}, node)

    def item(key: str, operator: str, *values: str) -> Obj:
        return {"key": key, "operator": operator, "values": list(values)}

    assert affine(matchExpressions=[item("cpus", "Gt", "4"), item("zone", "In", "a", "b"), item("gpu", "DoesNotExist")])
    assert not affine(matchExpressions=[item("cpus", "Lt", "4")]) and not affine()
    assert affine(matchFields=[item("metadata.name", "In", "n")])
    assert not affine(matchFields=[item("metadata.name", "NotIn", "n")])
    own = [
        {"key": "node.kubernetes.io/pid-pressure", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "k", "operator": "Exists"},
    ]
    found = tolerations_of({"hostNetwork": True, "tolerations": own})
    assert found[:2] == own and [item["key"].removeprefix("node.kubernetes.io/") for item in found[2:]] == [
        "not-ready", "unreachable", "disk-pressure", "memory-pressure", "unschedulable", "network-unavailable",
    ]  # fmt: skip


@pytest.mark.parametrize("said", [None, TIMED_OUT])
async def test_creations_that_nobody_answers_are_not_made_again(world: World, said: Any) -> None:
    await nodes(world, 5)
    world.wrap = functools.partial(Unanswering, count=3, said=said)
    await world.start(NAME)
    world.wrap = lambda transport: transport
    await schedule(world)
    before = world.clock()
    await world.admin.create("daemonsets.apps", daemon_set(), namespace="default")
    await ready(world, 5)
    await world.settle()
    assert len(world.pods()) == 5 and world.clock() - before < 60
