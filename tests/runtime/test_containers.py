"""Containers over CRI, from their making to their end: ours and containerd, asked the same."""

# ruff: noqa: ASYNC240 - small files on the local disk

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sampan.cri import pb
from sampan.kubelet.inotify import Watch
from tests.runtime.pods import Pods, secured

aio: Any = importlib.import_module("grpc.aio")
pytestmark = [pytest.mark.clients, pytest.mark.slow]
FOREVER = ("sh", "-c", "trap 'exit 7' TERM; : >/listens; while :; do sleep 0.05; done")
LISTENS = "until [ -e /listens ]; do sleep 0.01; done"


async def refused(call: Any) -> tuple[str, str]:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, str(caught.value.details())


async def test_one_life(pods: Pods) -> None:
    sandbox = await pods.run(labels={"app": pods.tag}, annotations={"a": "b"})
    status = (await pods.cri.PodSandboxStatus(pod_sandbox_id=sandbox)).status
    assert (status.state, status.metadata.name, dict(status.annotations)) == (pb.SANDBOX_READY, "pod", {"a": "b"})
    mine = pb.PodSandboxFilter(label_selector={"app": pods.tag})
    assert [each.id for each in (await pods.cri.ListPodSandbox(filter=mine)).items] == [sandbox]
    container = await pods.create(sandbox, *FOREVER, labels={"tier": pods.tag})
    assert (await pods.status(container)).state == pb.CONTAINER_CREATED
    await pods.cri.StartContainer(container_id=container)
    running = await pods.status(container)
    assert running.state == pb.CONTAINER_RUNNING and running.started_at >= running.created_at > 0
    assert running.image.image == pods.image and running.image_ref.startswith("sha256:")
    if pods.home.kind == "sampan":  # that containerd is older than the field
        assert running.image_id == running.image_ref
    listed = await pods.cri.ListContainers(filter=pb.ContainerFilter(label_selector={"tier": pods.tag}))
    assert [each.id for each in listed.containers] == [container]
    assert not (await pods.cri.ListContainers(filter=pb.ContainerFilter(label_selector={"tier": "db"}))).containers
    assert (await pods.cri.ListContainers(filter=pb.ContainerFilter(id=container[:12]))).containers[0].id == container
    await pods.sh(container, LISTENS)
    await pods.cri.StopContainer(container_id=container, timeout=10)
    ended = await pods.status(container)
    assert (ended.state, ended.exit_code, ended.reason) == (pb.CONTAINER_EXITED, 7, "Error")
    assert ended.finished_at >= ended.started_at
    for _ in range(2):  # both are idempotent
        await pods.cri.StopPodSandbox(pod_sandbox_id=sandbox)
    assert (await pods.cri.PodSandboxStatus(pod_sandbox_id=sandbox)).status.state == pb.SANDBOX_NOTREADY
    for _ in range(2):
        await pods.cri.RemovePodSandbox(pod_sandbox_id=sandbox)
    assert not (await pods.cri.ListPodSandbox(filter=mine)).items
    for call in (pods.status(container), pods.cri.PodSandboxStatus(pod_sandbox_id=sandbox)):
        code, words = await refused(call)
        assert code == "NOT_FOUND" and words.endswith("not found")


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
        ["stderr", "F", "err"], *sorted([["stdout", "F", "1 m pod /made/here"], ["stdout", "F", "out"], ["stdout", "P", "tail"]])
    ]  # fmt: skip
    assert all(time.strptime(line[0][:19], "%Y-%m-%dT%H:%M:%S") for line in lines)
    fine = await pods.ended(await pods.start(sandbox, "true", name="fine"))
    assert (fine.exit_code, fine.reason) == (0, "Completed")
    long = await pods.output("sh", "-c", "head -c 40000 /dev/zero | tr '\\0' x; echo")
    assert long == "x" * 40000 + "\n"


async def test_exec(pods: Pods) -> None:
    container = await pods.start(await pods.run(), *FOREVER)
    done = await pods.cri.ExecSync(container_id=container, cmd=["sh", "-c", "echo out; echo err >&2; exit 5"])
    assert (done.stdout, done.stderr, done.exit_code) == (b"out\n", b"err\n", 5)
    began = time.monotonic()
    code, words = await refused(pods.cri.ExecSync(container_id=container, cmd=["sleep", "100"], timeout=1))
    assert code == "DEADLINE_EXCEEDED" and "timeout 1s exceeded" in words and time.monotonic() - began < 5
    assert "sleep 100" not in await pods.sh(container, "ps")
    code, words = await refused(pods.cri.ExecSync(container_id=container, cmd=["no-such-thing"]))
    assert code == "UNKNOWN" and 'exec: "no-such-thing": executable file not found in $PATH' in words
    large = await pods.cri.ExecSync(container_id=container, cmd=["head", "-c", "3000000", "/dev/zero"])
    assert len(large.stdout) == 3_000_000
    await pods.cri.StopContainer(container_id=container, timeout=0)
    code, words = await refused(pods.cri.ExecSync(container_id=container, cmd=["true"]))
    assert "container is in CONTAINER_EXITED state" in words


async def test_a_command_that_does_not_exist(pods: Pods) -> None:
    sandbox = await pods.run()
    container = await pods.create(sandbox, "/no/such")
    code, words = await refused(pods.cri.StartContainer(container_id=container))
    assert code in ("UNKNOWN", "NOT_FOUND") and 'exec: "/no/such": stat /no/such: no such file or directory' in words
    ended = await pods.status(container)
    assert (ended.state, ended.exit_code, ended.reason) == (pb.CONTAINER_EXITED, 128, "StartError")
    assert "no such file" in ended.message


async def test_bad_requests_leave_nothing(pods: Pods) -> None:
    sandbox = await pods.run()
    _, words = await refused(pods.cri.RunPodSandbox(config=pods.sandbox_config()))
    assert "failed to reserve sandbox name" in words and sandbox in words
    _, words = await refused(pods.run("other", handler="kata"))
    assert 'no runtime for "kata" is configured' in words
    bad = pods.sandbox_config("other")
    bad.linux.sysctls["kernel.no_such"] = "1"
    _, words = await refused(pods.cri.RunPodSandbox(config=bad))
    assert 'sysctl "kernel.no_such" is not in a separate kernel namespace' in words
    unknown = secured(run_as_username="nobody-here")
    absent = "no users found" if pods.home.kind == "containerd" else "unable to find user nobody-here"
    fly = secured(capabilities=pb.Capability(add_capabilities=["FLY"]))
    for fields, words in (({"linux": unknown}, absent), ({"linux": fly}, "unknown capability")):
        try:
            container = await pods.create(sandbox, "true", name=f"bad{words[:2].strip()}", **fields)
            await pods.cri.StartContainer(container_id=container)  # what runc finds, containerd finds only here
        except aio.AioRpcError as error:
            assert words in str(error.details()) or "CAP_FLY" in str(error.details())
        else:
            assert (
                pods.home.kind == "containerd" and words == "unknown capability"
            )  # there it is warned of, and left out
    pods.image = "missing:1"
    code, words = await refused(pods.create(sandbox, "true"))
    assert code == "NOT_FOUND" and 'failed to resolve image "missing:1"' in words
    if pods.home.kind == "sampan":
        assert not (await pods.cri.ListContainers(filter=pb.ContainerFilter(pod_sandbox_id=sandbox))).containers


async def test_stopping_one_that_does_not_want_to(pods: Pods) -> None:
    container = await pods.start(
        await pods.run(), "sh", "-c", "trap '' TERM; touch /ready; while :; do sleep 0.05; done"
    )
    await pods.cri.ExecSync(container_id=container, cmd=["sh", "-c", "until test -e /ready; do sleep 0.01; done"])
    began = time.monotonic()
    await pods.cri.StopContainer(container_id=container, timeout=1)
    ended = await pods.status(container)
    assert 1 <= time.monotonic() - began < 4 and (ended.exit_code, ended.reason) == (137, "Error")


async def test_stop_signals(pods: Pods) -> None:
    sandbox = await pods.run()
    script = "trap 'exit 9' USR1; trap 'exit 8' QUIT; touch /ready; while :; do sleep 0.01; done"
    usual = pods.image
    pods.image = await pods.home.load_busybox("localhost/quit:1", StopSignal="SIGQUIT")
    quits = await pods.start(sandbox, "sh", "-c", script, name="image")
    pods.image = usual
    wanted = {quits: 8}
    if pods.home.kind == "sampan":  # that containerd is older than the field
        wanted[await pods.start(sandbox, "sh", "-c", script, name="spec", stop_signal=pb.SIGUSR1)] = 9
    for container, code in wanted.items():
        await pods.sh(container, "while [ ! -e /ready ]; do sleep 0.01; done")
        await pods.cri.StopContainer(container_id=container, timeout=10)
        assert (await pods.status(container)).exit_code == code
    if pods.home.kind == "sampan":
        assert [(await pods.status(each)).stop_signal for each in wanted] == [pb.SIGQUIT, pb.SIGUSR1]


async def test_log_rotation(pods: Pods) -> None:
    container = await pods.start(
        await pods.run(), "sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.002; done"
    )
    path = Path((await pods.status(container)).log_path)
    await pods.sh(container, "sleep 0.2")
    path.rename(path.with_suffix(".old"))
    await pods.cri.ReopenContainerLog(container_id=container)
    await pods.sh(container, "sleep 0.2")
    await pods.cri.StopContainer(container_id=container, timeout=0)
    numbers = [int(word) for word in (pods.log(str(path.with_suffix(".old"))) + pods.log(str(path))).split()]
    assert numbers == list(range(len(numbers))) and len(path.read_text()) > 0
    _, words = await refused(pods.cri.ReopenContainerLog(container_id=container))
    assert "container is not running" in words or "container is in CONTAINER_EXITED state" in words


async def test_an_image_in_use_may_be_removed(pods: Pods) -> None:
    pods.image = await pods.home.load_busybox("localhost/used:1", Labels={"of": pods.tag})
    container = await pods.start(await pods.run(), *FOREVER)
    await pods.cri.RemoveImage(image=pb.ImageSpec(image=pods.image))
    assert (await pods.sh(container, "cat /www/index.html")) == "hello\n"
    assert not (await pods.cri.ImageStatus(image=pb.ImageSpec(image=pods.image))).HasField("image")


async def test_events(pods: Pods) -> None:
    if pods.home.kind == "containerd":
        code, words = await refused(pods.cri.GetContainerEvents().read())
        assert (code, words) == ("UNIMPLEMENTED", "method GetContainerEvents not implemented")
        return
    events = pods.cri.GetContainerEvents()
    await events.initial_metadata()  # from here on nothing is missed
    sandbox = await pods.run()
    container = await pods.start(sandbox, "sh", "-c", "sleep 0.1")
    await pods.ended(container)
    await pods.cri.RemovePodSandbox(pod_sandbox_id=sandbox)
    seen: list[tuple[int, str, int]] = []
    async with asyncio.timeout(10):
        while len(seen) < 8:
            event = await events.read()
            assert len(event.containers_statuses) <= 1
            seen.append((event.container_event_type, event.container_id, len(event.containers_statuses)))
    events.cancel()
    created, started, stopped, deleted = range(4)
    assert seen == [
        (created, sandbox, 0), (started, sandbox, 0), (created, container, 1), (started, container, 1),
        (stopped, container, 1), (stopped, sandbox, 1), (deleted, container, 0), (deleted, sandbox, 0),
    ]  # fmt: skip


async def test_a_call_that_is_called_off_is_carried_to_its_end(pods: Pods) -> None:
    if pods.home.kind == "containerd":
        pytest.skip("there it is undone")
    sandbox = await pods.run()
    for moment in range(3):
        container = await pods.create(sandbox, *FOREVER, name=f"c{moment}")
        with Watch(pods.home.root / "lib" / "containers" / container) as watch:
            call = pods.cri.StartContainer(container_id=container)
            for _ in range(moment):
                assert await watch.next(20)
            call.cancel()
        if moment:
            await pods.until(container, lambda found: found.state == pb.CONTAINER_RUNNING)
            assert await pods.sh(container, "echo fine") == "fine\n"


async def test_terminals_and_stdin(pods: Pods) -> None:
    sandbox = await pods.run()
    assert (await pods.output("sh", "-c", "tty; echo $TERM", tty=True)).replace("\r", "") == "/dev/pts/0\nxterm\n"
    assert await pods.output("sh", "-c", "cat; echo end") == "end\n"  # nobody will ever write
    waits = await pods.start(sandbox, "sh", "-c", "cat; echo end", name="waits", stdin=True)
    assert (await pods.status(waits)).state == pb.CONTAINER_RUNNING
    await pods.cri.StopContainer(container_id=waits, timeout=0)


async def test_what_is_missing_is_told() -> None:
    command = [sys.executable, "-m", "sampan.cli", "runtime", "--conmon", "no-such-monitor"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "sampan runtime: no-such-monitor is not installed")


async def test_what_no_runtime_offers(pods: Pods) -> None:
    container = await pods.start(await pods.run(), *FOREVER)
    code, words = await refused(pods.cri.CheckpointContainer(container_id=container, location="/tmp/x"))
    assert (code, words) == ("UNIMPLEMENTED", "method CheckpointContainer not implemented")
