"""Processes of the control plane are killed at random moments of a rolling update; it converges all the same."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.cluster.state import Cluster
from tests import kubectls
from tests.conftest import Up

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(300)]
REPLICAS, SURGE = 50, 13


@pytest.fixture
def own_up(tmp_path: Path) -> Iterator[Up]:
    blank = Up(tmp_path / "config", tmp_path, "")
    done = blank.sampan("up", "--hollow", "3", "-o", "json")
    assert done.returncode == 0, done.stderr
    # it waited for them
    assert kubectl(blank, "get", "nodes", "--no-headers").count(" Ready ") == 3
    yield Up(blank.kubeconfig, tmp_path, json.loads(done.stdout)["server"])
    blank.sampan("down")


def kubectl(up: Up, *arguments: str, check: bool = True) -> str:
    command = [str(kubectls.kubectl("1.37")), *arguments]
    return subprocess.run(command, env=up.env, check=check, capture_output=True, text=True, timeout=150).stdout


class Counting(threading.Thread):
    """How many pods there were at most that were not on their way out."""

    def __init__(self, up: Up) -> None:
        super().__init__(daemon=True)
        self.up = up
        self.most = 0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            said = kubectl(self.up, "get", "pods", "-l", "app=web", "-o", "json", check=False)
            if said:
                alive = [pod for pod in json.loads(said)["items"] if "deletionTimestamp" not in pod["metadata"]]
                self.most = max(self.most, len(alive))


def test_a_rolling_update_survives_kills(own_up: Up) -> None:
    up, rng = own_up, random.Random(7)
    cluster = Cluster("default", up.home / "clusters" / "default")
    kubectl(up, "create", "deployment", "web", "--image=nginx:1", f"--replicas={REPLICAS}")
    kubectl(up, "rollout", "status", "deployment/web", "--timeout=120s")
    counting = Counting(up)
    counting.start()
    kubectl(up, "set", "image", "deployment/web", "nginx=nginx:2")
    for _ in range(5):
        # somewhere in the middle: as soon as so many new pods are there
        wanted = rng.randrange(1, REPLICAS)
        kubectl(
            up,
            "wait",
            f"--for=jsonpath={{.status.updatedReplicas}}={wanted}",
            "deployment/web",
            "--timeout=2s",
            check=False,
        )
        victim = rng.choice(("apiserver", "components", "components"))
        pid = cluster.pid(victim)
        if pid is not None:
            handle = os.pidfd_open(pid)
            os.kill(pid, signal.SIGKILL)
            os.close(handle)
        again = up.sampan("up")
        assert again.returncode == 0, again.stderr
    kubectl(up, "rollout", "status", "deployment/web", "--timeout=120s")
    counting.ended.set()
    counting.join()
    assert counting.most <= REPLICAS + SURGE
    found: dict[str, Any] = json.loads(kubectl(up, "get", "pods,replicasets", "-o", "json"))
    sets = {item["metadata"]["uid"]: item for item in found["items"] if item["kind"] == "ReplicaSet"}
    pods = [item for item in found["items"] if item["kind"] == "Pod" and "deletionTimestamp" not in item["metadata"]]
    assert len(pods) == REPLICAS
    assert {pod["spec"]["containers"][0]["image"] for pod in pods} == {"nginx:2"}
    owners = {pod["metadata"]["ownerReferences"][0]["uid"] for pod in pods}
    assert len(owners) == 1 and owners <= sets.keys(), "no pod is an orphan"
