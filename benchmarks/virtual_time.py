"""Virtual time: how long 30 days of an hourly CronJob take, with all controllers, scheduler and a simulated node.

    python -m benchmarks.virtual_time [--profile]

Nothing but the CronJob's own life costs anything: 720 Jobs, their pods, their events, and the deletion of all but three.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from sampan.testing.cluster import Cluster
from sampan.testing.loop import VirtualLoop

Figure = tuple[str, float, str, str]
Obj = dict[str, Any]
DAYS = 30
LAST = "2026-01-31T00:00:00Z"
POD: Obj = {"containers": [{"name": "c", "image": "busybox"}], "restartPolicy": "OnFailure"}
CRON_JOB: Obj = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "hourly", "namespace": "default"},
    "spec": {"schedule": "@hourly", "jobTemplate": {"spec": {"template": {"spec": POD}}}},
}


async def month() -> float:
    """Real seconds."""
    async with Cluster(nodes=1) as cluster:
        await cluster.client.create("cronjobs.batch", CRON_JOB)
        began = time.perf_counter()
        await cluster.advance(days=DAYS, minutes=1)
        took = time.perf_counter() - began
        cron_job = await cluster.client.get("cronjobs.batch", "hourly", "default")
        jobs = (await cluster.client.list("jobs.batch", "default"))["items"]
    status = cron_job["status"]
    if len(jobs) != 3 or status["lastScheduleTime"] != LAST or "active" in status:
        raise AssertionError(f"after a month {len(jobs)} Jobs are left, and the CronJob says {status}")
    return took


def run() -> float:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(month())


async def measure() -> list[Figure]:
    # in a thread of its own, since one cannot have two loops
    return [("30 days of an hourly CronJob under virtual time", await asyncio.to_thread(run), "s", "<= 6")]


if __name__ == "__main__":
    if "--profile" in sys.argv:
        import cProfile
        import pstats

        with cProfile.Profile() as profile:
            run()
        pstats.Stats(profile).sort_stats("tottime").print_stats(60)
    else:
        print(f"30 days of an hourly CronJob under virtual time: {run():.1f} s (budget 6)")
