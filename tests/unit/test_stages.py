"""The lives of simulated pods: what happens next, when, and what it makes of the status."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.hollow import life as stages
from sampan.hollow.containers import image_id
from sampan.hollow.pod import Variables, environment, pull_after

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


def ended(finished: str, started: str = "23:59:59", restarts: int = 0) -> Obj:
    how = {"exitCode": 1, "startedAt": f"2025-12-31T{started}Z", "finishedAt": f"2026-01-01T{finished}Z"}
    return {"phase": "Running", "containerStatuses": [container({"terminated": how}, restartCount=restarts)]}


def deleted(grace: int) -> Obj:
    """Now, with so much time to end."""
    meta = {"deletionTimestamp": f"2026-01-01T00:00:{grace}Z", "deletionGracePeriodSeconds": grace}
    return {"metadata": meta}


@pytest.mark.parametrize(
    ("given", "stage", "after"),
    [
        (pod(), "run", 0),
        (pod(options={"start-delay": "3"}), "creating", 0),
        (pod(image="nginx:doesnotexist"), "image-error", 0),
        (pod(options={"behaviour": "image-error"}), "image-error", 0),
        (pod(options={"behaviour": "stuck"}), None, 0),
        (pod(initContainers=[{"name": "i", "image": "b:missing"}]), "image-error", 0),
        (pod(status={**RUNNING, "startTime": NOW}, activeDeadlineSeconds=90), "deadline", 90),
        (pod(status={**RUNNING, "startTime": NOW}, activeDeadlineSeconds=90, **JOB), "complete", 1),
        (pod(status={"startTime": "2025-12-31T23:59:58Z"}, options={"start-delay": "3"}), "creating", 0),
        (pod(status=RUNNING, options={"behaviour": "not-ready"}), "unready", 0),
        (pod(status=RUNNING, options={"behaviour": "evict"}), "evict", 1),
        (pod(status=RUNNING, options={"run-for": "1m30s"}), "end", 90),
        (pod(status=RUNNING, options={"run-for": "9", "exit-code": "3"}, restartPolicy="OnFailure"), "end", 9),
        (pod(status=RUNNING, options={"run-for": "9"}, restartPolicy="OnFailure"), "complete", 9),
        (pod(status=RUNNING, metadata={"generation": 2}), "follow", 0),
        (pod(status=ended("00:00:00")), "restart", 0),
        (pod(status=ended("00:00:00", restarts=1)), "back-off", 0),
        (pod(status=ended("00:00:00", "23:49:00", restarts=5)), "restart", 0),
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
        (pod(status=backing_off(1)), "restart", 10),
        (pod(status=backing_off(3)), "restart", 40),
        (pod(status=backing_off(9)), "restart", 300),
        (pod(status=RUNNING, **DELETED), "killed", 0),
        (pod(status=RUNNING, options={"stop-delay": "20"}, **deleted(30)), "killed", 20),
        (pod(status=RUNNING, options={"stop-delay": "40"}, **deleted(30)), "killed", 30),
        (pod(status=backing_off(2), metadata={**DELETED["metadata"], "finalizers": ["f"]}), "killed-early", 0),
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
    assert status["containerStatuses"][0]["ready"]


def test_a_crash_keeps_how_it_ended_and_counts_the_restart() -> None:
    options = {"behaviour": "oom"}
    crashed = rendered(pod(status=RUNNING, options=options))["containerStatuses"][0]
    assert crashed["state"]["terminated"]["reason"] == "OOMKilled" and crashed["state"]["terminated"]["exitCode"] == 137
    again = rendered(pod(status={"phase": "Running", "containerStatuses": [crashed]}))["containerStatuses"][0]
    assert again["restartCount"] == 1 and "running" in again["state"]
    assert again["lastState"] == crashed["state"] and again["containerID"] != crashed.get("containerID")
    crashed = rendered(pod(status={"phase": "Running", "containerStatuses": [again]}, options=options))
    backed_off = rendered(pod(status={"phase": "Running", **crashed}))["containerStatuses"][0]
    assert backed_off["state"]["waiting"] == {
        "reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container=c pod=p_default(u)",
    }  # fmt: skip
    assert "about" not in backed_off


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("nginx", "docker.io/library/nginx"),
        ("nginx:1", "docker.io/library/nginx"),
        ("ada/web:1", "docker.io/ada/web"),
        ("localhost:5000/web:1", "localhost:5000/web"),
        ("ghcr.io/ada/web", "ghcr.io/ada/web"),
    ],
)
def test_ids_of_images(image: str, expected: str) -> None:
    assert image_id(image).partition("@sha256:")[0] == expected
    assert image_id(f"{image}@sha256:{'a' * 64}") == f"{expected}@sha256:{'a' * 64}"


def test_when_images_are_tried_again() -> None:
    assert [pull_after(passed) for passed in (0, 1, 10, 30, 310, 610, 700)] == [10, 9, 20, 40, 300, 300, 210]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stages:\n- name: a\n  when: [\n", "mine.yaml:4: not YAML: expected the node content"),
        (
            "stages:\n- name: a\n  when: a ? b : c\n",
            "mine.yaml:3: not YAML: mapping values .*colon in it must stand in quotes",
        ),
        ("stages: 3\n", "mine.yaml:1: there is no list `stages`"),
        ("", "mine.yaml:1: there is no list `stages`"),
        ("stage: []\nstages: []\n", "mine.yaml:1: `stage` is not known here: defaults, behaviours, stages"),
        ("stages:\n- name: a\n  wen: 'true'\n", "mine.yaml:3: stage a: `wen` is not known; there are name, when,"),
        ("stages:\n- name: a\n", "mine.yaml:2: stage a: `when` must be text"),
        ("stages:\n- {name: a, when: 'true'}\n- {name: a, when: 'true'}\n", "mine.yaml:3: there is another stage a"),
        ("stages:\n- name: a\n  when: runing\n", "mine.yaml:3: stage a: .*undeclared reference to 'runing'"),
        ("stages:\n- name: a\n  when: phase\n", "mine.yaml:3: stage a: must evaluate to bool"),
        ("stages:\n- name: a\n  when: 'true'\n  after: soon\n", "mine.yaml:4: stage a: `after` must be seconds"),
        (
            "stages:\n- name: a\n  when: 'true'\n  status:\n    x:\n    - $ 1 +\n",
            "mine.yaml:6: stage a: .*Syntax error",
        ),
        (
            "stages:\n- name: a\n  when: 'true'\n  events:\n  - {type: Normal, reason: R}\n",
            "mine.yaml:5: stage a: an event lacks message",
        ),
    ],
)
def test_a_wrong_file_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(stages.StagesError, match=f"(?s){said}"):
        stages.read(text, environment(), "mine.yaml")


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
