"""Many simulated nodes: each has addresses for its pods, and none is lost among the others."""

from __future__ import annotations

import pytest

from sampan.testing import Cluster

NODES = 260


@pytest.mark.slow
@pytest.mark.cluster(nodes=NODES)
async def test_every_node_of_hundreds_has_a_range(cluster: Cluster) -> None:
    """A /16 has 256 of them."""
    await cluster.wait_for(lambda: all(node["spec"].get("podCIDR") for node in cluster.list("nodes")))
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": NODES, "selector": {"matchLabels": labels}, "template": template}
    await cluster.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
    await cluster.wait_for("deployment/web", f"status.readyReplicas={NODES}")
    pods = cluster.list("pods")
    assert len({pod["status"]["podIP"] for pod in pods}) == len({pod["spec"]["nodeName"] for pod in pods}) == NODES
    await cluster.advance(minutes=1)
    told = [event for event in cluster.list("events") if event["reason"] == "Started"]
    assert len(told) == NODES
