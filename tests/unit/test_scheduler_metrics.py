"""What the scheduler counts, by upstream's names."""

from __future__ import annotations

import asyncio

from sampan.client.metrics import Page
from sampan.scheduler.metrics import Metrics
from tests.unit.test_scheduler import World, node, pod, settle, world
from tests.virtual import virtually


def shown(w: World) -> dict[str, str]:
    page = Page()
    w.scheduler.metrics.onto(page, w.scheduler)
    lines = [line for line in str(page).splitlines() if not line.startswith("#")]
    return dict(line.rsplit(" ", 1) for line in lines)


def test_queues_and_what_brought_pods_there() -> None:
    async def test() -> None:
        async with world() as w:
            await w.nodes(node("a"))
            await w.pods(pod("fits"), pod("large", "5"), pod("gated", schedulingGates=[{"name": "example.com/g"}]))
            found = shown(w)
            assert found['scheduler_cache_size{type="pods"}'] == "1"
            pending = {name: found[f'scheduler_pending_pods{{queue="{name}"}}'] for name in ("unschedulable", "gated")}
            assert pending == {"unschedulable": "1", "gated": "1"}
            assert found['scheduler_queued_entities{queue="gated",type="pod"}'] == "1"
            assert found['scheduler_unschedulable_pods{plugin="NodeResourcesFit",profile="default-scheduler"}'] == "1"
            incoming = "scheduler_queue_incoming_pods_total"
            assert found[f'{incoming}{{event="UnscheduledPodAdd",queue="active"}}'] == "2"
            assert found[f'{incoming}{{event="ScheduleAttemptFailure",queue="unschedulable"}}'] == "1"
            larger = {"status": {"allocatable": {"cpu": "8"}}}
            await w.client.patch("nodes", "a", larger, subresource="status")
            await settle(2)
            assert await w.where("large") == "a"
            found = shown(w)
            assert found[f'{incoming}{{event="NodeUpdateNodeAllocatable",queue="backoff"}}'] == "1"
            # nobody else waited
            assert found[f'{incoming}{{event="PopFromBackoffQ",queue="active"}}'] == "1"

    virtually(test)


def test_extension_points_and_how_they_ended() -> None:
    async def test() -> None:
        async with world() as w:
            await w.nodes(node("a"), node("b"))
            claim = [{"name": "v", "persistentVolumeClaim": {"claimName": "missing"}}]
            await w.pods(pod("fits"), pod("large", "5"), pod("claims", volumes=claim))
            found = shown(w)

            def count(point: str, status: str) -> str:
                labels = f'extension_point="{point}",profile="default-scheduler",status="{status}"'
                return found.get(f"scheduler_framework_extension_point_duration_seconds_count{{{labels}}}", "0")

            assert [count("PreFilter", how) for how in ("Success", "UnschedulableAndUnresolvable")] == ["2", "1"]
            assert [count("PostFilter", how) for how in ("Success", "Unschedulable", "Error")] == ["0", "1", "1"]
            assert [count(point, "Success") for point in ("Filter", "Score", "Bind")] == ["2", "1", "1"]
            assert found['scheduler_goroutines{operation="binding"}'] == "0"

    virtually(test)


def test_how_long_a_pod_took_is_counted_from_when_it_could_be_tried() -> None:
    async def test() -> None:
        async with world() as w:
            await w.nodes(node("a"))
            await w.pods(pod("gated", schedulingGates=[{"name": "example.com/g"}]))
            await asyncio.sleep(3600)
            await w.client.patch("pods", "gated", {"spec": {"schedulingGates": None}}, "default")
            await settle()
            assert await w.where("gated") == "a"
            assert float(shown(w)['scheduler_pod_scheduling_sli_duration_seconds_sum{attempts="1"}']) < 1

    virtually(test)


def test_each_family_says_how_stable_it_is() -> None:
    async def test() -> None:
        async with world() as w:
            await w.nodes(node("a"))
            await w.pods(pod("fits"), pod("large", "5"))
            page = Page()
            w.scheduler.metrics.onto(page, w.scheduler)
            told = [line.split(" ", 3)[2:] for line in str(page).splitlines() if line.startswith("# HELP")]
            assert len(told) >= 15 and all(text.startswith(("[STABLE]", "[BETA]", "[ALPHA]")) for _, text in told)
            assert dict(told)["scheduler_pending_pods"].startswith(
                "[STABLE] Number of pending pods, by the queue type. "
            )

    virtually(test)


def test_many_attempts_are_counted_together() -> None:
    metrics = Metrics()
    for attempts in (1, 14, 15, 40):
        metrics.scheduled(attempts, 1.0)
    assert sorted(metrics.whole) == ["1", "14", "15+"]
