"""StatefulSets: names, order, storage, revisions; and the same end after a crash anywhere."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

from sampan.api.times import format_time
from sampan.controllers.stateful_pods import is_stale, with_owners
from tests.controllers_crash import Crashing
from tests.controllers_world import World

Obj = dict[str, Any]
NAME = "statefulset-controller"


def stateful_set(replicas: int = 3, notes: Obj | None = None, **spec: Any) -> Obj:
    options = {f"hollow.sampan.io/{key}": value for key, value in (notes or {}).items()}
    template = {
        "metadata": {"labels": {"app": "db"}, "annotations": options},
        "spec": {"containers": [{"name": "c", "image": "db:1"}], "nodeName": "n1"},
    }
    spec = {
        "replicas": replicas, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "template": template,
        **spec,
    }  # fmt: skip
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": spec}


def claims(**policy: str) -> Obj:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    out: Obj = {"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}]}
    return out | ({"persistentVolumeClaimRetentionPolicy": policy} if policy else {})


async def begin(world: World, obj: Obj) -> Obj:
    await world.hollow(heartbeats=False)
    await world.start(NAME)
    return await world.admin.create("statefulsets.apps", obj, namespace="default")


def status(world: World) -> Obj:
    found = world.get("statefulsets", "db", group="apps")
    return (found or {}).get("status") or {}


def names(world: World) -> list[str]:
    return sorted(str(pod["metadata"]["name"]) for pod in world.pods())


def images(world: World) -> list[str]:
    return [str(world.get("pods", name)["spec"]["containers"][0]["image"]) for name in names(world)]  # type: ignore[index]


def made(world: World) -> list[str]:
    """Names of pods in the order of their events."""
    events = sorted(world.events(), key=lambda event: int(event["metadata"]["name"].rpartition(".")[2], 16))
    return [
        f"{event['reason'].removeprefix('Successful')[0]}{event['message'].split()[2].removeprefix('db-')}"
        for event in events
        if event["involvedObject"]["kind"] == "StatefulSet" and event["message"].split()[1] == "Pod"
    ]


async def patch(world: World, **spec: Any) -> None:
    await world.admin.patch("statefulsets.apps", "db", {"spec": spec}, "default", type="strategic")


def image(version: int) -> Obj:
    return {"template": {"spec": {"containers": [{"name": "c", "image": f"db:{version}"}]}}}


async def ready(world: World, replicas: int = 3) -> None:
    def holds() -> bool:
        now, found = status(world), world.get("statefulsets", "db", group="apps")
        seen = found is not None and now.get("observedGeneration") == found["metadata"]["generation"]
        updated = now.get("updatedReplicas", 0) == replicas
        return seen and updated and now["replicas"] == now["availableReplicas"] == replicas

    await world.until(holds, f"{replicas} pods that are ready")


async def test_pods_come_in_order_with_names_of_their_own(world: World) -> None:
    await begin(world, stateful_set(notes={"ready-delay": "5"}))
    await world.until(lambda: len(world.pods()) == 2)
    assert world.loop.time() >= 5
    await ready(world)
    await world.settle()
    revision = status(world)["updateRevision"]
    assert status(world) == {
        "observedGeneration": 1, "replicas": 3, "readyReplicas": 3, "availableReplicas": 3, "currentReplicas": 3,
        "updatedReplicas": 3, "currentRevision": revision, "updateRevision": revision, "collisionCount": 0,
    }  # fmt: skip
    pod = world.get("pods", "db-1")
    assert pod is not None and (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("db-1", "db")
    assert pod["metadata"]["labels"] == {
        "app": "db", "statefulset.kubernetes.io/pod-name": "db-1", "apps.kubernetes.io/pod-index": "1",
        "controller-revision-hash": revision,
    }  # fmt: skip
    assert pod["metadata"]["generateName"] == "db-"
    assert made(world) == ["C0", "C1", "C2"]
    assert {event["message"] for event in world.events("SuccessfulCreate")} >= {
        "create Pod db-0 in StatefulSet db successful"
    }


async def test_scaled_down_in_reverse_order(world: World) -> None:
    await begin(world, stateful_set(notes={"stop-delay": "5"}))
    await ready(world)
    await patch(world, replicas=1)
    await world.until(lambda: sum("deletionTimestamp" in pod["metadata"] for pod in world.pods()) == 1)
    await ready(world, 1)
    await world.settle()
    assert names(world) == ["db-0"] and made(world)[-2:] == ["D2", "D1"]


async def test_parallel_sets_do_all_at_once(world: World) -> None:
    await begin(world, stateful_set(5, podManagementPolicy="Parallel", notes={"ready-delay": "10"}))
    await world.until(lambda: len(world.pods()) == 5)
    assert world.loop.time() < 5
    await patch(world, replicas=0)
    await ready(world, 0)


async def test_ordinals_may_start_anywhere(world: World) -> None:
    await begin(world, stateful_set(2, ordinals={"start": 5}))
    await ready(world, 2)
    assert names(world) == ["db-5", "db-6"]
    await patch(world, ordinals={"start": 6})
    await world.until(lambda: names(world) == ["db-6", "db-7"])


async def test_an_update_rolls_from_the_last_to_the_first(world: World) -> None:
    await begin(world, stateful_set(minReadySeconds=3))
    await ready(world)
    first = status(world)["currentRevision"]
    await patch(world, **image(2))
    await world.until(lambda: images(world) == ["db:1", "db:1", "db:2"])
    assert status(world)["currentRevision"] == first != status(world)["updateRevision"]
    await ready(world)
    await world.settle()
    assert images(world) == ["db:2"] * 3 and made(world)[3:] == ["D2", "D1", "D0"]
    assert status(world)["currentRevision"] == status(world)["updateRevision"] != first
    await patch(world, **image(1))
    await ready(world)
    assert status(world)["updateRevision"] == first
    revisions = {item["metadata"]["name"]: item["revision"] for item in world.all("controllerrevisions", group="apps")}
    assert len(revisions) == 2 and revisions[first] == 3


async def test_a_partition_holds_the_update_back(world: World) -> None:
    held = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    await begin(world, stateful_set(updateStrategy=held))
    await ready(world)
    await patch(world, **image(2))
    await world.until(lambda: status(world).get("updatedReplicas") == 1 and status(world)["readyReplicas"] == 3)
    await world.admin.delete("pods", "db-0", "default")
    await world.until(lambda: "db-0" not in names(world))
    await world.until(lambda: len(world.pods()) == 3 and status(world)["readyReplicas"] == 3)
    assert images(world) == ["db:1", "db:1", "db:2"]
    await patch(world, updateStrategy={"rollingUpdate": {"partition": 0}})
    await ready(world)


async def test_more_may_be_down_at_once(world: World) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}
    await begin(world, stateful_set(4, podManagementPolicy="Parallel", updateStrategy=strategy, notes={"ready-delay": "5"}))  # fmt: skip
    await ready(world, 4)
    await patch(world, **image(2))
    least = 4

    def watch() -> bool:
        nonlocal least
        least = min(least, status(world).get("readyReplicas", 0))
        return images(world) == ["db:2"] * 4 and status(world).get("readyReplicas") == 4

    await world.until(watch)
    assert least == 2


PARALLEL, ORDERED = "Parallel", "OrderedReady"


@pytest.mark.parametrize(
    ("policy", "replicas", "rolling", "unready", "leaving", "deleted"),
    [
        # what is down and stale is not missed, and may never come up as it is
        (PARALLEL, 1, {"maxUnavailable": 1}, [0], [], [0]),
        (PARALLEL, 3, {}, [2], [], [2]),
        (PARALLEL, 5, {"maxUnavailable": 2}, [3, 4], [], [3, 4]),
        (PARALLEL, 5, {"maxUnavailable": 1}, [1, 2, 3], [], [1, 2, 3]),
        # it goes first, and uses up what may be down
        (PARALLEL, 4, {"maxUnavailable": 2}, [0, 1], [], [0, 1]),
        (PARALLEL, 5, {"maxUnavailable": 3}, [0, 1], [], [0, 1, 4]),
        # so does what goes already
        (PARALLEL, 3, {"maxUnavailable": 1}, [], [2], [2]),
        (PARALLEL, 5, {"maxUnavailable": 3}, [3], [4], [2, 3, 4]),
        (PARALLEL, 5, {"maxUnavailable": 3}, [4], [3], [2, 3, 4]),
        # and what the partition holds back
        (PARALLEL, 5, {"partition": 2}, [1], [], []),
        (PARALLEL, 5, {"partition": 2}, [2], [], [2]),
        (PARALLEL, 5, {"partition": 2}, [4], [], [4]),
        (PARALLEL, 5, {"partition": 3, "maxUnavailable": 2}, [3, 4], [], [3, 4]),
        (PARALLEL, 5, {"partition": 3, "maxUnavailable": 2}, [1, 4], [], [4]),
        (PARALLEL, 5, {"partition": 1, "maxUnavailable": "50%"}, [], [], [3, 4]),
        (PARALLEL, 5, {"partition": 9, "maxUnavailable": 2}, [3], [], []),
        # ordered sets wait
        (ORDERED, 1, {"maxUnavailable": 1}, [0], [], []),
        (ORDERED, 5, {"maxUnavailable": 3}, [3], [4], [4]),
        (ORDERED, 5, {"partition": 2}, [1], [], []),
        (ORDERED, 5, {"maxUnavailable": 2}, [], [], [3, 4]),
    ],
)
async def test_what_an_update_deletes_where_pods_are_down(
    world: World,
    policy: str,
    replicas: int,
    rolling: Obj,
    unready: list[int],
    leaving: list[int],
    deleted: list[int],
) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    await begin_by_hand(world, stateful_set(replicas, podManagementPolicy=policy, updateStrategy=strategy))
    for ordinal in unready:
        await make_ready(world, ordinal, "False")
    for ordinal in leaving:
        await world.admin.delete("pods", f"db-{ordinal}", "default")
    await patch(world, **image(2))
    await world.settle()
    assert going(world) == deleted


async def test_a_pod_that_is_not_ready_for_long_enough_is_down(world: World) -> None:
    await begin_by_hand(world, stateful_set(3, podManagementPolicy="Parallel", minReadySeconds=30))
    await asyncio.sleep(60)
    await make_ready(world, 1)
    await patch(world, **image(2))
    await world.settle()
    assert going(world) == [1]


async def begin_by_hand(world: World, obj: Obj) -> None:
    """With no node behind the pods: they are ready when they are told so, and what is deleted stays."""
    await world.start(NAME)
    await world.admin.create("statefulsets.apps", obj, namespace="default")
    for ordinal in range(obj["spec"]["replicas"]):
        await world.until(functools.partial(world.get, "pods", f"db-{ordinal}"))
        await make_ready(world, ordinal)
    await world.settle()


async def make_ready(world: World, ordinal: int, value: str = "True") -> None:
    condition = {"type": "Ready", "status": value, "lastTransitionTime": format_time(world.clock())}
    body = {"status": {"phase": "Running", "conditions": [condition]}}
    await world.admin.patch("pods", f"db-{ordinal}", body, "default", type="strategic", subresource="status")


def going(world: World) -> list[int]:
    return sorted(
        int(pod["metadata"]["name"].removeprefix("db-"))
        for pod in world.pods()
        if "deletionTimestamp" in pod["metadata"]
    )


async def test_on_delete_pods_are_updated_when_they_are_deleted(world: World) -> None:
    await begin(world, stateful_set(updateStrategy={"type": "OnDelete"}))
    await ready(world)
    await patch(world, **image(2))
    await world.settle()
    assert images(world) == ["db:1"] * 3
    await world.admin.delete("pods", "db-1", "default")
    await world.until(lambda: images(world) == ["db:1", "db:2", "db:1"])
    assert status(world)["currentRevision"] != (update := status(world)["updateRevision"])
    await world.admin.delete("pods", "db-0", "default")
    await world.admin.delete("pods", "db-2", "default")
    await world.until(lambda: images(world) == ["db:2"] * 3 and status(world).get("currentReplicas") == 3)
    assert status(world)["currentRevision"] == status(world)["updateRevision"] == update


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
async def test_a_pod_that_ended_is_made_anew(world: World, phase: str) -> None:
    await begin(world, stateful_set(2))
    await ready(world, 2)
    before = world.get("pods", "db-0")
    await world.admin.patch("pods", "db-0", {"status": {"phase": phase}}, "default", subresource="status")
    await world.until(lambda: world.get("pods", "db-0") is None)
    await ready(world, 2)
    await world.settle()
    after = world.get("pods", "db-0")
    assert before is not None and after is not None and before["metadata"]["uid"] != after["metadata"]["uid"]
    reason, word = {"Failed": ("RecreatingFailedPod", "failed"), "Succeeded": ("RecreatingTerminatedPod", "terminated")}[phase]  # fmt: skip
    (event,) = world.events(reason)
    assert event["message"] == f"StatefulSet default/db is recreating {word} Pod db-0"


async def test_claims_stay_or_go_as_the_policy_says(world: World) -> None:
    await begin(world, stateful_set(2, **claims(whenDeleted="Delete", whenScaled="Delete")))
    await ready(world, 2)
    owners = [
        (claim["metadata"]["name"], [owner["kind"] for owner in claim["metadata"]["ownerReferences"]])
        for claim in world.all("persistentvolumeclaims")
    ]
    assert owners == [("data-db-0", ["StatefulSet"]), ("data-db-1", ["StatefulSet"])]
    pod = world.get("pods", "db-1")
    assert pod is not None and pod["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": "data-db-1"}
    await world.settle()
    assert "create Claim data-db-0 Pod db-0 in StatefulSet db success" in {e["message"] for e in world.events()}
    await patch(world, replicas=1)
    await ready(world, 1)
    claim = world.get("persistentvolumeclaims", "data-db-1")
    assert claim is not None and [o["uid"] for o in claim["metadata"]["ownerReferences"]] == [pod["metadata"]["uid"]]
    # what its pod leaves behind is collected; until then its name is not given again
    await patch(world, replicas=2)
    await world.settle()
    assert names(world) == ["db-0"]
    await world.admin.delete("persistentvolumeclaims", "data-db-1", "default")
    await world.admin.patch("persistentvolumeclaims", "data-db-1", {"metadata": {"finalizers": None}}, "default")
    await ready(world, 2)
    assert world.events("SuccessfulUpdate") == []
    keep = {"whenDeleted": "Retain", "whenScaled": "Retain"}
    await patch(world, persistentVolumeClaimRetentionPolicy=keep)
    await world.settle()
    updates = {f"update Pod {name} in StatefulSet db successful" for name in ("db-0", "db-1")}
    assert {event["message"] for event in world.events("SuccessfulUpdate")} == updates
    assert not any(claim["metadata"].get("ownerReferences") for claim in world.all("persistentvolumeclaims"))


SET = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "s", "controller": True}
POD = {"apiVersion": "v1", "kind": "Pod", "name": "db-0", "uid": "p", "controller": True}
OTHER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "db", "uid": "o"}


@pytest.mark.parametrize(
    ("scaled", "deleted", "replicas", "before", "after"),
    [
        ("Retain", "Retain", 1, [OTHER, SET], [OTHER]),
        ("Retain", "Delete", 1, [OTHER], [OTHER, SET]),
        ("Retain", "Delete", 0, [POD], [SET]),
        ("Delete", "Retain", 1, [SET, POD], []),
        ("Delete", "Delete", 0, [SET], [POD]),
        # one that owns and does not control
        ("Retain", "Delete", 1, [{**SET, "controller": False}], [SET]),
        # somebody else's, and no longer also the set's
        ("Retain", "Delete", 1, [{**OTHER, "controller": True}, SET], [{**OTHER, "controller": True}]),
        ("Retain", "Retain", 1, [SET, {**OTHER, "controller": True}], [{**OTHER, "controller": True}]),
        # a set or pod of that name that is gone
        ("Retain", "Delete", 1, [{**SET, "uid": "x", "controller": False}], None),
        ("Retain", "Retain", 1, [SET, {**POD, "uid": "x"}], None),
    ],
)
def test_claims_belong_to_whom_the_policy_says(
    scaled: str, deleted: str, replicas: int, before: list[Obj], after: list[Obj] | None
) -> None:
    owner = stateful_set(replicas, persistentVolumeClaimRetentionPolicy={"whenScaled": scaled, "whenDeleted": deleted})
    owner["metadata"]["uid"] = "s"
    claim = {"metadata": {"name": "data-db-0", "ownerReferences": before}}
    kept = with_owners(claim, owner, {"metadata": {"name": "db-0", "uid": "p"}}, 0)
    found = [
        {name: value for name, value in reference.items() if name != "blockOwnerDeletion"}
        for reference in kept["metadata"].get("ownerReferences", [])
    ]
    assert kept is claim if after is None else found == after


@pytest.mark.parametrize("scaled", ["Retain", "Delete"])
def test_claims_that_are_kept_are_there_for_the_next_pod_of_the_name(scaled: str) -> None:
    owner = stateful_set(persistentVolumeClaimRetentionPolicy={"whenScaled": scaled, "whenDeleted": "Retain"})
    claim = {"metadata": {"name": "data-db-0", "ownerReferences": [POD]}}
    assert is_stale(claim, owner, {"metadata": {"name": "db-0"}}) is (scaled == "Delete")
    assert not is_stale(claim, owner, {"metadata": {"name": "db-0", "uid": "p"}})


@pytest.mark.parametrize(("limit", "kept"), [(1, 2), (-1, 5)])
async def test_old_revisions_are_thrown_away(world: World, limit: int, kept: int) -> None:
    await begin(world, stateful_set(1, revisionHistoryLimit=limit))
    for version in range(2, 6):
        await ready(world, 1)
        await patch(world, **image(version))
    await ready(world, 1)
    await world.settle()
    assert len(world.all("controllerrevisions", group="apps")) == kept


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 16))
async def test_a_crash_at_any_write_leads_to_the_same_end(world: World, at: int, after: bool) -> None:
    crashing: list[Crashing] = []

    def wrap(transport: Any) -> Any:
        crashing.append(Crashing(transport, at, after=after))
        return crashing[-1]

    await world.hollow(heartbeats=False)
    world.wrap = wrap
    await world.start(NAME)
    world.wrap = lambda transport: transport
    await world.admin.create("statefulsets.apps", stateful_set(2, **claims()), namespace="default")

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
    assert images(world) == ["db:2", "db:2"] and len(world.all("persistentvolumeclaims")) == 2
    assert len(world.all("controllerrevisions", group="apps")) == 2
