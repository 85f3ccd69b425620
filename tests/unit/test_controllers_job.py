"""Jobs end, and what they end with is what upstream says; every pod is counted once, whatever crashes."""

from __future__ import annotations

import asyncio
import functools
import itertools
from typing import Any

import pytest

from sampan.api.errors import StatusError
from sampan.api.times import parse_time
from sampan.controllers.job_indexes import Indexes, parse
from tests.controllers_crash import TIMED_OUT, Crashing, Unanswering
from tests.controllers_world import World

Obj = dict[str, Any]
NAME = "job-controller"
TRACKING = "batch.kubernetes.io/job-tracking"


def job(name: str = "work", notes: Obj | None = None, restart: str = "Never", **spec: Any) -> Obj:
    options = {f"hollow.sampan.io/{key}": value for key, value in (notes or {}).items()}
    template = {
        "metadata": {"annotations": options},
        "spec": {"containers": [{"name": "c", "image": "busybox"}], "restartPolicy": restart, "nodeName": "n1"},
    }
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": template, **spec},
    }  # fmt: skip


def status(world: World, name: str = "work") -> Obj:
    found = world.get("jobs", name, group="batch")
    return (found or {}).get("status") or {}


def conditions(world: World, name: str = "work") -> dict[str, tuple[str, str, str]]:
    items = status(world, name).get("conditions") or ()
    return {item["type"]: (item["status"], item.get("reason", ""), item.get("message", "")) for item in items}


async def ended(world: World, name: str = "work") -> dict[str, tuple[str, str, str]]:
    await world.until(lambda: {"Complete", "Failed"} & set(conditions(world, name)), f"the end of {name}")
    return conditions(world, name)


def events(world: World) -> set[tuple[str, str, str]]:
    return {
        (event["type"], event["reason"], event["message"])
        for event in world.events()
        if event["involvedObject"]["kind"] == "Job" and event["reason"] not in ("SuccessfulCreate", "SuccessfulDelete")
    }


async def begin(world: World, obj: Obj) -> Obj:
    await world.hollow(heartbeats=False)
    await world.start(NAME)
    return await world.admin.create("jobs.batch", obj, namespace="default")


@pytest.mark.parametrize("said", [None, TIMED_OUT])
async def test_creations_that_nobody_answers_are_not_made_again(world: World, said: Any) -> None:
    world.wrap = functools.partial(Unanswering, count=3, said=said)
    made = await begin(world, job(completions=6, parallelism=6))
    await ended(world)
    assert status(world)["succeeded"] == len(world.pods()) == 6
    # nobody waited for what expectations time out after
    assert world.clock() - parse_time(made["metadata"]["creationTimestamp"]) < 60


async def test_a_job_completes(world: World) -> None:
    made = await begin(world, job(completions=5, parallelism=2))
    reached = ("True", "CompletionsReached", "Reached expected number of succeeded pods")
    assert await ended(world) == {"SuccessCriteriaMet": reached, "Complete": reached}
    await world.settle()
    got = status(world)
    assert got.pop("conditions") and got.pop("startTime") <= got.pop("completionTime")
    assert got == {"succeeded": 5, "ready": 0, "terminating": 0, "uncountedTerminatedPods": {}}
    assert len(world.pods()) == 5 and not any(pod["metadata"].get("finalizers") for pod in world.pods())
    (pod, *_) = world.pods()
    assert pod["metadata"]["labels"]["batch.kubernetes.io/controller-uid"] == made["metadata"]["uid"]
    assert events(world) == {("Normal", "Completed", "Job completed")}
    assert len(world.events("SuccessfulCreate")) == 5


async def test_no_more_pods_at_once_than_wanted(world: World) -> None:
    await begin(world, job(completions=4, parallelism=3, notes={"run-for": "60"}))
    await world.until(lambda: status(world).get("ready") == 3)
    assert status(world)["active"] == 3
    await world.admin.patch("jobs.batch", "work", {"spec": {"parallelism": 1}}, "default")
    await world.until(lambda: status(world)["active"] == 1 and len(world.pods()) == 1)
    await ended(world)
    assert status(world)["succeeded"] == 4 and "failed" not in status(world)


async def test_without_completions_one_success_is_enough(world: World) -> None:
    await begin(world, job(completions=None, parallelism=3))
    assert "Complete" in await ended(world)
    assert status(world)["succeeded"] == 3


async def test_failures_are_replaced_later_and_later_until_it_is_enough(world: World) -> None:
    await begin(world, job(backoffLimit=3, notes={"behaviour": "fail"}))
    limit = ("True", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    assert await ended(world) == {"FailureTarget": limit, "Failed": limit}
    await world.settle()
    assert status(world)["failed"] == 4 and "completionTime" not in status(world)
    assert events(world) == {("Warning", *limit[1:])}
    times = sorted(parse_time(pod["metadata"]["creationTimestamp"]) for pod in world.pods())
    gaps = [round(later - earlier) for earlier, later in itertools.pairwise(times)]
    assert [gap // 10 for gap in gaps] == [1, 2, 4]


async def test_a_deadline_ends_it(world: World) -> None:
    await begin(world, job(activeDeadlineSeconds=30, parallelism=2, completions=2, notes={"run-for": "1000"}))
    late = ("True", "DeadlineExceeded", "Job was active longer than specified deadline")
    assert (await ended(world))["Failed"] == late
    await world.settle()
    assert status(world)["failed"] == 2 and world.pods() == []
    assert world.loop.time() < 60


async def test_restarts_in_place_count_towards_the_limit(world: World) -> None:
    await begin(world, job(backoffLimit=2, restart="OnFailure", notes={"behaviour": "crash"}))
    assert (await ended(world))["Failed"][1] == "BackoffLimitExceeded"
    assert len(world.events("SuccessfulCreate")) == 1


async def test_suspended_it_has_no_pods_and_resumed_it_starts_over(world: World) -> None:
    await begin(world, job(suspend=True, activeDeadlineSeconds=100, notes={"run-for": "50"}))
    await world.until(lambda: conditions(world).get("Suspended") == ("True", "JobSuspended", "Job suspended"))
    assert "startTime" not in status(world) and world.pods() == []

    async def suspend(value: bool) -> None:
        await world.admin.patch("jobs.batch", "work", {"spec": {"suspend": value}}, "default")

    await suspend(False)
    await world.until(lambda: status(world).get("ready") == 1)
    assert conditions(world)["Suspended"] == ("False", "JobResumed", "Job resumed")
    await suspend(True)
    await world.until(lambda: world.pods() == [] and conditions(world)["Suspended"][0] == "True")
    assert not {"failed", "active", "startTime"} & set(status(world))
    await asyncio.sleep(500)
    await suspend(False)
    assert "Complete" in await ended(world)
    await world.settle()
    assert events(world) == {
        ("Normal", "Suspended", "Job suspended"), ("Normal", "Resumed", "Job resumed"),
        ("Normal", "Completed", "Job completed"),
    }  # fmt: skip


async def test_suspended_it_may_end_all_the_same(world: World) -> None:
    await world.start(NAME)
    obj = job(podReplacementPolicy="Failed", backoffLimit=0)
    await world.admin.create("jobs.batch", obj, namespace="default")
    await world.until(lambda: status(world).get("active") == 1)
    (pod,) = world.pods()
    where = pod["metadata"]["name"], "default"
    # there is no kubelet: it stays for now
    await world.admin.delete("pods", *where)
    await world.admin.patch("jobs.batch", "work", {"spec": {"suspend": True}}, "default")
    await world.until(lambda: "Suspended" in conditions(world))
    assert "startTime" not in status(world)
    await world.admin.patch("pods", where[0], {"status": {"phase": "Failed"}}, "default", subresource="status")
    assert "Failed" in await ended(world)
    assert status(world)["startTime"]


async def test_while_suspended_its_pods_may_be_shaped_anew(world: World) -> None:
    async def patch(**spec: Any) -> None:
        await world.admin.patch("jobs.batch", "work", {"spec": spec}, "default", type="strategic")

    wanted = {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}], "nodeSelector": {"a": "b"}}
    await begin(world, job(notes={"run-for": "50"}))
    await world.until(lambda: status(world).get("ready") == 1)
    with pytest.raises(StatusError, match="field is immutable"):
        await patch(template={"spec": wanted})
    await patch(suspend=True)
    await world.until(lambda: "Suspended" in conditions(world))
    await patch(template={"spec": wanted}, suspend=False)
    await world.until(lambda: status(world).get("ready") == 1)
    (spec,) = (pod["spec"] for pod in world.pods() if "deletionTimestamp" not in pod["metadata"])
    assert spec["nodeSelector"] == {"a": "b"} and spec["containers"][0]["resources"] == {"requests": {"cpu": "1"}}


async def test_indexed_pods_know_their_index(world: World) -> None:
    await begin(world, job(completions=3, parallelism=3, completionMode="Indexed"))
    await ended(world)
    assert status(world)["completedIndexes"] == "0-2"
    pods = sorted(world.pods(), key=lambda pod: str(pod["metadata"]["name"]))
    for index, pod in enumerate(pods):
        key, meta = "batch.kubernetes.io/job-completion-index", pod["metadata"]
        assert meta["annotations"][key] == meta["labels"][key] == str(index)
        assert meta["name"].startswith(f"work-{index}-") and pod["spec"]["hostname"] == f"work-{index}"
        (variable,) = pod["spec"]["containers"][0]["env"]
        assert variable["name"] == "JOB_COMPLETION_INDEX"
        assert variable["valueFrom"]["fieldRef"]["fieldPath"] == f"metadata.labels['{key}']"


async def test_each_index_has_its_own_limit(world: World) -> None:
    made = job(completions=2, parallelism=2, completionMode="Indexed", backoffLimitPerIndex=1)
    await begin(world, job("other", suspend=True))
    await world.admin.create("jobs.batch", made, namespace="default")

    async def fail_zero() -> None:
        while "Failed" not in conditions(world):
            for pod in world.pods():
                notes = pod["metadata"].get("annotations") or {}
                if notes.get("batch.kubernetes.io/job-completion-index") == "0" and "behaviour" not in str(notes):
                    patch = {"metadata": {"annotations": {"hollow.sampan.io/behaviour": "fail"}}}
                    await world.admin.patch("pods", pod["metadata"]["name"], patch, "default")
            await asyncio.sleep(0.1)

    failing = asyncio.create_task(fail_zero())
    said = ("True", "FailedIndexes", "Job has failed indexes")
    assert (await ended(world))["Failed"] == said
    await failing
    got = status(world)
    assert (got["completedIndexes"], got["failedIndexes"], got["succeeded"], got["failed"]) == ("1", "0", 1, 2)
    counts = {
        pod["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"]
        for pod in world.pods()
        if pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] == "0"
    }
    assert counts == {"0", "1"}


async def test_a_failure_policy_fails_the_job_or_looks_away(world: World) -> None:
    rules = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"containerName": "c", "operator": "In", "values": [42]}},
    ]
    made = job(podFailurePolicy={"rules": rules}, backoffLimit=0, notes={"run-for": "20", "exit-code": "42"})
    await begin(world, made)
    (pod,) = await world.until(lambda: [p for p in world.pods() if p.get("status", {}).get("phase") == "Running"])
    gone = {"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True"}]}
    await world.admin.patch("pods", pod["metadata"]["name"], {"status": gone}, "default", subresource="status")
    got = await ended(world)
    (other,) = [p for p in world.pods() if p["metadata"]["uid"] != pod["metadata"]["uid"]]
    said = f"Container c for pod default/{other['metadata']['name']} failed with exit code 42 matching FailJob rule at index 1"
    assert got["Failed"] == ("True", "PodFailurePolicy", said)
    assert status(world)["failed"] == 1


async def test_a_success_policy_ends_it_early(world: World) -> None:
    policy = {"rules": [{"succeededIndexes": "0", "succeededCount": 1}]}
    made = job(completions=3, parallelism=1, completionMode="Indexed", successPolicy=policy)
    await begin(world, made)
    met = ("True", "SuccessPolicy", "Matched rules at index 0")
    assert await ended(world) == {"SuccessCriteriaMet": met, "Complete": met}
    assert status(world)["completedIndexes"] == "0"


@pytest.mark.parametrize("policy", ["Failed", "TerminatingOrFailed"])
async def test_a_leaving_pod_is_replaced_when_the_policy_says(world: World, policy: str) -> None:
    await begin(world, job(podReplacementPolicy=policy, notes={"run-for": "1000", "stop-delay": "20"}))
    (pod,) = await world.until(lambda: world.pods() if status(world).get("ready") == 1 else [])
    await world.admin.delete("pods", pod["metadata"]["name"], "default")
    replaced = await world.until(lambda: len(world.events("SuccessfulCreate")) == 2 and world.loop.time())
    # the back-off is counted from the moment of deletion, or from the pod's end
    assert (replaced > 20) is (policy == "Failed")
    await world.until(lambda: status(world)["terminating"] == 0 and status(world).get("failed") == 1)


async def test_jobs_of_other_controllers_are_left_alone(world: World) -> None:
    await begin(world, job(managedBy="example.com/mine"))
    await world.settle(60)
    assert world.pods() == [] and status(world) == {}


async def test_orphans_are_adopted_and_pods_of_deleted_jobs_released(world: World) -> None:
    made = await begin(world, job(notes={"run-for": "1000"}, completions=2))
    (pod,) = await world.until(lambda: world.pods() if status(world).get("ready") == 1 else [])
    name = pod["metadata"]["name"]
    await world.admin.patch("pods", name, {"metadata": {"ownerReferences": None}}, "default")
    await world.until(lambda: (world.get("pods", name) or {})["metadata"].get("ownerReferences"))
    await world.settle()
    owned = world.get("pods", name)
    assert owned is not None and TRACKING in owned["metadata"]["finalizers"] and len(world.pods()) == 1
    await world.admin.delete("jobs.batch", "work", "default", propagation="Background", uid=made["metadata"]["uid"])
    await world.until(lambda: not (world.get("pods", name) or {})["metadata"].get("finalizers"))


async def crashing(world: World, obj: Obj, at: int, after: bool) -> None:
    """The life of a job whose controller dies at its `at`-th write and is started again."""
    made: list[Crashing] = []

    def wrap(transport: Any) -> Any:
        made.append(Crashing(transport, at, after=after))
        return made[-1]

    await world.hollow(heartbeats=False)
    world.wrap = wrap
    await world.start(NAME)
    world.wrap = lambda transport: transport
    await world.admin.create("jobs.batch", obj, namespace="default")
    crashed = asyncio.create_task(made[0].crashed.wait())
    over = asyncio.create_task(ended(world))
    await asyncio.wait((crashed, over), return_when=asyncio.FIRST_COMPLETED)
    await world.stop(NAME)
    await world.start(NAME)
    await over
    crashed.cancel()
    await world.settle()
    assert not any(pod["metadata"].get("finalizers") for pod in world.pods())


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 12))
async def test_a_crash_at_any_write_leads_to_the_same_end(world: World, at: int, after: bool) -> None:
    await crashing(world, job(completions=2, parallelism=2), at, after)
    assert status(world)["succeeded"] == 2 and "failed" not in status(world) and len(world.pods()) == 2


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 14))
async def test_a_crash_counts_no_failure_twice(world: World, at: int, after: bool) -> None:
    made = job(completions=1, completionMode="Indexed", backoffLimitPerIndex=1, notes={"behaviour": "fail"})
    await crashing(world, made, at, after)
    got = status(world)
    assert (got["failed"], got["failedIndexes"], len(world.pods())) == (2, "0", 2)
    times = sorted(parse_time(pod["metadata"]["creationTimestamp"]) for pod in world.pods())
    assert 10 <= times[1] - times[0] < 20


def test_indexes_are_written_as_spans() -> None:
    some = Indexes().plus([1, 3, 4, 5, 7, 8])
    assert str(some) == "1,3-5,7,8" and some.total == 6 and parse(str(some), 100) == some
    assert parse("1,3-5,x,7-", 5) == Indexes(((1, 1), (3, 4)))
    assert list(some.missing(10)) == [0, 2, 6, 9] and 4 in some and 6 not in some
    assert some.common(parse("4-7", 100)) == 3
