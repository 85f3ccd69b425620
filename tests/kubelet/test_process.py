"""`sampan kubelet` as users start it: a process with a kubeconfig and flags, killed and started anew."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sampan.cluster import certificates, kubeconfig
from tests.kubelet.conftest import NodeUnderTest
from tests.kubelet.test_lives import of
from tests.runtime.processes import Logged

pytestmark = pytest.mark.slow
COUNT = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done"


def begin(node: NodeUnderTest, config: Path) -> Logged:
    options = node.options
    flags = {
        "kubeconfig": config, "hostname-override": options.name, "container-runtime-endpoint": options.runtime,
        "root-dir": options.root, "pod-logs-dir": options.logs, "node-ip": "127.0.0.1", "address": "127.0.0.1", "port": 0,
        "cgroup-root": options.cgroup_root, "cluster-dns": "10.96.0.10", "node-labels": "from=a-flag",
    }  # fmt: skip
    command = [sys.executable, "-m", "sampan.cli", "kubelet", *(f"--{name}={value}" for name, value in flags.items())]
    return Logged(command, node.home.root / "kubelet.log")


@pytest.mark.asyncio(loop_scope="module")
async def test_it_is_killed_and_its_containers_do_not_notice(node: NodeUnderTest) -> None:
    await node.stop()
    pki = certificates.Pki(node.cluster.kubeconfig.parent / "pki")
    pair = certificates.issue(pki, f"system:node:{node.name}", ["system:nodes"])
    config = node.home.root / "kubelet.conf"
    kubeconfig.write(config, kubeconfig.whole(pki, "test", f"https://127.0.0.1:{node.cluster.server.port}", *pair))
    process = begin(node, config)
    try:
        name = await node.run({"containers": [node.container("sh", "-c", COUNT)]})
        before = await node.running(name)
        process.kill()
        await asyncio.to_thread(process.wait, 10)
        process = begin(node, config)
        second = await node.run({"containers": [node.container("sleep", "1000")]})
        await node.running(second)
        after = await node.running(name)
        assert of(after)["containerID"] == of(before)["containerID"] and of(after)["restartCount"] == 0
        numbers = node.log(after).split()
        assert numbers == [str(number) for number in range(len(numbers))]  # without a gap
        found = node.cluster.get(f"node/{node.name}")
        assert found is not None and found["metadata"]["labels"]["from"] == "a-flag"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 10) == 0
    finally:
        process.kill()
        await asyncio.to_thread(process.wait, 10)


def test_what_is_missing_is_said() -> None:
    command = [sys.executable, "-m", "sampan.cli", "kubelet", "--hostname-override=n"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (
        1,
        "sampan kubelet: --kubeconfig is missing: it says where the API server is\n",
    )
