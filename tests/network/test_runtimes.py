"""Pods of real runtimes on our network: the embedded one, and containerd through the CNI executable."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest

from sampan.cri import pb
from tests.network.lab import Lab
from tests.runtime.homes import Containerd, Home, opened
from tests.runtime.pods import Pods, namespaces

pytestmark = pytest.mark.slow
CIDR = "10.244.7.0/24"


class OnOurNetwork(Containerd):
    def prepare(self) -> None:
        super().prepare()
        (self.root / "cni" / "10-test.conflist").unlink()
        command: list[str | Path] = [
            sys.executable, "-m", "sampan.cli", "cni", "install", "--pod-cidr", CIDR, "--conf-dir", self.root / "cni",
            "--bin-dir", self.root / "bin", "--state-dir", self.root / "state",
        ]  # fmt: skip
        subprocess.run(command, check=True)
        config = self.root / "config.toml"
        config.write_text(config.read_text().replace('bin_dir = "/usr/lib/cni"', f'bin_dir = "{self.root}/bin"'))


@asynccontextmanager
async def running(home: Home) -> AsyncIterator[Pods]:
    if why := home.missing():
        pytest.skip(why)
    await asyncio.to_thread(opened, home)
    try:
        yield Pods(await home.connect(), home)
    finally:
        left = await asyncio.to_thread(home.close)
    assert left == []


async def address(pods: Pods, sandbox: str) -> str:
    return str((await pods.cri.PodSandboxStatus(pod_sandbox_id=sandbox)).status.network.ip)


def network(status: Any) -> Any:
    return next(each for each in status.status.conditions if each.type == "NetworkReady")


def uplink(lab: Lab, home: Home) -> Path:
    assert home.network is not None
    world = lab.namespace("world")
    lab.wire(home.network, "192.0.2.10/24", world, "192.0.2.1/24")
    return world


PORTS = [pb.PortMapping(protocol=pb.TCP, container_port=8080, host_port=8080)]


async def serve(lab: Lab, pods: Pods, sandbox: str) -> None:
    """In the pod's namespace: where it is, the runtime says or the container's process."""
    container = await pods.start(sandbox, "sleep", "1000")
    info = (await pods.cri.ContainerStatus(container_id=container, verbose=True)).info["info"]
    await lab.serve(Path(f"/proc/{json.loads(info)['pid']}/ns/net"), 8080, "pod")


async def gone(pods: Pods, sandbox: str) -> None:
    await pods.cri.StopPodSandbox(pod_sandbox_id=sandbox)
    await pods.cri.StopPodSandbox(pod_sandbox_id=sandbox)
    await pods.cri.RemovePodSandbox(pod_sandbox_id=sandbox)


async def test_the_embedded_runtime_attaches_once_it_knows_the_range(lab: Lab) -> None:
    home = Home(inside=True)
    home.options = ()
    async with running(home) as pods:
        uplink(lab, home)
        assert network(await pods.cri.Status()).message == "Network plugin returns error: cni plugin not initialized"
        with pytest.raises(grpc.aio.AioRpcError, match="cni plugin not initialized"):
            await pods.cri.RunPodSandbox(config=pods.sandbox_config("early"))
        host = await pods.cri.RunPodSandbox(config=pods.sandbox_config("host", linux=namespaces(network=pb.NODE)))
        await pods.cri.UpdateRuntimeConfig(runtime_config={"network_config": {"pod_cidr": CIDR}})
        assert network(await pods.cri.Status()).status
        one, two = [await pods.run(name, port_mappings=PORTS if name == "one" else []) for name in ("one", "two")]
        assert [await address(pods, each) for each in (one, two)] == ["10.244.7.2", "10.244.7.3"]
        await serve(lab, pods, one)
        assert home.network is not None
        assert (await lab.ask(home.network, "127.0.0.1", 8080)).startswith("pod")
        # killed, and its rules taken away: what its pods had is put back
        home.stop(signal.SIGKILL)
        lab.command(home.network, "nft", "flush", "ruleset")
        await asyncio.to_thread(home.start)
        pods.cri = await home.connect()
        assert network(await pods.cri.Status()).status
        assert (await lab.ask(home.network, "127.0.0.1", 8080)).startswith("pod")
        assert await address(pods, one) == "10.244.7.2"
        for sandbox in (one, two, host.pod_sandbox_id):
            await gone(pods, sandbox)
        assert lab.links(home.network) == ["eth0"]


async def test_containerd_attaches_through_the_executable(lab: Lab) -> None:
    home = OnOurNetwork(inside=True)
    async with running(home) as pods:
        world = uplink(lab, home)
        assert home.network is not None
        one, two = [await pods.run(name, port_mappings=PORTS if name == "one" else []) for name in ("one", "two")]
        assert [await address(pods, each) for each in (one, two)] == ["10.244.7.2", "10.244.7.3"]
        await serve(lab, pods, one)
        assert (await lab.ask(world, "192.0.2.10", 8080)) == "pod 192.0.2.1"
        assert (await lab.ask(home.network, "10.244.7.2", 8080)).startswith("pod")
        for sandbox in (one, two):
            await gone(pods, sandbox)
        assert lab.links(home.network) == ["eth0"]
        assert not list((home.root / "state" / "sampan").glob("10.*"))
