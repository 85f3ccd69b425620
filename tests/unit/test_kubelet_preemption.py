"""Room for a critical pod: who goes, and when nobody may."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.kubelet.preemption import NoneFound, chosen, short_of

Obj = dict[str, Any]
HIGH = 2_000_000_000
NODE = {"cpu": "2", "memory": "1Gi", "pods": "10"}


def pod(name: str, cpu: str = "", memory: str = "", *, priority: int = 0, guaranteed: bool = False) -> Obj:
    amounts = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    resources = {"requests": amounts, **({"limits": amounts} if guaranteed else {})}
    spec = {"priority": priority, "containers": [{"name": "c", "resources": resources}]}
    return {"metadata": {"name": name, "namespace": "default", "uid": name}, "spec": spec}


CRITICAL = pod("critical", "1", "100Mi", priority=HIGH)


def names(pods: list[Obj]) -> list[str]:
    return [each["metadata"]["name"] for each in pods]


def test_what_is_missing() -> None:
    others = [pod("a", "900m", "1000Mi"), pod("b", "300m")]
    assert short_of(CRITICAL, others, NODE) == {"cpu": 200, "memory": 76 << 20}
    assert short_of(CRITICAL, others, {**NODE, "cpu": "4", "memory": "4Gi"}) == {}
    assert short_of(pod("p", priority=HIGH), others, {**NODE, "pods": "2"}) == {"pods": 1}


def test_the_fewest_of_the_least_worth_go() -> None:
    guaranteed = pod("guaranteed", "800m", "100Mi", guaranteed=True)
    some = [pod("small", "100m"), pod("medium", "250m"), pod("large", "600m"), guaranteed]
    # the nearest to what is missing, and of two that are enough the smaller
    assert names(chosen(CRITICAL, some, {"cpu": 200})) == ["medium"]
    assert names(chosen(CRITICAL, some, {"cpu": 700})) == ["large", "small"]
    # what all others together cannot give is taken from the guaranteed, and then less of the others
    assert names(chosen(CRITICAL, some, {"cpu": 1000})) == ["medium", "guaranteed"]
    assert names(chosen(CRITICAL, [pod("best-effort"), guaranteed], {"pods": 1})) == ["best-effort"]


def test_the_critical_stay() -> None:
    with pytest.raises(
        NoneFound, match=r"no set of running pods found to reclaim resources: \[\(res: cpu, q: 200\), \]"
    ):
        chosen(CRITICAL, [pod("other", "1", priority=HIGH)], {"cpu": 200})
    assert names(chosen(pod("c", priority=HIGH + 1), [pod("other", "1", priority=HIGH)], {"cpu": 200})) == ["other"]
