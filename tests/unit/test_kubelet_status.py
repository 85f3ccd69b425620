"""A pod's status, from what it should be and what the runtime has: states, phases, conditions, and what is told of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sampan.kubelet.observed import Observed, Sandbox, Seen
from sampan.kubelet.status import Facts, status
from sampan.kubelet.statuses import changes
from tests.unit.test_kubelet_plan import PROBE, A, B, Obj, container, pod, seen

NOW = "2026-01-01T00:01:40Z"
FACTS = Facts(now=1767225700.0, runtime="sampan", host_ips=("192.0.2.1",))


def with_sandbox(*containers: Seen, ready: bool = True) -> Observed:
    ordered = sorted(containers, key=lambda each: each.created, reverse=True)
    box = Sandbox("box", ready, 1.0, 0, ("10.0.0.5", "fd00::5"))
    return Observed("u", sandboxes=(box,), containers=tuple(ordered))


def conditions(found: Obj) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each.get("reason", "")) for each in found["conditions"]}


def state(found: Obj, index: int = 0) -> Obj:
    out: Obj = found["containerStatuses"][index]["state"]
    return out


def test_before_anything_is_there() -> None:
    found = status(pod(A), Observed("u"), {}, FACTS)
    assert found["phase"] == "Pending" and found["startTime"] == NOW and found["qosClass"] == "BestEffort"
    assert state(found) == {"waiting": {"reason": "ContainerCreating"}}
    assert conditions(found) == {
        "PodReadyToStartContainers": ("False", ""),
        "Initialized": ("True", ""),
        "Ready": ("False", "ContainersNotReady"),
        "ContainersReady": ("False", "ContainersNotReady"),
        "PodScheduled": ("True", ""),
    }
    assert "podIP" not in found and found["hostIPs"] == [{"ip": "192.0.2.1"}]


def test_running() -> None:
    running = replace(seen("a"), started=FACTS.now, image="image:1", image_ref="sha256:abc")
    found = status(pod(A), with_sandbox(running), {}, FACTS)
    (one,) = found["containerStatuses"]
    assert one["state"] == {"running": {"startedAt": NOW}} and one["ready"] and one["started"]
    assert one["containerID"] == "sampan://a-2.0" and one["imageID"] == "sha256:abc"
    assert (found["phase"], found["podIP"]) == ("Running", "10.0.0.5")
    assert found["podIPs"] == [{"ip": "10.0.0.5"}, {"ip": "fd00::5"}]
    assert conditions(found)["Ready"] == ("True", "")


def test_generations_are_told() -> None:
    made = pod(A)
    made["metadata"]["generation"] = 3
    found = status(made, with_sandbox(seen("a")), {}, FACTS)
    assert found["observedGeneration"] == 3 and {each["observedGeneration"] for each in found["conditions"]} == {3}


def test_probes_decide_who_is_ready() -> None:
    made = pod(container("a", readinessProbe=PROBE, startupProbe=PROBE))
    there = with_sandbox(seen("a"))
    for started, ready in ((False, False), (True, False), (True, True)):
        facts = replace(FACTS, started={"a-2.0": started}.__getitem__, ready={"a-2.0": ready}.__getitem__)
        (one,) = status(made, there, {}, facts)["containerStatuses"]
        assert (one["started"], one["ready"]) == (started, ready)


def test_several_unready_containers_are_named() -> None:
    found = status(pod(B, A), with_sandbox(), {}, FACTS)
    assert {each.get("message", "") for each in found["conditions"]} == {"", "containers with unready status: [b a]"}
    assert [each["name"] for each in found["containerStatuses"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("restart", "codes", "terminal", "phase"),
    [
        ("Never", (0, 0), False, "Succeeded"), ("Never", (0, 1), False, "Failed"), ("OnFailure", (0, 0), False, "Succeeded"),
        ("OnFailure", (0, 1), False, "Running"), ("Always", (0, 0), False, "Running"), ("Always", (0, 0), True, "Succeeded"),
        ("Always", (0, 137), True, "Failed"), ("Never", (0, None), False, "Running"),
    ],
)  # fmt: skip
def test_phases(restart: str, codes: tuple[int | None, ...], terminal: bool, phase: str) -> None:
    ended = [
        seen(name, "running" if code is None else "exited", code or 0) for name, code in zip("ab", codes, strict=True)
    ]
    found = status(pod(A, B, restart=restart), with_sandbox(*ended), {}, replace(FACTS, terminal=terminal))
    assert found["phase"] == phase


def test_what_has_ended_well() -> None:
    done = replace(seen("a", "exited"), reason="Completed", message="42", started=FACTS.now, finished=FACTS.now)
    found = status(pod(A, restart="Never"), with_sandbox(done, ready=False), {"podIPs": [{"ip": "10.0.0.5"}]}, FACTS)
    assert state(found) == {
        "terminated": {
            "exitCode": 0, "reason": "Completed", "message": "42", "startedAt": NOW, "finishedAt": NOW, "containerID": "sampan://a-2.0",
        }
    }  # fmt: skip
    assert found["podIP"] == "10.0.0.5"
    assert conditions(found)["Ready"] == conditions(found)["ContainersReady"] == ("False", "PodCompleted")
    assert conditions(found)["Initialized"] == ("True", "PodCompleted")


def test_a_container_that_cannot_be_started_waits_and_its_end_is_the_last_state() -> None:
    ended = replace(seen("a", "exited", 1), restarts=2)
    facts = replace(FACTS, failures={"a": ("CrashLoopBackOff", "back-off 20s restarting failed container=a pod=p")})
    found = status(pod(A), with_sandbox(ended), {}, facts)
    (one,) = found["containerStatuses"]
    assert one["state"]["waiting"]["reason"] == "CrashLoopBackOff" and one["restartCount"] == 2
    assert one["lastState"]["terminated"]["exitCode"] == 1 and found["phase"] == "Running"
    # one that is not to be started again does not wait
    assert "terminated" in state(status(pod(A, restart="Never"), with_sandbox(ended), {}, facts))


def test_the_last_state_outlives_the_container_that_had_it() -> None:
    first = replace(seen("a", "exited", 3), restarts=0)
    before = status(pod(A), with_sandbox(first), {}, FACTS)
    second = replace(seen("a", created=5.0), restarts=1)
    (one,) = status(pod(A), with_sandbox(second), before, FACTS)["containerStatuses"]
    assert one["lastState"]["terminated"]["exitCode"] == 3
    (one,) = status(pod(A), with_sandbox(second, first), {}, FACTS)["containerStatuses"]
    assert one["lastState"]["terminated"]["exitCode"] == 3


def test_a_container_that_vanished() -> None:
    before = status(pod(A), with_sandbox(seen("a")), {}, FACTS)
    (one,) = status(pod(A), with_sandbox(), before, FACTS)["containerStatuses"]
    assert one["restartCount"] == 1 and one["state"] == {"waiting": {"reason": "ContainerCreating"}}
    lost = one["lastState"]["terminated"]
    assert (lost["reason"], lost["exitCode"]) == ("ContainerStatusUnknown", 137)
    (one,) = status(pod(A), with_sandbox(), before, replace(FACTS, terminal=True))["containerStatuses"]
    assert one["state"]["terminated"]["message"] == "The container could not be located when the pod was terminated"


def test_init_containers() -> None:
    made = pod(A, init=(container("i"), container("s", restartPolicy="Always")))
    found = status(made, with_sandbox(seen("i")), {}, FACTS)
    assert found["phase"] == "Pending" and state(found) == {"waiting": {"reason": "PodInitializing"}}
    assert conditions(found)["Initialized"] == ("False", "ContainersNotInitialized")
    assert {each.get("message") for each in found["conditions"] if each["type"] == "Initialized"} == {
        "containers with incomplete status: [i s]"
    }
    found = status(made, with_sandbox(seen("i", "exited"), seen("s", created=3), seen("a", created=4)), {}, FACTS)
    assert found["phase"] == "Running" and conditions(found)["Initialized"] == ("True", "")
    assert [each["name"] for each in found["initContainerStatuses"]] == ["i", "s"]
    failed = status(pod(A, init=(container("i"),), restart="Never"), with_sandbox(seen("i", "exited", 1)), {}, FACTS)
    assert failed["phase"] == "Failed"


def test_sidecars_count_for_readiness() -> None:
    made = pod(A, init=(container("s", restartPolicy="Always", readinessProbe=PROBE),))
    found = status(made, with_sandbox(seen("s"), seen("a", created=3)), {}, replace(FACTS, ready=lambda _: False))
    assert conditions(found)["Ready"] == ("False", "ContainersNotReady") and found["containerStatuses"][0]["ready"]


def test_readiness_gates() -> None:
    made = pod(A, readinessGates=[{"conditionType": "x/one"}, {"conditionType": "x/two"}])
    made["status"] = {"conditions": [{"type": "x/two", "status": "False"}]}
    found = status(made, with_sandbox(seen("a")), {}, FACTS)
    ready = next(each for each in found["conditions"] if each["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ReadinessGatesNotReady")
    assert ready["message"] == (
        'corresponding condition of pod readiness gate "x/one" does not exist., '
        'the status of pod readiness gate "x/two" is not "True", but False'
    )
    assert conditions(found)["ContainersReady"] == ("True", "")


def test_a_transition_keeps_its_time_until_the_next() -> None:
    before = status(pod(A), with_sandbox(seen("a")), {}, FACTS)
    later = replace(FACTS, now=FACTS.now + 60)
    after = status(pod(A), with_sandbox(seen("a")), before, later)
    assert {each["lastTransitionTime"] for each in after["conditions"]} == {NOW}
    changed = status(pod(A), with_sandbox(seen("a", "exited", 1)), before, later)
    times = {each["type"]: each["lastTransitionTime"] for each in changed["conditions"]}
    assert times["Ready"] == "2026-01-01T00:02:40Z" and times["Initialized"] == NOW


def test_an_evicted_pod_has_failed_once_nothing_of_it_runs() -> None:
    disrupted = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "TerminationByKubelet",
        "message": "low on memory",
    }
    facts = replace(FACTS, ended=("Failed", "Evicted", "low on memory"), more=(disrupted,))
    assert status(pod(A), with_sandbox(seen("a")), {}, facts)["phase"] == "Running"
    found = status(pod(A), with_sandbox(seen("a", "exited", 137)), {}, replace(facts, terminal=True))
    assert (found["phase"], found["reason"], found["message"]) == ("Failed", "Evicted", "low on memory")
    assert conditions(found)["DisruptionTarget"] == ("True", "TerminationByKubelet")
    assert conditions(found)["Ready"] == ("False", "PodFailed")


def test_resources_are_what_was_asked_for() -> None:
    asked = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}}
    (one,) = status(pod(container("a", resources=asked)), with_sandbox(seen("a")), {}, FACTS)["containerStatuses"]
    assert one["allocatedResources"] == asked["requests"] and one["resources"] == asked


# -- patches -----------------------------------------------------------------------------------------------------------


def test_nothing_is_told_twice() -> None:
    found = status(pod(A), with_sandbox(seen("a")), {}, FACTS)
    assert changes(found, found) == {}


def test_only_what_changed_is_told() -> None:
    before = status(pod(A), with_sandbox(seen("a")), {}, FACTS)
    after = status(pod(A), with_sandbox(seen("a", "exited", 1)), before, FACTS)
    patch = changes(before, after)
    assert patch.keys() == {"containerStatuses", "conditions"}
    assert {each["type"] for each in patch["conditions"]} == {"Ready", "ContainersReady"}
    back = changes(after, before)
    assert {each.get("reason", "gone") for each in back["conditions"]} == {None}


def test_others_conditions_are_left_alone() -> None:
    made = pod(A)
    made["status"] = {"conditions": [{"type": "x/gate", "status": "True"}]}
    found = status(made, with_sandbox(seen("a")), {}, FACTS)
    assert "x/gate" in conditions(found)
    assert "x/gate" not in {each["type"] for each in changes({}, found)["conditions"]}


def test_addresses_are_replaced_not_merged() -> None:
    before: dict[str, Any] = {"podIPs": [{"ip": "10.0.0.1"}]}
    assert changes(before, {**before, "podIPs": [{"ip": "10.0.0.2"}]})["podIPs"] == [
        {"ip": "10.0.0.2"},
        {"$patch": "replace"},
    ]
