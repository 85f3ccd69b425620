"""Tests of the operator: against a whole cluster, in seconds, with nothing but pytest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kopf.testing
import pytest

HERE = Path(__file__).parent


def boat(crew: int) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {"name": "ark"}, "spec": {"crew": crew}}


@pytest.mark.cluster(nodes=2)
def test_a_boat_is_staffed_and_sinks_with_its_crew(cluster: Any, kubectl: Any) -> None:
    cluster.apply(HERE / "crd.yaml")
    cluster.wait_for("crd/boats.example.com", "Established")
    with kopf.testing.KopfRunner(["run", "--all-namespaces", str(HERE / "boats.py")]) as operator:
        cluster.apply(boat(crew=2))
        cluster.wait_for("deployment/ark", "status.readyReplicas=2")
        assert "ark" in kubectl("get", "boats")
        cluster.apply(boat(crew=3))
        cluster.wait_for("deployment/ark", "status.readyReplicas=3")
        cluster.delete("boat/ark")
        cluster.wait_for("deployment/ark", "deleted")
    assert operator.exception is None


async def test_an_hour_in_a_moment(cluster: Any) -> None:
    """Async tests run in the cluster's own loop, under virtual time."""
    await cluster.apply(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "tidy"},
            "spec": {
                "ttlSecondsAfterFinished": 3600,
                "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "tidy:1"}]}},
            },
        }
    )
    await cluster.wait_for("job/tidy", "Complete")
    await cluster.advance(minutes=59)
    assert cluster.get("job/tidy") is not None
    await cluster.advance(minutes=2)
    await cluster.wait_for("job/tidy", "deleted")
