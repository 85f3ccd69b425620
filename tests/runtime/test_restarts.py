"""The runtime killed and started anew: containers run on, logs have no gap, exit codes are right, nothing is left."""

# ruff: noqa: ASYNC240 - small files on the local disk

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from sampan.cri import pb
from tests.runtime.conftest import Pods, connected

aio: Any = importlib.import_module("grpc.aio")
pytestmark = [pytest.mark.clients, pytest.mark.slow]


async def again(pods: Pods) -> None:
    pods.home.socket.unlink(missing_ok=True)
    pods.home.start()
    pods.cri = await connected(pods.home)


async def pid(pods: Pods, container: str) -> int:
    info = (await pods.cri.ContainerStatus(container_id=container, verbose=True)).info["info"]
    return int(json.loads(info)["pid"])


async def gone(number: int) -> None:
    async with asyncio.timeout(10):
        while Path(f"/proc/{number}").exists():  # noqa: ASYNC110 - it is nobody's child here
            await asyncio.sleep(0.01)


async def test_containers_outlive_the_runtime(pods: Pods) -> None:
    sandbox = await pods.run()
    counts = await pods.start(
        sandbox, "sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.005; done", name="counts"
    )
    ends = await pods.start(sandbox, "sh", "-c", "trap 'exit 42' TERM; while :; do sleep 0.01; done", name="ends")
    lost = await pods.start(sandbox, "sh", "-c", "while :; do sleep 0.05; done", name="lost")
    waits = await pods.create(sandbox, "sh", "-c", "exit 6", name="waits")
    pids = {each: await pid(pods, each) for each in (counts, ends, lost)}
    before = await pods.status(counts)
    pods.home.stop(signal.SIGKILL)
    os.kill(pids[ends], signal.SIGTERM)
    await gone(pids[ends])
    monitor = int((pods.home.root / "containers" / lost / "conmon.pid").read_text())
    os.kill(monitor, signal.SIGKILL)  # nobody will ever know this one's code
    os.kill(pids[lost], signal.SIGKILL)
    await gone(pids[lost])
    await again(pods)
    assert (await pods.cri.PodSandboxStatus(pod_sandbox_id=sandbox)).status.state == pb.SANDBOX_READY
    after = await pods.status(counts)
    assert (after.state, after.started_at) == (pb.CONTAINER_RUNNING, before.started_at)
    ended, unknown = await pods.status(ends), await pods.status(lost)
    assert (ended.state, ended.exit_code, ended.reason) == (pb.CONTAINER_EXITED, 42, "Error")
    assert (unknown.state, unknown.exit_code, unknown.reason) == (pb.CONTAINER_EXITED, 255, "Unknown")
    await pods.cri.StartContainer(container_id=waits)
    assert (await pods.ended(waits)).exit_code == 6
    assert await pods.sh(counts, "echo exec works") == "exec works\n"
    await pods.cri.StopContainer(container_id=counts, timeout=0)
    numbers = [int(word) for word in pods.log(after.log_path).split()]
    assert numbers == list(range(len(numbers))) and len(numbers) > 20
    assert {each.id for each in (await pods.cri.ListImages()).images} == {after.image_id}


async def test_a_monitor_that_dies(pods: Pods) -> None:
    container = await pods.start(await pods.run(), "sh", "-c", "while :; do sleep 0.05; done")
    number = await pid(pods, container)
    os.kill(int((pods.home.root / "containers" / container / "conmon.pid").read_text()), signal.SIGKILL)
    assert (await pods.status(container)).state == pb.CONTAINER_RUNNING
    os.kill(number, signal.SIGKILL)
    ended = await pods.ended(container)
    assert (ended.exit_code, ended.reason) == (255, "Unknown")


async def test_killed_at_any_moment(pods: Pods) -> None:
    """Pods are made and removed while the runtime dies again and again; in the end nothing is left of any."""
    rng = random.Random(5)

    async def life(number: int) -> None:
        with contextlib.suppress(aio.AioRpcError, asyncio.CancelledError):
            sandbox = await pods.run(f"pod{number}")
            await pods.start(sandbox, "sh", "-c", "while :; do sleep 0.05; done")
            await pods.cri.StopPodSandbox(pod_sandbox_id=sandbox)
            await pods.cri.RemovePodSandbox(pod_sandbox_id=sandbox)

    for round_ in range(5):
        tasks = [asyncio.create_task(life(round_ * 10 + number)) for number in range(3)]
        await asyncio.sleep(rng.uniform(0.02, 0.5))  # any moment
        pods.home.stop(signal.SIGKILL)
        await asyncio.gather(*tasks)
        await again(pods)
        for each in (await pods.cri.ListContainers()).containers:
            assert each.state in (pb.CONTAINER_CREATED, pb.CONTAINER_RUNNING, pb.CONTAINER_EXITED)
    # that all of it can be taken down, and is gone then, is what the fixture checks


async def test_many_pods_at_once(pods: Pods) -> None:
    async def life(number: int) -> int:
        sandbox = await pods.run(f"pod{number}")
        container = await pods.start(sandbox, "sh", "-c", f"exit {number}")
        code = (await pods.ended(container)).exit_code
        await pods.cri.RemovePodSandbox(pod_sandbox_id=sandbox)
        return int(code)

    assert await asyncio.gather(*map(life, range(20))) == list(range(20))


async def test_a_second_runtime_is_refused(pods: Pods) -> None:
    first = pods.home.process
    pods.home.start()
    second, pods.home.process = pods.home.process, first
    assert second is not None and await asyncio.to_thread(second.wait, 20) == 1
    assert "served by another process" in (pods.home.root / "log").read_text()
    assert (await pods.cri.Version()).runtime_name == "sampan"
