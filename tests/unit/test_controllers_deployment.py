"""Deployments roll from one template to the next within their bounds, and say how it goes."""

from __future__ import annotations

import asyncio
import copy
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.controllers.deployment_sets import bounds, inherited, same_template, sizes
from tests.controllers_crash import Crashing
from tests.controllers_world import World

Obj = dict[str, Any]
REVISION = "deployment.kubernetes.io/revision"
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


async def test_a_rollout_stays_within_its_bounds(world: World) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": 1}}
    await begin(world, replicas=8, strategy=rolling)
    seen: list[tuple[int, int]] = []

    def look(_: object) -> None:
        pods = [pod for pod in world.pods() if "deletionTimestamp" not in pod["metadata"]]
        seen.append((len(pods), sum(ready(pod) for pod in pods)))

    world.server.store.subscribe(look)  # type: ignore[attr-defined]
    await change(world, image("nginx:2"))
    await world.until(lambda: complete(world))
    assert max(count for count, _ in seen) <= 10
    assert min(up for _, up in seen) >= 7
    old, new = sorted(
        sets(world), key=lambda set_: set_["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
    )
    assert (old["spec"]["replicas"], new["spec"]["replicas"]) == (0, 8)
    assert {pod["spec"]["containers"][0]["image"] for pod in world.pods() if ready(pod)} == {"nginx:2"}
    assert found(world)["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"


def ready(pod: Obj) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


async def test_going_back_gives_the_old_set_a_new_revision(world: World) -> None:
    await begin(world)
    for name in ("nginx:2", "nginx:1"):
        await change(world, image(name))
        await world.until(lambda: complete(world))
        await world.settle()
    assert len(sets(world)) == 2
    (marks,) = (set_["metadata"]["annotations"] for set_ in sets(world) if set_["spec"]["replicas"])
    assert marks["deployment.kubernetes.io/revision"] == "3"
    assert marks["deployment.kubernetes.io/revision-history"] == "1"


async def test_only_so_much_history_is_kept(world: World) -> None:
    await begin(world, revisionHistoryLimit=1)
    for number in range(2, 5):
        await change(world, image(f"nginx:{number}"))
        await world.until(lambda: complete(world))
        await world.settle()
    revisions = {set_["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for set_ in sets(world)}
    assert revisions == {"3", "4"}


async def test_recreate_has_no_pods_of_two_templates(world: World) -> None:
    await begin(world, strategy={"type": "Recreate"})
    mixed: list[set[str]] = []
    world.server.store.subscribe(  # type: ignore[attr-defined]
        lambda _: mixed.append({pod["spec"]["containers"][0]["image"] for pod in world.pods()})
    )
    await change(world, image("nginx:2"))
    await world.until(lambda: complete(world))
    assert {"nginx:1", "nginx:2"} not in mixed and mixed[-1] == {"nginx:2"}


async def test_a_paused_deployment_scales_but_does_not_roll(world: World) -> None:
    await begin(world)
    await change(world, {"spec": {"paused": True, "replicas": 5} | image("nginx:2")["spec"]})
    await world.until(lambda: found(world)["status"].get("replicas") == 5)
    await world.settle()
    assert len(sets(world)) == 1
    progressing = condition(world, "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("Unknown", "DeploymentPaused")
    assert progressing["message"] == "Deployment is paused"
    await change(world, {"spec": {"paused": False}})
    await world.until(lambda: complete(world))
    assert condition(world, "Progressing")["reason"] == "NewReplicaSetAvailable"


async def test_a_stuck_rollout_is_told_of_at_its_deadline_and_may_be_undone(world: World) -> None:
    await begin(world, progressDeadlineSeconds=60)
    began = world.clock()
    await change(world, image("nginx:missing"))
    await world.until(lambda: condition(world, "Progressing").get("reason") == "ProgressDeadlineExceeded")
    assert 60 <= world.clock() - began < 70
    progressing, new = condition(world, "Progressing"), max(sets(world), key=made)
    assert progressing["status"] == "False"
    assert progressing["message"] == f'ReplicaSet "{new["metadata"]["name"]}" has timed out progressing.'
    assert found(world)["status"]["availableReplicas"] == 3
    await change(world, image("nginx:1"))
    await world.until(lambda: complete(world))
    await world.settle()
    assert condition(world, "Progressing")["reason"] == "NewReplicaSetAvailable"


def made(set_: Obj) -> tuple[str, int]:
    return set_["metadata"]["creationTimestamp"], int(set_["metadata"]["annotations"][REVISION])


async def test_scaled_amid_a_rollout_each_set_gets_its_share(world: World) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 5, "maxUnavailable": 0}}
    await begin(world, replicas=10, strategy=rolling)
    await change(world, image("nginx:missing"))
    await world.until(lambda: [s["spec"]["replicas"] for s in sorted(sets(world), key=made)] == [10, 5])
    await change(world, {"spec": {"replicas": 20}})
    await world.settle()
    # 25 in all, 10 more than 15: two thirds of them for the larger
    assert [s["spec"]["replicas"] for s in sorted(sets(world), key=made)] == [17, 8]
    assert {s["metadata"]["annotations"]["deployment.kubernetes.io/max-replicas"] for s in sets(world)} == {"25"}


async def test_a_taken_name_leads_to_another_hash(world: World) -> None:
    await begin(world)
    # nobody collects its replica set here: it has the name that the next of this template would get
    await world.admin.delete("deployments", "web", "default")
    await world.until(lambda: not world.all("deployments", group="apps"))
    await world.admin.create("deployments", deployment(), namespace="default")
    await world.until(lambda: complete(world))
    assert found(world)["status"]["collisionCount"] == 1
    assert len({set_["metadata"]["labels"]["pod-template-hash"] for set_ in sets(world)}) == 2


async def test_a_long_name_gives_way_to_the_hash(world: World) -> None:
    await world.start(*NAMES)
    made = deployment(name="w" * 250, replicas=0)
    made["spec"]["selector"] = {"matchLabels": {"app": "web"}}
    made["spec"]["template"]["metadata"]["labels"] = {"app": "web"}
    await world.admin.create("deployments", made, namespace="default")
    (first,) = await world.until(lambda: sets(world))
    hashed = first["metadata"]["labels"]["pod-template-hash"]
    assert first["metadata"]["name"] == f"{'w' * (252 - len(hashed))}-{hashed}"


async def test_an_orphan_is_taken_over_and_a_relabelled_set_let_go(world: World) -> None:
    await begin(world)
    (first,) = sets(world)
    name = first["metadata"]["name"]
    await world.admin.patch("replicasets", name, {"metadata": {"ownerReferences": None}}, "default")
    await world.until(lambda: "ownerReferences" in sets(world)[0]["metadata"])
    assert len(sets(world)) == 1
    await world.admin.patch("replicasets", name, {"metadata": {"labels": {"app": "mine"}}}, "default")
    await world.until(lambda: "ownerReferences" not in world.get("replicasets", name, group="apps")["metadata"])  # type: ignore[index]


async def test_what_its_replica_set_cannot_do_is_told(world: World) -> None:
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "2"}}}
    await world.hollow()
    await world.admin.create("resourcequotas", quota, namespace="default")
    used = {"status": {"hard": {"pods": "2"}, "used": {"pods": "0"}}}
    await world.admin.patch("resourcequotas", "q", used, "default", subresource="status")
    await world.start(*NAMES)
    await world.admin.create("deployments", deployment(), namespace="default")
    failure = await world.until(lambda: condition(world, "ReplicaFailure"))
    assert (failure["status"], failure["reason"]) == ("True", "FailedCreate")
    assert "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2" in failure["message"]
    await world.until(lambda: world.events("FailedCreate"))
    await world.admin.delete("resourcequotas", "q", "default")
    await world.until(lambda: complete(world) and not condition(world, "ReplicaFailure"))


class Counted:
    """`most`: pods there have been at once that were not being deleted."""

    def __init__(self, world: World) -> None:
        self.most = 0
        self._there: set[bytes] = {record.key.encode() for record in world.server.api.cached("", "pods").list("")}
        world.server.store.subscribe(self.look)  # type: ignore[attr-defined]

    def look(self, events: Any) -> None:
        for event in events:
            key = event.kv.key.partition(b"/pods/")[2]
            if not key:
                continue
            if event.type == "delete" or b'"deletionTimestamp"' in event.kv.value:
                self._there.discard(key)
            else:
                self._there.add(key)
            self.most = max(self.most, len(self._there))


async def crash(world: World, at: int, after: bool, patch: Obj) -> bool:
    """Controllers of which each dies at its `at`-th call after a change, and others in their place. Whether any died."""
    transports: list[Crashing] = []

    def wrap(inner: Any) -> Crashing:
        transports.append(Crashing(inner, at, after=after))
        return transports[-1]

    for name in NAMES:
        await world.stop(name)
    world.wrap = wrap
    await world.start(*NAMES)
    await change(world, patch)
    await world.settle()
    for name in NAMES:
        await world.stop(name)
    world.wrap = lambda inner: inner
    await world.start(*NAMES)
    return any(transport.crashed.is_set() for transport in transports)


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
async def test_a_crash_at_any_call_of_a_rollout_changes_nothing_in_the_end(world: World, after: bool) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
    await begin(world, replicas=3, strategy=rolling, revisionHistoryLimit=2)
    counted = Counted(world)
    for at in range(1, 100):
        crashed = await crash(world, at, after, image(f"nginx:{at + 1}"))
        await world.until(lambda: complete(world))
        await world.settle()
        assert 3 < counted.most <= 4
        uids = {set_["metadata"]["uid"] for set_ in sets(world)}
        for pod in world.pods():
            assert pod["metadata"]["ownerReferences"][0]["uid"] in uids
            assert pod["spec"]["containers"][0]["image"] == f"nginx:{at + 1}"
        if not crashed:
            break
    assert at > 8 and found(world)["metadata"]["annotations"][REVISION] == str(at + 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_killed_at_random_amid_a_rollout_of_fifty_it_converges(world: World, seed: int) -> None:
    await begin(world, replicas=50, revisionHistoryLimit=1)
    counted, rng = Counted(world), random.Random(seed)
    await change(world, image("nginx:2"))
    for _ in range(12):
        # some turns of the loop, which may be amid a batch of calls, or some time
        for _ in range(rng.randrange(400)):
            await asyncio.sleep(0)
        await asyncio.sleep(rng.choice([0.0, 0.0, 1.0]) * rng.random())
        name = rng.choice(NAMES)
        await world.stop(name)
        for _ in range(20):
            await asyncio.sleep(0)  # a new process lists, which shows it what the old one did
        await world.start(name)
    await world.until(lambda: complete(world))
    await world.settle()
    assert 50 < counted.most <= 63
    (new,) = (set_ for set_ in sets(world) if set_["spec"]["replicas"])
    assert {pod["metadata"]["ownerReferences"][0]["uid"] for pod in world.pods()} == {new["metadata"]["uid"]}
    assert len(world.pods()) == 50


def sized(name: str, replicas: int, maximum: int) -> Obj:
    notes = {"deployment.kubernetes.io/max-replicas": str(maximum)}
    return {"metadata": {"name": name, "annotations": notes}, "spec": {"replicas": replicas}}


@pytest.mark.parametrize(
    ("before", "wanted", "surge", "after"),
    [
        ([6, 4], 12, 0, [7, 5]),
        ([6, 4], 5, 0, [3, 2]),
        ([3, 2], 10, 0, [6, 4]),
        ([3, 3], 10, 0, [5, 5]),
        ([8, 8, 8], 35, 0, [12, 12, 11]),
        ([10, 20, 30], 0, 0, [0, 0, 0]),
        ([1, 1, 1], 4, 2, [2, 2, 2]),
    ],
)
def test_shares(before: list[int], wanted: int, surge: int, after: list[int]) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": 1}}
    made = deployment(replicas=wanted, strategy=rolling)
    old = [sized(f"s{number}", size, sum(before)) for number, size in enumerate(before)]
    assert sorted((size for _, size in sizes(made, old)), reverse=True) == sorted(after, reverse=True)


@given(
    st.lists(st.integers(1, 60), min_size=2, max_size=5), st.integers(0, 300), st.integers(0, 20), st.integers(1, 400)
)
def test_shares_fill_what_is_allowed_and_no_more(before: list[int], wanted: int, surge: int, maximum: int) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": 1}}
    made = deployment(replicas=wanted, strategy=rolling)
    out = [size for _, size in sizes(made, [sized(f"s{n}", size, maximum) for n, size in enumerate(before)])]
    allowed = wanted + surge if wanted else 0
    assert min(out) >= 0
    assert sum(out) == allowed or 0 in out


@pytest.mark.parametrize(
    ("surge", "unavailable", "replicas", "bounded"),
    [
        ("25%", "25%", 10, (3, 2)),
        ("0%", "10%", 5, (0, 1)),
        (1, 0, 5, (1, 0)),
        ("150%", 9, 4, (6, 4)),
        (0, 0, 3, (0, 1)),
    ],
)
def test_bounds(surge: Any, unavailable: Any, replicas: int, bounded: tuple[int, int]) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    assert bounds(deployment(replicas=replicas, strategy=rolling)) == bounded


def test_a_template_is_the_same_whatever_its_hash_and_however_it_says_nothing() -> None:
    one = deployment()["spec"]["template"]
    other = copy.deepcopy(one)
    other["metadata"] |= {"creationTimestamp": None, "labels": {**one["metadata"]["labels"], "pod-template-hash": "x"}}
    other["spec"]["tolerations"] = []
    assert same_template(one, other)
    other["spec"]["containers"][0]["image"] = "nginx:2"
    assert not same_template(one, other)


def test_history_is_kept_within_its_length() -> None:
    old = ",".join(str(number) for number in range(10**6, 10**6 + 250))
    marks = {REVISION: "7", "deployment.kubernetes.io/revision-history": old}
    marks = inherited(deployment(), {"metadata": {"annotations": marks}}, 9)
    history = marks["deployment.kubernetes.io/revision-history"]
    assert marks[REVISION] == "9" and history.endswith(",7") and 1990 < len(history) <= 2000
