"""How pods live and end: restarts, init containers, sidecars, deadlines, hooks; as their statuses tell it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kubelet.conftest import NodeUnderTest
from tests.runtime.homes import IMAGE

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
Obj = dict[str, Any]


def of(pod: Obj, name: str = "main") -> Obj:
    """The status of a container."""
    status = pod["status"]
    fields = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    return next(each for field in fields for each in status.get(field) or () if each["name"] == name)


def waits(reason: str, name: str = "main") -> Any:
    return lambda pod: (
        pod is not None
        and any(
            each["name"] == name and (each["state"].get("waiting") or {}).get("reason") == reason
            for field in ("containerStatuses", "initContainerStatuses")
            for each in pod["status"].get(field) or ()
        )
    )


def condition(pod: Obj, kind: str) -> Obj:
    return next(each for each in pod["status"]["conditions"] if each["type"] == kind)


async def test_work_that_ends_well(node: NodeUnderTest) -> None:
    script = "echo done; printf 42 > /dev/termination-log"
    name = await node.run({"restartPolicy": "Never", "containers": [node.container("sh", "-c", script)]})
    pod = await node.until(name, "status.phase=Succeeded")
    ended = of(pod)["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (0, "Completed", "42")
    assert ended["containerID"] == of(pod)["containerID"] and ended["startedAt"] <= ended["finishedAt"]
    assert (condition(pod, "Ready")["status"], condition(pod, "Ready")["reason"]) == ("False", "PodCompleted")
    assert (condition(pod, "Initialized")["status"], condition(pod, "Initialized")["reason"]) == (
        "True",
        "PodCompleted",
    )
    assert of(pod)["restartCount"] == 0 and not of(pod)["started"]


async def test_work_that_fails(node: NodeUnderTest) -> None:
    failing = node.container("sh", "-c", "echo oh no >&2; exit 3", terminationMessagePolicy="FallbackToLogsOnError")
    name = await node.run({"restartPolicy": "Never", "containers": [failing]})
    pod = await node.until(name, "status.phase=Failed")
    ended = of(pod)["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (3, "Error", "oh no\n")
    assert condition(pod, "ContainersReady")["reason"] == "PodFailed"


async def test_what_crashes_is_let_be_for_a_while(node: NodeUnderTest) -> None:
    name = await node.run({"containers": [node.container("false")]})
    pod = await node.until(name, waits("CrashLoopBackOff"))
    status, uid = of(pod), pod["metadata"]["uid"]
    assert (
        status["state"]["waiting"]["message"]
        == f"back-off 10s restarting failed container=main pod={name}_default({uid})"
    )
    assert status["lastState"]["terminated"]["exitCode"] == 1 and status["restartCount"] == 1
    assert pod["status"]["phase"] == "Running"
    assert condition(pod, "ContainersReady")["message"] == "containers with unready status: [main]"
    assert (
        await node.has_event(name, "BackOff")
        == f"Back-off restarting failed container main in pod {name}_default({uid})"
    )


async def test_init_containers_come_one_after_the_other(node: NodeUnderTest) -> None:
    spec = {
        "initContainers": [
            node.container(
                "sh",
                "-c",
                "until [ -e /shared/go ]; do sleep 0.05; done; echo one >> /shared/log",
                name="one",
                **shared(),
            ),
            node.container("sh", "-c", "echo two >> /shared/log", name="two", **shared()),
        ],
        "containers": [node.container("sh", "-c", "cat /shared/log; sleep 1000", **shared())],
        "volumes": [{"name": "shared", "emptyDir": {}}],
    }
    name = await node.run(spec)
    pod = await node.until(name, lambda pod: pod is not None and "running" in of_or_none(pod, "one"))
    assert pod["status"]["phase"] == "Pending"
    assert of(pod)["state"] == of(pod, "two")["state"] == {"waiting": {"reason": "PodInitializing"}}
    initialized = condition(pod, "Initialized")
    assert initialized["status"] == "False" and initialized["reason"] == "ContainersNotInitialized"
    assert initialized["message"] == "containers with incomplete status: [one two]"
    volume = node.options.root / "pods" / pod["metadata"]["uid"] / "volumes/kubernetes.io~empty-dir/shared"
    (volume / "go").touch()
    pod = await node.running(name)
    await node.logged(pod, "one\ntwo\n")
    assert [each["state"]["terminated"]["reason"] for each in pod["status"]["initContainerStatuses"]] == [
        "Completed"
    ] * 2
    assert condition(pod, "Initialized")["status"] == "True"


def shared() -> Obj:
    return {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}


def of_or_none(pod: Obj, name: str) -> Obj:
    try:
        found: Obj = of(pod, name)["state"]
        return found
    except StopIteration:
        return {}


async def test_an_init_container_that_fails_fails_the_pod_or_is_tried_again(node: NodeUnderTest) -> None:
    init, main = node.container("false", name="init"), node.container("sleep", "1000")
    never = await node.run({"restartPolicy": "Never", "initContainers": [init], "containers": [main]})
    pod = await node.until(never, "status.phase=Failed")
    assert of(pod)["state"]["waiting"]["reason"] == "PodInitializing" or of(pod)["state"]["terminated"]
    always = await node.run({"initContainers": [init], "containers": [main]})
    pod = await node.until(always, waits("CrashLoopBackOff", "init"))
    assert pod["status"]["phase"] == "Pending" and of(pod, "init")["restartCount"] == 1


async def test_sidecars_start_before_and_end_after(node: NodeUnderTest) -> None:
    def noted(name: str, **more: Any) -> Obj:
        script = f"trap 'echo -{name} >> /shared/log; exit 0' TERM; echo +{name} >> /shared/log; while :; do sleep 0.05; done"
        return node.container("sh", "-c", script, name=name, **shared(), **more)

    directory = node.home.root / "sidecars"
    directory.mkdir()
    name = await node.run({
        "initContainers": [noted("a", restartPolicy="Always"), noted("b", restartPolicy="Always")],
        "containers": [noted("main")],
        "volumes": [{"name": "shared", "hostPath": {"path": str(directory)}}],
    })  # fmt: skip
    pod = await node.running(name)
    assert [each["ready"] for each in pod["status"]["initContainerStatuses"]] == [True, True]
    await node.changes(directory, lambda: "+main" in (directory / "log").read_text())
    await node.delete(name)
    assert (directory / "log").read_text().split() == ["+a", "+b", "+main", "-main", "-b", "-a"]


async def test_a_job_with_a_sidecar_ends(node: NodeUnderTest) -> None:
    sidecar = node.container("sleep", "1000", name="sidecar", restartPolicy="Always")
    name = await node.run({
        "restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "initContainers": [sidecar],
        "containers": [node.container("true")],
    })  # fmt: skip
    pod = await node.until(name, "status.phase=Succeeded")
    assert of(pod, "sidecar")["state"]["terminated"]["exitCode"] == 137


async def test_a_deadline(node: NodeUnderTest) -> None:
    spec = {
        "activeDeadlineSeconds": 1,
        "terminationGracePeriodSeconds": 1,
        "containers": [node.container("sleep", "1000")],
    }
    name = await node.run(spec)
    pod = await node.until(name, "status.phase=Failed")
    assert pod["status"]["reason"] == "DeadlineExceeded"
    assert pod["status"]["message"] == "Pod was active on the node longer than the specified deadline"
    await node.has_event(name, "DeadlineExceeded")


async def test_a_hook_before_the_end_and_one_after_the_start(node: NodeUnderTest) -> None:
    directory = node.home.root / "hooks"
    directory.mkdir()
    script = "trap 'echo term >> /shared/log; exit 0' TERM; touch /shared/up; while :; do sleep 0.05; done"
    lifecycle = {
        "postStart": {"exec": {"command": ["sh", "-c", "echo started >> /shared/log"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "echo stopping >> /shared/log"]}},
    }
    volume = {"name": "shared", "hostPath": {"path": str(directory)}}
    name = await node.run(
        {"containers": [node.container("sh", "-c", script, lifecycle=lifecycle, **shared())], "volumes": [volume]}
    )
    await node.running(name)
    await node.changes(directory, (directory / "up").exists)
    await node.delete(name)
    assert (directory / "log").read_text().split() == ["started", "stopping", "term"]


async def test_hooks_that_fail(node: NodeUnderTest) -> None:
    """One after the start ends the container; one before the end is told of, and no more."""
    fails = {"exec": {"command": ["sh", "-c", "echo no; exit 3"]}}
    script = "trap 'exit 0' TERM; while :; do sleep 0.05; done"
    name = await node.run({"containers": [node.container("sh", "-c", script, lifecycle={"postStart": fails})]})
    pod = await node.until(name, lambda pod: waits("PostStartHookError")(pod) or waits("CrashLoopBackOff")(pod))
    assert await node.has_event(name, "FailedPostStartHook") == "PostStartHook failed"
    assert await node.has_event(name, "Killing") == "FailedPostStartHook"
    assert "running" not in of(pod)["state"]
    name = await node.run({"containers": [node.container("sh", "-c", script, lifecycle={"preStop": fails})]})
    await node.running(name)
    await node.delete(name)
    assert await node.has_event(name, "FailedPreStopHook") == "PreStopHook failed"


async def test_while_a_hook_takes_its_time_what_is_there_is_told(node: NodeUnderTest) -> None:
    lifecycle = {"postStart": {"exec": {"command": ["sh", "-c", "until [ -e /tmp/go ]; do sleep 0.05; done"]}}}
    slow = node.container("sleep", "1000", name="slow", lifecycle=lifecycle)
    name = await node.run({"containers": [slow, node.container("sleep", "1000")]})
    pod = await node.until(name, lambda pod: "running" in of_or_none(pod, "slow"))
    assert of(pod)["state"]["waiting"]["reason"] == "ContainerCreating" and pod["status"]["podIP"]
    key = of(pod, "slow")["containerID"].partition("//")[2]
    await node.cri.ExecSync(container_id=key, cmd=["touch", "/tmp/go"], timeout=5)
    await node.running(name)


async def test_readiness_gates(node: NodeUnderTest) -> None:
    spec = {"readinessGates": [{"conditionType": "example.com/gate"}], "containers": [node.container("sleep", "1000")]}
    name = await node.run(spec)
    pod = await node.until(name, "ContainersReady")
    assert (
        condition(pod, "Ready")["message"]
        == 'corresponding condition of pod readiness gate "example.com/gate" does not exist.'
    )
    gate = {"type": "example.com/gate", "status": "True"}
    await node.cluster.client.patch(
        "pods", name, {"status": {"conditions": [gate]}}, "default", type="strategic", subresource="status"
    )
    await node.running(name)


async def test_an_ephemeral_container_joins(node: NodeUnderTest) -> None:
    name = await node.run({"containers": [node.container("sleep", "1000")]})
    await node.running(name)
    extra = {"name": "debug", "image": IMAGE, "command": ["sh", "-c", "ps; sleep 1000"], "targetContainerName": "main"}
    await node.cluster.client.patch(
        "pods",
        name,
        {"spec": {"ephemeralContainers": [extra]}},
        "default",
        type="strategic",
        subresource="ephemeralcontainers",
    )
    pod = await node.until(name, lambda pod: "running" in of_or_none(pod, "debug"))
    assert pod["status"]["phase"] == "Running" and condition(pod, "Ready")["status"] == "True"


async def test_images_that_do_not_come(node: NodeUnderTest) -> None:
    def one(image: str, policy: str = "IfNotPresent") -> Obj:
        return {"containers": [{"name": "main", "image": image, "imagePullPolicy": policy}]}

    missing = await node.run(one("127.0.0.1:1/missing:1"))
    pod = await node.until(missing, waits("ErrImagePull"))
    assert of(pod)["state"]["waiting"]["message"]
    pod = await node.until(missing, waits("ImagePullBackOff"))
    assert of(pod)["state"]["waiting"]["message"].startswith(
        'Back-off pulling image "127.0.0.1:1/missing:1": ErrImagePull: '
    )
    events = await node.events(missing)
    assert ("Pulling", 'Pulling image "127.0.0.1:1/missing:1"') in events
    assert ("Failed", "Error: ErrImagePull") in events and ("Failed", "Error: ImagePullBackOff") in events
    assert ("BackOff", 'Back-off pulling image "127.0.0.1:1/missing:1"') in events
    never = await node.until(await node.run(one("example.com/never:1", "Never")), waits("ErrImageNeverPull"))
    text = 'Container image "example.com/never:1" is not present with pull policy of Never'
    assert of(never)["state"]["waiting"]["message"] == text
    invalid = await node.until(await node.run(one("Not/Valid:1")), waits("InvalidImageName"))
    assert "Failed to apply default image tag" in of(invalid)["state"]["waiting"]["message"]


async def test_configuration_that_is_missing_may_come_later(node: NodeUnderTest) -> None:
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "a"}}}]
    name = await node.run({"containers": [node.container("sh", "-c", "echo $A; sleep 1000", env=env)]})
    pod = await node.until(name, waits("CreateContainerConfigError"))
    assert of(pod)["state"]["waiting"]["message"] == 'configmap "late" not found'
    assert ("Failed", 'Error: configmap "late" not found') in await node.events(name)
    made = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "late", "namespace": "default"},
        "data": {"a": "here"},
    }
    await node.cluster.client.create("configmaps", made)
    await node.logged(await node.running(name), "here\n")


async def test_an_image_that_names_nobody_is_roots(node: NodeUnderTest) -> None:
    careful = {"runAsNonRoot": True}
    name = await node.run({"containers": [node.container("sleep", "1000")], "securityContext": careful})
    pod = await node.until(name, waits("CreateContainerConfigError"))
    uid = pod["metadata"]["uid"]
    said = f'container has runAsNonRoot and image will run as root (pod: "{name}_default({uid})", container: main)'
    assert of(pod)["state"]["waiting"]["message"] == said
    assert ("Failed", f"Error: {said}") in await node.events(name)


async def test_a_command_that_does_not_exist(node: NodeUnderTest) -> None:
    name = await node.run({"containers": [node.container("/no/such/program")]})
    pod = await node.until(name, lambda pod: waits("RunContainerError")(pod) or waits("CrashLoopBackOff")(pod))
    status = of(pod)
    assert status["lastState"]["terminated"]["reason"] == "StartError"
    assert status["lastState"]["terminated"]["exitCode"] == 128
    assert "/no/such/program" in await node.has_event(name, "Failed")


async def test_a_runtime_class_names_the_handler(node: NodeUnderTest) -> None:
    client = node.cluster.client
    for name, handler in (("usual", "runc"), ("strange", "no-such-handler")):
        await client.create("runtimeclasses", {"metadata": {"name": name}, "handler": handler})
    sleep = {"containers": [node.container("sleep", "1000")]}
    strange = await node.run({**sleep, "runtimeClassName": "strange"})
    assert "no-such-handler" in await node.has_event(strange, "FailedCreatePodSandBox")
    await node.running(await node.run({**sleep, "runtimeClassName": "usual"}))
    for name in ("usual", "strange"):
        await client.delete("runtimeclasses", name)


async def test_what_the_node_cannot_hold_is_refused(node: NodeUnderTest) -> None:
    greedy = node.container("true", resources={"requests": {"cpu": "1000"}})
    pod = await node.until(await node.run({"containers": [greedy]}), "status.phase=Failed")
    assert pod["status"]["reason"] == "OutOfcpu"
    assert pod["status"]["message"].startswith(
        "Pod was rejected: Node didn't have enough resource: cpu, requested: 1000000, used: 0, capacity: "
    )
    elsewhere = {"nodeSelector": {"zone": "b"}, "containers": [node.container("true")]}
    pod = await node.until(await node.run(elsewhere), "status.phase=Failed")
    assert pod["status"]["reason"] == "NodeAffinity"
