"""`sampan scheduler` as a program of its own beside a server, with a configuration and a lease, and `sampan explain`."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from sampan.client import HttpsTransport, from_kubeconfig
from sampan.http import Reply
from tests.conftest import Up, brought_up
from tests.runtime.registries import free_port

pytestmark = [pytest.mark.clients, pytest.mark.slow]
PROFILES = [
    {"schedulerName": "packing", "pluginConfig": [
        {"name": "NodeResourcesFit", "args": {"scoringStrategy": {"type": "MostAllocated"}}}]},
]  # fmt: skip


def configuration(file: Path, name: str, **more: object) -> Path:
    head = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
    file.write_text(yaml.safe_dump({**head, "leaderElection": {"resourceName": name}, **more}))
    return file


def kubectl(up: Up, *arguments: str, stdin: str = "") -> str:
    command = [sys.executable, "-m", "sampan.cli", "kubectl", "--", *arguments]
    done = subprocess.run(command, env=up.env, input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def node(up: Up, name: str, cpu: str) -> None:
    kubectl(up, "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name,
        "labels": {"for": "packing"}}}))  # fmt: skip
    status = {"status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "9"}}}
    kubectl(up, "patch", "node", name, "--subresource=status", "-p", json.dumps(status))


def pod(up: Up, name: str, cpu: str) -> None:
    everything = [{"operator": "Exists"}]
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    spec = {"schedulerName": "packing", "containers": [container], "tolerations": everything,
            "nodeSelector": {"for": "packing"}}  # fmt: skip
    kubectl(up, "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": spec}))  # fmt: skip


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """One of its own: what other tests leave would be scheduled too."""
    yield from brought_up(tmp_path)


async def asked(up: Up, port: int, *paths: str) -> list[Reply]:
    there = replace(
        from_kubeconfig(up.kubeconfig), server=f"https://127.0.0.1:{port}", ca=b"", ca_file=None, insecure=True
    )
    transport = HttpsTransport(there)
    try:
        return [await transport.request("GET", path, timeout=10) for path in paths]
    finally:
        await transport.aclose()


def test_a_second_scheduler_and_what_explains_it(up: Up, tmp_path: Path) -> None:
    file = configuration(tmp_path / "c.yaml", "packing", profiles=PROFILES)
    command = [
        sys.executable,
        "-m",
        "sampan.cli",
        "scheduler",
        "--config",
        str(file),
        "--kubeconfig",
        str(up.kubeconfig),
        "--secure-port",
        str(port := free_port()),
    ]
    with (tmp_path / "log").open("w") as log:  # a pipe that nobody reads would fill up and stop it
        process = subprocess.Popen(command, env=up.env, stderr=log)
    try:
        node(up, "packing-small", "2")
        node(up, "packing-large", "8")
        pod(up, "packed", "1")
        pod(up, "too-large", "9")
        kubectl(up, "wait", "--for=condition=PodScheduled", "pod/packed", "--timeout=50s")
        assert kubectl(up, "get", "pod", "packed", "-o", "jsonpath={.spec.nodeName}") == "packing-small"
        # its own port: the cluster's ConfigMap says whose certificates count, the API server who may
        health, numbers = asyncio.run(asked(up, port, "/readyz", "/metrics"))
        assert (health.code, health.body) == (200, b"ok") and numbers.code == 200
        assert b'scheduler_schedule_attempts_total{profile="packing",result="scheduled"} 1' in numbers.body
        assert b'leader_election_master_status{name="packing"} 1' in numbers.body
        assert kubectl(up, "get", "lease", "packing", "-n", "kube-system", "-o", "jsonpath={.spec.holderIdentity}")
        told = json.loads(
            up.sampan("explain", "pod", "too-large", "--scheduler-config", str(file), "-o", "json").stdout
        )
        assert "Insufficient cpu" in told["message"]
        advice = {item["name"]: item["refusals"][-1]["advice"] for item in told["nodes"]}
        assert advice["packing-large"] == ["needs 9 cpu, the node has 8 in all"]
        shown = up.sampan("explain", "pod", "packed", "--scheduler-config", str(file)).stdout
        assert "is on packing-small" in shown and "packing-large" in shown
    finally:
        process.terminate()
        assert process.wait(10) == 0
        kubectl(up, "delete", "pod", "packed", "too-large", "--force", "--grace-period=0")
        kubectl(up, "delete", "node", "packing-small", "packing-large")


def test_what_it_cannot_start_with(up: Up, tmp_path: Path) -> None:
    file = configuration(
        tmp_path / "c.yaml", "x", parallelism=0, profiles=[{"plugins": {"filter": {"enabled": [{"name": "Foo"}]}}}]
    )
    done = up.sampan("scheduler", "--config", str(file), "--kubeconfig", str(up.kubeconfig))
    assert done.returncode == 1
    assert "parallelism: Invalid value: 0" in done.stderr and 'Unsupported value: "Foo"' in done.stderr
    done = up.sampan("scheduler", "--leader-elect-lease-duration", "soon", "--kubeconfig", str(up.kubeconfig))
    assert done.returncode == 1 and "--leader-elect-lease-duration: soon is no duration" in done.stderr
    done = up.sampan("explain", "pod", "nobody")
    assert done.returncode == 1 and 'pods "nobody" not found' in done.stderr
