"""Admission as people meet it: with kubectl, in namespaces that an administrator has fenced in."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import kubectls
from tests.conftest import Up

pytestmark = [pytest.mark.clients, pytest.mark.slow]
Run = Callable[..., tuple[int, str, str]]

SECURE = """
apiVersion: v1
kind: Pod
metadata: {name: fine}
spec:
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: c
    image: x
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
"""
LIMITS = """
apiVersion: v1
kind: LimitRange
metadata: {name: sizes}
spec:
  limits:
  - {type: Container, default: {cpu: 500m, memory: 128Mi}, defaultRequest: {cpu: 100m}, max: {cpu: "2"}}
"""


@pytest.fixture(scope="module", params=("1.20", "1.37"))
def kubectl(request: pytest.FixtureRequest, up: Up) -> Run:
    binary: Path = kubectls.kubectl(request.param)

    def run(namespace: str, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        command = [str(binary), "-n", f"{namespace}-{request.param.replace('.', '-')}", *arguments]
        done = subprocess.run(command, input=stdin, env=up.env, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    for name in ("secure", "students"):
        full = f"{name}-{request.param.replace('.', '-')}"
        assert run(name, "create", "namespace", full)[0] == 0
    return run


def test_pod_security(kubectl: Run) -> None:
    assert kubectl("secure", "run", "old", "--image=x")[0] == 0
    code, found, _ = kubectl("secure", "get", "pod", "old", "-o", "jsonpath={.metadata.namespace}")
    namespace = found
    code, _, said = kubectl("secure", "label", "ns", namespace, "pod-security.kubernetes.io/enforce=restricted")
    assert code == 0 and f'Warning: existing pods in namespace "{namespace}" violate' in said
    assert "Warning: old: allowPrivilegeEscalation != false, unrestricted capabilities" in said
    code, _, said = kubectl("secure", "run", "new", "--image=x")
    assert code == 1 and said.startswith(
        'Error from server (Forbidden): pods "new" is forbidden: violates PodSecurity "restricted:latest": '
    )
    assert kubectl("secure", "apply", "-f", "-", stdin=SECURE)[0] == 0
    code, _, said = kubectl(
        "secure", "label", "ns", namespace, "--overwrite", "pod-security.kubernetes.io/enforce=tight"
    )
    assert code == 1 and 'Invalid value: "tight": must be one of privileged, baseline, restricted' in said
    kubectl("secure", "label", "ns", namespace, "pod-security.kubernetes.io/warn=restricted")
    code, _, said = kubectl("secure", "create", "deployment", "web", "--image=x")
    assert code == 0 and 'Warning: would violate PodSecurity "restricted:latest": ' in said


def test_a_class_of_students(kubectl: Run) -> None:
    assert kubectl("students", "apply", "-f", "-", stdin=LIMITS)[0] == 0
    assert kubectl("students", "create", "quota", "fair", "--hard=pods=5,requests.cpu=1,count/configmaps=3")[0] == 0

    def run(number: int) -> int:
        return kubectl("students", "run", f"p{number}", "--image=x")[0]

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(run, range(8))) == [0] * 5 + [1] * 3
    code, _, said = kubectl("students", "run", "more", "--image=x")
    assert code == 1 and said == (
        'Error from server (Forbidden): pods "more" is forbidden: exceeded quota: fair, '
        "requested: pods=1, used: pods=5, limited: pods=5\n"
    )
    code, out, _ = kubectl("students", "describe", "quota", "fair")
    rows = {tuple(line.split()) for line in out.splitlines()}
    assert ("pods", "5", "5") in rows and ("requests.cpu", "500m", "1") in rows
    code, out, _ = kubectl("students", "get", "pods", "-o", "jsonpath={.items[0].spec.containers[0].resources}")
    assert '"cpu":"500m","memory":"128Mi"' in out
    kubectl("students", "create", "configmap", "one", "--from-literal=a=b")
    # `kube-root-ca.crt` is one, too
    assert kubectl("students", "create", "configmap", "two", "--from-literal=a=b")[0] == 0
    code, _, said = kubectl("students", "create", "configmap", "three", "--from-literal=a=b")
    assert code == 1 and "requested: count/configmaps=1, used: count/configmaps=3" in said


def test_accounts_of_pods(kubectl: Run) -> None:
    body = SECURE.replace("spec:", "spec:\n  serviceAccountName: nobody", 1)
    code, _, said = kubectl("secure", "create", "-f", "-", stdin=body.replace("fine", "lost"))
    assert code == 1 and 'serviceaccount "nobody" not found' in said
    code, out, _ = kubectl("secure", "describe", "pod", "fine")
    assert "/var/run/secrets/kubernetes.io/serviceaccount from kube-api-access-" in out
    assert "TokenExpirationSeconds:  3607" in out
