"""ReplicaSets and ReplicationControllers keep so many pods, no more and no fewer, whatever happens to them."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

from sampan.api.times import format_time
from sampan.controllers.batches import BatchFailed, slow_start
from sampan.controllers.hashes import fnv32a, template_hash
from sampan.controllers.pods import deletion_cost, to_delete, to_remove
from sampan.http import Reply
from tests.controllers_crash import Crashing, Unanswering
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


async def test_a_lost_pod_is_replaced_and_surplus_ones_go(world: World) -> None:
    await world.hollow()
    await world.start(NAME)
    await world.admin.create("replicasets", replica_set(), namespace="default")
    await world.until(lambda: status(world).get("readyReplicas") == 3)
    lost = world.pods()[0]["metadata"]["name"]
    await world.admin.delete("pods", lost, "default", grace_seconds=0)
    await world.until(lambda: status(world).get("readyReplicas") == 3 and world.get("pods", lost) is None)
    await world.admin.set_scale("replicasets", "web", "default", 1)
    await world.until(lambda: status(world).get("terminatingReplicas") == 2)
    await world.until(lambda: status(world).get("terminatingReplicas") == 0)
    assert len(world.pods()) == 1 and status(world)["observedGeneration"] == 2
    gone = {event["message"] for event in world.events("SuccessfulDelete")}
    assert len(gone) == 2 and all(message.startswith("Deleted pod: web-") for message in gone)


async def test_available_only_after_being_ready_for_long_enough(world: World) -> None:
    await world.hollow()
    await world.start(NAME)
    await world.admin.create("replicasets", replica_set(minReadySeconds=60), namespace="default")
    await world.until(lambda: status(world).get("readyReplicas") == 3)
    ready = world.clock()
    assert "availableReplicas" not in status(world)
    await world.until(lambda: status(world).get("availableReplicas") == 3)
    assert 55 <= world.clock() - ready < 65


async def test_an_orphan_is_taken_over_and_a_relabelled_pod_let_go(world: World) -> None:
    await world.hollow()
    await world.start(NAME)
    pod = replica_set()["spec"]["template"]
    await world.admin.create("pods", {"metadata": {"name": "bare", **pod["metadata"]}, "spec": pod["spec"]}, "default")
    await world.admin.create("replicasets", replica_set(), namespace="default")
    await world.until(lambda: status(world).get("readyReplicas") == 3)
    assert "bare" in {pod["metadata"]["name"] for pod in world.pods()} and len(world.pods()) == 3
    await world.admin.patch("pods", "bare", {"metadata": {"labels": {"app": "else"}}}, "default")
    await world.until(lambda: len(world.pods()) == 4 and status(world).get("readyReplicas") == 3)
    assert "ownerReferences" not in world.get("pods", "bare")["metadata"]  # type: ignore[index]


async def test_pods_that_know_no_more_than_its_uid_are_none_of_its_own(world: World) -> None:
    await world.start(NAME)
    made = await world.admin.create("replicasets", replica_set(replicas=0), namespace="default")
    await world.admin.create("namespaces", {"metadata": {"name": "other"}})
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": made["metadata"]["uid"]}
    pod = replica_set()["spec"]["template"]
    for name, where, said in (
        ("abroad", "other", {}),
        ("misnamed", "default", {"name": "wob"}),
        ("misread", "default", {"kind": "Job", "apiVersion": "batch/v1"}),
        ("own", "default", {}),
    ):
        meta = {"name": name, **pod["metadata"], "ownerReferences": [{**owner, **said, "controller": True}]}
        await world.admin.create("pods", {"metadata": meta, "spec": pod["spec"]}, where)
    await world.until(lambda: world.events("SuccessfulDelete"))
    await world.admin.set_scale("replicasets", "web", "default", 1)
    await world.until(lambda: world.events("SuccessfulCreate"))
    await world.until(lambda: status(world).get("replicas") == 1)
    (gone,) = world.events("SuccessfulDelete")
    assert gone["message"] == "Deleted pod: own" and not world.pods("other")[0]["metadata"].get("deletionTimestamp")


async def test_what_is_being_deleted_takes_nothing_over_and_makes_nothing(world: World) -> None:
    await world.start(NAME)
    made = replica_set()
    made["metadata"]["finalizers"] = ["example.com/wait"]
    await world.admin.create("replicasets", made, namespace="default")
    await world.until(lambda: status(world).get("replicas") == 3)
    await world.admin.delete("replicasets", "web", "default")
    for pod in world.pods():
        await world.admin.patch("pods", pod["metadata"]["name"], {"metadata": {"ownerReferences": None}}, "default")
    await world.until(lambda: status(world).get("replicas") == 0)
    await world.settle()
    assert len(world.pods()) == 3 and not any("ownerReferences" in pod["metadata"] for pod in world.pods())


class Keeping:
    """Around a transport: pods are not deleted."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def request(self, method: str, path: str, **more: Any) -> Any:
        if method == "DELETE":
            said = b'{"kind":"Status","apiVersion":"v1","status":"Failure","message":"not now","reason":"x","code":500}'
            return Reply(500, {"content-type": "application/json"}, said)
        return await self.inner.request(method, path, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


async def test_it_says_why_pods_stay(world: World) -> None:
    world.wrap = Keeping
    await world.start(NAME)
    await world.admin.create("replicasets", replica_set(), namespace="default")
    await world.until(lambda: status(world).get("replicas") == 3)
    await world.admin.set_scale("replicasets", "web", "default", 2)
    (condition,) = await world.until(lambda: status(world).get("conditions"))
    assert (condition["type"], condition["reason"]) == ("ReplicaFailure", "FailedDelete")
    assert condition["message"] == "unable to delete pods: not now"
    (event,) = (await world.until(lambda: world.events("FailedDelete")))[:1]
    assert event["message"] == "Error deleting: not now"


async def test_replication_controllers_do_the_same(world: World) -> None:
    await world.hollow()
    await world.start("replicationcontroller-controller")
    made = replica_set()
    spec = {**made["spec"], "selector": {"app": "web"}}
    controller = {"metadata": {"name": "web"}, "spec": spec}
    await world.admin.create("replicationcontrollers", controller, namespace="default")
    await world.until(lambda: status(world, resource="replicationcontrollers", group="").get("availableReplicas") == 3)
    assert "terminatingReplicas" not in status(world, resource="replicationcontrollers", group="")
    assert {pod["metadata"]["ownerReferences"][0]["apiVersion"] for pod in world.pods()} == {"v1"}
    await world.settle()
    assert {event["source"]["component"] for event in world.events("SuccessfulCreate")} == {"replication-controller"}


async def test_writes_are_few(world: World) -> None:
    """Three pods: their creations, and a status each time something is to be counted; none when all is well."""
    calls: list[str] = []

    class Counting(Crashing):
        async def request(self, method: str, path: str, **more: Any) -> Any:
            if "/events" not in path:
                calls.append(f"{method} {path.rpartition('/')[2]}")
            return await super().request(method, path, **more)

    world.wrap = functools.partial(Counting, at=1_000_000)
    await world.hollow()
    await world.start(NAME)
    await world.admin.create("replicasets", replica_set(), namespace="default")
    await world.until(lambda: status(world).get("availableReplicas") == 3)
    await asyncio.sleep(600)
    assert calls[:3] == ["POST pods"] * 3
    assert 2 <= len(calls[3:]) <= 4 and set(calls[3:]) == {"PUT status"}


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
async def test_a_crash_at_any_call_changes_nothing_in_the_end(world: World, after: bool) -> None:
    await world.hollow()
    for at in range(1, 30):
        transports: list[Crashing] = []

        def wrap(inner: Any, at: int = at, made: list[Crashing] = transports) -> Crashing:
            made.append(Crashing(inner, at, after=after))
            return made[-1]

        size = 6 if at % 2 else 1
        world.wrap = wrap
        await world.start(NAME)
        if at == 1:
            await world.admin.create("replicasets", replica_set(replicas=size), namespace="default")
        else:
            await world.admin.set_scale("replicasets", "web", "default", size)
        await world.settle()
        await world.stop(NAME)
        world.wrap = lambda inner: inner
        await world.start(NAME)
        await world.until(functools.partial(all_there, world, size))
        await world.settle()
        assert status(world)["replicas"] == size
        await world.stop(NAME)
    assert not transports[0].crashed.is_set()


async def test_creations_that_nobody_answers_are_not_made_again(world: World) -> None:
    most = 0

    def count() -> bool:
        nonlocal most
        most = max(most, len(world.pods()))
        return status(world).get("availableReplicas") == 10

    await world.hollow()
    world.wrap = functools.partial(Unanswering, count=4)
    await world.start(NAME)
    await world.admin.create("replicasets", replica_set(replicas=10), namespace="default")
    await world.until(count)
    await world.settle()
    assert most == len(world.pods()) == 10


def all_there(world: World, size: int) -> bool:
    return bool(status(world).get("availableReplicas") == size == len(world.pods()))


def test_who_goes_first() -> None:
    now = 1_800_000_000.0

    def pod(name: str, node: str = "n", phase: str = "Running", ready: float | None = 1e5, **more: Any) -> Obj:
        meta: Obj = {"name": name, "uid": name, "creationTimestamp": format_time(now - more.get("age", 1e6))}
        if "cost" in more:
            meta["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": more["cost"]}
        since = None if ready is None else format_time(now - ready)
        condition: Obj = {"type": "Ready", "status": "True" if since else "False", "lastTransitionTime": since}
        restarts = [{"name": "c", "restartCount": more.get("restarts", 0)}]
        state = {"phase": phase, "conditions": [condition], "containerStatuses": restarts}
        return {"metadata": meta, "spec": {"nodeName": node, "containers": []}, "status": state}

    ranked = [
        pod("unassigned", node="", phase="Pending", ready=None),
        pod("pending", phase="Pending", ready=None),
        pod("unknown", phase="Unknown", ready=None),
        pod("not ready", ready=None),
        pod("cheap", cost="-5"),
        pod("crowded", node="full"),
        pod("young", node="a", ready=10),
        pod("restarted", node="a", restarts=3),
        pod("created later", node="a", age=10),
        pod("long ready", node="a", ready=1e7),
        pod("dear", cost="7"),
    ]
    related = [
        *ranked,
        *(pod(f"{node}{number}", node=node) for node, n in (("full", 9), ("n", 3)) for number in range(n)),
    ]
    for count in range(1, len(ranked)):
        chosen = to_delete(ranked[::-1], related, count, now)
        assert [pod["metadata"]["name"] for pod in chosen] == [pod["metadata"]["name"] for pod in ranked[:count]]


def test_who_goes_first_of_a_job() -> None:
    def pod(name: str, node: str = "n", ready: int | None = 10, created: int = 1, restarts: int = 0) -> Obj:
        notes = {"controller.kubernetes.io/pod-deletion-cost": "-5"} if name == "cheap" else {}
        meta = {"name": name, "uid": name, "creationTimestamp": format_time(created), "annotations": notes}
        condition: Obj = {"type": "Ready", "status": "False" if ready is None else "True"}
        condition["lastTransitionTime"] = format_time(ready or 0)
        state = {"phase": "Running", "conditions": [condition]}
        state["containerStatuses"] = [{"name": "c", "restartCount": restarts}]
        return {"metadata": meta, "spec": {"nodeName": node, "containers": []}, "status": state}

    ranked = [
        pod("unassigned", node=""),
        pod("not ready", ready=None),
        pod("ready last", ready=21),
        pod("ready a second before", ready=20),
        pod("restarted", restarts=1),
        pod("younger", created=3),
        pod("older", created=2),
        pod("cheap"),
    ]
    for count in range(len(ranked) + 1):
        chosen = to_remove(ranked[::-1], count)
        assert [pod["metadata"]["name"] for pod in chosen] == [pod["metadata"]["name"] for pod in ranked[:count]]


@pytest.mark.parametrize(
    ("text", "cost"), [("10", 10), ("-10", -10), ("+1", 0), ("01", 0), ("x", 0), ("", 0), ("99999999999", 0), ("0", 0)]
)
def test_deletion_costs_are_read_as_go_writes_numbers(text: str, cost: int) -> None:
    assert deletion_cost({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": text}}}) == cost


async def test_a_slow_start_stops_where_it_fails() -> None:
    calls: list[int] = []

    async def call(number: int) -> None:
        calls.append(number)
        if number == 4:
            raise ValueError("no")

    with pytest.raises(BatchFailed) as failed:
        await slow_start(100, call)
    assert calls == list(range(7)) and failed.value.done == 6 and str(failed.value.error) == "no"
    assert await slow_start(3, lambda _: asyncio.sleep(0)) == 3


def test_a_hash_is_safe_and_another_after_a_collision() -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}
    hashes = {template_hash(template, count) for count in (None, 0, 1, 2)}
    assert len(hashes) == 4 and all(set(text) <= set("bcdfghjklmnpqrstvwxz2456789") for text in hashes)
    assert template_hash(dict(reversed(template.items()))) == template_hash(template)
    assert fnv32a(b"hello") == 0x4F9F2CAB
