"""The runtime killed and started anew: containers run on, logs have no gap, exit codes are right, nothing is left."""

# ruff: noqa: ASYNC240 - small files on the local disk

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from sampan.cri import pb
from tests.runtime.pods import Pods

aio: Any = importlib.import_module("grpc.aio")
pytestmark = [pytest.mark.clients, pytest.mark.slow]


async def again(own: Pods) -> None:
    own.home.socket.unlink(missing_ok=True)
    own.home.start()
    own.cri = await own.home.connect()


async def pid(own: Pods, container: str) -> int:
    return int((await own.info(container))["pid"])


async def gone(number: int) -> None:
    async with asyncio.timeout(10):
        while Path(f"/proc/{number}").exists():  # noqa: ASYNC110 - it is nobody's child here
            await asyncio.sleep(0.01)


async def test_containers_outlive_the_runtime(own: Pods) -> None:
    sandbox = await own.run()
    counts = await own.start(
        sandbox, "sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.005; done", name="counts"
    )
    ends = await own.start(sandbox, "sh", "-c", "trap 'exit 42' TERM; while :; do sleep 0.01; done", name="ends")
    lost = await own.start(sandbox, "sh", "-c", "while :; do sleep 0.05; done", name="lost")
    waits = await own.create(sandbox, "sh", "-c", "exit 6", name="waits")
    pids = {each: await pid(own, each) for each in (counts, ends, lost)}
    before = await own.status(counts)
    own.home.stop(signal.SIGKILL)
    os.kill(pids[ends], signal.SIGTERM)
    await gone(pids[ends])
    monitor = int((own.home.root / "lib/containers" / lost / "conmon.pid").read_text())
    os.kill(monitor, signal.SIGKILL)  # nobody will ever know this one's code
    os.kill(pids[lost], signal.SIGKILL)
    await gone(pids[lost])
    await again(own)
    assert (await own.cri.PodSandboxStatus(pod_sandbox_id=sandbox)).status.state == pb.SANDBOX_READY
    after = await own.status(counts)
    assert (after.state, after.started_at) == (pb.CONTAINER_RUNNING, before.started_at)
    ended, unknown = await own.status(ends), await own.status(lost)
    assert (ended.state, ended.exit_code, ended.reason) == (pb.CONTAINER_EXITED, 42, "Error")
    assert (unknown.state, unknown.exit_code, unknown.reason) == (pb.CONTAINER_EXITED, 255, "Unknown")
    await own.cri.StartContainer(container_id=waits)
    assert (await own.ended(waits)).exit_code == 6
    assert await own.sh(counts, "echo exec works") == "exec works\n"
    await own.cri.StopContainer(container_id=counts, timeout=0)
    numbers = [int(word) for word in own.log(after.log_path).split()]
    assert numbers == list(range(len(numbers))) and len(numbers) > 20
    assert after.image_id in {each.id for each in (await own.cri.ListImages()).images}


async def test_a_monitor_that_dies(own: Pods) -> None:
    container = await own.start(await own.run(), "sh", "-c", "while :; do sleep 0.05; done")
    number = await pid(own, container)
    os.kill(int((own.home.root / "lib/containers" / container / "conmon.pid").read_text()), signal.SIGKILL)
    assert (await own.status(container)).state == pb.CONTAINER_RUNNING
    os.kill(number, signal.SIGKILL)
    ended = await own.ended(container)
    assert (ended.exit_code, ended.reason) == (255, "Unknown")


async def test_killed_at_any_moment(own: Pods) -> None:
    """Pods are made and removed while the runtime dies again and again; in the end nothing is left of any."""
    rng = random.Random(5)

    async def life(number: int) -> None:
        with contextlib.suppress(aio.AioRpcError, asyncio.CancelledError):
            sandbox = await own.run(f"pod{number}")
            await own.start(sandbox, "sh", "-c", "while :; do sleep 0.05; done")
            await own.cri.StopPodSandbox(pod_sandbox_id=sandbox)
            await own.cri.RemovePodSandbox(pod_sandbox_id=sandbox)

    for round_ in range(5):
        tasks = [asyncio.create_task(life(round_ * 10 + number)) for number in range(3)]
        await asyncio.sleep(rng.uniform(0.02, 0.5))  # any moment
        own.home.stop(signal.SIGKILL)
        await asyncio.gather(*tasks)
        await again(own)
        for each in (await own.cri.ListContainers()).containers:
            assert each.state in (pb.CONTAINER_CREATED, pb.CONTAINER_RUNNING, pb.CONTAINER_EXITED)
    # that all of it can be taken down, and is gone then, is what the fixture checks


async def test_many_pods_at_once(own: Pods) -> None:
    async def life(number: int) -> int:
        sandbox = await own.run(f"pod{number}")
        container = await own.start(sandbox, "sh", "-c", f"exit {number}")
        code = (await own.ended(container)).exit_code
        await own.cri.RemovePodSandbox(pod_sandbox_id=sandbox)
        return int(code)

    assert await asyncio.gather(*map(life, range(20))) == list(range(20))


async def test_a_second_runtime_is_refused(own: Pods) -> None:
    first = own.home.process
    own.home.start()
    second, own.home.process = own.home.process, first
    assert second is not None and await asyncio.to_thread(second.wait, 20) == 1
    assert "served by another process" in (own.home.root / "log").read_text()
    assert (await own.cri.Version()).runtime_name == "sampan"
