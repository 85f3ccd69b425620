"""CronJobs start Jobs on time, make up for one missed time, keep a short history; Jobs with a TTL go."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from sampan.controllers.schedules import schedule
from sampan.testing.loop import START
from tests.controllers_crash import Crashing
from tests.controllers_world import World

Obj = dict[str, Any]
NAME = "cronjob-controller"


def cron_job(every: str = "0 * * * *", notes: Obj | None = None, job: Obj | None = None, **spec: Any) -> Obj:
    options = {f"hollow.sampan.io/{key}": value for key, value in (notes or {}).items()}
    template = {
        "metadata": {"annotations": options},
        "spec": {"containers": [{"name": "c", "image": "busybox"}], "restartPolicy": "Never", "nodeName": "n1"},
    }
    jobs = {"metadata": {"labels": {"a": "b"}}, "spec": {"template": template, **(job or {})}}
    spec = {"schedule": every, "jobTemplate": jobs, **spec}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick"}, "spec": spec}


async def begin(world: World, obj: Obj) -> None:
    await world.hollow(heartbeats=False)
    await world.start("job-controller", NAME)
    await world.admin.create("cronjobs.batch", obj, namespace="default")


def jobs(world: World) -> list[str]:
    return sorted(str(job["metadata"]["name"]) for job in world.all("jobs", group="batch", namespace="default"))


def status(world: World) -> Obj:
    found = world.get("cronjobs", "tick", group="batch")
    return (found or {}).get("status") or {}


def events(world: World) -> list[tuple[str, str, str]]:
    return [
        (event["type"], event["reason"], event["message"])
        for event in world.events()
        if event["involvedObject"]["kind"] == "CronJob"
    ]


def name(hours: float) -> str:
    return f"tick-{int(START + hours * 3600) // 60}"


async def test_a_job_at_each_time(world: World) -> None:
    await begin(world, cron_job(timeZone="Asia/Tokyo"))
    await asyncio.sleep(3600.05)
    assert jobs(world) == []
    await world.until(lambda: status(world).get("active"))
    (job,) = world.all("jobs", group="batch")
    meta = job["metadata"]
    assert (meta["name"], meta["labels"]["a"]) == (name(1), "b")
    assert meta["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"] == "2026-01-01T10:00:00+09:00"
    (entry,) = status(world)["active"]
    assert (entry["kind"], entry["name"], entry["uid"]) == ("Job", name(1), meta["uid"])
    assert status(world)["lastScheduleTime"] == "2026-01-01T01:00:00Z"
    await world.until(lambda: "active" not in status(world))
    assert status(world)["lastSuccessfulTime"].startswith("2026-01-01T01:00:")
    await world.settle()
    assert events(world)[:2] == [
        ("Normal", "SuccessfulCreate", f"Created job {name(1)}"),
        ("Normal", "SawCompletedJob", f"Saw completed job: {name(1)}, condition: Complete"),
    ]
    await asyncio.sleep(4 * 3600)
    assert jobs(world) == [name(3), name(4), name(5)]
    assert ("Normal", "SuccessfulDelete", f"Deleted job {name(2)}") in events(world)


@pytest.mark.parametrize("policy", ["Allow", "Forbid", "Replace"])
async def test_what_happens_while_a_job_still_runs(world: World, policy: str) -> None:
    await begin(world, cron_job(concurrencyPolicy=policy, notes={"run-for": "100000"}))
    await asyncio.sleep(3 * 3600 + 60)
    active = [entry["name"] for entry in status(world)["active"]]
    want = {"Allow": [name(1), name(2), name(3)], "Forbid": [name(1)], "Replace": [name(3)]}[policy]
    assert active == want == jobs(world)
    said = "Not starting job because prior execution is running and concurrency policy is Forbid"
    assert (("Normal", "JobAlreadyActive", said) in events(world)) is (policy == "Forbid")


async def test_suspended_nothing_runs(world: World) -> None:
    await begin(world, cron_job(suspend=True))
    await asyncio.sleep(3 * 3600)
    assert jobs(world) == [] and status(world) == {}
    await world.admin.patch("cronjobs.batch", "tick", {"spec": {"suspend": False}}, "default")
    await world.until(lambda: status(world).get("active"))
    assert jobs(world) == [name(3)]


@pytest.mark.parametrize(("deadline", "hours", "made"), [(None, 50, [50]), (None, 150, [150]), (600, 50, [])])
async def test_missed_times(world: World, deadline: int | None, hours: int, made: list[int]) -> None:
    """The last one is made up for, if it is not too late; very many missed ones are told of."""
    await begin(world, cron_job(startingDeadlineSeconds=deadline))
    await world.settle()
    await world.stop(NAME)
    await asyncio.sleep(hours * 3600 + 1800)
    await world.start(NAME)
    await asyncio.sleep(60)
    assert jobs(world) == [name(hour) for hour in made]
    many = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
    assert (("Warning", "TooManyMissedTimes", many) in events(world)) is (hours > 100)
    await asyncio.sleep(1800)
    assert jobs(world) == [name(hour) for hour in (*made, hours + 1)]


async def test_a_new_schedule_counts_from_now_on(world: World) -> None:
    await begin(world, cron_job("0 0 1 1 *"))
    await asyncio.sleep(1000)
    await world.admin.patch("cronjobs.batch", "tick", {"spec": {"schedule": "*/10 * * * *"}}, "default")
    await asyncio.sleep(190)
    assert jobs(world) == []
    await asyncio.sleep(60)
    assert jobs(world) == [name(1 / 3)]


async def test_failed_jobs_have_a_history_of_their_own(world: World) -> None:
    await begin(world, cron_job(notes={"behaviour": "fail"}, job={"backoffLimit": 0}, failedJobsHistoryLimit=2))
    await asyncio.sleep(4 * 3600 + 60)
    assert jobs(world) == [name(3), name(4)] and "lastSuccessfulTime" not in status(world)


async def test_a_job_that_vanished_is_missed(world: World) -> None:
    await begin(world, cron_job(notes={"run-for": "100000"}))
    await world.until(lambda: status(world).get("active"), seconds=7200)
    await world.stop("job-controller")
    await world.admin.delete("jobs.batch", name(1), "default", propagation="Background")
    await world.until(lambda: "active" not in status(world))
    await world.settle()
    assert ("Normal", "MissingJob", f"Active job went missing: {name(1)}") in events(world)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 5))
async def test_a_crash_makes_no_job_twice(world: World, at: int, after: bool) -> None:
    await world.hollow(heartbeats=False)
    await world.start("job-controller")
    world.wrap = lambda transport: Crashing(transport, at, after=after)
    await world.start(NAME)
    await world.admin.create("cronjobs.batch", cron_job(), namespace="default")
    await asyncio.sleep(3700)
    world.wrap = lambda transport: transport
    await world.stop(NAME)
    await world.start(NAME)
    await asyncio.sleep(3600)
    assert jobs(world) == [name(1), name(2)]
    assert status(world)["lastScheduleTime"] == "2026-01-01T02:00:00Z" and "active" not in status(world)


async def test_a_job_goes_when_its_time_has_passed(world: World) -> None:
    await begin(world, cron_job(job={"ttlSecondsAfterFinished": 100}))
    await world.start("ttl-after-finished-controller")
    (made,) = await world.until(lambda: jobs(world), seconds=7200)
    job = await world.until(
        lambda: (found := world.get("jobs", made, group="batch")) and "completionTime" in found["status"] and found
    )
    await asyncio.sleep(98)
    assert jobs(world) == [made] and job
    await asyncio.sleep(5)
    # its pod goes first: what is left is the garbage collector's
    found = world.get("jobs", made, group="batch")
    assert found is not None and found["metadata"]["finalizers"] == ["foregroundDeletion"]


def when(text: str, zone: str, after: str, count: int = 3) -> list[str]:
    times = schedule(text, zone)
    at: float | None = datetime.fromisoformat(after).timestamp()
    out = []
    for _ in range(count):
        assert at is not None
        at = times.next_after(at)
        out.append(datetime.fromtimestamp(at, UTC).isoformat(timespec="minutes")[:16] if at is not None else "")
    return out


@pytest.mark.parametrize(
    ("text", "zone", "after", "want"),
    [
        ("30 6-16/4 * * 1-5", "UTC", "2026-01-02T15:00Z", ["2026-01-05T06:30", "2026-01-05T10:30", "2026-01-05T14:30"]),
        ("0 0 13 * FRI", "UTC", "2026-02-07T00:00Z", ["2026-02-13T00:00", "2026-02-20T00:00", "2026-02-27T00:00"]),
        ("0 0 13 * *", "UTC", "2026-02-07T00:00Z", ["2026-02-13T00:00", "2026-03-13T00:00", "2026-04-13T00:00"]),
        ("@weekly", "UTC", "2026-01-01T00:00Z", ["2026-01-04T00:00", "2026-01-11T00:00", "2026-01-18T00:00"]),
        ("5/20 ? * feb-mar *", "UTC", "2026-01-01T00:00Z", ["2026-02-01T00:05", "2026-02-01T00:25", "2026-02-01T00:45"]),
        ("@every 1h30m", "UTC", "2026-01-01T00:00Z", ["2026-01-01T01:30", "2026-01-01T03:00", "2026-01-01T04:30"]),
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00Z", ["2028-02-29T00:00", "2032-02-29T00:00", "2036-02-29T00:00"]),
        # 2:30 is skipped in spring, 1:30 comes twice in autumn
        ("30 2 * * *", "America/New_York", "2026-03-07T12:00Z", ["2026-03-09T06:30", "2026-03-10T06:30", "2026-03-11T06:30"]),
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00Z", ["2026-11-01T05:30", "2026-11-01T06:30", "2026-11-02T06:30"]),
        ("TZ=Asia/Tokyo 0 9 * * *", "UTC", "2026-01-01T00:00Z", ["2026-01-02T00:00", "2026-01-03T00:00", "2026-01-04T00:00"]),
    ],
)  # fmt: skip
def test_schedules(text: str, zone: str, after: str, want: list[str]) -> None:
    assert when(text, zone, after) == want


def test_a_day_that_never_comes_has_no_next() -> None:
    assert schedule("0 0 31 2 *").next_after(START) is None
    with pytest.raises(ValueError, match="expected exactly 5 fields"):
        schedule("* * *")


async def test_what_a_job_has_by_default_a_template_does_not_say(world: World) -> None:
    await begin(world, cron_job("*/10 * * * *"))
    found = world.get("cronjobs", "tick", group="batch")
    assert found is not None
    spec = found["spec"]["jobTemplate"]["spec"]
    assert set(spec) == {"template"} and spec["template"]["spec"]["dnsPolicy"] == "ClusterFirst"
    await world.until(lambda: jobs(world))
    (job,) = world.all("jobs", group="batch", namespace="default")
    assert (job["spec"]["backoffLimit"], job["spec"]["parallelism"], job["spec"]["suspend"]) == (6, 1, False)
