"""Real containers over CRI."""

# ruff: noqa: ASYNC240 - small files on the local disk

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sampan.cri import pb
from tests.runtime.conftest import Home, Pods

aio: Any = importlib.import_module("grpc.aio")
pytestmark = [pytest.mark.clients, pytest.mark.slow]
FOREVER = ("sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done")


async def test_one_life(pods: Pods) -> None:
    sandbox = await pods.run(labels={"app": "x"}, annotations={"a": "b"})
    status = (await pods.cri.PodSandboxStatus(pod_sandbox_id=sandbox)).status
    assert (status.state, status.metadata.name, dict(status.annotations)) == (pb.SANDBOX_READY, "pod", {"a": "b"})
    container = await pods.create(sandbox, *FOREVER, labels={"tier": "web"})
    assert (await pods.status(container)).state == pb.CONTAINER_CREATED
    await pods.cri.StartContainer(container_id=container)
    running = await pods.status(container)
    assert running.state == pb.CONTAINER_RUNNING and running.started_at >= running.created_at > 0
    assert running.image.image == pods.image and running.image_id.startswith("sha256:")
    listed = await pods.cri.ListContainers(filter=pb.ContainerFilter(label_selector={"tier": "web"}))
    assert [each.id for each in listed.containers] == [container]
    assert not (await pods.cri.ListContainers(filter=pb.ContainerFilter(label_selector={"tier": "db"}))).containers
    await pods.cri.StopContainer(container_id=container, timeout=10)
    ended = await pods.status(container)
    assert (ended.state, ended.exit_code, ended.reason) == (pb.CONTAINER_EXITED, 7, "Error")
    assert ended.finished_at >= ended.started_at
    for _ in range(2):  # both are idempotent
        await pods.cri.StopPodSandbox(pod_sandbox_id=sandbox)
    assert (await pods.cri.PodSandboxStatus(pod_sandbox_id=sandbox)).status.state == pb.SANDBOX_NOTREADY
    for _ in range(2):
        await pods.cri.RemovePodSandbox(pod_sandbox_id=sandbox)
    assert not (await pods.cri.ListPodSandbox()).items and not (await pods.cri.ListContainers()).containers
    with pytest.raises(aio.AioRpcError, match="not found"):
        await pods.status(container)


async def test_exit_codes_logs_and_environment(pods: Pods) -> None:
    sandbox = await pods.run()
    script = "echo out; echo err >&2; echo $FROM_IMAGE $MINE $HOSTNAME $(pwd); printf tail; exit 3"
    container = await pods.start(
        sandbox, "sh", "-c", script, envs=[pb.KeyValue(key="MINE", value="m")], working_dir="/made/here"
    )
    ended = await pods.ended(container)
    assert (ended.exit_code, ended.reason) == (3, "Error")
    lines = [line.split(" ", 3) for line in Path(ended.log_path).read_text().splitlines()]
    assert sorted(line[1:] for line in lines) == [
        ["stderr", "F", "err"], ["stdout", "F", "1 m pod /made/here"], ["stdout", "F", "out"], ["stdout", "P", "tail"]
    ]  # fmt: skip
    assert all(time.strptime(line[0][:19], "%Y-%m-%dT%H:%M:%S") for line in lines)
    fine = await pods.ended(await pods.start(sandbox, "true", name="fine"))
    assert (fine.exit_code, fine.reason) == (0, "Completed")


async def test_exec(pods: Pods) -> None:
    container = await pods.start(await pods.run(), *FOREVER)
    done = await pods.cri.ExecSync(container_id=container, cmd=["sh", "-c", "echo out; echo err >&2; exit 5"])
    assert (done.stdout, done.stderr, done.exit_code) == (b"out\n", b"err\n", 5)
    began = time.monotonic()
    with pytest.raises(aio.AioRpcError, match="timeout 1s exceeded") as caught:
        await pods.cri.ExecSync(container_id=container, cmd=["sleep", "100"], timeout=1)
    assert caught.value.code().name == "DEADLINE_EXCEEDED" and time.monotonic() - began < 5
    assert "sleep 100" not in await pods.sh(container, "ps")
    with pytest.raises(aio.AioRpcError, match="executable file not found"):
        await pods.cri.ExecSync(container_id=container, cmd=["no-such-thing"])
    large = await pods.cri.ExecSync(container_id=container, cmd=["head", "-c", "3000000", "/dev/zero"])
    assert len(large.stdout) == 3_000_000


async def test_a_command_that_does_not_exist(pods: Pods) -> None:
    sandbox = await pods.run()
    container = await pods.create(sandbox, "/no/such")
    with pytest.raises(aio.AioRpcError, match='exec: "/no/such": stat /no/such: no such file or directory'):
        await pods.cri.StartContainer(container_id=container)
    ended = await pods.status(container)
    assert (ended.state, ended.exit_code, ended.reason) == (pb.CONTAINER_EXITED, 128, "StartError")
    assert "no such file" in ended.message


async def test_bad_requests_leave_nothing(pods: Pods) -> None:
    sandbox = await pods.run()
    with pytest.raises(aio.AioRpcError, match="failed to reserve sandbox name"):
        await pods.cri.RunPodSandbox(config=pods.sandbox_config())
    with pytest.raises(aio.AioRpcError, match='no runtime for "kata" is configured'):
        await pods.cri.RunPodSandbox(config=pods.sandbox_config("other"), runtime_handler="kata")
    bad = pb.LinuxPodSandboxConfig(sysctls={"kernel.no_such": "1"})
    with pytest.raises(aio.AioRpcError, match="failed to create sandbox"):
        await pods.run("other", linux=bad)
    for fields, words in (
        ({"mounts": [pb.Mount(container_path="/x", host_path="/no/such")]}, 'failed to stat "/no/such"'),
        ({"working_dir": "relative"}, "not an absolute path"),
        ({"linux": _context(run_as_username="nobody-here")}, "unable to find user nobody-here"),
        ({"linux": _context(capabilities=pb.Capability(add_capabilities=["FLY"]))}, "unknown capability 'CAP_FLY'"),
    ):
        with pytest.raises(aio.AioRpcError, match=words):
            await pods.create(sandbox, "true", **fields)
    pods.image = "missing:1"
    with pytest.raises(aio.AioRpcError, match='failed to resolve image "missing:1": not found'):
        await pods.create(sandbox, "true")
    assert not (await pods.cri.ListContainers()).containers
    assert not list((pods.home.root / "containers").iterdir())


def _context(**fields: Any) -> Any:
    return pb.LinuxContainerConfig(security_context=pb.LinuxContainerSecurityContext(**fields))


async def test_who_runs_and_what_it_may_do(pods: Pods) -> None:
    await pods.run()
    ids = ("sh", "-c", "id -u; id -g; id -G; grep CapEff /proc/self/status | cut -f2")
    default = "00000000a80425fb"
    assert (await pods.output(*ids)).split() == ["0", "0", "0", default]
    value = pb.Int64Value
    assert (await pods.output(*ids, linux=_context(run_as_username="app"))).split() == [
        "1234", "2345", "2345", "3456", "0000000000000000"
    ]  # fmt: skip
    strict = _context(
        run_as_user=value(value=1234), run_as_group=value(value=5), supplemental_groups=[77],
        supplemental_groups_policy=pb.Strict,
    )  # fmt: skip
    assert (await pods.output(*ids, linux=strict)).split() == ["1234", "5", "5", "77", "0000000000000000"]
    less = _context(capabilities=pb.Capability(drop_capabilities=["ALL"], add_capabilities=["NET_BIND_SERVICE"]))
    assert (await pods.output(*ids, linux=less)).split()[-1] == "0000000000000400"
    confined = pb.SecurityProfile(profile_type=pb.RuntimeDefault)
    unconfined = pb.SecurityProfile(profile_type=pb.Unconfined)
    look = (
        "sh",
        "-c",
        "grep -E 'Seccomp:|NoNewPrivs' /proc/self/status | cut -f2; touch /f && echo rw; ls /proc/acpi /sys/firmware | wc -l",
    )
    assert (await pods.output(*look, linux=_context(seccomp=unconfined))).split()[:3] == ["0", "0", "rw"]
    tight = _context(seccomp=confined, no_new_privs=True, readonly_rootfs=True)
    assert (await pods.output(*look, linux=tight)).split()[:2] == ["1", "2"]
    assert "rw" not in await pods.output(*look, linux=tight)
    wide = _context(privileged=True)
    seen = await pods.output(
        "sh", "-c", "mount -t tmpfs x /tmp && echo mounted; grep Seccomp: /proc/self/status", linux=wide
    )
    assert "mounted" in seen and "Seccomp:\t0" in seen


async def test_mounts(pods: Pods, tmp_path: Path) -> None:
    await pods.run(dns_config=pb.DNSConfig(servers=["10.0.0.10"], searches=["a.b", "b"], options=["ndots:5"]))
    (tmp_path / "f").write_text("of the host")
    mounts = [
        pb.Mount(container_path="/deep/rw", host_path=str(tmp_path)),
        pb.Mount(container_path="/ro", host_path=str(tmp_path), readonly=True),
        pb.Mount(container_path="/etc/hosts", host_path=str(tmp_path / "f")),
    ]
    script = "cat /ro/f /etc/hosts; touch /deep/rw/new; touch /ro/no && echo wrong; cat /etc/resolv.conf; df /dev/shm | tail -1"
    seen = await pods.output("sh", "-c", script, mounts=mounts)
    assert seen.startswith("of the hostof the host") and "wrong" not in seen and "65536" in seen
    assert "search a.b b\nnameserver 10.0.0.10\noptions ndots:5\n" in seen and (tmp_path / "new").exists()


async def test_limits(pods: Pods) -> None:
    sandbox = await pods.run()
    resources = pb.LinuxContainerResources(
        memory_limit_in_bytes=32 << 20, cpu_quota=20_000, cpu_period=100_000, cpu_shares=200
    )
    linux = pb.LinuxContainerConfig(resources=resources)
    burn = await pods.start(sandbox, "sh", "-c", "while :; do :; done", name="burn", linux=linux)
    one = (await pods.cri.ContainerStats(container_id=burn)).stats
    await asyncio.sleep(1)  # CPU time is measured over real time
    two = (await pods.cri.ContainerStats(container_id=burn)).stats
    used = two.cpu.usage_core_nano_seconds.value - one.cpu.usage_core_nano_seconds.value
    assert 0 < used / (two.cpu.timestamp - one.cpu.timestamp) < 0.35
    assert two.cpu.usage_nano_cores.value > 0 and 0 < two.memory.working_set_bytes.value < 32 << 20
    assert two.memory.available_bytes.value == (32 << 20) - two.memory.working_set_bytes.value
    await pods.cri.UpdateContainerResources(
        container_id=burn, linux=pb.LinuxContainerResources(memory_limit_in_bytes=48 << 20)
    )
    status = await pods.status(burn)
    assert status.resources.linux.memory_limit_in_bytes == 48 << 20 and status.resources.linux.cpu_quota == 20_000
    three = (await pods.cri.ListContainerStats()).stats[0]
    assert three.memory.available_bytes.value > 32 << 20
    greedy = await pods.start(
        sandbox, "dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1", name="oom", linux=linux
    )
    ended = await pods.ended(greedy)
    assert (ended.exit_code, ended.reason) == (137, "OOMKilled")


async def test_stopping_one_that_does_not_want_to(pods: Pods) -> None:
    container = await pods.start(await pods.run(), "sh", "-c", "trap '' TERM; while :; do sleep 0.05; done")
    began = time.monotonic()
    await pods.cri.StopContainer(container_id=container, timeout=1)
    assert 1 <= time.monotonic() - began < 4 and (await pods.status(container)).exit_code == 137
    sandbox = pods.sandboxes[0]
    usr = await pods.start(
        sandbox, "sh", "-c", "trap 'exit 9' USR1; while :; do sleep 0.05; done", name="u", stop_signal=pb.SIGUSR1
    )
    await pods.cri.StopContainer(container_id=usr, timeout=10)
    status = await pods.status(usr)
    assert (status.exit_code, status.stop_signal) == (9, pb.SIGUSR1)


async def test_log_rotation(pods: Pods) -> None:
    container = await pods.start(
        await pods.run(), "sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.002; done"
    )
    path = Path((await pods.status(container)).log_path)
    await pods.sh(container, "sleep 0.3")
    path.rename(path.with_suffix(".old"))
    await pods.cri.ReopenContainerLog(container_id=container)
    await pods.sh(container, "sleep 0.3")
    await pods.cri.StopContainer(container_id=container, timeout=0)
    numbers = [int(word) for word in (pods.log(str(path.with_suffix(".old"))) + pods.log(str(path))).split()]
    assert numbers == list(range(len(numbers))) and len(path.read_text()) > 0
    with pytest.raises(aio.AioRpcError, match="container is in CONTAINER_EXITED state"):
        await pods.cri.ReopenContainerLog(container_id=container)


async def test_namespaces_of_a_pod(pods: Pods) -> None:
    sandbox = await pods.run()
    one = await pods.start(sandbox, *FOREVER, name="one")
    two = await pods.start(sandbox, *FOREVER, name="two")
    kinds = ("net", "ipc", "uts", "pid", "mnt")
    seen = [await pods.sh(each, "ls -l /proc/self/ns") for each in (one, two)]
    links = [{line.split()[-3]: line.split()[-1] for line in text.splitlines() if "->" in line} for text in seen]
    assert [links[0][kind] == links[1][kind] for kind in kinds] == [True, True, True, False, False]
    assert all(links[0][kind] != os.readlink(f"/proc/self/ns/{kind}") for kind in kinds)
    assert "127.0.0.1" in await pods.sh(one, "ping -c1 127.0.0.1 2>&1")
    target = pb.NamespaceOption(pid=pb.TARGET, target_id=one)
    debugger = await pods.start(sandbox, *FOREVER, name="debug", linux=_context(namespace_options=target))
    assert (await pods.sh(debugger, "ps")).count("while") >= 2
    host = pb.LinuxPodSandboxConfig()
    host.security_context.namespace_options.network = pb.NODE
    host.security_context.namespace_options.ipc = pb.NODE
    other = await pods.start(await pods.run("hosted", linux=host), *FOREVER)
    text = await pods.sh(other, "ls -l /proc/self/ns")
    assert all(os.readlink(f"/proc/self/ns/{kind}") in text for kind in ("net", "ipc", "uts"))


async def test_sysctls_and_hostname(pods: Pods) -> None:
    linux = pb.LinuxPodSandboxConfig(
        sysctls={"net.ipv4.ip_unprivileged_port_start": "0", "kernel.shm_rmid_forced": "1"}
    )
    await pods.run("named", linux=linux)
    script = (
        "hostname; cat /etc/hostname /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced"
    )
    assert (await pods.output("sh", "-c", script)).split() == ["named", "named", "0", "1"]


async def test_an_image_in_use_may_be_removed(pods: Pods) -> None:
    container = await pods.start(await pods.run(), *FOREVER)
    await pods.cri.RemoveImage(image=pb.ImageSpec(image=pods.image))
    assert (await pods.sh(container, "cat /www/index.html")) == "hello\n"
    assert not (await pods.cri.ListImages()).images


async def test_events(pods: Pods) -> None:
    seen: list[tuple[int, str, int]] = []

    async def listen() -> None:
        async for event in pods.cri.GetContainerEvents():
            seen.append((event.container_event_type, event.container_id, len(event.containers_statuses)))

    listening = asyncio.create_task(listen())
    await pods.cri.Version()
    sandbox = await pods.run()
    container = await pods.start(sandbox, "sh", "-c", "sleep 0.2")
    await pods.ended(container)
    await pods.cri.RemovePodSandbox(pod_sandbox_id=sandbox)
    created, started, stopped, deleted = range(4)
    async with asyncio.timeout(10):
        while len(seen) < 8:  # noqa: ASYNC110 - filled by the task above
            await asyncio.sleep(0.01)
    listening.cancel()
    assert seen == [
        (created, sandbox, 0), (started, sandbox, 0), (created, container, 1), (started, container, 1),
        (stopped, container, 1), (stopped, sandbox, 1), (deleted, container, 0), (deleted, sandbox, 0),
    ]  # fmt: skip


async def test_a_call_that_is_called_off_is_carried_to_its_end(pods: Pods) -> None:
    sandbox = await pods.run()
    for number in range(3):
        container = await pods.create(sandbox, *FOREVER, name=f"c{number}")
        call = pods.cri.StartContainer(container_id=container)
        await asyncio.sleep(0.02 * number)  # some moment of it
        call.cancel()
        if number:
            await pods.until(container, lambda found: found.state == pb.CONTAINER_RUNNING)
            assert await pods.sh(container, "echo fine") == "fine\n"


async def test_what_is_missing_is_told(home: Home) -> None:
    command = [sys.executable, "-m", "sampan.cli", "runtime", "--conmon", "no-such-monitor"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "sampan runtime: no-such-monitor is not installed")


async def test_what_is_not_there_yet_is_said(pods: Pods) -> None:
    config = pods.sandbox_config("shared")
    config.linux.security_context.namespace_options.pid = pb.POD
    with pytest.raises(aio.AioRpcError, match="a process namespace shared by the pod is not supported"):
        await pods.cri.RunPodSandbox(config=config)
    with pytest.raises(aio.AioRpcError, match="method Attach not implemented"):
        await pods.cri.Attach()
