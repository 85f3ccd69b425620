"""The life of workloads on simulated nodes, with real kubectl."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests import kubectls
from tests.conftest import Up

pytestmark = [pytest.mark.clients, pytest.mark.slow]


BIG = {"spec": {"containers": [{"name": "big", "image": "x", "resources": {"requests": {"cpu": "100"}}}]}}


class Kubectl:
    def __init__(self, up: Up, namespace: str) -> None:
        self.up = up
        self.namespace = namespace
        self("create", "namespace", namespace)

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [str(kubectls.kubectl("1.37")), "-n", self.namespace, *arguments]
        return subprocess.run(command, input=stdin, env=self.up.env, capture_output=True, text=True, timeout=100)

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self("get", *arguments, "-o", "json"))


@pytest.fixture
def kubectl(hollow_up: Up, request: pytest.FixtureRequest) -> Kubectl:
    return Kubectl(hollow_up, request.node.name.removeprefix("test_").replace("_", "-")[:60])


def test_deployment(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "web", "--image=nginx:1", "--replicas=3")
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    pods = kubectl.json("pods")["items"]
    assert {pod["status"]["phase"] for pod in pods} == {"Running"}
    assert {pod["spec"]["nodeName"] for pod in pods} == {"hollow-1", "hollow-2", "hollow-3"}
    # a rollout that gets stuck, and its undoing
    kubectl("set", "image", "deployment/web", "nginx=nginx:does-not-exist")
    kubectl("wait", "--for=jsonpath={.status.unavailableReplicas}=1", "deployment/web", "--timeout=60s")
    assert "ErrImagePull" in kubectl("get", "pods") or "ImagePullBackOff" in kubectl("get", "pods")
    kubectl("rollout", "undo", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    kubectl("scale", "deployment/web", "--replicas=1")
    kubectl("wait", "--for=jsonpath={.status.replicas}=1", "deployment/web", "--timeout=60s")
    # healing
    name = kubectl.json("pods", "--field-selector=status.phase=Running")["items"][0]["metadata"]["name"]
    kubectl("delete", "pod", name)
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    described = kubectl("describe", "deployment", "web")
    assert "ScalingReplicaSet" in described and "NewReplicaSetAvailable" in described
    kubectl("delete", "deployment", "web", "--cascade=foreground")
    assert kubectl.json("replicasets,pods")["items"] == []


def test_logs_and_exec_say_that_the_pod_is_simulated(kubectl: Kubectl) -> None:
    kubectl("run", "p", "--image=nginx:1")
    kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=60s")
    assert "is simulated" in kubectl("logs", "p")
    done = kubectl.run("exec", "p", "--", "true")
    assert done.returncode != 0 and "is simulated" in done.stderr


def test_unschedulable(kubectl: Kubectl) -> None:
    kubectl("run", "big", "--image=nginx:1", "--overrides", json.dumps(BIG))
    condition = 'jsonpath={.status.conditions[?(@.type=="PodScheduled")].reason}=Unschedulable'
    kubectl("wait", f"--for={condition}", "pod/big", "--timeout=60s")
    said = kubectl.json("pod", "big")["status"]["conditions"][0]["message"]
    assert said.startswith("0/3 nodes are available: 3 Insufficient cpu.")
    assert "FailedScheduling" in kubectl("get", "events")


def test_quota_full(kubectl: Kubectl) -> None:
    kubectl("create", "quota", "few", "--hard=pods=2")
    kubectl("create", "deployment", "web", "--image=nginx:1", "--replicas=5")
    kubectl("wait", "--for=jsonpath={.status.readyReplicas}=2", "deployment/web", "--timeout=60s")
    kubectl("wait", "--for=condition=ReplicaFailure", "deployment/web", "--timeout=60s")
    assert "exceeded quota: few" in kubectl("get", "events")


def test_drain(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "web", "--image=nginx:1", "--replicas=3")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    try:
        assert "drained" in kubectl("drain", "hollow-2", "--ignore-daemonsets", "--force", "--timeout=60s")
        kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        pods = kubectl.json("pods")["items"]
        assert all(
            pod["spec"]["nodeName"] != "hollow-2" for pod in pods if not pod["metadata"].get("deletionTimestamp")
        )
    finally:
        kubectl("uncordon", "hollow-2")
