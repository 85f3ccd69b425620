"""`sampan explain pod`: what each plugin says of each node, and what would have to change."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.scheduler import advice
from sampan.scheduler.explain import Explanation, explain
from tests.unit.test_scheduler import World, node, pod, world
from tests.virtual import clock, virtually

Obj = dict[str, Any]
ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
X = {"matchLabels": {"app": "x"}}


async def asked(w: World, name: str) -> Explanation:
    return await explain(w.client, "default", name, clock=clock)


def said(found: Explanation, name: str) -> dict[str, list[str]]:
    (verdict,) = (item for item in found.verdicts if item.node == name)
    return {refusal.plugin: list(refusal.advice) for refusal in verdict.refusals}


def test_every_plugin_that_refuses_a_node_and_what_helps() -> None:
    async def test() -> None:
        async with world() as w:
            tainted = node("t", cpu="1")
            tainted["spec"] = {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}
            await w.nodes(node("a", cpu="1"), node("b", disk="ssd"), tainted)
            await w.client.patch("nodes", "b", {"spec": {"unschedulable": True}})
            await w.pods(pod("there", "700m"))
            await w.pods(pod("p", "500m", nodeSelector={"disk": "ssd"}))
            found = await asked(w, "p")
            assert said(found, "a") == {
                "NodeAffinity": ["label disk=ssd is missing"],
                "NodeResourcesFit": ["needs 500m cpu, 300m are free: 200m short"],
            }
            assert said(found, "b") == {"NodeUnschedulable": ["uncordon it: kubectl uncordon b"]}
            assert said(found, "t")["TaintToleration"] == ["add toleration key=k value=v effect=NoSchedule"]
            assert found.message.startswith("0/3 nodes are available: 1 node(s) didn't match")
            assert found.as_dict()["nodes"][0]["refusals"][0]["plugin"]

    virtually(test)


def test_where_it_may_go_and_with_which_score() -> None:
    async def test() -> None:
        async with world() as w:
            await w.nodes(node("a"), node("b", cpu="8"))
            await w.pods(pod("p", "1"))
            found = await asked(w, "p")
            assert found.node == "b" and not found.message
            assert [item.node for item in found.verdicts] == ["b", "a"]
            scores = found.verdicts[0].scores
            assert scores["TaintToleration"] == 300 and found.verdicts[0].score == sum(scores.values())
            # it looked as if the pod were not there
            assert scores["NodeResourcesFit"] == (87 + 98) // 2
            assert "refusals" not in found.as_dict()["nodes"][0]

    virtually(test)


def test_those_that_other_pods_keep_away() -> None:
    async def test() -> None:
        async with world() as w:
            await w.nodes(node("a", **{ZONE: "y"}), node("b", **{ZONE: "z"}), node("c"))
            anti = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": HOST, "labelSelector": X}]}}  # fmt: skip
            spread = {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": X}
            there = pod("x1", labels={"app": "x"}, nodeName="a")
            away = pod("x2", nodeName="b", affinity=anti)
            port = {"containerPort": 80, "hostPort": 80}
            there["spec"]["containers"][0]["ports"] = [port]
            await w.pods(there, away)
            mine = pod("p", "9", labels={"app": "x"}, affinity=anti, topologySpreadConstraints=[spread])
            mine["spec"]["containers"][0]["ports"] = [port]
            await w.pods(mine)
            found = await asked(w, "p")
            assert said(found, "a") == {
                "NodePorts": ["host port 80/TCP is used by default/x1"],
                "NodeResourcesFit": ["needs 9 cpu, the node has 4 in all"],
                "PodTopologySpread": [f"1 matching pods in {ZONE}=y, the least is 0: one more exceeds maxSkew 1"],
                "InterPodAffinity": ["pod default/x1 on a has app=x, which the pod's anti-affinity avoids"],
            }
            assert said(found, "b")["InterPodAffinity"] == ["pod default/x2 on b keeps pods with app=x away"]
            assert said(found, "c")["PodTopologySpread"] == [f"label {ZONE} is missing, which pods are spread by"]

    virtually(test)


def test_a_place_that_is_kept_for_another() -> None:
    async def test() -> None:
        async with world() as w:
            await w.client.create("priorityclasses.scheduling.k8s.io", {"metadata": {"name": "high"}, "value": 9})
            await w.nodes(node("a"))
            await w.pods(pod("there", "3"))
            await w.pods(pod("first", "4", priorityClassName="high"))
            await w.client.delete("pods", "first", "default", grace_seconds=0)
            await w.pods(pod("next", "4", priorityClassName="high"))
            await w.pods(pod("p", "1"))
            found = await asked(w, "p")
            assert said(found, "a") == {
                "NodeResourcesFit": ["its place is kept for pod default/next, which is nominated to it"]
            }
            assert found.message == "0/1 nodes are available: 1 Insufficient cpu."
            # not for itself
            assert "kept" not in str(said(await asked(w, "next"), "a"))

    virtually(test)


def test_what_is_not_about_nodes() -> None:
    async def test() -> None:
        async with world() as w:
            await w.pods(pod("gated", schedulingGates=[{"name": "g"}]), pod("other", schedulerName="mine"))
            assert (await asked(w, "gated")).waits == "waiting for scheduling gates: [g]"
            assert (await asked(w, "other")).waits == "it waits for another scheduler, mine"
            assert (await asked(w, "gated")).message == "no nodes available to schedule pods"
            await w.nodes(node("a"))
            await w.pods(pod("vol", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "no"}}]))
            found = await asked(w, "vol")
            assert found.refusal == 'persistentvolumeclaim "no" not found'
            assert found.message == f"0/1 nodes are available: {found.refusal}."

    virtually(test)


@pytest.mark.parametrize(
    ("resource", "units", "text"),
    [
        ("cpu", 2000, "2"), ("cpu", 250, "250m"), ("memory", 3 << 30, "3Gi"), ("memory", 1536 << 20, "1.5Gi"),
        ("memory", 0, "0"), ("memory", -(2 << 20), "-2Mi"), ("memory", 1000, "1000"), ("example.com/gpu", 2048, "2048"),
    ],
)  # fmt: skip
def test_amounts(resource: str, units: int, text: str) -> None:
    assert advice.amount(resource, units) == text
