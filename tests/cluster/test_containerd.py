"""Nodes that run on containerd: the same week, and what is particular about them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.cluster.conftest import Typed, left
from tests.cluster.tutorial import typed_week
from tests.runtime.homes import Containerd

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(600)]
ID = "jsonpath={.status.containerStatuses[0].containerID}"
RUNTIMES = "jsonpath={.items[*].status.nodeInfo.containerRuntimeVersion}"


@pytest.fixture(autouse=True)
def _containerd() -> None:
    if why := Containerd.missing():
        pytest.skip(why)


def test_the_first_week_on_containerd(tmp_path: Path) -> None:
    typed_week(tmp_path, runtime="containerd", requests=1_000)


@pytest.mark.again
def test_killed_added_and_taken_down(tmp_path: Path, busybox_archive: Path) -> None:
    """What containerd runs outlives it; a node that is added is of the same kind; nothing is left, though it was killed again."""
    typed = Typed(tmp_path)
    nodes = tmp_path / "sampan" / "clusters" / "ctr" / "nodes"

    def kill() -> None:
        for pid in nodes.glob("*/runtime.pid"):
            os.kill(int(pid.read_text().split()[0]), signal.SIGKILL)

    try:
        typed.sampan("up", "--name", "ctr", "--runtime", "containerd")
        typed.sampan("load", "image-archive", str(busybox_archive), "--name", "ctr")
        typed.kubectl("run", "kept", "--image=busybox:1.36", "--", "sleep", "1000")
        typed.kubectl("wait", "--for=condition=Ready", "pod/kept", "--timeout=60s")
        before = typed.kubectl("get", "pod", "kept", "-o", ID)
        assert before.startswith("containerd://")
        kill()
        typed.sampan("up", "--name", "ctr")
        typed.kubectl("exec", "kept", "--", "true")
        assert typed.kubectl("get", "pod", "kept", "-o", ID) == before
        assert "run on containerd" in typed.sampan("up", "--name", "ctr", "--runtime", "sampan", fails=True)
        typed.sampan("node", "add", "--name", "ctr")
        kinds = typed.kubectl("get", "nodes", "-o", RUNTIMES).split()
        assert [kind.partition(":")[0] for kind in kinds] == ["containerd"] * 2
        kill()
    finally:
        typed.sampan("delete", "cluster", "--name", "ctr")
    assert left(tmp_path, "ctr") == []
