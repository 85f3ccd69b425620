"""Limits that the kernel keeps, pods from files, and pods that are sent away; on the real machine, in control groups of our own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from sampan.kubelet import machine
from sampan.kubelet.eviction_signals import Threshold
from sampan.kubelet.inotify import Watch
from tests.images import busybox
from tests.kubelet.conftest import IMAGE, NodeUnderTest, made
from tests.kubelet.test_lives import of

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
Obj = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sampan", "containerd"])
async def node(request: pytest.FixtureRequest) -> AsyncIterator[NodeUnderTest]:
    async with made(request.param, kube_reserved={"cpu": "100m", "memory": "1Gi"}) as node:
        yield node


def setting(group: str, controller: str, file: str, unified: str) -> str:
    """Of a control group; `unified`: the file's name in version 2."""
    mounts = machine.mounts()
    path = mounts[controller] / group / file if controller in mounts else mounts[""] / group / unified
    return path.read_text().strip()


def runs(pod: Obj) -> bool:
    return any("running" in each["state"] for each in pod["status"].get("containerStatuses") or ())


async def test_what_a_node_has_besides_pods_may_have(node: NodeUnderTest) -> None:
    """Until it is taken back."""
    client = node.cluster.client

    async def say(amount: str | None) -> None:
        patch = {"status": {"capacity": {"example.com/dongle": amount}}}
        await client.patch("nodes", node.name, patch, subresource="status")

    def allows(amount: str | None) -> Callable[[Obj], bool]:
        return lambda found: found["status"].get("allocatable", {}).get("example.com/dongle") == amount

    for amount in ("3", "5", None):
        await say(amount)
        found = await node.cluster.wait_for(f"node/{node.name}", allows(amount))
        assert found["status"]["capacity"].get("example.com/dongle") == amount
        assert found["status"]["allocatable"]["cpu"]


async def test_limits_are_the_kernels(node: NodeUnderTest) -> None:
    amounts = {"limits": {"cpu": "250m", "memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "32Mi"}}
    name = await node.run({"containers": [node.container("sleep", "1000", resources=amounts)]})
    pod = await node.running(name)
    uid, key = pod["metadata"]["uid"], of(pod)["containerID"].partition("//")[2]
    group = f"{node.home.name}/kubepods/burstable/pod{uid}"
    assert node.kubelet is not None
    for each in (group, f"{group}/{key}"):
        assert setting(each, "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
        assert setting(each, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "25000"
        assert setting(each, "cpu", "cpu.shares", "cpu.weight") in ("102", "17")
    capacity = node.kubelet.info.memory
    score = (await node.cri.ExecSync(container_id=key, cmd=["cat", "/proc/1/oom_score_adj"], timeout=5)).stdout
    assert int(score) == 1000 - 1000 * (32 << 20) // capacity
    assert setting(f"{node.home.name}/kubepods", "memory", "memory.limit_in_bytes", "memory.max") == str(
        capacity - (1 << 30)
    )
    await node.delete(name, 1)
    assert not [path for point in machine.mounts().values() for path in (point / node.home.name).rglob(f"*{uid}*")]


async def test_too_much_memory(node: NodeUnderTest) -> None:
    hungry = node.container("busybox", "tail", "/dev/zero", resources={"limits": {"memory": "16Mi"}})
    name = await node.run({"restartPolicy": "Never", "containers": [hungry]})
    pod = await node.until(name, "status.phase=Failed")
    ended = of(pod)["state"]["terminated"]
    assert ended["exitCode"] == 137 and ended["reason"] in node.home.too_much


async def test_pods_from_files(node: NodeUnderTest) -> None:
    manifests = node.options.static_pods
    assert manifests is not None
    manifests.mkdir(exist_ok=True)
    manifest: Obj = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "image": IMAGE, "command": ["sleep", "1000"]}]}}  # fmt: skip
    file, name = manifests / "web.yaml", f"web-{node.name}"
    file.write_text(yaml.safe_dump(manifest))
    pod = await node.until(name, "Ready")
    notes = pod["metadata"]["annotations"]
    assert notes["kubernetes.io/config.mirror"] == notes["kubernetes.io/config.hash"]
    assert notes["kubernetes.io/config.source"] == "file" and "kubernetes.io/config.seen" in notes
    assert pod["metadata"]["ownerReferences"][0]["kind"] == "Node"
    assert pod["status"]["phase"] == "Running" and of(pod)["restartCount"] == 0

    # the mirror is only a picture: it comes again, and the pod runs on
    container = of(pod)["containerID"]
    await node.cluster.client.delete("pods", name, "default", grace_seconds=0)
    again = await node.until(
        name, lambda found: found is not None and found["metadata"]["uid"] != pod["metadata"]["uid"] and runs(found)
    )
    assert of(again)["containerID"] == container

    # and it outlives the kubelet
    await node.stop()
    await node.start()
    again = await node.until(name, "Ready")
    assert of(again)["containerID"] == container and of(again)["restartCount"] == 0

    # another content is another pod
    manifest["spec"]["containers"][0]["command"] = ["sleep", "2000"]
    file.write_text(yaml.safe_dump(manifest))
    key = "kubernetes.io/config.hash"
    changed = await node.until(
        name, lambda found: found is not None and found["metadata"]["annotations"][key] != notes[key] and runs(found)
    )
    assert of(changed)["containerID"] != container
    file.unlink()
    await node.until(name, "deleted")


async def test_a_pod_that_fills_its_volume(node: NodeUnderTest) -> None:
    main = node.container("sh", "-c", "dd if=/dev/zero of=/cache/big bs=1M count=2 && echo full && sleep 1000",
                          volumeMounts=[{"name": "cache", "mountPath": "/cache"}],
                          readinessProbe={"exec": {"command": ["sh", "-c", "[ -s /cache/big ]"]}, "periodSeconds": 1})  # fmt: skip
    name = await node.run({"containers": [main], "volumes": [{"name": "cache", "emptyDir": {"sizeLimit": "1Mi"}}]})
    pod = await node.running(name)
    assert node.kubelet is not None
    gone = await node.kubelet.care.eviction.look()
    assert gone is not None and gone["metadata"]["uid"] == pod["metadata"]["uid"]
    pod = await node.until(name, "status.phase=Failed")
    words = 'Usage of EmptyDir volume "cache" exceeds the limit "1Mi". '
    assert (pod["status"]["reason"], pod["status"]["message"]) == ("Evicted", words)
    assert await node.has_event(name, "Evicted") == words


async def test_a_node_that_is_short_of_memory(node: NodeUnderTest) -> None:
    small = node.container("sleep", "1000", resources={"requests": {"memory": "64Mi"}})
    big = node.container("sh", "-c", "dd if=/dev/zero of=/dev/shm/big bs=1M count=20 && sleep 1000", resources={"requests": {"memory": "1Mi"}},
                         readinessProbe={"exec": {"command": ["sh", "-c", "[ -s /dev/shm/big ]"]}, "periodSeconds": 1})  # fmt: skip
    first, second = await node.run({"containers": [small]}), await node.run({"containers": [big]})
    await asyncio.gather(node.running(first), node.running(second))
    assert node.kubelet is not None
    eviction = node.kubelet.care.eviction
    eviction._thresholds = [Threshold("memory.available", "1000Gi")]
    try:
        await eviction.look()
        pod = await node.until(second, "status.phase=Failed")
        text = pod["status"]["message"]
        assert pod["status"]["reason"] == "Evicted"
        assert text.startswith("The node was low on resource: memory. Threshold quantity: 1000Gi, available: ")
        assert "Container main was using " in text and text.endswith(
            ", request is 1Mi, has larger consumption of memory. "
        )
        condition = next(each for each in pod["status"]["conditions"] if each["type"] == "DisruptionTarget")
        assert (condition["status"], condition["reason"], condition["message"]) == (
            "True",
            "TerminationByKubelet",
            text,
        )
        await node.cluster.wait_for(f"node/{node.name}", "MemoryPressure", timeout=20)
        refused = await node.run({"containers": [node.container("sleep", "1000")]})
        pod = await node.until(refused, "status.phase=Failed")
        assert "The node had condition: [MemoryPressure]. " in pod["status"]["message"]
    finally:
        eviction._thresholds, eviction._met, eviction._pressure_seconds = [], [], 0
    await eviction.look()
    await node.cluster.wait_for(f"node/{node.name}", "MemoryPressure=False", timeout=20)
    await node.delete(first, 1)


async def test_images_that_nobody_uses(node: NodeUnderTest) -> None:
    await node.home.load(busybox(Env=["OTHER=1"]), "docker.io/library/unused:1")
    name = await node.run({"containers": [node.container("sleep", "1000")]})
    await node.running(name)
    before = {tag for each in (await node.cri.ListImages()).images for tag in each.repo_tags}
    assert node.kubelet is not None
    images = node.kubelet.care.images
    await images.delete_unused()
    assert {tag for each in (await node.cri.ListImages()).images for tag in each.repo_tags} == before, "it is young"
    images._min_seconds = 0
    await images.delete_unused()
    left = {tag for each in (await node.cri.ListImages()).images for tag in each.repo_tags}
    assert before - left == {"docker.io/library/unused:1"}
    await node.delete(name, 1)


async def written(path: Path) -> None:
    async with asyncio.timeout(10):
        with Watch(path.parent) as watch:
            while not machine.text(path):
                await watch.next()


async def test_logs_are_rotated(node: NodeUnderTest) -> None:
    name = await node.run({"containers": [node.container("sh", "-c", "while echo line; do sleep 0.02; done")]})
    pod = await node.running(name)
    log = node.options.logs / f"default_{name}_{pod['metadata']['uid']}" / "main" / "0.log"
    await written(log)
    assert node.kubelet is not None
    rotation = node.kubelet.care.logs
    rotation._max_size, before = 1, rotation._max_size
    try:
        await rotation.look()
    finally:
        rotation._max_size = before
    await written(log)
    assert len(list(log.parent.iterdir())) == 2
    await node.delete(name, 1)
