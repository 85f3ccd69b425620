"""Volumes of every kind in real containers, which print what they see."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sampan.kubelet.volumes import mounts
from tests.kubelet.conftest import NodeUnderTest

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
Obj = dict[str, Any]
NS = "default"


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def untouched(node: NodeUnderTest) -> AsyncIterator[None]:
    """Each test leaves no pod, no mount and no directory."""
    yield
    await node.clear()
    root = node.options.root.resolve()
    assert mounts.below(root) == []
    assert os.listdir(root / "pods") == []


def at(name: str, path: str, **more: Any) -> Obj:
    return {"name": name, "mountPath": path, **more}


async def run(node: NodeUnderTest, spec: Obj, **meta: Any) -> str:
    """A pod that dies at once when it is told to."""
    return await node.run({"terminationGracePeriodSeconds": 0, **spec}, **meta)


async def said(node: NodeUnderTest, spec: Obj, *commands: str, volume_mounts: list[Obj], **container: Any) -> list[str]:
    """What a container with these mounts prints."""
    script = node.container("sh", "-c", "; ".join(commands), volumeMounts=volume_mounts, **container)
    name = await run(node, {"restartPolicy": "Never", "containers": [script], **spec})
    pod = await node.until(name, lambda pod: pod.get("status", {}).get("phase") in ("Succeeded", "Failed"))
    return node.log(pod).splitlines()


async def in_container(node: NodeUnderTest, pod: Obj, script: str, timeout: int = 10) -> str:
    """Of a command in its first container, once it has ended."""
    key = pod["status"]["containerStatuses"][0]["containerID"].partition("://")[2]
    done = await node.cri.ExecSync(container_id=key, cmd=["sh", "-c", script], timeout=timeout)
    assert done.exit_code == 0, done.stderr
    return bytes(done.stdout).decode()


async def becomes(node: NodeUnderTest, pod: Obj, command: str, expected: str) -> None:
    """What it sees, within seconds."""
    await in_container(node, pod, f'until [ "$({command})" = "{expected}" ]; do sleep 0.05; done')


async def create(node: NodeUnderTest, what: str, name: str, **rest: Any) -> Obj:
    namespaced = what not in ("persistentvolumes",)
    meta = {"name": name, **({"namespace": NS} if namespaced else {})}
    return await node.cluster.client.create(what, {"metadata": meta, **rest})


async def bound(node: NodeUnderTest, name: str, source: Obj) -> None:
    """A volume and a claim of the same name."""
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    hosts = [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node.name]}]
    affinity = (
        {"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": hosts}]}}}
        if "local" in source
        else {}
    )
    await create(node, "persistentvolumes", name, spec={**spec, "capacity": {"storage": "1Gi"}, **affinity, **source})
    size = {"requests": {"storage": "1Gi"}}
    await create(node, "persistentvolumeclaims", name, spec={**spec, "volumeName": name, "resources": size})
    await node.cluster.wait_for(f"persistentvolumeclaim/{name}", "status.phase=Bound")


async def test_every_kind(node: NodeUnderTest, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "here").write_text("host\n")
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "here").write_text("local\n")
    await create(node, "configmaps", "every", data={"a": "A", "b": "B"}, binaryData={"bin": "AP8="})
    await create(node, "secrets", "every", stringData={"user": "root", "pass": "word"})
    await bound(node, "every-local", {"local": {"path": str(tmp_path / "disk")}})
    await bound(node, "every-host", {"hostPath": {"path": str(tmp_path / "host")}})
    items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
             {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "requests.cpu", "divisor": "1m"}}]  # fmt: skip
    sources = [
        {"secret": {"name": "every", "items": [{"key": "user", "path": "login/user", "mode": 0o400}]}},
        {"configMap": {"name": "every", "items": [{"key": "a", "path": "conf/a"}]}},
        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 600}},
        {"configMap": {"name": "absent", "optional": True}},
    ]
    volumes: list[Obj] = [
        {"name": "disk", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "host", "hostPath": {"path": str(tmp_path / "host"), "type": "Directory"}},
        {"name": "made", "hostPath": {"path": str(tmp_path / "made/deep"), "type": "DirectoryOrCreate"}},
        {"name": "config", "configMap": {"name": "every", "defaultMode": 0o440}},
        {"name": "secret", "secret": {"secretName": "every"}},
        {"name": "down", "downwardAPI": {"items": items}},
        {"name": "projected", "projected": {"sources": sources}},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "every-local"}},
        {"name": "host-claim", "persistentVolumeClaim": {"claimName": "every-host", "readOnly": True}},
    ]
    lines = await said(
        node, {"volumes": volumes},
        "stat -c %a /disk /memory", "grep ' /memory ' /proc/mounts | grep -o size=1024k",
        "dd if=/dev/zero of=/memory/f bs=1M count=2 2>/dev/null || echo full",
        "cat /host/here && echo more > /host/mine && echo made > /made/f",
        "ls /config; stat -Lc %a /config/a; cat /config/a /config/b; echo",
        "cat /secret/user /secret/pass; echo; grep -c ' /secret tmpfs ' /proc/mounts",
        "touch /secret/user 2>/dev/null || echo read-only",
        "cat /down/labels /down/cpu; echo",
        "cat /projected/login/user /projected/conf/a /projected/name; echo; stat -Lc %a /projected/login/user",
        "grep -c '^[^.]*[.][^.]*[.][^.]*$' /projected/token",
        "cat /claim/here; echo back > /claim/mine; cat /host-claim/here; touch /host-claim/x 2>/dev/null || echo read-only",
        "ls -a /config | grep -c '^[.][.]data$'",
        volume_mounts=[at(each["name"], f"/{each['name']}") for each in volumes], resources={"requests": {"cpu": "250m"}},
    )  # fmt: skip
    name = (await node.cluster.client.list("pods", NS))["items"][-1]["metadata"]["name"]
    assert lines == [
        "777", "777", "size=1024k", "full", "host", "a", "b", "bin", "440", "AB", "rootword", "1",
        "read-only", "250", f"rootA{name}", "400", "1", "local", "host", "read-only", "1",
    ]  # fmt: skip
    assert (tmp_path / "host/mine").read_text() == "more\n"
    assert (tmp_path / "made/deep/f").read_text() == "made\n"
    await node.clear()
    # what is the node's own stays
    assert (tmp_path / "disk/mine").read_text() == "back\n"


async def test_changes_arrive_within_seconds_and_at_once(node: NodeUnderTest) -> None:
    client = node.cluster.client
    await create(node, "configmaps", "live", data={"k": "1", "gone": "x"})
    await create(node, "secrets", "live", stringData={"k": "1"})
    volumes: list[Obj] = [
        {"name": "config", "configMap": {"name": "live"}}, {"name": "secret", "secret": {"secretName": "live"}},
        {"name": "later", "configMap": {"name": "live-later", "optional": True}},
        {"name": "down", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels['l']"}}]}},
    ]  # fmt: skip
    container = node.container("sleep", "1000", volumeMounts=[at(each["name"], f"/{each['name']}") for each in volumes])
    name = await run(node, {"containers": [container], "volumes": volumes}, labels={"l": "1"})
    pod = await node.running(name)
    assert await in_container(node, pod, "cat /config/k /secret/k /down/l; ls /later") == "111"
    before = await in_container(node, pod, "busybox readlink /config/..data")
    await client.patch("configmaps", "live", {"data": {"k": "2", "gone": None, "new": "n"}}, NS)
    await becomes(node, pod, "cat /config/k", "2")
    assert await in_container(node, pod, "ls /config") == "k\nnew\n"
    assert await in_container(node, pod, "busybox readlink /config/..data") != before
    await client.patch("secrets", "live", {"stringData": {"k": "2"}}, NS)
    await becomes(node, pod, "cat /secret/k", "2")
    await create(node, "configmaps", "live-later", data={"k": "here"})
    await becomes(node, pod, "cat /later/k", "here")
    await client.patch("pods", name, {"metadata": {"labels": {"l": "2"}}}, NS)
    await becomes(node, pod, "cat /down/l", "2")
    # what disappears is told, and kept
    await client.delete("configmaps", "live", NS)
    message = await node.has_event(name, "FailedMount")
    assert message == 'MountVolume.SetUp failed for volume "config" : configmap "live" not found'
    assert await in_container(node, pod, "cat /config/k") == "2"


async def test_the_service_accounts_volume(node: NodeUnderTest) -> None:
    where = "/var/run/secrets/kubernetes.io/serviceaccount"
    script = f"cd {where} && ls && cat namespace && head -1 ca.crt && stat -Lc %a token && cat token"
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": True,
        "containers": [node.container("sh", "-c", script)],
    }
    name = await run(node, pod)
    found = node.log(await node.until(name, "status.phase=Succeeded")).splitlines()
    assert found[:-1] == ["ca.crt", "namespace", "token", "default-----BEGIN CERTIFICATE-----", "644"]
    review = {"spec": {"token": found[-1]}}
    status = (await node.cluster.client.create("tokenreviews.authentication.k8s.io", review))["status"]
    assert status["user"]["username"] == "system:serviceaccount:default:default"
    assert status["user"]["extra"]["authentication.kubernetes.io/pod-name"] == [name]


async def test_a_pods_group_and_user(node: NodeUnderTest, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "old").write_text("")
    (tmp_path / "disk" / "old").chmod(0o600)
    await bound(node, "group-local", {"local": {"path": str(tmp_path / "disk")}})
    await create(node, "secrets", "group", stringData={"k": "v"})
    token = {"serviceAccountToken": {"path": "token", "audience": "vault"}}
    volumes: list[Obj] = [
        {"name": "disk", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "secret", "secret": {"secretName": "group", "defaultMode": 0o400}},
        {"name": "projected", "projected": {"sources": [token]}},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "group-local"}},
    ]  # fmt: skip
    lines = await said(
        node, {"volumes": volumes, "securityContext": {"runAsUser": 1000, "runAsGroup": 3000, "fsGroup": 2000}},
        "id -u; id -g; id -G", "stat -c '%a %g' /disk /memory /claim /claim/old", "touch /disk/f && stat -c '%u %g' /disk/f",
        "stat -Lc '%a %u %g' /secret/k /projected/token", "cat /secret/k; echo",
        volume_mounts=[at(each["name"], f"/{each['name']}") for each in volumes],
    )  # fmt: skip
    assert lines == [
        "1000", "3000", "3000 2000", "2777 2000", "2777 2000", "2775 2000", "660 2000", "1000 2000",
        "440 0 2000", "640 1000 2000", "v",
    ]  # fmt: skip
    # its root is right, so that what is below is let be
    (tmp_path / "disk" / "old").chmod(0o600)
    context = {"runAsUser": 1000, "fsGroup": 2000, "fsGroupChangePolicy": "OnRootMismatch"}
    mount = [at("claim", "/claim")]
    assert await said(
        node, {"volumes": volumes[-1:], "securityContext": context}, "stat -c %a /claim/old", volume_mounts=mount
    ) == ["600"]


async def test_parts_of_volumes(node: NodeUnderTest, tmp_path: Path) -> None:
    await create(node, "configmaps", "parts", data={"a": "A", "b": "B"})
    mounted = [
        at("config", "/etc/a.conf", subPath="a"), at("data", "/sub", subPath="x/y"),
        at("data", "/named", subPathExpr="of-$(NAME)"), at("data", "/all"),
    ]  # fmt: skip
    volumes = [{"name": "config", "configMap": {"name": "parts"}}, {"name": "data", "emptyDir": {}}]
    script = "cat /etc/a.conf; echo; echo s > /sub/f; echo n > /named/f; ls /all; cat /all/x/y/f /all/of-*/f; stat -c %a /sub; sleep 1000"
    env = [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    name = await run(
        node, {"containers": [node.container("sh", "-c", script, volumeMounts=mounted, env=env)], "volumes": volumes}
    )
    pod = await node.running(name)
    await becomes(node, pod, "busybox wc -l < /all/x/y/f", "1")
    assert node.log(pod).splitlines() == ["A", f"of-{name}", "x", "s", "n", "777"]
    # a part does not follow its source, until the container starts anew
    await node.cluster.client.patch("configmaps", "parts", {"data": {"a": "new"}}, NS)
    key = pod["status"]["containerStatuses"][0]["containerID"].partition("://")[2]
    await node.cri.StopContainer(container_id=key, timeout=0)
    pod = await node.until(name, lambda pod: pod["status"]["containerStatuses"][0].get("restartCount") == 1)
    pod = await node.running(name)
    await becomes(node, pod, "cat /etc/a.conf", "new")
    directory = node.options.root / "pods" / pod["metadata"]["uid"]
    assert sorted(str(each.relative_to(directory)) for each in (directory / "volume-subpaths").glob("*/*/*")) == [
        "volume-subpaths/config/main/0", "volume-subpaths/data/main/1", "volume-subpaths/data/main/2",
    ]  # fmt: skip
    await node.clear()
    assert not directory.exists()


async def test_no_way_out_of_a_volume(node: NodeUnderTest, tmp_path: Path) -> None:
    (tmp_path / "treasure").write_text("gold\n")
    host, volumes = tmp_path / "host", [{"name": "v", "hostPath": {"path": str(tmp_path / "host")}}]
    host.mkdir()
    for link, target in {"up": "..", "file": str(tmp_path / "treasure"), "root": "/"}.items():
        (host / link).symlink_to(target)
    (host / "inside").mkdir()
    (host / "fine").symlink_to("inside")
    names = {}
    for part in ("up/treasure", "file", "root", "up/new"):
        container = node.container("cat", "/x", volumeMounts=[at("v", "/x", subPath=part)])
        names[part] = await run(node, {"restartPolicy": "Never", "containers": [container], "volumes": volumes})
    for part, name in names.items():
        pod = await node.until(name, "status.containerStatuses.0.state.waiting.reason=CreateContainerConfigError")
        what = "create subPath directory" if part.endswith("new") else "prepare subPath"
        message = f'failed to {what} for volumeMount "v" of container "main"'
        assert pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"] == message
        assert await node.has_event(name, "Failed") == f"Error: {message}"
    assert sorted(os.listdir(tmp_path)) == ["host", "treasure"]
    mounted = [at("v", "/x", subPath="fine")]
    assert await said(node, {"volumes": volumes}, "touch /x/f; ls /x", volume_mounts=mounted) == ["f"]


async def test_read_only_and_propagation(node: NodeUnderTest) -> None:
    volumes = [{"name": "v", "emptyDir": {}}, {"name": "signal", "emptyDir": {}}]
    wait = "until [ -e /signal/go ]; do sleep 0.05; done"
    scripts = {
        "taker": f"{wait}; cat /v/m/f; touch /signal/taker; sleep 1000",
        "private": f"{wait}; ls /v/m; echo alone; touch /v/x 2>/dev/null || echo read-only; touch /signal/private; sleep 1000",
        "giver": "mkdir /v/m && mount -t tmpfs none /v/m && echo gift > /v/m/f && touch /signal/go && sleep 1000",
    }
    modes = {"giver": "Bidirectional", "taker": "HostToContainer", "private": "None"}
    containers = [
        node.container(
            "sh", "-c", script, name=name, securityContext={"privileged": name == "giver"},
            volumeMounts=[at("v", "/v", mountPropagation=modes[name], readOnly=name == "private"), at("signal", "/signal")],
        )
        for name, script in scripts.items()
    ]  # fmt: skip
    name = await run(node, {"containers": containers, "volumes": volumes})
    pod = await node.running(name)
    await in_container(node, pod, "until [ -e /signal/taker -a -e /signal/private ]; do sleep 0.05; done")
    assert node.log(pod, "taker") == "gift\n"
    assert node.log(pod, "private") == "alone\nread-only\n"
    path = node.options.root.resolve() / "pods" / pod["metadata"]["uid"] / "volumes/kubernetes.io~empty-dir/v/m"
    assert mounts.is_mounted(path)
    await node.clear()
    assert not mounts.is_mounted(path)


async def test_what_is_missing_is_said_and_found_when_it_comes(node: NodeUnderTest, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    volumes: list[Obj] = [
        {"name": "config", "configMap": {"name": "soon"}},
        {"name": "key", "configMap": {"name": "soon-too", "items": [{"key": "k", "path": "k"}]}},
        {"name": "secret", "secret": {"secretName": "soon"}},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "soon"}},
        {"name": "host", "hostPath": {"path": str(tmp_path / "file"), "type": "Directory"}},
    ]
    await create(node, "configmaps", "soon-too", data={})
    await create(node, "persistentvolumeclaims", "soon", spec={
        "accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}},
    })  # fmt: skip
    container = node.container("sleep", "1000", volumeMounts=[at(each["name"], f"/{each['name']}") for each in volumes])
    name = await run(node, {"containers": [container], "volumes": volumes})
    failed = "MountVolume.SetUp failed for volume"
    for message in (
        f'{failed} "config" : configmap "soon" not found',
        f'{failed} "key" : configmap references non-existent config key: k',
        f'{failed} "secret" : secret "soon" not found',
        f'{failed} "host" : hostPath type check failed: {tmp_path}/file is not a directory, it\'s a File',
        "Unable to attach or mount volumes: unmounted volumes=[claim], unattached volumes=[], failed to process "
        "volumes=[claim]: error processing PVC default/soon: PVC is not bound",
    ):
        assert await node.has_event(name, "FailedMount", lambda text, wanted=message: text == wanted)  # type: ignore[misc]
    pod = node.cluster.get(f"pod/{name}")
    assert pod is not None
    assert pod["status"]["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    (tmp_path / "file").unlink()
    (tmp_path / "file").mkdir()
    claim = {"kind": "PersistentVolumeClaim", "namespace": NS, "name": "soon"}
    await create(node, "persistentvolumes", "soon", spec={
        "accessModes": ["ReadWriteOnce"], "storageClassName": "", "capacity": {"storage": "1Gi"}, "claimRef": claim,
        "hostPath": {"path": str(tmp_path)},
    })  # fmt: skip
    await node.cluster.client.patch("configmaps", "soon-too", {"data": {"k": "v"}}, NS)
    await create(node, "secrets", "soon")
    await create(node, "configmaps", "soon")
    await node.running(name)


async def test_a_kubelet_that_starts_anew_takes_everything_up(node: NodeUnderTest, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    await bound(node, "anew", {"local": {"path": str(tmp_path / "disk")}})
    await create(node, "configmaps", "anew", data={"k": "1"})
    volumes: list[Obj] = [
        {"name": "config", "configMap": {"name": "anew"}}, {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "anew"}},
    ]  # fmt: skip
    mounted = [at("config", "/config"), at("memory", "/memory"), at("claim", "/claim", subPath="part")]
    container = node.container("sh", "-c", "echo kept > /memory/f; exec sleep 1000", volumeMounts=mounted)
    kept = await run(node, {"containers": [container], "volumes": volumes})
    gone = await run(node, {"containers": [container], "volumes": volumes})
    pod, doomed = await node.running(kept), await node.running(gone)
    await node.stop()
    await node.cluster.client.patch("configmaps", "anew", {"data": {"k": "2"}}, NS)
    await node.cluster.client.delete("pods", gone, NS, grace_seconds=0)
    await node.start()
    await becomes(node, pod, "cat /config/k", "2")
    assert await in_container(node, pod, "cat /memory/f") == "kept\n"
    places = node.options.root / "pods"
    async with asyncio.timeout(15):
        while (places / doomed["metadata"]["uid"]).exists():
            await in_container(node, pod, "sleep 0.05")
    assert (tmp_path / "disk/part").is_dir()


async def test_termination_messages(node: NodeUnderTest) -> None:
    container = node.container("sh", "-c", "echo -n bye > /tmp/last", terminationMessagePath="/tmp/last")
    name = await run(
        node, {"restartPolicy": "Never", "securityContext": {"runAsUser": 1000}, "containers": [container]}
    )
    pod = await node.until(name, "status.phase=Succeeded")
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"] == "bye"
