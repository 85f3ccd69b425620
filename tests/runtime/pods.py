"""Short words for long CRI requests."""

# ruff: noqa: ASYNC240 - small files on the local disk

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]

from sampan.cri import pb
from tests.cri_client import Cri
from tests.runtime.homes import IMAGE, Home

#: what the kubelet says of containers that say nothing
MASKED = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"]
READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def secured(**fields: Any) -> Any:
    """A LinuxContainerConfig."""
    fields = {"masked_paths": MASKED, "readonly_paths": READONLY, **fields}
    return pb.LinuxContainerConfig(security_context=pb.LinuxContainerSecurityContext(**fields))


def namespaces(**modes: int) -> Any:
    """A LinuxPodSandboxConfig; a process namespace for each container unless told."""
    options = pb.NamespaceOption(**{"pid": pb.CONTAINER, **modes})
    return pb.LinuxPodSandboxConfig(security_context=pb.LinuxSandboxSecurityContext(namespace_options=options))


def privileged() -> Any:
    """A LinuxPodSandboxConfig for containers that are."""
    found = namespaces()
    found.security_context.privileged = True
    return found


@dataclass
class Pods:
    """`tag` is in the name of all pods of one test."""

    cri: Cri
    home: Home
    image: str = IMAGE
    tag: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:6]}")
    sandboxes: list[str] = field(default_factory=list)
    configs: dict[str, Any] = field(default_factory=dict)

    def sandbox_config(self, name: str = "pod", **fields: Any) -> Any:
        linux = fields.pop("linux", None) or namespaces()
        linux.cgroup_parent = linux.cgroup_parent or f"{self.home.cgroup}/{self.tag}/{name}"
        hostname = "" if linux.security_context.namespace_options.network == pb.NODE else name
        return pb.PodSandboxConfig(
            metadata=pb.PodSandboxMetadata(name=name, uid=f"{self.tag}-{name}", namespace="default"), hostname=hostname,
            log_directory=str(self.home.root / "logs" / self.tag / name), linux=linux, **fields,
        )  # fmt: skip

    async def run(self, name: str = "pod", *, handler: str = "", **fields: Any) -> str:
        config = self.sandbox_config(name, **fields)
        Path(config.log_directory).mkdir(parents=True, exist_ok=True)  # the kubelet's part
        sandbox = str((await self.cri.RunPodSandbox(config=config, runtime_handler=handler)).pod_sandbox_id)
        self.sandboxes.append(sandbox)
        self.configs[sandbox] = config
        return sandbox

    async def create(self, sandbox: str, *command: str, name: str = "main", attempt: int = 0, **fields: Any) -> str:
        linux = fields.pop("linux", None) or secured()
        pod = self.configs[sandbox]
        options, own = pod.linux.security_context.namespace_options, linux.security_context.namespace_options
        if not linux.security_context.HasField("namespace_options"):
            own.CopyFrom(options)
        else:
            own.network, own.ipc = options.network, options.ipc
            own.pid = own.pid or pb.CONTAINER
        config = pb.ContainerConfig(
            metadata=pb.ContainerMetadata(name=name, attempt=attempt), image=pb.ImageSpec(image=self.image),
            command=command, log_path=f"{name}/{attempt}.log", linux=linux, **fields,
        )  # fmt: skip
        Path(pod.log_directory, name).mkdir(exist_ok=True)
        reply = await self.cri.CreateContainer(pod_sandbox_id=sandbox, config=config, sandbox_config=pod)
        return str(reply.container_id)

    async def start(self, sandbox: str, *command: str, **fields: Any) -> str:
        container = await self.create(sandbox, *command, **fields)
        await self.cri.StartContainer(container_id=container)
        return container

    async def status(self, container: str) -> Any:
        return (await self.cri.ContainerStatus(container_id=container)).status

    async def ended(self, container: str) -> Any:
        return await self.until(container, lambda found: found.state == pb.CONTAINER_EXITED)

    async def until(self, container: str, true: Callable[[Any], bool], seconds: float = 20) -> Any:
        """Asked again whenever the runtime has news."""
        async with asyncio.timeout(seconds):
            async for _ in self.home.news(self.cri):
                if true(found := await self.status(container)):
                    return found
        raise AssertionError("the runtime's events have ended")

    async def sh(self, container: str, script: str) -> str:
        """The output; a failure is the test's."""
        done = await self.cri.ExecSync(container_id=container, cmd=["sh", "-c", script], timeout=20)
        assert done.exit_code == 0, done
        return str(done.stdout.decode())

    async def output(self, *command: str, sandbox: str = "", **fields: Any) -> str:
        """Of a container that runs to its end."""
        name = f"c{uuid.uuid4().hex[:6]}"
        container = await self.start(sandbox or self.sandboxes[0], *command, name=name, **fields)
        ended = await self.ended(container)
        return self.log(ended.log_path)

    async def info(self, container: str) -> dict[str, Any]:
        """What a runtime tells of a container beyond CRI: `pid`, `runtimeSpec`."""
        found = (await self.cri.ContainerStatus(container_id=container, verbose=True)).info["info"]
        return dict(json.loads(found))

    async def remove_all(self) -> None:
        for each in (await self.cri.ListPodSandbox()).items:
            if each.metadata.uid.startswith(self.tag):
                try:
                    await self.cri.StopPodSandbox(pod_sandbox_id=each.id)
                except grpc.aio.AioRpcError:  # containerd's, of a shim that is just ending; kubelets ask again, too
                    await self.cri.StopPodSandbox(pod_sandbox_id=each.id)
                await self.cri.RemovePodSandbox(pod_sandbox_id=each.id)

    @staticmethod
    def log(path: str) -> str:
        """What was written: a record marked P has no newline of its own."""
        rows = (line.split(" ", 3) for line in Path(path).read_text().splitlines())
        return "".join(text + ("\n" if mark == "F" else "") for _, _, mark, text in rows)
