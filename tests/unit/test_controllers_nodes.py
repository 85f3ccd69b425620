"""Nodes that live, fall silent and come back; what becomes of their pods."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sampan.controllers.context import Options
from tests.controllers_world import World

Obj = dict[str, Any]
LIFECYCLE = ("node-lifecycle-controller", "taint-eviction-controller")
DOWN = {"metadata": {"annotations": {"hollow.sampan.io/down": "true"}}}
UP = {"metadata": {"annotations": {"hollow.sampan.io/down": None}}}


def keys(world: World, node: str) -> set[tuple[str, str]]:
    found = world.get("nodes", node, "")
    return {(t["key"].rpartition("/")[2], t["effect"]) for t in (found or {}).get("spec", {}).get("taints") or ()}


def ready(world: World, node: str) -> str:
    found = world.get("nodes", node, "") or {}
    return next((c["status"] for c in found["status"].get("conditions") or () if c["type"] == "Ready"), "")


def pod(name: str, node: str = "n1", **spec: Any) -> Obj:
    return {"metadata": {"name": name}, "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}], **spec}}


async def running(world: World, *pods: Obj) -> None:
    for item in pods:
        await world.admin.create("pods", item, namespace="default")
    await world.until(lambda: all(p["status"]["phase"] == "Running" for p in world.pods()), "pods running")


async def test_a_new_node_loses_the_taint_of_its_first_moment(world: World) -> None:
    await world.start(*LIFECYCLE)
    await world.hollow()
    await world.until(lambda: not keys(world, "n1"), "no taints")
    node = world.get("nodes", "n1", "")
    assert node is not None
    about = {"kind": "Node", "name": "n1", "uid": node["metadata"]["uid"], "apiVersion": "v1"}
    [event] = await world.until(lambda: world.events("RegisteredNode"))
    assert (event["message"], event["involvedObject"]) == ("Node n1 event: Registered Node n1 in Controller", about)
    await world.stop("hollow")
    await world.admin.delete("nodes", "n1")
    [event] = await world.until(lambda: world.events("RemovingNode"))
    assert (event["message"], event["involvedObject"]) == ("Node n1 event: Removing Node n1 from Controller", about)


async def test_silence_is_noticed_after_the_grace_period_and_pods_go_when_their_time_is_up(world: World) -> None:
    await world.start(*LIFECYCLE)
    await world.hollow(2)
    await running(world, pod("stays", "n2"), pod("goes"), pod("tolerates", tolerations=[{"operator": "Exists"}]))
    await world.admin.patch("nodes", "n1", DOWN)
    began = world.clock()
    await world.until(lambda: ready(world, "n1") == "Unknown", "n1 unknown")
    assert 40 <= world.clock() - began <= 62
    away = {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")}
    await world.until(lambda: keys(world, "n1") == away, "both taints")
    assert ready(world, "n2") == "True" and not keys(world, "n2")
    found = world.get("nodes", "n1", "")
    assert found is not None
    reasons = {c["reason"] for c in found["status"]["conditions"]}
    assert reasons == {"NodeStatusUnknown"}
    marked = await world.until(
        lambda: (world.get("pods", "goes") or {})["metadata"].get("deletionTimestamp"), "eviction"
    )
    assert marked and 300 <= world.clock() - began <= 375
    target = next(
        c for c in (world.get("pods", "goes") or {})["status"]["conditions"] if c["type"] == "DisruptionTarget"
    )
    assert target["reason"] == "DeletionByTaintManager"
    assert "deletionTimestamp" not in (world.get("pods", "tolerates") or {})["metadata"]
    assert "deletionTimestamp" not in (world.get("pods", "stays") or {})["metadata"]


async def test_a_node_that_comes_back_in_time_keeps_its_pods(world: World) -> None:
    await world.start(*LIFECYCLE)
    await world.hollow(2)
    await running(world, pod("p"))
    await world.admin.patch("nodes", "n1", DOWN)
    await world.until(lambda: ("unreachable", "NoExecute") in keys(world, "n1"), "taints")
    await world.admin.patch("nodes", "n1", UP)
    await world.until(lambda: ready(world, "n1") == "True" and not keys(world, "n1"), "ready again")
    await world.loop.advance(600)
    assert "deletionTimestamp" not in (world.get("pods", "p") or {})["metadata"]


async def test_where_all_nodes_are_silent_nobody_is_evicted(world: World) -> None:
    await world.start(*LIFECYCLE)
    await world.hollow(2)
    await running(world, pod("p"))
    for node in ("n1", "n2"):
        await world.admin.patch("nodes", node, DOWN)
    await world.until(lambda: ready(world, "n1") == ready(world, "n2") == "Unknown", "both unknown")
    await world.loop.advance(1200)
    assert keys(world, "n1") == keys(world, "n2") == {("unreachable", "NoSchedule")}
    assert "deletionTimestamp" not in (world.get("pods", "p") or {})["metadata"]


async def test_evicting_taints_of_a_users_own(world: World) -> None:
    await world.start(*LIFECYCLE)
    await world.hollow()
    for_a_while = [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}]
    await running(world, pod("now"), pod("later", tolerations=for_a_while))
    began = world.clock()
    taint = {"key": "k", "effect": "NoExecute"}
    await world.admin.patch("nodes", "n1", {"spec": {"taints": [taint]}})
    await world.until(lambda: world.get("pods", "now") is None, "the end of `now`")
    assert world.clock() - began < 5
    await world.until(lambda: world.get("pods", "later") is None, "the end of `later`")
    assert 60 <= world.clock() - began < 65


async def test_every_node_has_a_range_of_its_own(world: World) -> None:
    await world.start("node-ipam-controller")
    await world.hollow(3)

    def ranges() -> list[str]:
        return [node["spec"]["podCIDR"] for node in world.all("nodes") if node["spec"].get("podCIDR")]

    await world.until(lambda: len(ranges()) == 3, "ranges")
    assert sorted(ranges()) == ["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24"]


async def test_when_all_ranges_are_given_one_is_waited_for(world: World) -> None:
    world.options = replace(world.options, cluster_cidr="10.244.0.0/23")
    await world.start("node-ipam-controller")
    await world.hollow(3)
    (said,) = await world.until(lambda: world.events("CIDRNotAvailable"))
    lacking = said["involvedObject"]["name"]
    has = next(node["metadata"]["name"] for node in world.all("nodes") if node["metadata"]["name"] != lacking)
    await world.admin.delete("nodes", has)

    def given() -> bool:
        return bool(
            next(each for each in world.all("nodes") if each["metadata"]["name"] == lacking)["spec"].get("podCIDR")
        )

    await world.until(given, "the range of the one that is gone")


async def test_pods_of_a_node_that_is_gone_are_collected(world: World) -> None:
    await world.start("pod-garbage-collector-controller")
    await world.hollow()
    await running(world, pod("p"))
    await world.stop("hollow")
    began = world.clock()
    await world.admin.delete("nodes", "n1")
    await world.until(lambda: world.get("pods", "p") is None, "the end of the pod")
    assert 40 <= world.clock() - began < 45


async def node(world: World, name: str, ready: str = "True", **meta: Any) -> Obj:
    """One that nobody plays."""
    made = await world.admin.create("nodes", {"metadata": {"name": name, **meta}})
    return await said(world, made, ready)


async def said(world: World, node: Obj, ready: str) -> Obj:
    """Its kubelet says how it is."""
    about = {"type": "Ready", "status": ready, "lastHeartbeatTime": "2026-01-01T00:00:00Z"}
    body = {"status": {"conditions": [about]}}
    return await world.admin.patch("nodes", node["metadata"]["name"], body, type="strategic", subresource="status")


async def made_ready(world: World, name: str, node: str) -> None:
    await world.admin.create("pods", pod(name, node), namespace="default")
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    body = {"status": {"phase": "Running", "conditions": [condition]}}
    await world.admin.patch("pods", name, body, "default", type="strategic", subresource="status")


def pod_ready(world: World, name: str) -> str:
    found = world.get("pods", name) or {}
    return next((c["status"] for c in found["status"].get("conditions") or () if c["type"] == "Ready"), "")


async def test_pods_of_a_node_that_is_not_ready_are_not_when_the_controller_begins(world: World) -> None:
    await node(world, "ill", "False")
    await node(world, "well")
    await made_ready(world, "p", "ill")
    await made_ready(world, "q", "well")
    await world.start(*LIFECYCLE)
    await world.until(lambda: pod_ready(world, "p") == "False", "p not ready")
    await world.settle()
    assert pod_ready(world, "q") == "True"
    assert [e["involvedObject"]["name"] for e in world.events("NodeNotReady")] == ["p"]


async def test_a_kubelet_that_said_itself_that_it_is_not_ready_and_stops_has_no_pods_marked(world: World) -> None:
    await world.start(*LIFECYCLE)
    found = await node(world, "ill")
    await made_ready(world, "p", "ill")
    await said(world, found, "False")
    await world.until(lambda: ready(world, "ill") == "Unknown", "silence")
    await world.settle()
    assert pod_ready(world, "p") == "True" and not world.events("NodeNotReady")


async def test_a_node_of_which_only_the_lease_is_seen_is_taken_for_alive(world: World) -> None:
    await world.start(*LIFECYCLE)
    await world.admin.create("nodes", {"metadata": {"name": "n"}})
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "n"}}
    await world.admin.create("leases", body, "kube-node-lease")
    for second in range(10):
        renewal = {"spec": {"holderIdentity": "n", "renewTime": f"2026-01-01T00:00:{second:02d}.000000Z"}}
        await world.admin.patch("leases", "n", renewal, "kube-node-lease")
        await world.loop.advance(10)
    assert ready(world, "n") == ""
    began = world.clock()
    await world.until(lambda: ready(world, "n") == "Unknown", "silence")
    assert 45 <= world.clock() - began <= 61


async def test_nodes_that_are_excluded_do_not_count_in_their_zone(world: World) -> None:
    await world.start(*LIFECYCLE)
    await node(world, "aside", labels={"node.kubernetes.io/exclude-disruption": "", "kubernetes.io/os": "linux"})
    await node(world, "ill", "False")
    await world.settle()
    assert keys(world, "ill") == {("not-ready", "NoSchedule")}
    await world.admin.patch("nodes", "aside", {"metadata": {"labels": {"node.kubernetes.io/exclude-disruption": None}}})
    await world.until(lambda: ("not-ready", "NoExecute") in keys(world, "ill"), "the evicting taint", 30)


async def test_old_labels_follow_new_ones_and_not_the_other_way(world: World) -> None:
    await world.start(*LIFECYCLE)
    await node(world, "n", labels={"kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64"})

    def labels() -> Obj:
        found: Obj = (world.get("nodes", "n", "") or {})["metadata"]["labels"]
        return found

    await world.until(lambda: "beta.kubernetes.io/os" in labels(), "the old label")
    await world.settle()
    assert labels() == {
        "kubernetes.io/os": "linux",
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": "amd64",
    }


EVICTION = "TaintManagerEviction"


def tolerates(seconds: float | None, key: str = "k") -> Obj:
    more = {} if seconds is None else {"tolerationSeconds": seconds}
    return {"key": key, "operator": "Exists", "effect": "NoExecute", **more}


async def tainted(world: World, *names: str) -> None:
    spec = {"taints": [{"key": key, "effect": "NoExecute"} for key in names] or None}
    await world.admin.patch("nodes", "n1", {"spec": spec})


def evictions(world: World) -> list[str]:
    return [event["message"] for event in world.events(EVICTION)]


async def test_time_runs_from_when_a_pod_comes_to_a_tainted_node(world: World) -> None:
    await world.start(*LIFECYCLE)
    await world.hollow()
    await tainted(world, "k")
    await world.loop.advance(100)
    await running(world, pod("p", tolerations=[tolerates(60)]))
    began = world.clock()
    await world.until(lambda: world.get("pods", "p") is None, "the end")
    assert 55 <= world.clock() - began < 65
    [event] = world.events(EVICTION)
    assert event["message"] == "Marking for deletion Pod default/p"
    assert event["involvedObject"] == {"kind": "Pod", "namespace": "default", "name": "p", "apiVersion": "v1"}


async def test_the_first_toleration_that_fits_counts(world: World) -> None:
    await world.start(*LIFECYCLE)
    await world.hollow()
    await running(world, pod("p", tolerations=[{"operator": "Exists"}, tolerates(30)]))
    await tainted(world, "k")
    await world.loop.advance(100)
    assert world.get("pods", "p") is not None and not evictions(world)


async def test_a_plan_to_evict_is_kept_or_cancelled(world: World) -> None:
    await world.start(*LIFECYCLE)
    await world.hollow()
    await running(
        world, pod("p", tolerations=[tolerates(100), tolerates(10, "l")]), pod("q", tolerations=[tolerates(90)])
    )
    began = world.clock()
    await tainted(world, "k")
    await world.loop.advance(50)
    await world.admin.delete("pods", "q", "default", grace_seconds=0)
    await world.until(lambda: evictions(world) == ["Cancelling deletion of Pod default/q"], "what is told of q")
    await tainted(world, "k", "l")
    await world.until(lambda: world.get("pods", "p") is None, "the end")
    assert 100 <= world.clock() - began < 105
    assert set(evictions(world)) == {"Marking for deletion Pod default/p", "Cancelling deletion of Pod default/q"}


async def test_taints_that_are_not_tolerated_bring_the_end_forward(world: World) -> None:
    await world.start(*LIFECYCLE)
    await world.hollow()
    await running(world, pod("p", tolerations=[tolerates(100)]))
    await tainted(world, "k")
    await world.loop.advance(10)
    began = world.clock()
    await tainted(world, "k", "other")
    await world.until(lambda: world.get("pods", "p") is None, "the end")
    assert world.clock() - began < 5
    assert evictions(world) == ["Cancelling deletion of Pod default/p", "Marking for deletion Pod default/p"]


async def test_ranges_of_other_sizes_are_left_to_those_who_have_them(world: World) -> None:
    await world.start("node-ipam-controller")
    mine = {"podCIDR": "10.244.0.0/23", "podCIDRs": ["10.244.0.0/23"]}
    await world.admin.create("nodes", {"metadata": {"name": "own"}, "spec": mine})
    await world.settle()
    await world.admin.create("nodes", {"metadata": {"name": "n"}})
    await world.until(lambda: (world.get("nodes", "n", "") or {})["spec"].get("podCIDR") == "10.244.2.0/24", "a range")


async def test_what_services_have_is_given_to_no_node(world: World) -> None:
    world.options = Options(cluster_cidr="10.96.0.0/12", service_cluster_ip_range="10.96.0.0/16")
    await world.start("node-ipam-controller")
    await world.admin.create("nodes", {"metadata": {"name": "n"}})
    await world.until(lambda: (world.get("nodes", "n", "") or {})["spec"].get("podCIDR") == "10.97.0.0/24", "a range")


async def test_a_pod_that_is_deleted_before_it_had_a_node_has_failed(world: World) -> None:
    await world.start("pod-garbage-collector-controller")
    body = pod("p")
    del body["spec"]["nodeName"]
    body["metadata"]["finalizers"] = ["example.com/keep"]
    await world.admin.create("pods", body, namespace="default")
    await world.admin.delete("pods", "p", "default")
    found = await world.until(
        lambda: (p := world.get("pods", "p")) and p["status"]["phase"] == "Failed" and p, "failure"
    )
    assert not [c for c in found["status"].get("conditions") or () if c["type"] == "DisruptionTarget"]


async def test_pods_that_end_on_a_node_out_of_service_fail_without_a_reason(world: World) -> None:
    await world.start("pod-garbage-collector-controller")
    await node(world, "gone", "Unknown")
    await made_ready(world, "p", "gone")
    await made_ready(world, "stays", "gone")
    seen = await world.admin.patch("pods", "p", {"metadata": {"finalizers": ["example.com/keep"]}}, "default")
    assert seen["status"]["phase"] == "Running"
    await world.admin.delete("pods", "p", "default", grace_seconds=1000)
    taint = {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}
    await world.admin.patch("nodes", "gone", {"spec": {"taints": [taint]}})
    found = await world.until(
        lambda: (p := world.get("pods", "p")) and p["status"]["phase"] == "Failed" and p, "failure"
    )
    assert [c["type"] for c in found["status"]["conditions"]] == ["Ready"]
    await world.settle()
    assert (world.get("pods", "stays") or {})["status"]["phase"] == "Running"


@pytest.mark.virtual
async def test_of_too_many_that_ended_those_that_were_evicted_go_first() -> None:
    async with World(Options(terminated_pod_gc_threshold=2)) as world:
        for name in ("a", "b", "c"):
            await world.admin.create("pods", pod(name), namespace="default")
            status = {"phase": "Failed", **({"reason": "Evicted"} if name == "c" else {})}
            await world.admin.patch("pods", name, {"status": status}, "default", type="strategic", subresource="status")
            await world.loop.advance(5)
        await world.admin.create("nodes", {"metadata": {"name": "n1"}})
        await world.start("pod-garbage-collector-controller")
        await world.until(lambda: len(world.pods()) == 2, "one less")
        assert {item["metadata"]["name"] for item in world.pods()} == {"a", "b"}
