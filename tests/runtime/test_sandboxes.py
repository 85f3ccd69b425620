"""Sandboxes over CRI: namespaces and who shares them, names, system settings, the pod's own network."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal

import pytest

from sampan.cri import pb
from tests.runtime.pods import Pods, namespaces, secured
from tests.runtime.test_containers import FOREVER, refused

pytestmark = [pytest.mark.clients, pytest.mark.slow]


async def links(pods: Pods, container: str) -> dict[str, str]:
    text = await pods.sh(container, "ls -l /proc/self/ns")
    return {line.split()[-3]: line.split()[-1] for line in text.splitlines() if "->" in line}


async def test_namespaces_of_a_pod(pods: Pods) -> None:
    sandbox = await pods.run()
    one = await pods.start(sandbox, *FOREVER, name="one")
    two = await pods.start(sandbox, *FOREVER, name="two")
    kinds = ("net", "ipc", "uts", "pid", "mnt")
    mine, other = await links(pods, one), await links(pods, two)
    assert [mine[kind] == other[kind] for kind in kinds] == [True, True, True, False, False]
    assert all(mine[kind] != os.readlink(f"/proc/self/ns/{kind}") for kind in kinds)
    assert "1 packets received" in await pods.sh(one, "ping -c1 127.0.0.1 2>&1")
    target = secured(namespace_options=pb.NamespaceOption(pid=pb.TARGET, target_id=one))
    debugger = await pods.start(sandbox, *FOREVER, name="debug", linux=target)
    assert (await links(pods, debugger))["pid"] == mine["pid"]
    await pods.cri.StopContainer(container_id=one, timeout=0)
    await pods.ended(debugger)  # its first process was the other's
    _, words = await refused(pods.create(sandbox, "true", name="late", linux=target))
    assert "invalid target container" in words


async def test_a_shared_process_namespace(pods: Pods) -> None:
    sandbox = await pods.run(linux=namespaces(pid=pb.POD))
    script = "trap 'exit 7' TERM; (while :; do sleep 0.05; done) & sleep 0.05 & while :; do sleep 0.05; done"
    one = await pods.start(sandbox, "sh", "-c", script, name="one")
    two = await pods.start(sandbox, *FOREVER, name="two")
    assert (await links(pods, one))["pid"] == (await links(pods, two))["pid"]
    seen = await pods.sh(two, "ps")
    assert "/pause" in seen.splitlines()[1].split() and seen.count("while :") >= 3
    if pods.home.kind == "sampan":  # what is orphaned is buried; what is a container's ends with it
        seen = await pods.sh(two, "(sleep 0.05 &) ; sleep 0.2; ps -o ppid,stat")
        assert not [line for line in seen.splitlines() if line.split()[0] == "1" and "Z" in line]
    await pods.cri.StopContainer(container_id=one, timeout=5)
    assert (await pods.status(one)).exit_code == 7
    assert "(while :" not in await pods.sh(two, "ps") and (await pods.status(two)).state == pb.CONTAINER_RUNNING
    third = await pods.start(sandbox, *FOREVER, name="third")
    status = await pods.cri.PodSandboxStatus(pod_sandbox_id=sandbox, verbose=True)
    os.kill(json.loads(status.info["info"])["pid"], signal.SIGKILL)
    for container in (two, third):
        await pods.ended(container)
    async with asyncio.timeout(10):  # nothing is told of sandboxes
        while (await pods.cri.PodSandboxStatus(pod_sandbox_id=sandbox)).status.state == pb.SANDBOX_READY:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    _, words = await refused(pods.create(sandbox, "true", name="late"))
    assert f'sandbox container "{sandbox}" is not running' in words or "no running task found" in words


async def gone(pid: int) -> None:
    """The kernel carries a signal out in its own time."""
    with contextlib.suppress(ProcessLookupError):
        held = os.pidfd_open(pid)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(held, ended.set)
        async with asyncio.timeout(10):
            await ended.wait()
        asyncio.get_running_loop().remove_reader(held)
        os.close(held)


async def test_namespaces_of_the_host(pods: Pods) -> None:
    host = namespaces(network=pb.NODE, pid=pb.NODE, ipc=pb.NODE)
    sandbox = await pods.run("hosted", linux=host)
    container = await pods.start(sandbox, *FOREVER)
    seen = await links(pods, container)
    assert all(os.readlink(f"/proc/self/ns/{kind}") == seen[kind] for kind in ("ipc", "uts", "pid"))
    assert os.readlink(f"/proc/{pods.home.pid}/ns/net") == seen["net"]
    assert (await pods.sh(container, "hostname; echo $HOSTNAME")).split() == [os.uname().nodename] * 2
    assert (await pods.cri.PodSandboxStatus(pod_sandbox_id=sandbox)).status.network.ip == ""
    # its children are nobody else's: they end with it, though the process namespace goes on
    leaves = await pods.start(sandbox, "sh", "-c", "sleep 1000 & echo $! ; exit 3", name="leaves")
    ended = await pods.ended(leaves)
    assert ended.exit_code == 3
    if pods.home.kind == "sampan":
        number = int(pods.log(ended.log_path))
        await gone(number)


async def test_system_settings_and_hostname(pods: Pods) -> None:
    linux = namespaces()
    linux.sysctls.update({"net.ipv4.ip_unprivileged_port_start": "0", "kernel.shm_rmid_forced": "1"})
    await pods.run("named", linux=linux)
    files = "/etc/hostname /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced"
    assert (await pods.output("sh", "-c", f"hostname; cat {files}")).split() == ["named", "named", "0", "1"]
    assert "65536" in await pods.output("sh", "-c", "df -k /dev/shm | tail -1")
    for modes, name, words in (
        (
            {"network": pb.NODE},
            "net.ipv4.ip_forward",
            'sysctl "net.ipv4.ip_forward" not allowed in host network namespace',
        ),
        ({"ipc": pb.NODE}, "kernel.shmmax", 'sysctl "kernel.shmmax" is not allowed in the hosts ipc namespace'),
    ):
        host = namespaces(**modes)
        host.sysctls[name] = "1"
        _, said = await refused(pods.run("host", linux=host))
        assert words in said


async def test_what_the_pods_containers_share(pods: Pods) -> None:
    dns = pb.DNSConfig(servers=["10.0.0.10"], searches=["a.b", "b"], options=["ndots:5"])
    sandbox = await pods.run(dns_config=dns)
    one = await pods.start(sandbox, *FOREVER, name="one")
    two = await pods.start(sandbox, *FOREVER, name="two")
    assert (await pods.sh(one, "cat /etc/resolv.conf")) == "search a.b b\nnameserver 10.0.0.10\noptions ndots:5\n"
    await pods.sh(one, "echo hello > /dev/shm/f")
    assert await pods.sh(two, "cat /dev/shm/f") == "hello\n"


async def test_pods_have_addresses_and_reach_each_other(pods: Pods) -> None:
    sandboxes = [await pods.run(f"p{number}") for number in range(2)]
    for sandbox in sandboxes:
        server = await pods.start(sandbox, "httpd", "-f", "-p", "8080", "-h", "/www")
    found = [(await pods.cri.PodSandboxStatus(pod_sandbox_id=each)).status.network.ip for each in sandboxes]
    assert len(set(found)) == 2 and all(found)
    client = await pods.start(sandboxes[0], *FOREVER, name="client")
    assert await pods.sh(client, f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc {found[1]} 8080 | tail -1") == "hello\n"
    assert pods.home.enter("busybox", "wget", "-qO-", f"http://{found[1]}:8080/") == "hello\n"
    await pods.cri.StopPodSandbox(pod_sandbox_id=sandboxes[1])
    assert (await pods.cri.PodSandboxStatus(pod_sandbox_id=sandboxes[1])).status.network.ip in ("", found[1])
    assert (await pods.status(server)).state == pb.CONTAINER_EXITED


async def test_readiness_and_configuration(pods: Pods) -> None:
    status = await pods.cri.Status(verbose=True)
    conditions = {each.type: each.status for each in status.status.conditions}
    assert conditions["RuntimeReady"] and conditions["NetworkReady"]
    assert json.loads(status.info["config"])
    version = await pods.cri.Version(version="v1")
    assert (version.runtime_name, version.runtime_api_version) == (pods.home.kind, "v1")
    await pods.cri.UpdateRuntimeConfig(
        runtime_config=pb.RuntimeConfig(network_config=pb.NetworkConfig(pod_cidr="10.231.0.0/24"))
    )
    if pods.home.kind == "sampan":
        assert (await pods.cri.RuntimeConfig()).linux.cgroup_driver == pb.CGROUPFS
        handlers = {each.name: each.features.recursive_read_only_mounts for each in status.runtime_handlers}
        assert handlers[""] and {"runc", "crun"} <= set(handlers)
        sandbox = await pods.run()
        await pods.cri.UpdatePodSandboxResources(
            pod_sandbox_id=sandbox, resources=pb.LinuxContainerResources(cpu_shares=7)
        )
    else:
        assert (await refused(pods.cri.RuntimeConfig()))[0] == "UNIMPLEMENTED"


async def test_crun(pods: Pods) -> None:
    if pods.home.kind == "containerd":
        pytest.skip("one runtime under containerd is enough")
    linux = namespaces(pid=pb.POD)
    sandbox = await pods.run(handler="crun", linux=linux)
    assert (await pods.cri.PodSandboxStatus(pod_sandbox_id=sandbox)).status.runtime_handler == "crun"
    resources = pb.LinuxContainerResources(memory_limit_in_bytes=64 << 20, cpu_quota=50_000, cpu_period=100_000)
    limited = secured(seccomp=pb.SecurityProfile(profile_type=pb.RuntimeDefault))
    limited.resources.CopyFrom(resources)
    container = await pods.start(sandbox, *FOREVER, linux=limited)
    assert await pods.sh(container, "echo fine; grep Seccomp: /proc/self/status | cut -f2") == "fine\n2\n"
    resources.memory_limit_in_bytes = 80 << 20
    await pods.cri.UpdateContainerResources(container_id=container, linux=resources)
    stats = (await pods.cri.ContainerStats(container_id=container)).stats
    assert stats.memory.available_bytes.value > 64 << 20
    await pods.cri.StopContainer(container_id=container, timeout=5)
    assert (await pods.status(container)).exit_code == 7
    _, words = await refused(pods.cri.StartContainer(container_id=await pods.create(sandbox, "/no/such", name="bad")))
    assert "/no/such" in words
    greedy = secured()
    greedy.resources.memory_limit_in_bytes = 32 << 20
    oom = await pods.start(
        sandbox, "dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1", name="oom", linux=greedy
    )
    assert (await pods.ended(oom)).reason in pods.home.too_much
