"""Clusters of real nodes: up, down, their nodes, what they leave behind."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.cluster.conftest import Typed, left

pytestmark = [pytest.mark.clients, pytest.mark.slow]
WEB = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: busybox:1.36
        command: [httpd, -f, -p, "80", -h, /www]
        readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}
"""


def test_pods_of_two_nodes_reach_each_other(two: Typed) -> None:
    two.kubectl("apply", "-f", "-", input=WEB)
    two.kubectl("rollout", "status", "ds/web", "--timeout=60s")
    pods = json.loads(two.kubectl("get", "pods", "-l", "app=web", "-o", "json"))["items"]
    assert {pod["spec"]["nodeName"] for pod in pods} == {"two-control-plane", "two-worker"}
    for pod in pods:
        for other in pods:
            name, address = pod["metadata"]["name"], other["status"]["podIP"]
            said = two.kubectl(
                "exec", name, "--", "sh", "-c", f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {address} 80"
            )
            assert said.endswith("\nhello\n")
    # and the host reaches them
    with urllib.request.urlopen(f"http://{pods[1]['status']['podIP']}/", timeout=5) as reply:
        assert reply.read() == b"hello\n"
    two.kubectl("delete", "ds", "web")


def test_nodes_look_as_kinds_do(two: Typed) -> None:
    rows = [line.split()[:3] for line in two.kubectl("get", "nodes").splitlines()]
    assert rows[1:] == [["two-control-plane", "Ready", "control-plane"], ["two-worker", "Ready", "<none>"]]
    assert two.sampan("get", "nodes", "--name", "two").split() == ["two-control-plane", "two-worker"]


def test_a_node_is_added_stopped_started_and_removed(two: Typed) -> None:
    assert "Added two-worker2" in two.sampan("node", "add", "--name", "two")
    two.kubectl("wait", "--for=condition=Ready", "node/two-worker2", "--timeout=30s")
    two.sampan("node", "stop", "two-worker2", "--name", "two")
    assert "no node nothing" in two.sampan("node", "stop", "nothing", "--name", "two", fails=True)
    two.sampan("node", "start", "two-worker2", "--name", "two")
    two.kubectl("wait", "--for=condition=Ready", "node/two-worker2", "--timeout=30s")
    two.sampan("node", "remove", "two-worker2", "--name", "two")
    assert "two-worker2" not in two.kubectl("get", "nodes")


def test_killed_processes_cost_no_container(two: Typed) -> None:
    """Runtime and node agent die; containers run on; `up` brings both back."""
    two.kubectl("run", "kept", "--image=busybox:1.36", "--", "sleep", "1000")
    two.kubectl("wait", "--for=condition=Ready", "pod/kept", "--timeout=60s")
    before = two.kubectl("get", "pod", "kept", "-o", "jsonpath={.status.containerStatuses[0].containerID}")
    for pid in (two.home / "sampan" / "clusters" / "two" / "nodes").glob("*/*.pid"):
        os.kill(int(pid.read_text().split()[0]), signal.SIGKILL)
    two.sampan("up", "--name", "two")
    two.kubectl("exec", "kept", "--", "true")
    after = two.kubectl("get", "pod", "kept", "-o", "jsonpath={.status.containerStatuses[0].containerID}")
    assert before == after
    two.kubectl("delete", "pod", "kept", "--grace-period=0", "--force")


def test_nothing_is_left_and_pods_come_back(tmp_path: Path, busybox_archive: Path) -> None:
    """`down` stops everything and keeps the state; `delete` keeps nothing."""
    typed = Typed(tmp_path)
    config = tmp_path / "kind.yaml"
    config.write_text(
        "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nname: one\n"
        "nodes: [{role: control-plane, labels: {tier: front}, extraPortMappings: [{containerPort: 30080, hostPort: 18080}]}]\n"
    )
    try:
        typed.sampan("create", "cluster", "--config", str(config))
        assert "exists" in typed.sampan("create", "cluster", "--config", str(config), fails=True)
        typed.sampan("load", "image-archive", str(busybox_archive), "--name", "one")
        assert typed.kubectl("get", "nodes", "-l", "tier=front", "-o", "name") == "node/one-control-plane\n"
        typed.kubectl(
            "create", "deployment", "web", "--image=busybox:1.36", "--", "httpd", "-f", "-p", "80", "-h", "/www"
        )
        typed.kubectl("rollout", "status", "deploy/web", "--timeout=60s")
        typed.sampan("down", "--name", "one")
        assert left(tmp_path, "one") == []
        typed.sampan("up", "--name", "one")
        typed.kubectl("wait", "--for=condition=Available", "deploy/web", "--timeout=60s")
    finally:
        typed.sampan("delete", "cluster", "--name", "one")
    assert left(tmp_path, "one") == []
    assert "one" not in typed.sampan("get", "clusters")


def test_the_kind_command(tmp_path: Path) -> None:
    typed = Typed(tmp_path)
    typed.sampan("kind-shim", "--directory", str(tmp_path / "bin"))
    kind = str(tmp_path / "bin" / "kind")
    try:
        typed(kind, "create", "cluster", "--name", "class", "--wait", "1m")
        assert typed(kind, "get", "clusters") == "class\n"
        assert typed(kind, "get", "nodes", "--name", "class") == "class-control-plane\n"
        assert "control plane" in typed.kubectl("cluster-info", "--context", "kind-class")
        logs = typed(kind, "export", "logs", str(tmp_path / "logs"), "--name", "class").strip()
        assert (Path(logs) / "apiserver.log").stat().st_size
    finally:
        typed(kind, "delete", "cluster", "--name", "class")
    assert typed(kind, "get", "clusters") == ""


def test_a_nodes_mounts(tmp_path: Path, busybox_archive: Path) -> None:
    """A hostPath is the machine's directory that kind's file puts there."""
    typed, shared = Typed(tmp_path), tmp_path / "shared"
    shared.mkdir()
    (shared / "note").write_text("from the machine\n")
    config = tmp_path / "kind.yaml"
    config.write_text(
        "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nname: mounts\n"
        f"nodes: [{{role: control-plane, extraMounts: [{{hostPath: {shared}, containerPath: /data, readOnly: true}}]}}]\n"
    )
    container = {"name": "c", "image": "busybox:1.36", "command": ["sh", "-c", "cat /here/note; touch /here/x || echo no"],
                 "volumeMounts": [{"name": "v", "mountPath": "/here"}]}  # fmt: skip
    volume = {"name": "v", "hostPath": {"path": "/data", "type": "Directory"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "reader"},
           "spec": {"restartPolicy": "Never", "containers": [container], "volumes": [volume]}}  # fmt: skip
    try:
        typed.sampan("create", "cluster", "--config", str(config))
        typed.sampan("load", "image-archive", str(busybox_archive), "--name", "mounts")
        typed.kubectl("apply", "-f", "-", input=json.dumps(pod))
        typed.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/reader", "--timeout=60s")
        said = typed.kubectl("logs", "reader")
        assert said.startswith("from the machine\n") and "Read-only file system" in said
    finally:
        typed.sampan("delete", "cluster", "--name", "mounts")
    assert (shared / "note").read_text() == "from the machine\n"
