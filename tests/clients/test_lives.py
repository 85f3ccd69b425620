"""The whole life of each workload, with its failures: real kubectl against a test cluster whose time is advanced."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from sampan.testing import SyncCluster

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.cluster(nodes=3)]
Kubectl = Callable[..., str]


def template(app: str, *, image: str = "nginx:1", options: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    notes = {f"hollow.sampan.io/{key}": value for key, value in (options or {}).items()}
    return {
        "metadata": {"labels": {"app": app}, "annotations": notes},
        "spec": {"containers": [{"name": "c", "image": image}], **spec},
    }


def workload(
    kind: str, name: str, api: str = "apps/v1", *, pods: dict[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    found = {"selector": {"matchLabels": {"app": name}}} if api == "apps/v1" else {}
    body = {**found, "template": pods or template(name), **spec}
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": body}


def items(kubectl: Kubectl, *what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(kubectl("get", *what, "-o", "json"))["items"]
    return found


def phases(kubectl: Kubectl, app: str) -> list[str]:
    return [pod["status"]["phase"] for pod in items(kubectl, "pods", "-l", f"app={app}")]


def test_deployment_and_a_node_that_dies(cluster: SyncCluster, kubectl: Kubectl) -> None:
    cluster.apply(workload("Deployment", "web", replicas=6))
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    before = {pod["spec"]["nodeName"] for pod in items(kubectl, "pods")}
    assert before == {"node-1", "node-2", "node-3"}
    kubectl("annotate", "node", "node-2", "hollow.sampan.io/down=true")
    cluster.advance(minutes=2)
    assert "NotReady" in kubectl("get", "node", "node-2")
    cluster.advance(minutes=6)
    kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=30s")
    alive = [pod for pod in items(kubectl, "pods") if "deletionTimestamp" not in pod["metadata"]]
    assert len(alive) == 6 and {pod["spec"]["nodeName"] for pod in alive} == {"node-1", "node-3"}
    kubectl("annotate", "node", "node-2", "hollow.sampan.io/down-")
    cluster.advance(minutes=1)
    assert len(items(kubectl, "pods")) == 6, "what was being deleted there is gone"


def test_a_stuck_rollout_misses_its_deadline(cluster: SyncCluster, kubectl: Kubectl) -> None:
    cluster.apply(workload("Deployment", "web", replicas=4, progressDeadlineSeconds=60))
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    kubectl("set", "image", "deployment/web", "c=nginx:broken")
    cluster.advance(minutes=3)
    with pytest.raises(subprocess.CalledProcessError):
        kubectl("rollout", "status", "deployment/web", "--timeout=10s")
    assert "exceeded its progress deadline" in kubectl(
        "describe", "deployment", "web"
    ) or "ProgressDeadlineExceeded" in (kubectl("describe", "deployment", "web"))
    assert "ImagePullBackOff" in kubectl("get", "pods") or "ErrImagePull" in kubectl("get", "pods")
    kubectl("rollout", "undo", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    assert "REVISION" in kubectl("rollout", "history", "deployment/web")


def test_a_crash_loop(cluster: SyncCluster, kubectl: Kubectl) -> None:
    cluster.apply(workload("Deployment", "web", replicas=1, pods=template("web", options={"behaviour": "crash"})))
    cluster.wait_for("deployment/web", "Progressing")
    cluster.advance(minutes=5)
    shown = kubectl("get", "pods")
    restarts = items(kubectl, "pods")[0]["status"]["containerStatuses"][0]["restartCount"]
    assert restarts >= 5, shown
    assert "BackOff" in kubectl("get", "events")


def test_stateful_set(cluster: SyncCluster, kubectl: Kubectl) -> None:
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    cluster.apply(workload("StatefulSet", "db", replicas=3, serviceName="db", volumeClaimTemplates=[claim]))
    kubectl("rollout", "status", "statefulset/db", "--timeout=50s")
    assert sorted(pod["metadata"]["name"] for pod in items(kubectl, "pods")) == ["db-0", "db-1", "db-2"]
    assert {claim["status"]["phase"] for claim in items(kubectl, "pvc")} == {"Bound"}
    kubectl("set", "image", "statefulset/db", "c=nginx:2")
    kubectl("rollout", "status", "statefulset/db", "--timeout=50s")
    assert {pod["spec"]["containers"][0]["image"] for pod in items(kubectl, "pods")} == {"nginx:2"}
    kubectl("scale", "statefulset/db", "--replicas=1")
    kubectl("wait", "--for=delete", "pod/db-2", "--timeout=30s")
    cluster.wait_for("statefulset/db", "status.replicas=1")
    assert [pod["metadata"]["name"] for pod in items(kubectl, "pods")] == ["db-0"]
    assert len(items(kubectl, "pvc")) == 3, "claims are kept"
    kubectl("delete", "statefulset", "db")
    cluster.wait_for("pod/db-0", "deleted")


def test_daemon_set(cluster: SyncCluster, kubectl: Kubectl) -> None:
    cluster.apply(workload("DaemonSet", "agent"))
    kubectl("rollout", "status", "daemonset/agent", "--timeout=30s")
    assert {pod["spec"]["nodeName"] for pod in items(kubectl, "pods")} == {"node-1", "node-2", "node-3"}
    kubectl("set", "image", "daemonset/agent", "c=nginx:2")
    kubectl("rollout", "status", "daemonset/agent", "--timeout=50s")
    assert {pod["spec"]["containers"][0]["image"] for pod in items(kubectl, "pods")} == {"nginx:2"}
    kubectl("label", "node", "node-1", "only=here")
    kubectl("patch", "daemonset", "agent", "-p", '{"spec":{"template":{"spec":{"nodeSelector":{"only":"here"}}}}}')
    cluster.wait_for("daemonset/agent", lambda found: found["status"]["currentNumberScheduled"] == 1)
    kubectl("rollout", "undo", "daemonset/agent", "--to-revision=1")
    kubectl("rollout", "status", "daemonset/agent", "--timeout=50s")


def test_job_that_succeeds_and_one_that_fails(cluster: SyncCluster, kubectl: Kubectl) -> None:
    pods = template("ok", restartPolicy="Never")
    cluster.apply(workload("Job", "ok", "batch/v1", pods=pods, completions=5, parallelism=2, completionMode="Indexed"))
    kubectl("wait", "--for=condition=Complete", "job/ok", "--timeout=50s")
    assert kubectl("get", "job", "ok", "-o", "jsonpath={.status.completedIndexes}") == "0-4"
    bad = template("bad", restartPolicy="Never", options={"exit-code": "3"})
    cluster.apply(workload("Job", "bad", "batch/v1", pods=bad, backoffLimit=2))
    cluster.advance(minutes=10)
    cluster.wait_for("job/bad", "Failed")
    assert "BackoffLimitExceeded" in kubectl("describe", "job", "bad")
    assert phases(kubectl, "bad") == ["Failed"] * 3


def test_cron_job(cluster: SyncCluster, kubectl: Kubectl) -> None:
    kubectl("create", "cronjob", "tick", "--image=busybox:1", "--schedule=*/5 * * * *")
    cluster.advance(hours=1)
    jobs = items(kubectl, "jobs")
    assert len(jobs) == 3, "the history keeps three"
    kubectl("patch", "cronjob", "tick", "-p", '{"spec":{"suspend":true}}')
    last = kubectl("get", "cronjob", "tick", "-o", "jsonpath={.status.lastScheduleTime}")
    cluster.advance(hours=1)
    assert kubectl("get", "cronjob", "tick", "-o", "jsonpath={.status.lastScheduleTime}") == last
    kubectl("create", "job", "now", "--from=cronjob/tick")
    kubectl("wait", "--for=condition=Complete", "job/now", "--timeout=30s")


def test_autoscaler(cluster: SyncCluster, kubectl: Kubectl) -> None:
    busy = template("web", options={"cpu-usage": "400m"})
    busy["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "200m"}}
    cluster.apply(workload("Deployment", "web", replicas=1, pods=busy))
    kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    kubectl("autoscale", "deployment", "web", "--min=1", "--max=4", "--cpu-percent=100")
    cluster.advance(minutes=10)
    assert kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "4", kubectl(
        "describe", "hpa", "web"
    )
    assert "400m" in kubectl("top", "pods")
    kubectl("annotate", "pods", "-l", "app=web", "hollow.sampan.io/cpu-usage=10m", "--overwrite")
    cluster.advance(minutes=20)
    assert kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "1", kubectl(
        "describe", "hpa", "web"
    )


def test_disruption_budget_and_drain(cluster: SyncCluster, kubectl: Kubectl) -> None:
    cluster.apply(workload("Deployment", "web", replicas=2, pods=template("web", options={"ready-delay": "20"})))
    cluster.advance(minutes=1)
    kubectl("create", "pdb", "web", "--selector=app=web", "--min-available=2")
    cluster.wait_for("pdb/web", lambda found: found["status"]["currentHealthy"] == 2)
    node = items(kubectl, "pods")[0]["spec"]["nodeName"]
    with pytest.raises(subprocess.CalledProcessError) as refused:
        kubectl("drain", node, "--timeout=3s")
    assert "Cannot evict pod as it would violate the pod's disruption budget." in refused.value.stderr
    kubectl("delete", "pdb", "web")
    assert "drained" in kubectl("drain", node, "--timeout=30s")
    cluster.advance(minutes=1)
    assert all(pod["spec"]["nodeName"] != node for pod in items(kubectl, "pods"))
    kubectl("uncordon", node)


def test_a_namespace_goes_with_all_that_is_in_it(cluster: SyncCluster, kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "full")
    kubectl("-n", "full", "create", "deployment", "web", "--image=nginx:1", "--replicas=3")
    kubectl("-n", "full", "expose", "deployment", "web", "--port=80")
    kubectl("-n", "full", "rollout", "status", "deployment/web", "--timeout=30s")
    kubectl("delete", "namespace", "full", "--timeout=30s")
    assert items(kubectl, "pods,services,deployments,replicasets", "-n", "full") == []
