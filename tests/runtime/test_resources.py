"""Limits and what is used, over CRI."""

# ruff: noqa: ASYNC240 - small files on the local disk

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sampan.cri import pb
from sampan.runtime import cgroups
from tests.runtime.pods import Pods, secured

pytestmark = [pytest.mark.clients, pytest.mark.slow]
MEMORY = 32 << 20


def limited(**fields: Any) -> Any:
    linux = secured()
    linux.resources.CopyFrom(pb.LinuxContainerResources(**fields))
    return linux


async def test_limits_and_their_change(pods: Pods) -> None:
    sandbox = await pods.run()
    linux = limited(memory_limit_in_bytes=MEMORY, cpu_quota=20_000, cpu_period=100_000, cpu_shares=200)
    burn = await pods.start(sandbox, "sh", "-c", "while :; do :; done", name="burn", linux=linux)

    async def stats() -> Any:
        return (await pods.cri.ContainerStats(container_id=burn)).stats

    one = await stats()
    await asyncio.sleep(1)  # CPU time is measured over real time
    two = await stats()
    used = two.cpu.usage_core_nano_seconds.value - one.cpu.usage_core_nano_seconds.value
    assert 0 < used / (two.cpu.timestamp - one.cpu.timestamp) < 0.35
    assert two.cpu.usage_nano_cores.value > 0 and 0 < two.memory.working_set_bytes.value < MEMORY
    assert two.memory.available_bytes.value == MEMORY - two.memory.working_set_bytes.value
    wanted = pb.LinuxContainerResources(memory_limit_in_bytes=MEMORY * 2, cpu_quota=30_000, cpu_period=100_000)
    await pods.cri.UpdateContainerResources(container_id=burn, linux=wanted)
    assert (await stats()).memory.available_bytes.value > MEMORY
    if pods.home.kind == "sampan":  # that containerd is older than the field
        now = (await pods.status(burn)).resources.linux
        assert (now.memory_limit_in_bytes, now.cpu_quota, now.cpu_shares) == (MEMORY * 2, 30_000, 200)
    listed = await pods.cri.ListContainerStats(filter=pb.ContainerStatsFilter(pod_sandbox_id=sandbox))
    assert [each.attributes.id for each in listed.stats] == [burn]


async def test_killed_for_memory(pods: Pods) -> None:
    sandbox = await pods.run()
    greedy = "dd if=/dev/zero of=/dev/null bs=200M count=1"
    linux = limited(memory_limit_in_bytes=MEMORY)
    itself = await pods.ended(await pods.start(sandbox, *greedy.split(), name="itself", linux=linux))
    assert itself.exit_code == 137 and itself.reason in pods.home.too_much
    child = await pods.ended(await pods.start(sandbox, "sh", "-c", f"{greedy}; exit 3", name="child", linux=linux))
    # what became of a child is its parent's business; containerd tells of it all the same, if it hears of it in time
    assert child.exit_code == 3
    assert child.reason in ("Error", *pods.home.too_much[:-1])
    killed = await pods.start(sandbox, "sh", "-c", "while :; do sleep 1; done", name="killed", linux=linux)
    await pods.cri.StopContainer(container_id=killed, timeout=0)
    assert (await pods.status(killed)).reason == "Error"


async def test_how_many_processes(pods: Pods) -> None:
    if pods.home.kind == "containerd":
        pytest.skip("runc takes it on version 2 alone")
    await pods.run()
    script = "i=0; while [ $i -lt 20 ]; do sleep 5 & i=$((i+1)); done; echo all"
    assert "all" not in await pods.output("sh", "-c", script, linux=limited(unified={"pids.max": "8"}))


async def test_what_is_written(pods: Pods) -> None:
    script = "head -c 3000000 /dev/zero > /f; mkdir /d; touch /d/g; touch /ready; while :; do sleep 0.1; done"
    sandbox = await pods.run()
    container = await pods.start(sandbox, "sh", "-c", script)
    await pods.sh(container, "while [ ! -e /ready ]; do sleep 0.01; done")

    async def written() -> Any:
        return (await pods.cri.ContainerStats(container_id=container)).stats.writable_layer

    if pods.home.kind == "containerd":
        async with asyncio.timeout(20):  # it looks every ten seconds
            while (await written()).used_bytes.value < 3_000_000:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    found = await written()
    assert 3_000_000 < found.used_bytes.value < 3_200_000 and 4 <= found.inodes_used.value < 20
    disk = (await pods.cri.ImageFsInfo()).image_filesystems[0]
    assert disk.used_bytes.value > 1_000_000 and disk.inodes_used.value > 0 and Path(disk.fs_id.mountpoint).is_dir()


async def test_pods(pods: Pods) -> None:
    sandbox = await pods.run(labels={"of": pods.tag})
    container = await pods.start(sandbox, "sh", "-c", "while :; do sleep 0.1; done")
    await pods.sh(container, "ping -c2 -i 0.2 127.0.0.1 || true")
    stats = (await pods.cri.PodSandboxStats(pod_sandbox_id=sandbox)).stats
    assert stats.attributes.metadata.name == "pod" and stats.linux.process.process_count.value >= 1
    assert [each.attributes.id for each in stats.linux.containers] == [container]
    assert stats.linux.cpu.usage_core_nano_seconds.value > 0 and stats.linux.memory.working_set_bytes.value > 0
    assert stats.linux.network.default_interface.name == "eth0"
    mine = pb.PodSandboxStatsFilter(label_selector={"of": pods.tag})
    assert [each.attributes.id for each in (await pods.cri.ListPodSandboxStats(filter=mine)).stats] == [sandbox]
    if pods.home.kind == "containerd":
        return
    labels = {each.name: each.label_keys for each in (await pods.cri.ListMetricDescriptors()).descriptors}
    [pod] = [each for each in (await pods.cri.ListPodSandboxMetrics()).pod_metrics if each.pod_sandbox_id == sandbox]
    [own] = pod.container_metrics
    for metric in (*pod.metrics, *own.metrics):
        assert len(metric.label_values) == len(labels[metric.name])
    by_name = {each.name: each for each in own.metrics}
    memory = by_name["container_memory_working_set_bytes"]
    assert memory.value.value > 0 and list(memory.label_values)[1:] == [container, pods.image, "main", "pod", "default"]
    assert "container_network_receive_bytes_total" in {each.name for each in pod.metrics}
    assert cgroups.usage((await pods.info(container))["runtimeSpec"]["linux"]["cgroupsPath"]).processes >= 1
