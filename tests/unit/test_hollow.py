"""Simulated nodes in a control plane: they register, and pods bound to them live."""

from __future__ import annotations

from typing import Any

from tests.controllers_world import World

Obj = dict[str, Any]


def pod(name: str, **options: str) -> Obj:
    notes = {f"hollow.sampan.io/{key.replace('_', '-')}": value for key, value in options.items()}
    spec = {"nodeName": "n1", "containers": [{"name": "c", "image": "nginx:1"}]}
    return {"metadata": {"name": name, "annotations": notes}, "spec": spec}


def phase(world: World, name: str) -> str:
    found = world.get("pods", name)
    return found["status"]["phase"] if found else ""


async def test_a_pod_runs_and_goes(world: World) -> None:
    await world.hollow()
    await world.admin.create("pods", pod("p"), namespace="default")
    await world.until(lambda: phase(world, "p") == "Running")
    shown, node = world.get("pods", "p"), await world.admin.get("nodes", "n1")
    assert shown is not None and shown["status"]["podIP"].startswith("10.244.")
    # nobody knows which service proxy there is
    assert node["status"]["nodeInfo"]["kubeProxyVersion"] == ""
    assert {e["reason"] for e in await world.until(lambda: world.events("Started"))} == {"Started"}
    await world.admin.delete("pods", "p", "default")
    await world.until(lambda: world.get("pods", "p") is None, "its end")


async def test_a_crash_loop_backs_off_longer_each_time(world: World) -> None:
    await world.hollow()
    await world.admin.create("pods", pod("p", behaviour="crash"), namespace="default")
    began = world.clock()

    def restarts() -> int:
        found = world.get("pods", "p")
        statuses = (found or {}).get("status", {}).get("containerStatuses") or [{}]
        return int(statuses[0].get("restartCount", 0))

    await world.until(lambda: restarts() == 4)
    # the first comes back at once
    assert 1 + 1 + 10 + 1 + 20 + 1 + 40 <= world.clock() - began < 76


async def test_a_stopped_node_leaves_its_pods_as_they_are(world: World) -> None:
    nodes = await world.hollow()
    await world.admin.create("pods", pod("p"), namespace="default")
    await world.until(lambda: phase(world, "p") == "Running")
    await world.admin.patch("nodes", "n1", {"metadata": {"annotations": {"hollow.sampan.io/down": "true"}}})
    await world.settle(30)
    stopped = nodes.last_seen("n1")
    assert stopped is not None and stopped < world.clock() - 20
    await world.admin.delete("pods", "p", "default")
    await world.settle(60)
    assert world.get("pods", "p") is not None
    await world.admin.patch("nodes", "n1", {"metadata": {"annotations": {"hollow.sampan.io/down": None}}})
    await world.until(lambda: world.get("pods", "p") is None, "its end")


async def test_a_status_that_somebody_else_has_written_ends_no_life(world: World) -> None:
    """People make pods unready by hand, and do not say since when."""
    await world.hollow(heartbeats=False)
    await world.admin.create("pods", pod("p"), namespace="default")
    await world.until(lambda: phase(world, "p") == "Running")
    unready = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    await world.admin.patch("pods", "p", unready, "default", type="strategic", subresource="status")
    # and this one says nothing at all
    broken = {"status": {"containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": True, "state": {}}]}}
    await world.admin.patch("pods", "p", broken, "default", subresource="status")
    await world.settle(30)
    await world.admin.delete("pods", "p", "default")
    await world.until(lambda: world.get("pods", "p") is None, "its end")


async def test_which_generation_a_status_is_about(world: World) -> None:
    await world.hollow()
    made = await world.admin.create("pods", pod("p"), namespace="default")
    await world.until(lambda: phase(world, "p") == "Running")
    shown = world.get("pods", "p")
    assert shown is not None
    seen = {item["observedGeneration"] for item in shown["status"]["conditions"]}
    assert seen == {shown["status"]["observedGeneration"]} == {made["metadata"]["generation"]}


def ready(world: World, name: str) -> Obj:
    found = world.get("pods", name)
    return next(item for item in (found or {})["status"]["conditions"] if item["type"] == "Ready")


async def test_pods_of_a_node_that_was_given_up_are_ready_again_with_it(world: World) -> None:
    await world.start("node-lifecycle-controller")
    await world.hollow()
    await world.admin.create("pods", pod("p"), namespace="default")
    await world.until(lambda: phase(world, "p") == "Running")
    await world.admin.patch("nodes", "n1", {"metadata": {"annotations": {"hollow.sampan.io/down": "true"}}})
    await world.until(lambda: ready(world, "p")["status"] == "False", "the node is given up")
    await world.admin.patch("nodes", "n1", {"metadata": {"annotations": {"hollow.sampan.io/down": None}}})
    await world.until(lambda: ready(world, "p")["status"] == "True", "the pod is ready again", 60)


async def test_readiness_gates(world: World) -> None:
    await world.hollow(heartbeats=False)
    gated = pod("p")
    gated["spec"]["readinessGates"] = [{"conditionType": "example.com/g"}]
    await world.admin.create("pods", gated, namespace="default")
    await world.until(lambda: phase(world, "p") == "Running")
    said = ready(world, "p")
    assert (said["status"], said["reason"]) == ("False", "ReadinessGatesNotReady")
    assert said["message"] == 'corresponding condition of pod readiness gate "example.com/g" does not exist.'

    async def gate(status: str) -> None:
        patch = {"status": {"conditions": [{"type": "example.com/g", "status": status}]}}
        await world.admin.patch("pods", "p", patch, "default", type="strategic", subresource="status")

    await gate("True")
    await world.until(lambda: ready(world, "p")["status"] == "True")
    await gate("False")
    await world.until(lambda: ready(world, "p")["status"] == "False")
    assert ready(world, "p")["message"] == 'the status of pod readiness gate "example.com/g" is not "True", but False'
    await world.settle(30)


async def test_each_container_has_its_events(world: World) -> None:
    await world.hollow(heartbeats=False)
    several = pod("p")
    several["spec"]["initContainers"] = [{"name": "i", "image": "busybox"}]
    several["spec"]["containers"].append({"name": "d", "image": "redis"})
    await world.admin.create("pods", several, namespace="default")
    await world.until(lambda: len(world.events("Started")) == 3)
    told = [(each["involvedObject"]["fieldPath"], each["reason"]) for each in world.events()]
    assert [item for item in told if item[1] in ("Pulled", "Created", "Started")] == [
        (field, reason)
        for field in ("spec.initContainers{i}", "spec.containers{c}", "spec.containers{d}")
        for reason in ("Pulled", "Created", "Started")
    ]
    assert {each["source"]["host"] for each in world.events("Started")} == {"n1"}
    assert {each["reportingInstance"] for each in world.events("Started")} == {"n1"}
    (message,) = {each["message"] for each in world.events("Pulled") if "redis" in each["message"]}
    assert message == 'Container image "redis" already present on machine and can be accessed by the pod'


async def test_what_a_node_has_besides_pods_may_have(world: World) -> None:
    """Until it is taken back."""
    await world.hollow(heartbeats=False)
    (node,) = world.all("nodes")
    name = node["metadata"]["name"]

    def allowed() -> dict[str, str]:
        found: dict[str, str] = ((world.get("nodes", name, "") or {}).get("status") or {}).get("allocatable") or {}
        return found

    await world.until(lambda: bool(allowed()))
    before = allowed()

    async def say(amount: str | None) -> None:
        patch = {"status": {"capacity": {"example.com/dongle": amount}}}
        await world.admin.patch("nodes", name, patch, subresource="status")

    await say("3")
    await world.until(lambda: allowed() == {**before, "example.com/dongle": "3"})
    await say("5")
    await world.until(lambda: allowed() == {**before, "example.com/dongle": "5"})
    await say(None)
    await world.until(lambda: allowed() == before)
    await world.settle(30)
