"""What breaks, and what goes on: the kubelet starts anew, the runtime dies, the API server is away, pods that nobody wants."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import pytest

from tests.kubelet.conftest import NodeUnderTest
from tests.kubelet.test_lives import condition, of

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
Obj = dict[str, Any]


async def test_containers_outlive_the_kubelet(node: NodeUnderTest) -> None:
    name = await node.run({"containers": [node.container("sleep", "1000")]})
    short = await node.run({"restartPolicy": "Never", "containers": [node.container("sh", "-c", "sleep 0.5; exit 7")]})
    before = await node.running(name)
    await node.running(short)
    await node.stop()
    await ended(node, short)
    await node.start()
    pod = await node.until(short, "status.phase=Failed")
    assert of(pod)["state"]["terminated"]["exitCode"] == 7
    after = await node.running(name)
    assert of(after)["containerID"] == of(before)["containerID"] and of(after)["restartCount"] == 0
    await node.delete(name, 0)
    await node.delete(short)


async def ended(node: NodeUnderTest, name: str) -> None:
    """Its container, as the runtime says."""
    async with asyncio.timeout(20):
        async for _ in node.home.news(node.cri):
            found = await node.cri.ListContainers(filter={"label_selector": {"io.kubernetes.pod.name": name}})
            if all(each.state == 2 for each in found.containers):
                return


async def test_what_was_deleted_meanwhile_is_ended(node: NodeUnderTest) -> None:
    name = await node.run({"containers": [node.container("sleep", "1000")]})
    await node.running(name)
    await node.stop()
    await node.cluster.client.delete("pods", name, "default", grace_seconds=0)
    await node.until(name, "deleted")
    await node.start()
    assert node.kubelet is not None
    async with asyncio.timeout(20):
        async for _ in node.home.news(node.cri):
            if not (await node.cri.ListPodSandbox()).items:
                return


async def test_the_runtime_dies_and_comes_back(node: NodeUnderTest) -> None:
    name = await node.run({"containers": [node.container("sleep", "1000")]})
    before = await node.running(name)
    node.home.stop(signal.SIGKILL)
    later = await node.run({"containers": [node.container("sleep", "1000")]})
    assert node.kubelet is not None
    await node.kubelet.health.look()
    assert node.kubelet.pods.find("default", name) is not None  # nothing is concluded from silence
    node.home.start()
    await node.running(later)
    after = await node.running(name)
    assert of(after)["containerID"] == of(before)["containerID"]
    for each in (name, later):
        await node.delete(each, 0)


async def test_while_the_api_server_is_away_pods_run_on(node: NodeUnderTest) -> None:
    name = await node.run(
        {"containers": [node.container("sh", "-c", "until [ -e /tmp/end ]; do sleep 0.05; done; exit 1")]}
    )
    pod = await node.running(name)
    await node.away()
    assert node.kubelet is not None
    await node.cri.ExecSync(
        container_id=of(pod)["containerID"].partition("//")[2], cmd=["touch", "/tmp/end"], timeout=5
    )
    worker = node.kubelet.pods.workers[pod["metadata"]["uid"]]
    async with asyncio.timeout(20):
        async for _ in node.home.news(node.cri):
            seen = worker.memory.seen
            if seen is not None and (found := seen.latest("main")) and found.restarts == 1:
                break
    await node.back()
    pod = await node.until(name, lambda pod: pod is not None and of(pod)["restartCount"] == 1)
    assert of(pod)["lastState"]["terminated"]["exitCode"] == 1
    await node.delete(name, 0)


async def test_a_sandbox_that_is_lost_is_made_anew(node: NodeUnderTest) -> None:
    name = await node.run({"containers": [node.container("sleep", "1000")]})
    before = await node.running(name)
    found = await node.cri.ListPodSandbox(filter={"label_selector": {"io.kubernetes.pod.name": name}})
    await node.cri.StopPodSandbox(pod_sandbox_id=found.items[0].id)
    pod = await node.until(name, lambda pod: pod is not None and of(pod)["restartCount"] == 1 and of(pod)["ready"])
    assert of(pod)["containerID"] != of(before)["containerID"]
    assert await node.has_event(name, "SandboxChanged") == "Pod sandbox changed, it will be killed and re-created."
    assert condition(pod, "PodReadyToStartContainers")["status"] == "True"
    await node.delete(name, 0)


async def test_static_pods_and_their_mirrors(node: NodeUnderTest) -> None:
    assert node.options.static_pods is not None
    file = node.options.static_pods / "web.json"
    spec: Obj = {"terminationGracePeriodSeconds": 1, "containers": [node.container("sleep", "1000")]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}
    file.write_text(json.dumps(pod))
    name = f"web-{node.name}"
    mirror = await node.running(name)
    assert mirror["metadata"]["annotations"]["kubernetes.io/config.source"] == "file"
    assert mirror["metadata"]["ownerReferences"][0]["kind"] == "Node"
    # who deletes it gets another one, and the container does not mind
    await node.cluster.client.delete("pods", name, "default", grace_seconds=0)
    again = await node.until(
        name, lambda found: bool(found) and found["metadata"]["uid"] != mirror["metadata"]["uid"] and ready(found)
    )
    assert of(again)["containerID"] == of(mirror)["containerID"]
    spec["containers"][0]["command"] = ["sleep", "2000"]
    file.write_text(json.dumps(pod))
    changed = await node.until(
        name, lambda found: bool(found) and ready(found) and of(found)["containerID"] != of(mirror)["containerID"]
    )
    assert changed["spec"]["containers"][0]["command"] == ["sleep", "2000"]
    file.unlink()
    await node.until(name, "deleted")


def ready(pod: Obj) -> bool:
    found = [each for each in pod["status"].get("conditions") or () if each["type"] == "Ready"]
    return bool(found) and found[0]["status"] == "True"


async def test_the_node_says_how_it_is(node: NodeUnderTest) -> None:
    found = node.cluster.get(f"node/{node.name}")
    assert found is not None
    conditions = {each["type"]: (each["status"], each["reason"]) for each in found["status"]["conditions"]}
    assert conditions == {
        "MemoryPressure": ("False", "KubeletHasSufficientMemory"),
        "DiskPressure": ("False", "KubeletHasNoDiskPressure"),
        "PIDPressure": ("False", "KubeletHasSufficientPID"),
        "Ready": ("True", "KubeletReady"),
    }
    assert {each["type"] for each in found["status"]["addresses"]} == {"InternalIP", "Hostname"}
    assert found["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("sampan://")
    assert found["status"]["capacity"].keys() >= {"cpu", "memory", "pods", "ephemeral-storage"}
    assert any("docker.io/library/busybox:test" in each["names"] for each in found["status"]["images"])
    lease = node.cluster.get(f"lease/{node.name}", "kube-node-lease")
    assert lease is not None and lease["spec"]["holderIdentity"] == node.name
    node.home.stop(signal.SIGKILL)
    assert node.kubelet is not None
    node.kubelet.runtime.answered -= 60  # as if it had not answered for a minute
    node.kubelet.node.changed()
    found = await node.cluster.wait_for(f"node/{node.name}", "Ready=False", timeout=20)
    assert [each["message"] for each in found["status"]["conditions"] if each["type"] == "Ready"] == [
        "container runtime is down"
    ]
    node.home.start()
    await node.cluster.wait_for(f"node/{node.name}", "Ready", timeout=20)
