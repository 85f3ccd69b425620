"""How pods end: with grace and without, twice, across a restart of the kubelet, with a runtime that hangs; and nothing of them is left."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.kubelet.conftest import NodeUnderTest
from tests.kubelet.test_lives import of

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
Obj = dict[str, Any]
DEAF = "trap '' TERM; while :; do sleep 0.1; done"
LIVES, AT_ONCE = 200, 10


async def test_a_shorter_grace_period_counts(node: NodeUnderTest) -> None:
    name = await node.run({"terminationGracePeriodSeconds": 3600, "containers": [node.container("sh", "-c", DEAF)]})
    await node.running(name)
    await node.cluster.client.delete("pods", name, "default")
    await node.has_event(name, "Killing")
    async with asyncio.timeout(10):
        await node.delete(name, 1)


async def test_by_force_the_object_goes_first(node: NodeUnderTest) -> None:
    name = await node.run({"containers": [node.container("sh", "-c", DEAF)]})
    pod = await node.running(name)
    await node.delete(name, 0)
    assert node.kubelet is not None
    worker = node.kubelet.pods.workers[pod["metadata"]["uid"]]
    async with asyncio.timeout(20):
        await worker.task
    found = await node.cri.ListContainers(filter={"label_selector": {"io.kubernetes.pod.name": name}})
    assert not found.containers


async def test_a_finalizer_holds_the_object_and_not_the_containers(node: NodeUnderTest) -> None:
    name = await node.run(
        {"containers": [node.container("sleep", "1000")], "terminationGracePeriodSeconds": 0}, finalizers=["x.io/y"]
    )
    await node.running(name)
    await node.cluster.client.delete("pods", name, "default", grace_seconds=1)
    pod = await node.until(name, "status.phase=Failed")
    assert of(pod)["state"]["terminated"]["exitCode"] == 137
    await node.cluster.client.patch("pods", name, {"metadata": {"finalizers": None}}, "default")
    await node.until(name, "deleted")


async def test_an_end_goes_on_after_a_restart(node: NodeUnderTest) -> None:
    name = await node.run({"terminationGracePeriodSeconds": 3600, "containers": [node.container("sh", "-c", DEAF)]})
    await node.running(name)
    await node.cluster.client.delete("pods", name, "default", grace_seconds=3)
    await node.has_event(name, "Killing")
    await node.stop()
    await node.start()
    await node.until(name, "deleted")


async def test_a_pod_that_is_over_stays_to_be_looked_at(node: NodeUnderTest) -> None:
    spec = {"restartPolicy": "Never", "containers": [node.container("echo", "hello")]}
    name = await node.run(spec)
    pod = await node.until(name, "status.phase=Succeeded")
    await node.logged(pod, "hello\n")
    await node.stop()
    await node.start()
    assert node.kubelet is not None
    await node.cluster.wait_for(lambda: node.kubelet and node.kubelet.pods.over(pod["metadata"]["uid"]), timeout=20)
    after = await node.until(name, "exists")
    assert after["status"]["phase"] == "Succeeded" and of(after)["containerID"] == of(pod)["containerID"]
    assert node.log(pod) == "hello\n"
    await node.delete(name)


async def test_a_runtime_that_hangs_is_waited_for(node: NodeUnderTest) -> None:
    name = await node.run({"containers": [node.container("sleep", "1000")]})
    before = await node.running(name)
    assert node.home.process is not None and node.kubelet is not None
    node.kubelet.cri.seconds = 0.5  # what is a long time
    os.kill(node.home.process.pid, signal.SIGSTOP)
    try:
        await node.kubelet.health.look()
        node.kubelet.runtime.answered -= 60
        node.kubelet.node.changed()
        found = await node.cluster.wait_for(f"node/{node.name}", "Ready=False", timeout=20)
        message = next(each["message"] for each in found["status"]["conditions"] if each["type"] == "Ready")
        assert "container runtime is down" in message
    finally:
        os.kill(node.home.process.pid, signal.SIGCONT)
    await node.cluster.wait_for(f"node/{node.name}", "Ready", timeout=20)
    node.kubelet.cri.seconds = 120.0
    assert of(await node.running(name))["containerID"] == of(before)["containerID"]
    await node.delete(name, 0)


async def test_nothing_is_left_of_many_lives(node: NodeUnderTest) -> None:
    """Processes, mounts, control groups, network links, files, and what the kubelet keeps in mind."""
    await node.clear()
    before = counted(node)
    slots = asyncio.Semaphore(AT_ONCE)

    async def live(number: int) -> None:
        async with slots:
            spec = {
                "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
                "containers": [node.container("sh", "-c", "exit $((RANDOM % 2))" if number % 2 else "sleep 1000")],
                "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}],
            }  # fmt: skip
            name = await node.run(spec)
            if number % 2:
                await node.until(
                    name, lambda pod: pod is not None and pod["status"]["phase"] in ("Failed", "Succeeded"), 60
                )
            elif number % 4:
                await node.until(name, "Ready", 60)
            await node.delete(name, 0)

    await asyncio.gather(*(live(number) for number in range(LIVES)))
    await node.clear()
    assert counted(node) == before


def counted(node: NodeUnderTest) -> Obj:
    assert node.kubelet is not None
    root, logs = node.options.root / "pods", node.options.logs
    tasks = [
        each.get_name() for each in asyncio.all_tasks() if each.get_name().startswith(("pod ", "status of", "orphan"))
    ]
    return {
        "traces": [each for each in node.home.left() if "process" not in each or "conmon" in each],
        "links": node.home.enter("ip", "-o", "link"),
        "volumes": sorted(each.name for each in root.iterdir()) if root.exists() else [],
        "logs": sorted(each.name for each in logs.iterdir()) if logs.exists() else [],
        "log links": sorted(each.name for each in Path(logs.parent / "containers").glob("*")),
        "workers": list(node.kubelet.pods.workers),
        "tasks": tasks,
    }
