"""What is to be done for a pod, as a table of pods and what the runtime has of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sampan.kubelet import names
from sampan.kubelet.observed import Observed, Sandbox, Seen, State
from sampan.kubelet.plan import Plan, Probed, plan, restarts_after

Obj = dict[str, Any]
PROBE = {"exec": {"command": ["true"]}}


def container(name: str, **more: Any) -> Obj:
    return {"name": name, "image": "image:1", **more}


def pod(*main: Obj, init: tuple[Obj, ...] = (), restart: str = "Always", **spec: Any) -> Obj:
    full = {
        "containers": list(main),
        "restartPolicy": restart,
        **({"initContainers": list(init)} if init else {}),
        **spec,
    }
    return {"metadata": {"name": "p", "namespace": "default", "uid": "u"}, "spec": full}


def seen(name: str, state: State = "running", code: int = 0, created: float = 2.0, **more: Any) -> Seen:
    found = Seen(f"{name}-{created}", name, state, "box", created, exit_code=code, hash=names.hash_of(container(name)))
    return replace(found, **more)


def observed(*containers: Seen, ready: bool = True, attempt: int = 0) -> Observed:
    ordered = sorted(containers, key=lambda each: each.created, reverse=True)
    return Observed("u", sandboxes=(Sandbox("box", ready, 1.0, attempt, ("10.0.0.1",)),), containers=tuple(ordered))


def started(found: Plan) -> list[str]:
    return [each["name"] for each in (*found.ephemeral, *found.init, *found.start)]


A, B = container("a"), container("b")


def test_a_new_pod_gets_a_sandbox_and_its_containers() -> None:
    found = plan(pod(A, B), Observed("u"))
    assert found.new_sandbox and not found.kill_pod and found.attempt == 0 and started(found) == ["a", "b"]


def test_with_init_containers_only_the_first_of_them() -> None:
    assert started(plan(pod(A, init=(container("i"), container("j"))), Observed("u"))) == ["i"]


def test_when_all_is_well_nothing_is_done() -> None:
    assert plan(pod(A, B), observed(seen("a"), seen("b"))).empty


@pytest.mark.parametrize(
    ("restart", "code", "again"),
    [("Always", 0, True), ("Always", 1, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_restart_policies(restart: str, code: int, again: bool) -> None:
    found = plan(pod(A, B, restart=restart), observed(seen("a", "exited", code), seen("b")))
    assert started(found) == (["a"] if again else []) and not found.kill_pod


def test_a_containers_own_policy_and_rules_go_before_the_pods() -> None:
    assert restarts_after(pod(A, restart="Never"), container("a", restartPolicy="OnFailure"), 1)
    rule = {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
    ruled = container("a", restartPolicy="Never", restartPolicyRules=[rule])
    assert restarts_after(pod(ruled, restart="Never"), ruled, 42) and not restarts_after(
        pod(ruled, restart="Never"), ruled, 1
    )


def test_when_nothing_is_left_to_run_the_pod_is_ended() -> None:
    found = plan(pod(A, restart="Never"), observed(seen("a", "exited")))
    assert found.kill_pod and not found.new_sandbox and not started(found)


def test_a_sandbox_that_is_gone_is_made_anew_unless_the_pod_must_not_run_again() -> None:
    found = plan(pod(A), observed(seen("a"), ready=False))
    assert found.kill_pod and found.new_sandbox and found.attempt == 1 and started(found) == ["a"]
    found = plan(pod(A, restart="Never"), observed(seen("a", "exited", 137), ready=False))
    assert found.kill_pod and not found.new_sandbox and not started(found)
    done = plan(pod(A, restart="OnFailure"), observed(seen("a", "exited"), ready=False))
    assert not done.new_sandbox and not started(done)


def test_another_image_is_another_container() -> None:
    found = plan(pod(container("a") | {"image": "image:2"}), observed(seen("a")))
    assert [each.message for each in found.kill] == ["Container a definition changed, will be restarted"]
    assert started(found) == ["a"]


def test_what_fails_its_probes_is_killed() -> None:
    probing = pod(container("a", livenessProbe=PROBE), restart="Always")
    found = plan(probing, observed(seen("a")), Probed(live=lambda _: False))
    assert [each.message for each in found.kill] == ["Container a failed liveness probe, will be restarted"]
    assert found.kill[0].why == "LivenessProbe"
    never = pod(container("a", startupProbe=PROBE), restart="Never")
    found = plan(never, observed(seen("a")), Probed(started=lambda _: False))
    assert [each.message for each in found.kill] == ["Container a failed startup probe"]
    assert found.kill_pod and not started(found)


ONE, J = container("i"), container("j")


@pytest.mark.parametrize(
    ("there", "expected", "ends"),
    [
        ([], ["i"], False),
        ([seen("i")], [], False),
        ([seen("i", "exited")], ["j"], False),
        ([seen("i", "exited", 1)], ["i"], False),
        ([seen("i", "exited"), seen("j", created=3)], [], False),
        ([seen("i", "exited"), seen("j", "exited", created=3)], ["a"], False),
        # that of an init container which was removed long ago: the last one says enough
        ([seen("j", "exited")], ["a"], False),
        # whoever runs was initialized
        ([seen("a")], [], False),
    ],
)
def test_init_containers_one_by_one(there: list[Seen], expected: list[str], ends: bool) -> None:
    found = plan(pod(A, init=(ONE, J)), observed(*there))
    assert started(found) == expected and found.kill_pod == ends


def test_an_init_container_that_fails_ends_a_pod_that_is_never_restarted() -> None:
    found = plan(pod(A, init=(ONE,), restart="Never"), observed(seen("i", "exited", 1)))
    assert found.kill_pod and not started(found)


SIDECAR = container("s", restartPolicy="Always")


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ([], ["s"]),
        ([seen("s")], ["j"]),
        ([seen("s"), seen("j", created=3)], []),
        # it is kept running while the next init container works
        ([seen("s", "exited", 1), seen("j", created=3)], ["s"]),
        ([seen("s"), seen("j", "exited", created=3)], ["a"]),
        ([seen("s", "exited"), seen("j", "exited", created=3), seen("a", created=4)], ["s"]),
    ],
)
def test_sidecars(there: list[Seen], expected: list[str]) -> None:
    assert started(plan(pod(A, init=(SIDECAR, J)), observed(*there))) == expected


def test_a_sidecar_with_a_startup_probe_holds_up_the_others() -> None:
    slow = pod(A, init=(container("s", restartPolicy="Always", startupProbe=PROBE),))
    assert plan(slow, observed(seen("s")), Probed(started=lambda _: None)).empty
    assert started(plan(slow, observed(seen("s")), Probed(started=lambda _: True))) == ["a"]
    failed = plan(slow, observed(seen("s")), Probed(started=lambda _: False))
    assert (
        started(failed) == ["s"]
        and failed.kill[0].message == "Init container s failed startup probe, will be restarted"
    )


def test_sidecars_alone_do_not_keep_a_pod_alive() -> None:
    done = pod(A, init=(SIDECAR,), restart="Never")
    found = plan(done, observed(seen("s"), seen("a", "exited", created=3)))
    assert found.kill_pod and not started(found)


def test_ephemeral_containers_are_started_once() -> None:
    debug = pod(A, ephemeralContainers=[container("debug")])
    assert started(plan(debug, observed(seen("a")))) == ["debug"]
    assert plan(debug, observed(seen("a"), seen("debug", "exited", 1))).empty


def test_what_is_being_deleted_is_not_started_again() -> None:
    leaving = pod(A)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not started(plan(leaving, observed(seen("a", "exited", 1))))
