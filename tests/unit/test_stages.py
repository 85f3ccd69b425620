"""The lives of simulated pods: what happens next, when, and what it makes of the status."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.hollow import life as stages
from sampan.hollow.pod import Variables, environment

Obj = dict[str, Any]
NOW = "2026-01-01T00:00:00Z"
NODE: Obj = {"metadata": {"name": "n"}, "status": {"addresses": [{"type": "InternalIP", "address": "172.31.0.1"}]}}


def pod(
    *, status: Obj | None = None, options: dict[str, str] | None = None, image: str = "nginx:1", **more: Any
) -> Obj:
    meta: Obj = {"name": "p", "namespace": "default", "uid": "u", **more.pop("metadata", {})}
    meta["annotations"] = {f"hollow.sampan.io/{key}": value for key, value in (options or {}).items()}
    spec = {"nodeName": "n", "containers": [{"name": "c", "image": image}], "restartPolicy": "Always", **more}
    return {"metadata": meta, "spec": spec, "status": {"phase": "Pending", **(status or {})}}


def container(state: Obj, **more: Any) -> Obj:
    return {"name": "c", "image": "nginx:1", "ready": False, "restartCount": 0, "state": state, "lastState": {}, **more}


RUNNING: Obj = {"phase": "Running", "containerStatuses": [container({"running": {"startedAt": NOW}}, ready=True)]}
READY: list[Obj] = [{"type": "Ready", "status": "True"}]
UNREADY: list[Obj] = [{"type": "Ready", "status": "False"}]
GATES: list[Obj] = [{"conditionType": "g"}]
OPEN: Obj = {"type": "g", "status": "True"}
JOB: Obj = {"metadata": {"ownerReferences": [{"kind": "Job"}]}, "restartPolicy": "Never"}
DELETED: Obj = {"metadata": {"deletionTimestamp": NOW}}


def backing_off(restarts: int) -> Obj:
    waiting = container({"waiting": {"reason": "CrashLoopBackOff"}}, restartCount=restarts)
    return {"phase": "Running", "containerStatuses": [waiting]}


@pytest.mark.parametrize(
    ("given", "stage", "after"),
    [
        (pod(), "run", 0),
        (pod(options={"start-delay": "3"}), "creating", 0),
        (pod(image="nginx:doesnotexist"), "image-error", 0),
        (pod(options={"behaviour": "image-error"}), "image-error", 0),
        (pod(options={"behaviour": "stuck"}), None, 0),
        (pod(status=RUNNING), None, 0),
        (pod(status=RUNNING, options={"behaviour": "crash"}), "crash", 1),
        (pod(status=RUNNING, options={"behaviour": "fail"}, restartPolicy="Never"), "fail", 1),
        (pod(status=RUNNING, **JOB), "complete", 1),
        (pod(status=RUNNING, options={"run-for": "60"}, **JOB), "complete", 60),
        (pod(status=RUNNING, options={"exit-code": "3"}, **JOB), "complete-badly", 1),
        (pod(status={**RUNNING, "conditions": READY}), None, 0),
        (pod(status={**RUNNING, "conditions": UNREADY}), "readiness", 0),
        (pod(status={**RUNNING, "conditions": READY}, readinessGates=GATES), "readiness", 0),
        (pod(status={**RUNNING, "conditions": UNREADY}, readinessGates=GATES), None, 0),
        (pod(status={**RUNNING, "conditions": [*UNREADY, OPEN]}, readinessGates=GATES), "readiness", 0),
        (pod(status=backing_off(0)), "restart", 10),
        (pod(status=backing_off(3)), "restart", 40),
        (pod(status=backing_off(9)), "restart", 300),
        (pod(status=RUNNING, **DELETED), "killed", 0),
        (pod(**DELETED), "gone", 0),
        (pod(status={"phase": "Succeeded"}), None, 0),
    ],
)
def test_what_happens_next(given: Obj, stage: str | None, after: float) -> None:
    life = stages.pods()
    known = Variables(given, NODE, life.defaults, now=NOW, ip="10.244.0.2")
    found = life.next(known)
    assert (found.name if found else None) == stage
    assert found is None or found.delay(known) == after


def rendered(given: Obj) -> Obj:
    life = stages.pods()
    known = Variables(given, NODE, life.defaults, now=NOW, ip="10.244.0.2")
    stage = life.next(known)
    assert stage is not None and stage.status is not None
    out: Obj = stage.status.render(known)
    return out


def test_a_pod_runs_with_addresses_and_ready_containers() -> None:
    status = rendered(pod(initContainers=[{"name": "i", "image": "busybox"}]))
    assert (status["phase"], status["podIP"], status["hostIP"]) == ("Running", "10.244.0.2", "172.31.0.1")
    assert status["containerStatuses"][0]["state"] == {"running": {"startedAt": NOW}}
    assert status["initContainerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"
    assert {c["type"]: c["status"] for c in status["conditions"]}["Ready"] == "True"


def test_a_crash_keeps_how_it_ended_and_counts_the_restart() -> None:
    crashed = rendered(pod(status=RUNNING, options={"behaviour": "oom"}))["containerStatuses"][0]
    assert crashed["lastState"]["terminated"]["reason"] == "OOMKilled"
    assert crashed["lastState"]["terminated"]["exitCode"] == 137
    assert crashed["state"]["waiting"] == {
        "reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container=c pod=p_default(u)",
    }  # fmt: skip
    assert "now" not in crashed and "pod" not in crashed
    again = rendered(pod(status={"phase": "Running", "containerStatuses": [crashed]}))["containerStatuses"][0]
    assert again["restartCount"] == 1 and "running" in again["state"]


@pytest.mark.parametrize(
    ("when", "needs"),
    [
        ("running", ("running",)),
        ("running && !ready && pending", ("running", "pending")),
        ("running || pending", ()),
        ("(running || pending) && started", ("started",)),
        ("!running", ()),
        ('phase == "Failed"', ()),
    ],
)
def test_what_a_stage_needs_is_looked_at_first(when: str, needs: tuple[str, ...]) -> None:
    assert environment().compile(when).needs == needs
