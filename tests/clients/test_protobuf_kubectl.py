"""kubectl 1.37's typed clients ask for protobuf: what they print of it, and that it is what they got."""

from __future__ import annotations

import subprocess

import pytest

from tests import kubectls
from tests.conftest import Up

pytestmark = [pytest.mark.clients, pytest.mark.slow]

OBJECTS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: protobuf}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: c
        image: nginx:1
        ports: [{name: http, containerPort: 80}]
        resources: {limits: {cpu: 1500m, memory: 1Gi}}
        readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 7}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: protobuf}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: protobuf}
spec: {minAvailable: 50%, selector: {matchLabels: {app: web}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: protobuf}
spec: {minReplicas: 1, maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: protobuf}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: http}, {port: 8080}]}]}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: web, namespace: protobuf}
spec: {hard: {pods: "10", requests.cpu: "2"}}
"""
SHOWN = (
    "1500m", "http-get http://:http/healthz delay=0s timeout=1s period=7s", "25% max unavailable",
    "80/TCP (http)", "TargetPort:               http/TCP", "Session Affinity:         None", "Min available:  50%",
    "Min replicas:                                          1", "To Port: http/TCP", "To Port: 8080/TCP",
    "requests.cpu  1500m  2",
)  # fmt: skip
PROTOBUF = "Content-Type: application/vnd.kubernetes.protobuf"


def test_kubectl_reads_protobuf(up: Up) -> None:
    def kubectl(*arguments: str, stdin: str = "") -> tuple[str, str]:
        command = [str(kubectls.kubectl("1.37")), "-n", "protobuf", *arguments]
        done = subprocess.run(command, input=stdin, env=up.env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    kubectl("create", "namespace", "protobuf")
    kubectl("apply", "-f", "-", stdin=OBJECTS)
    kubectl("wait", "quota/web", "--for=jsonpath={.status.used.pods}=1", "--timeout=30s")
    shown, log = kubectl("describe", "deploy,svc,pdb,hpa,netpol,quota", "-v=8")
    assert [text for text in SHOWN if text not in shown] == []
    assert log.count(PROTOBUF) >= 6
    for arguments, expected in (
        (("auth", "whoami"), "system:masters"),
        (("create", "token", "default"), "ey"),
        (("events", "--for", "deploy/web"), "ScalingReplicaSet"),
        (("describe", "clusterrole", "view"), "[get list watch]"),
        (("rollout", "restart", "deploy/web"), "restarted"),
    ):
        shown, log = kubectl(*arguments, "-v=8")
        assert expected in shown and (PROTOBUF in log or arguments[0] == "rollout"), arguments
