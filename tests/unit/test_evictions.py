"""Evictions: what a budget forbids and why, and what a pod says that goes.

Source: kubernetes/pkg/registry/core/pod/storage/eviction_test.go
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Local

Obj = dict[str, Any]
PODS = "/api/v1/namespaces/default/pods"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
MERGE = "application/merge-patch+json"
EVICTION = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
READY = [{"type": "Ready", "status": "True"}]


async def a_pod(api: Local, phase: str = "Running", conditions: list[Obj] | None = None) -> Obj:
    """On a node, so that it takes its time to go."""
    spec = {"containers": [{"name": "c", "image": "i"}], "nodeName": "n"}
    await api("POST", PODS, {"metadata": {"name": "p", "labels": {"app": "web"}}, "spec": spec})
    status = {"phase": phase, "conditions": READY if conditions is None else conditions}
    code, pod = await api("PATCH", f"{PODS}/p/status", {"status": status}, MERGE)
    assert code == 200
    made: Obj = pod
    return made


async def a_budget(api: Local, status: Obj, **spec: Any) -> None:
    body = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}, **spec}}
    await api("POST", BUDGETS, body)
    full = {"observedGeneration": 1, "expectedPods": 3, "currentHealthy": 3, "desiredHealthy": 1, **status}
    code, _ = await api("PATCH", f"{BUDGETS}/b/status", {"status": full}, MERGE)
    assert code == 200


async def evict(api: Local, **options: Any) -> tuple[int, Obj]:
    return await api("POST", f"{PODS}/p/eviction", {**EVICTION, "deleteOptions": options})


def target(pod: Obj) -> Obj | None:
    return next((item for item in pod["status"].get("conditions") or () if item["type"] == "DisruptionTarget"), None)


async def test_who_is_evicted_says_so(api: Local) -> None:
    before = await a_pod(api)
    assert (await evict(api, dryRun=["All"]))[0] == 201
    assert (await api("GET", f"{PODS}/p"))[1] == before
    assert (await evict(api))[0] == 201
    _, pod = await api("GET", f"{PODS}/p")
    said = target(pod)
    assert said is not None and said.pop("lastTransitionTime")
    assert said == {
        "type": "DisruptionTarget", "observedGeneration": before["metadata"]["generation"], "status": "True",
        "lastProbeTime": None, "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
    }  # fmt: skip
    assert pod["metadata"]["deletionTimestamp"]
    # nobody owns what the server has added
    assert pod["metadata"]["managedFields"] == before["metadata"]["managedFields"]


async def test_a_budget_is_spent(api: Local) -> None:
    await a_pod(api)
    await a_budget(api, {"disruptionsAllowed": 1})
    assert (await evict(api))[0] == 201
    _, budget = await api("GET", f"{BUDGETS}/b")
    status = budget["status"]
    assert status["disruptionsAllowed"] == 0 and list(status["disruptedPods"]) == ["p"]
    (condition,) = status["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == (
        "DisruptionAllowed", "False", "InsufficientPods",
    )  # fmt: skip


FAILED = {"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "hoge"}
TIMED = {"lastTransitionTime": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("status", "why", "seconds"),
    [
        ({"observedGeneration": 0}, "is still being processed by the server.", 10),
        ({"desiredHealthy": 3}, "needs 3 healthy pods and has 3 currently", None),
        (
            {"desiredHealthy": 3, "conditions": [{**FAILED, **TIMED}]},
            "does not allow evicting pods currently because it failed sync: hoge",
            None,
        ),
        (
            {"conditions": [{**FAILED, **TIMED, "reason": "BarReason"}]},
            "does not allow evicting pods currently (BarReason): hoge",
            None,
        ),
        ({}, "does not allow evicting pods currently", None),
    ],
)
async def test_why_not_now(api: Local, status: Obj, why: str, seconds: int | None) -> None:
    await a_pod(api)
    await a_budget(api, {"disruptionsAllowed": 0, **status})
    code, said = await evict(api)
    assert (code, said["reason"]) == (429, "TooManyRequests")
    assert said["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    cause = {"reason": "DisruptionBudget", "message": f"The disruption budget b {why}"}
    assert said["details"]["causes"] == [cause] and said["details"].get("retryAfterSeconds") == seconds
    assert target((await api("GET", f"{PODS}/p"))[1]) is None


async def test_a_budget_that_cannot_be_right_forbids_it(api: Local) -> None:
    await a_pod(api)
    waiting = {f"p{number}": TIMED["lastTransitionTime"] for number in range(2001)}
    await a_budget(api, {"disruptionsAllowed": 1, "disruptedPods": waiting})
    code, refused = await evict(api)
    assert (code, refused["message"]) == (
        403,
        'poddisruptionbudget.policy "b" is forbidden: DisruptedPods map too big - too many evictions not confirmed by '
        "PDB controller",
    )
    why = "too many pending evictions not confirmed by PDB controller"
    assert refused["details"]["causes"] == [
        {
            "reason": "DisruptionBudget",
            "message": f"The disruption budget b does not allow evicting pods currently: {why}",
        }
    ]


@pytest.mark.parametrize("policy", [{}, {"unhealthyPodEvictionPolicy": "AlwaysAllow"}])
async def test_a_pod_that_is_not_ready_costs_nothing(api: Local, policy: Obj) -> None:
    await a_pod(api, conditions=[])
    healthy = {} if policy == {} else {"currentHealthy": 0}
    await a_budget(api, {"disruptionsAllowed": 0, **healthy}, **policy)
    assert (await evict(api))[0] == 201
    assert "disruptedPods" not in (await api("GET", f"{BUDGETS}/b"))[1]["status"]
    assert target((await api("GET", f"{PODS}/p"))[1])


@pytest.mark.parametrize("phase", ["Pending", "Running"])
async def test_preconditions_hold_for_the_pod_as_it_was_before_it_was_marked(api: Local, phase: str) -> None:
    pod = await a_pod(api, phase, [])
    code, said = await evict(api, preconditions={"resourceVersion": "1"})
    assert (code, said["reason"]) == (409, "Conflict") and target((await api("GET", f"{PODS}/p"))[1]) is None
    assert (await evict(api, preconditions={"resourceVersion": pod["metadata"]["resourceVersion"]}))[0] == 201


async def test_what_has_ended_is_simply_deleted(api: Local) -> None:
    await a_pod(api, "Succeeded")
    await a_budget(api, {"disruptionsAllowed": 0})
    assert (await evict(api))[0] == 201
    assert (await api("GET", f"{PODS}/p"))[0] == 404
