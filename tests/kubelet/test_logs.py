"""`kubectl logs` of real containers, in all its forms."""
# ruff: noqa: ASYNC110, ASYNC240 - what is waited for tells nobody; small files on the local disk

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.kubelet.conftest import NodeUnderTest, made
from tests.kubelet.kubectl import Kubectl

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(Z|[+-]\d\d:\d\d) ")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sampan", "containerd"])
async def node(request: pytest.FixtureRequest) -> AsyncIterator[NodeUnderTest]:
    async with made(request.param) as node:
        yield node


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kubectl(node: NodeUnderTest) -> Kubectl:
    return Kubectl(node.cluster.kubeconfig)


async def test_what_there_is(node: NodeUnderTest, kubectl: Kubectl) -> None:
    script = "for i in 1 2 3 4 5; do echo line $i; done; echo bad >&2; exec sleep 1000"
    name = await node.run({"containers": [node.container("sh", "-c", script)]})
    await node.running(name)
    while "bad" not in (out := await kubectl("logs", name)):  # it may be on its way
        await asyncio.sleep(0.05)
    lines = [f"line {i}\n" for i in range(1, 6)]
    assert sorted(out.splitlines(keepends=True)) == sorted([*lines, "bad\n"])
    assert (await kubectl("logs", name, "--tail=2")).count("\n") == 2 and await kubectl("logs", name, "--tail=0") == ""
    assert await kubectl("logs", name, "--limit-bytes=9") == out[:9]
    stamped = (await kubectl("logs", name, "--timestamps")).splitlines()
    assert all(STAMP.match(line) for line in stamped) and STAMP.sub("", stamped[0]) == out.splitlines()[0]
    first = stamped[0].split()[0]
    assert await kubectl("logs", name, "--since=1h") == out
    assert await kubectl("logs", name, f"--since-time={first[:19]}Z") == out
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
    assert await kubectl("logs", name, f"--since-time={later}") == ""
    path = f"/api/v1/namespaces/default/pods/{name}/log"
    assert await kubectl("get", "--raw", f"{path}?stream=Stderr") == "bad\n"
    assert "must be greater than or equal to 0" in await kubectl.fails("get", "--raw", f"{path}?tailLines=-1")
    assert await kubectl("logs", name, "--insecure-skip-tls-verify-backend") == out


async def test_all_containers_and_selectors(node: NodeUnderTest, kubectl: Kubectl) -> None:
    def say(name: str) -> dict[str, Any]:
        return node.container("sh", "-c", f"echo I am {name}; test {name} = init || exec sleep 1000", name=name)

    spec = {"initContainers": [say("init")], "containers": [say("one"), say("two")]}
    name = await node.run(spec, labels={"app": "many"})
    await node.running(name)
    assert await kubectl("logs", name, "-c", "init") == "I am init\n"
    every = await kubectl("logs", name, "--all-containers", "--prefix")
    assert sorted(every.splitlines()) == [f"[pod/{name}/{each}] I am {each}" for each in ("init", "one", "two")]
    assert sorted((await kubectl("logs", "-l", "app=many", "--all-containers")).split()) == ["I"] * 3 + ["am"] * 3 + [
        "init",
        "one",
        "two",
    ]
    path = f"/api/v1/namespaces/default/pods/{name}/log"
    said = await kubectl.fails("get", "--raw", path)
    assert (
        f"a container name must be specified for pod {name}, choose one of: [one two] or one of the init containers: [init]"
        in said
    )
    assert f"container three is not valid for pod {name}" in await kubectl.fails("logs", name, "-c", "three")


async def test_previous_lives_and_the_end_of_following(node: NodeUnderTest, kubectl: Kubectl) -> None:
    script = "echo life $(ls /there | wc -l); touch /there/$(ls /there | wc -l); sleep 1; exit 3"
    container = node.container("sh", "-c", script, volumeMounts=[{"name": "v", "mountPath": "/there"}])
    name = await node.run({"containers": [container], "volumes": [{"name": "v", "emptyDir": {}}]})
    await node.until(name, lambda pod: bool((pod.get("status") or {}).get("containerStatuses")))
    missing = await kubectl.fails("logs", name, "--previous")
    assert f'previous terminated container "main" in pod "{name}" not found' in missing
    await node.until(name, lambda pod: pod["status"]["containerStatuses"][0]["state"].get("running") is not None)
    started = time.monotonic()
    followed = await kubectl("logs", "-f", name)  # it ends with the container
    assert re.fullmatch(r"life \d\n", followed)
    assert time.monotonic() - started < 20
    await node.until(name, lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] >= 1)
    before, now = await kubectl("logs", name, "--previous"), await kubectl("logs", name)
    assert re.fullmatch(r"life \d\n", before) and now in ("", f"life {int(before.split()[1]) + 1}\n", before)


async def test_what_has_no_log_yet(node: NodeUnderTest, kubectl: Kubectl) -> None:
    name = await node.run(
        {"containers": [{**node.container("true"), "image": "nowhere.invalid/none:1", "imagePullPolicy": "Never"}]}
    )
    await node.until(name, lambda pod: bool((pod.get("status") or {}).get("containerStatuses")))
    said = await kubectl.fails("logs", name)
    assert f'container "main" in pod "{name}" is waiting to start: ' in said


async def test_following_through_a_rotation(node: NodeUnderTest, kubectl: Kubectl) -> None:
    """Each line once and in order, whatever happens to the file."""
    name = await node.run(
        {"containers": [node.container("sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); usleep 2000; done")]}
    )
    pod = await node.running(name)
    status = pod["status"]["containerStatuses"][0]
    key = status["containerID"].partition("://")[2]
    path = Path((await node.cri.ContainerStatus(container_id=key)).status.log_path)
    async with kubectl.started("logs", "-f", name) as process:
        assert process.stdout is not None
        seen = 0
        for turn in range(6):
            for _ in range(20):
                assert int(await asyncio.wait_for(process.stdout.readline(), 10)) == seen
                seen += 1
            path.rename(f"{path}.2026010{turn}-000000")
            await node.cri.ReopenContainerLog(container_id=key)
            while not path.exists():
                await asyncio.sleep(0.005)
        await node.cluster.client.delete("pods", name, "default", grace_seconds=0)
        async with asyncio.timeout(20):
            while line := await process.stdout.readline():
                assert int(line) == seen
                seen += 1
            assert await process.wait() == 0


async def test_a_reader_that_goes_leaves_nothing(node: NodeUnderTest, kubectl: Kubectl) -> None:
    name = await node.run({"containers": [node.container("sh", "-c", "echo here; exec sleep 1000")]})
    await node.running(name)
    assert node.kubelet is not None
    server = node.kubelet.server._server
    assert server is not None

    def streams() -> int:
        return sum(connection.stream is not None for connection in server.connections)

    async with kubectl.started("logs", "-f", name) as process:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 10) == b"here\n"
        assert streams() == 1
    async with asyncio.timeout(10):
        while streams():
            await asyncio.sleep(0.02)
