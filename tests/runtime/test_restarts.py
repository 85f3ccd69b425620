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
from tests.runtime.homes import Home
from tests.runtime.pods import Pods, namespaces
from tests.runtime.test_sandboxes import gone

aio: Any = importlib.import_module("grpc.aio")
pytestmark = [pytest.mark.clients, pytest.mark.slow]
FOREVER = ("sh", "-c", "while :; do sleep 0.05; done")


async def again(own: Pods) -> None:
    own.home.socket.unlink(missing_ok=True)
    own.home.start()
    own.cri = await own.home.connect()


async def pid(own: Pods, container: str) -> int:
    return int((await own.info(container))["pid"])


async def test_containers_outlive_the_runtime(own: Pods) -> None:
    sandbox = await own.run()
    shared = await own.run("shared", linux=namespaces(pid=pb.POD), handler="crun")
    counts = await own.start(
        sandbox, "sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.005; done", name="counts"
    )
    ends = await own.start(sandbox, "sh", "-c", "trap 'exit 42' TERM; while :; do sleep 0.01; done", name="ends")
    lost = await own.start(sandbox, *FOREVER, name="lost")
    waits = await own.create(sandbox, "sh", "-c", "exit 6", name="waits")
    together = await own.start(shared, *FOREVER, name="together")
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
    for each in (sandbox, shared):
        assert (await own.cri.PodSandboxStatus(pod_sandbox_id=each)).status.state == pb.SANDBOX_READY
    after = await own.status(counts)
    assert (after.state, after.started_at) == (pb.CONTAINER_RUNNING, before.started_at)
    ended, unknown = await own.status(ends), await own.status(lost)
    assert (ended.state, ended.exit_code, ended.reason) == (pb.CONTAINER_EXITED, 42, "Error")
    assert (unknown.state, unknown.exit_code, unknown.reason) == (pb.CONTAINER_EXITED, 255, "Unknown")
    await own.cri.StartContainer(container_id=waits)
    assert (await own.ended(waits)).exit_code == 6
    assert await own.sh(counts, "echo exec works") == "exec works\n"
    late = await own.start(shared, *FOREVER, name="late")
    assert (await own.sh(late, "ps")).count("while :") >= 2 and await own.sh(together, "echo fine") == "fine\n"
    await own.cri.StopContainer(container_id=counts, timeout=0)
    numbers = [int(word) for word in own.log(after.log_path).split()]
    assert numbers == list(range(len(numbers))) and len(numbers) > 20
    assert after.image_id in {each.id for each in (await own.cri.ListImages()).images}


async def test_a_monitor_that_dies(own: Pods) -> None:
    container = await own.start(await own.run(), *FOREVER)
    number = await pid(own, container)
    os.kill(int((own.home.root / "lib/containers" / container / "conmon.pid").read_text()), signal.SIGKILL)
    assert (await own.status(container)).state == pb.CONTAINER_RUNNING
    os.kill(number, signal.SIGKILL)
    ended = await own.ended(container)
    assert (ended.exit_code, ended.reason) == (255, "Unknown")


async def test_killed_at_any_moment(own: Pods) -> None:
    """Pods are made and removed while the runtime dies again and again; in the end nothing is left of any."""
    rng = random.Random(5)
    kinds: list[dict[str, Any]] = [{}, {"linux": namespaces(pid=pb.POD)}, {"handler": "crun"}]

    async def life(number: int, kind: dict[str, Any]) -> None:
        with contextlib.suppress(aio.AioRpcError, asyncio.CancelledError):
            sandbox = await own.run(f"pod{number}", **kind)
            await own.start(sandbox, *FOREVER)
            await own.cri.StopPodSandbox(pod_sandbox_id=sandbox)
            await own.cri.RemovePodSandbox(pod_sandbox_id=sandbox)

    for round_ in range(6):
        tasks = [asyncio.create_task(life(round_ * 10 + number, kind)) for number, kind in enumerate(kinds)]
        await asyncio.sleep(rng.uniform(0.01, 0.4))  # any moment
        own.home.stop(signal.SIGKILL)
        await asyncio.gather(*tasks)
        await again(own)
        for container in (await own.cri.ListContainers()).containers:
            assert container.state in (pb.CONTAINER_CREATED, pb.CONTAINER_RUNNING, pb.CONTAINER_EXITED)
        # what nobody was told of is gone already: each sandbox was ready once
        for sandbox in (await own.cri.ListPodSandbox()).items:
            names = {each.name for each in (own.home.run / "sandboxes" / sandbox.id).glob("*")}
            assert ("ns" in names) == (sandbox.state == pb.SANDBOX_READY)
    # that all of it can be taken down, and is gone then, is what the fixture checks


def held(home: Home) -> dict[str, int]:
    """What a pod could leave behind, counted."""
    own = Path(f"/proc/{home.pid}")
    files = [path for top in (home.root, home.run) for path in top.rglob("*") if "logs" not in path.parts]
    return {
        "mounts": sum(home.name in line for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        "named": len(home.left()),
        "files": len(files),
        "descriptors": len(list((own / "fd").iterdir())),
        "children": len((own / "task" / str(home.pid) / "children").read_text().split()),
        "links": len(home.enter("ip", "-oneline", "link").splitlines()),
        "rules": len(home.enter("nft", "list", "ruleset").splitlines()),
        "routes": len(home.enter("ip", "route", "show", "table", "all").splitlines()),
    }


@pytest.mark.timeout(600)
@pytest.mark.again
async def test_200_lives_leave_nothing(networked: Pods) -> None:
    pods = networked

    async def life(number: int) -> None:
        kind: dict[str, Any] = {"linux": namespaces(pid=pb.POD)} if number % 10 == 0 else {}
        sandbox = await pods.run(f"pod{number}", handler="crun" if number % 11 == 0 else "", **kind)
        containers = [await pods.start(sandbox, "sh", "-c", f"exit {number % 100}", name="ends")]
        if number % 8 == 0:
            containers.append(await pods.start(sandbox, *FOREVER, name="runs"))
            await pods.cri.ExecSync(container_id=containers[1], cmd=["true"])
            await pods.cri.PodSandboxStats(pod_sandbox_id=sandbox)
        assert (await pods.ended(containers[0])).exit_code == number % 100
        await pods.cri.StopPodSandbox(pod_sandbox_id=sandbox)
        await pods.cri.RemovePodSandbox(pod_sandbox_id=sandbox)

    async def lives(numbers: range) -> None:
        slots = asyncio.Semaphore(6)

        async def one(number: int) -> None:
            async with slots:
                await life(number)

        async with asyncio.TaskGroup() as group:
            for number in numbers:
                group.create_task(one(number))

    await lives(range(20))  # threads and connections that stay have come to be by then
    before = held(pods.home)
    await lives(range(20, 200))
    after = held(pods.home)
    # a connection more or less is no leak; one for each pod would be
    assert after.pop("descriptors") <= before.pop("descriptors") + 20
    assert after == before
    [memory] = [line for line in Path(f"/proc/{pods.home.pid}/status").read_text().splitlines() if "VmRSS" in line]
    assert int(memory.split()[1]) <= 80_000, memory


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
