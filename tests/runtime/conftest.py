"""A runtime process for each test, in directories, a cgroup and namespaces of its own; and a count of what it leaves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sampan.cri import pb
from sampan.runtime import cgroups
from tests.cri_client import Cri
from tests.images import busybox


def missing() -> str:
    """Why no containers can be run here; empty if they can."""
    if os.geteuid() != 0:
        return "containers need root"
    if absent := [name for name in ("runc", "conmon", "busybox") if shutil.which(name) is None]:
        return f"not installed: {', '.join(absent)} (Debian: runc, conmon, busybox-static)"
    return ""


@dataclass
class Home:
    """`name` is in every path, so that what is left can be found."""

    name: str
    root: Path
    run: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.run / "cri.sock"

    @property
    def cgroup(self) -> str:
        return f"/{self.name}"

    def start(self) -> None:
        command: list[str | Path] = [sys.executable, "-m", "sampan.cli", "runtime", "--listen", self.socket, "--root", self.root,
                   "--state", self.run, "--registry-config-dir", self.root / "certs.d"]  # fmt: skip
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(20)
            self.process = None

    def left(self) -> list[str]:
        """Mounts, processes and cgroups with our name."""
        out = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if self.name in line]
        for each in Path("/proc").glob("[0-9]*"):
            try:
                words = (each / "cmdline").read_bytes() + (each / "cgroup").read_bytes()
                state = (each / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if self.name.encode() in words and state != "Z":
                out.append(f"process {each.name} {words[:200]!r}")
        out += [str(path) for path in Path("/sys/fs/cgroup").rglob(f"*{self.name}*")]
        return out

    def scrub(self) -> None:
        """After a test that failed: nothing of it may stay on the machine."""
        for _ in range(20):
            for each in self.left():
                if each.startswith("process "):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(each.split()[1]), signal.SIGKILL)
            for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
                if self.name in line.split()[4]:
                    subprocess.run(["umount", "-l", line.split()[4]], check=False)
            cgroups.remove(self.cgroup)
            if not self.left():
                return
            time.sleep(0.1)


@dataclass
class Pods:
    """Short words for long requests."""

    cri: Cri
    home: Home
    image: str = "docker.io/library/busybox:test"
    sandboxes: list[str] = field(default_factory=list)

    def sandbox_config(self, name: str = "pod", **fields: Any) -> Any:
        linux = fields.pop("linux", None) or pb.LinuxPodSandboxConfig()
        linux.cgroup_parent = linux.cgroup_parent or f"{self.home.cgroup}/{name}"
        linux.security_context.namespace_options.pid = linux.security_context.namespace_options.pid or pb.CONTAINER
        return pb.PodSandboxConfig(
            metadata=pb.PodSandboxMetadata(name=name, uid=f"uid-{name}", namespace="default"), hostname=name,
            log_directory=str(self.home.root / "logs" / name), linux=linux, **fields,
        )  # fmt: skip

    async def run(self, name: str = "pod", **fields: Any) -> str:
        reply = await self.cri.RunPodSandbox(config=self.sandbox_config(name, **fields))
        self.sandboxes.append(reply.pod_sandbox_id)
        return str(reply.pod_sandbox_id)

    async def create(self, sandbox: str, *command: str, name: str = "main", attempt: int = 0, **fields: Any) -> str:
        linux = fields.pop("linux", None) or pb.LinuxContainerConfig()
        options = linux.security_context.namespace_options
        options.pid = options.pid or pb.CONTAINER
        config = pb.ContainerConfig(
            metadata=pb.ContainerMetadata(name=name, attempt=attempt), image=pb.ImageSpec(image=self.image),
            command=command, log_path=f"{name}/{attempt}.log", linux=linux, **fields,
        )  # fmt: skip
        return str((await self.cri.CreateContainer(pod_sandbox_id=sandbox, config=config)).container_id)

    async def start(self, sandbox: str, *command: str, **fields: Any) -> str:
        container = await self.create(sandbox, *command, **fields)
        await self.cri.StartContainer(container_id=container)
        return container

    async def status(self, container: str) -> Any:
        return (await self.cri.ContainerStatus(container_id=container)).status

    async def ended(self, container: str) -> Any:
        return await self.until(container, lambda found: found.state == pb.CONTAINER_EXITED)

    async def until(self, container: str, true: Callable[[Any], bool], seconds: float = 20) -> Any:
        async with asyncio.timeout(seconds):
            while not true(found := await self.status(container)):  # noqa: ASYNC110 - CRI is asked again and again
                await asyncio.sleep(0.01)
            return found

    async def sh(self, container: str, script: str) -> str:
        """The output; a failure is the test's."""
        done = await self.cri.ExecSync(container_id=container, cmd=["sh", "-c", script], timeout=20)
        assert done.exit_code == 0, done
        return str(done.stdout.decode())

    async def output(self, *command: str, **fields: Any) -> str:
        """Of a container that runs to its end."""
        name = f"c{uuid.uuid4().hex[:6]}"
        container = await self.start(self.sandboxes[0], *command, name=name, **fields)
        await self.ended(container)
        return self.log((await self.status(container)).log_path)

    @staticmethod
    def log(path: str) -> str:
        """What was written: a record marked P has no newline of its own."""
        rows = (line.split(" ", 3) for line in Path(path).read_text().splitlines())
        return "".join(text + ("\n" if mark == "F" else "") for _, _, mark, text in rows)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    if why := missing():
        pytest.skip(why)
    name = f"sampan-test-{uuid.uuid4().hex[:8]}"
    made = Home(name, Path("/tmp") / name, Path("/run") / name)
    made.root.mkdir()
    try:
        made.start()
        yield made
    finally:
        made.stop()
        left = made.left()
        if left:
            made.scrub()
        for each in (made.root, made.run):
            subprocess.run(["rm", "-rf", "--one-file-system", str(each)], check=False)
    assert left == []


async def connected(home: Home) -> Cri:
    cri = Cri(home.socket)
    await cri.ready(20)
    return cri


@pytest.fixture
async def pods(home: Home) -> AsyncIterator[Pods]:
    """With the image imported; what the test leaves is taken down over CRI, and then nothing may be left."""
    cri = await connected(home)
    made = Pods(cri, home)
    await cri.Import(path=str(busybox().docker_save(home.root / "busybox.tar", made.image)))
    yield made
    if home.process is None:
        home.start()
        made.cri = await connected(home)
    for each in (await made.cri.ListPodSandbox()).items:
        await made.cri.StopPodSandbox(pod_sandbox_id=each.id)
        await made.cri.RemovePodSandbox(pod_sandbox_id=each.id)
    cgroups.remove(home.cgroup)  # the parent is the caller's, here and in life
    assert home.left() == [word for word in home.left() if "runtime" in word and "process" in word]
