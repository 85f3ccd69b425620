"""What simulated pods go through, second by second, as a kubelet would tell it."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.controllers_world import World
from tests.unit.test_hollow import phase, pod

Obj = dict[str, Any]


async def begin(world: World, made: Obj) -> list[tuple[float, str]]:
    """Create it; what becomes of its first container, and when."""
    await world.hollow(heartbeats=False)
    seen: list[tuple[float, str]] = []
    began = world.clock()

    def look(found: Obj) -> None:
        for item in found.get("status", {}).get("containerStatuses", ())[:1]:
            ((kind, state),) = item["state"].items()
            said = f"{state.get('reason', kind)} {item['restartCount']}"
            if not seen or seen[-1][1] != said:
                seen.append((world.clock() - began, said))

    world.informers.get("pods").add_handler(add=look, update=lambda old, new: look(new))
    await world.admin.create("pods", made, namespace="default")
    return seen


def status(world: World, name: str = "p") -> Obj:
    found = world.get("pods", name)
    assert found is not None
    out: Obj = found["status"]
    return out


def conditions(world: World) -> dict[str, tuple[str, str]]:
    return {item["type"]: (item["status"], item.get("reason", "")) for item in status(world)["conditions"]}


async def until_ready(world: World, expected: str) -> None:
    await world.until(lambda: conditions(world)["Ready"][0] == expected)


async def test_a_crash_loop(world: World) -> None:
    seen = await begin(world, pod("p", behaviour="crash"))
    await asyncio.sleep(50)
    assert seen == [
        (0, "running 0"), (1, "Error 0"), (1, "running 1"),
        (2, "Error 1"), (2, "CrashLoopBackOff 1"), (12, "running 2"),
        (13, "Error 2"), (13, "CrashLoopBackOff 2"), (33, "running 3"),
        (34, "Error 3"), (34, "CrashLoopBackOff 3"),
    ]  # fmt: skip
    (one,) = status(world)["containerStatuses"]
    assert one["state"]["waiting"]["message"].startswith("back-off 40s restarting failed container=c pod=p_default(")
    assert (one["lastState"]["terminated"]["exitCode"], one["ready"], one["started"]) == (1, False, False)
    assert one["lastState"]["terminated"]["containerID"] == one["containerID"]
    assert conditions(world)["Ready"] == ("False", "ContainersNotReady")
    told = [event["reason"] for event in world.events() if event["reason"] != "BackOff"]
    assert told[:3] == ["Pulled", "Created", "Started"] and set(told) == set(told[:3])


async def test_who_has_run_for_ten_minutes_is_started_again_at_once(world: World) -> None:
    seen = await begin(world, pod("p", run_for="20"))
    await asyncio.sleep(100)
    assert [said for _, said in seen[-2:]] == ["CrashLoopBackOff 2", "running 3"]
    began = world.clock()
    patch = {"metadata": {"annotations": {"hollow.sampan.io/run-for": "11m"}}}
    await world.admin.patch("pods", "p", patch, "default")
    await asyncio.sleep(700)
    assert world.clock() - began == 700
    assert [said for _, said in seen[-2:]] == ["Completed 3", "running 4"], "at once"
    patch["metadata"]["annotations"]["hollow.sampan.io/run-for"] = "1"
    await world.admin.patch("pods", "p", patch, "default")
    await asyncio.sleep(5)
    (one,) = status(world)["containerStatuses"]
    assert one["state"]["waiting"]["message"].startswith("back-off 10s "), "and from the beginning"


async def test_an_image_that_is_not_there_and_then_is(world: World) -> None:
    made = pod("p")
    made["spec"]["containers"] = [{"name": "c", "image": "web:missing"}, {"name": "d", "image": "redis:7"}]
    seen = await begin(world, made)
    await asyncio.sleep(45)
    assert seen == [
        (0, "ErrImagePull 0"), (1, "ImagePullBackOff 0"), (10, "ErrImagePull 0"), (11, "ImagePullBackOff 0"),
        (30, "ErrImagePull 0"), (31, "ImagePullBackOff 0"),
    ]  # fmt: skip
    one, other = status(world)["containerStatuses"]
    failed = 'rpc error: code = NotFound desc = failed to pull and unpack image "docker.io/library/web:missing"'
    assert one["state"]["waiting"]["message"].startswith(
        f'Back-off pulling image "web:missing": ErrImagePull: {failed}'
    )
    assert "running" in other["state"] and (phase(world, "p"), one["imageID"]) == ("Pending", "")
    assert {event["reason"] for event in world.events()} == {
        "Pulling",
        "Failed",
        "BackOff",
        "Pulled",
        "Created",
        "Started",
    }
    assert conditions(world)["PodReadyToStartContainers"] == ("True", "")
    patch = {"spec": {"containers": [{"name": "c", "image": "web:1"}]}}
    await world.admin.patch("pods", "p", patch, "default", type="strategic")
    await world.until(lambda: phase(world, "p") == "Running")
    assert conditions(world)["Ready"] == ("True", "")


async def test_what_goes_wrong_can_be_put_right(world: World) -> None:
    seen = await begin(world, pod("p", behaviour="config-error"))
    await world.until(lambda: seen and seen[-1][1] == "CreateContainerConfigError 0")
    right = {"metadata": {"annotations": {"hollow.sampan.io/behaviour": None}}}
    await world.admin.patch("pods", "p", right, "default")
    await world.until(lambda: phase(world, "p") == "Running")
    for behaviour, expected in (("not-ready", "False"), (None, "True")):
        right["metadata"]["annotations"]["hollow.sampan.io/behaviour"] = behaviour  # type: ignore[assignment]
        await world.admin.patch("pods", "p", right, "default")
        await until_ready(world, expected)


async def test_a_deadline(world: World) -> None:
    made = pod("p", behaviour="crash")
    made["spec"]["activeDeadlineSeconds"] = 20
    await begin(world, made)
    await asyncio.sleep(19)
    assert phase(world, "p") == "Running"
    await asyncio.sleep(2)
    said = status(world)
    assert (said["phase"], said["reason"]) == ("Failed", "DeadlineExceeded")
    assert said["message"] == "Pod was active on the node longer than the specified deadline"
    assert conditions(world) == {
        "PodReadyToStartContainers": ("False", ""), "Initialized": ("True", ""), "Ready": ("False", "PodFailed"),
        "ContainersReady": ("False", "PodFailed"), "PodScheduled": ("True", ""),
    }  # fmt: skip


async def test_an_eviction_by_the_node(world: World) -> None:
    await begin(world, pod("p", behaviour="evict"))
    await world.until(lambda: phase(world, "p") == "Failed")
    assert status(world)["reason"] == "Evicted"
    assert conditions(world)["DisruptionTarget"] == ("True", "TerminationByKubelet")
    assert status(world)["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137


async def test_a_pod_with_a_sidecar_ends_whole(world: World) -> None:
    made = pod("p", run_for="5", ready_delay="30")
    made["spec"]["restartPolicy"] = "Never"
    made["spec"]["initContainers"] = [{"name": "s", "image": "proxy", "restartPolicy": "Always"}]
    await begin(world, made)
    await asyncio.sleep(1)
    assert conditions(world)["Ready"] == ("False", "ContainersNotReady")
    await asyncio.sleep(5)
    assert phase(world, "p") == "Succeeded", "it is not waited for until it is ready"
    (sidecar,) = status(world)["initContainerStatuses"]
    assert sidecar["state"]["terminated"]["exitCode"] == 0 and not sidecar["started"]
    assert conditions(world)["Initialized"] == ("True", "PodCompleted")
    assert conditions(world)["PodReadyToStartContainers"] == ("False", "")


async def test_init_containers_come_first(world: World) -> None:
    made = pod("p", start_delay="10")
    made["spec"]["initContainers"] = [{"name": "i", "image": "busybox"}]
    made["spec"]["containers"].append({"name": "d", "image": "redis"})
    seen = await begin(world, made)
    await asyncio.sleep(5)
    assert seen == [(0, "PodInitializing 0")]
    assert conditions(world)["Initialized"] == ("False", "ContainersNotInitialized")
    ready = next(item for item in status(world)["conditions"] if item["type"] == "Ready")
    assert ready["message"] == "containers with unready status: [c d]"
    assert status(world)["hostIPs"] == [{"ip": status(world)["hostIP"]}]
    await asyncio.sleep(6)
    assert seen[-1] == (10, "running 0")


async def test_containers_that_do_not_end_are_killed_when_their_time_is_over(world: World) -> None:
    made = pod("p", stop_delay="60")
    made["metadata"]["finalizers"] = ["example.com/held"]
    await begin(world, made)
    await world.until(lambda: phase(world, "p") == "Running")
    began = world.clock()
    await world.admin.delete("pods", "p", "default")
    await world.until(lambda: world.events("Killing"), "the event")
    assert world.clock() == began and phase(world, "p") == "Running"
    await world.until(lambda: phase(world, "p") == "Failed")
    assert world.clock() - began == 30
    assert status(world)["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137


async def test_a_crash_loop_that_a_finalizer_holds_has_failed(world: World) -> None:
    made = pod("p", behaviour="crash")
    made["metadata"]["finalizers"] = ["batch.kubernetes.io/job-tracking"]
    seen = await begin(world, made)
    await world.until(lambda: seen and seen[-1][1] == "CrashLoopBackOff 1")
    await world.admin.delete("pods", "p", "default")
    await world.until(lambda: phase(world, "p") == "Failed")
    assert status(world)["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 1


async def test_changes_of_the_spec_are_followed(world: World) -> None:
    made = pod("p")
    made["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
    await begin(world, made)
    await world.until(lambda: phase(world, "p") == "Running")
    more = {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "2"}}}]}}
    await world.admin.patch("pods", "p", more, "default", type="strategic", subresource="resize")
    await world.until(lambda: status(world)["containerStatuses"][0]["allocatedResources"] == {"cpu": "2"})
    assert status(world)["containerStatuses"][0]["restartCount"] == 0
    image = {"spec": {"containers": [{"name": "c", "image": "nginx:2"}]}}
    await world.admin.patch("pods", "p", image, "default", type="strategic")
    await world.until(lambda: status(world)["containerStatuses"][0]["restartCount"] == 1)
    assert status(world)["containerStatuses"][0]["image"] == "nginx:2"
    (killed,) = await world.until(lambda: world.events("Killing"))
    assert killed["message"] == "Container c definition changed, will be restarted"
    debug = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox"}]}}
    await world.admin.patch("pods", "p", debug, "default", type="strategic", subresource="ephemeralcontainers")
    await world.until(
        lambda: "running" in (status(world).get("ephemeralContainerStatuses") or [{}])[0].get("state", {})
    )
    latest = world.get("pods", "p")
    assert latest is not None and latest["metadata"]["generation"] == latest["status"]["observedGeneration"]


async def test_annotations_that_mean_nothing_are_told(world: World) -> None:
    await begin(world, pod("p", run_for="soon"))
    await world.admin.create("pods", pod("q", behaviour="explode"), namespace="default")
    await world.admin.create("pods", pod("r", runfor="3"), namespace="default")
    await world.until(lambda: len(world.events("SimulationError")) == 3)
    said = {event["involvedObject"]["name"]: event["message"] for event in world.events("SimulationError")}
    assert said["p"] == 'annotation hollow.sampan.io/run-for: "soon" is neither seconds nor a duration like 1m30s'
    assert said["q"].startswith('annotation hollow.sampan.io/behaviour: "explode" is none of crash, oom, fail, evict,')
    assert said["r"].startswith(
        "annotation hollow.sampan.io/runfor is not known; there are behaviour, cpu-usage, down,"
    )


async def test_what_is_said_on_a_node_goes_for_the_pods_that_are_there(world: World) -> None:
    async def say(**options: str | None) -> None:
        notes = {f"hollow.sampan.io/{key.replace('_', '-')}": value for key, value in options.items()}
        await world.admin.patch("nodes", "n1", {"metadata": {"annotations": notes}})

    await world.hollow(heartbeats=False)
    await say(start_delay="soon")
    await world.admin.create("pods", pod("p"), namespace="default")
    await world.until(lambda: world.events("SimulationError"))
    assert phase(world, "p") == "Pending"
    await say(start_delay=None)
    await world.until(lambda: phase(world, "p") == "Running")
    await say(behaviour="not-ready")
    await until_ready(world, "False")
    await say(behaviour=None)
    await until_ready(world, "True")
