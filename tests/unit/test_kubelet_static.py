"""Pods from files."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

from sampan.kubelet import static
from sampan.kubelet.static import StaticPods, Unusable
from sampan.testing.loop import START

Obj = dict[str, Any]


def manifest(name: str = "web", **spec: Any) -> bytes:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
           "spec": {"containers": [{"name": "app", "image": "busybox"}], **spec}}  # fmt: skip
    return yaml.safe_dump(pod).encode()


@pytest.fixture(scope="module", autouse=True)
def schema() -> None:
    """Read once, and in nobody's time."""
    static.parse(manifest())


def made(directory: Path) -> tuple[StaticPods, asyncio.Queue[list[Obj]]]:
    told: asyncio.Queue[list[Obj]] = asyncio.Queue()
    return StaticPods(directory, "Node-1", told.put_nowait, clock=lambda: START), told


def test_a_file_becomes_a_pod_of_this_node(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_bytes(manifest())
    pods, told = made(tmp_path)
    pods.read()
    (pod,) = told.get_nowait()
    meta = pod["metadata"]
    assert (meta["name"], meta["namespace"], len(meta["uid"])) == ("web-node-1", "default", 32)
    assert meta["annotations"] == {
        "kubernetes.io/config.hash": meta["uid"],
        "kubernetes.io/config.seen": "2026-01-01T00:00:00Z",
        "kubernetes.io/config.source": "file",
    }
    spec = pod["spec"]
    assert spec["nodeName"] == "Node-1" and spec["restartPolicy"] == "Always" and spec["dnsPolicy"] == "ClusterFirst"
    assert {"operator": "Exists", "effect": "NoExecute"} in spec["tolerations"]
    assert spec["containers"][0]["imagePullPolicy"] == "Always"
    again, told = made(tmp_path)
    again.read()
    assert told.get_nowait()[0]["metadata"]["uid"] == meta["uid"]
    (tmp_path / "web.yaml").write_bytes(manifest(hostNetwork=True))
    again.read()
    assert told.get_nowait()[0]["metadata"]["uid"] != meta["uid"]


def test_bad_files_are_told_of_once_and_others_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.yaml").write_bytes(b"{")
    (tmp_path / "b.yaml").write_bytes(manifest())
    (tmp_path / "c.yaml").write_bytes(manifest())
    (tmp_path / ".d.yaml").write_bytes(manifest("hidden"))
    (tmp_path / "e.yaml").write_bytes(b"")
    (tmp_path / "f").mkdir()
    pods, told = made(tmp_path)
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            pods.read()
    assert [each["metadata"]["name"] for each in told.get_nowait()] == ["web-node-1"] and told.empty()
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith(f"Could not process manifest file {tmp_path}/a.yaml: couldn't parse as pod(")
    assert second.endswith(f"pod default/web-node-1 is already in {tmp_path}/b.yaml, ignoring this one")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"[]", "it must hold one object"),
        (manifest() + b"---\n" + manifest("b"), "it must hold one object"),
        (b"apiVersion: apps/v1\nkind: Deployment", "it is apps/v1 Deployment"),
        (b"apiVersion: v1\nkind: Pod", "name is needed for the pod"),
        (b"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: 3}", "cannot unmarshal"),
        (manifest("UP"), "invalid pod: metadata.name: Invalid value"),
        (manifest(containers=[]), "invalid pod: spec.containers: Required value"),
        (manifest(serviceAccountName="a"), "static pods may not reference serviceaccounts"),
        (manifest(imagePullSecrets=[{"name": "a"}], volumes=[{"name": "b", "configMap": {"name": "c"}}]),
         "static pods may not reference configmaps, secrets"),
    ],
)  # fmt: skip
def test_what_is_no_pod(data: bytes, why: str) -> None:
    with pytest.raises(Unusable) as caught:
        static.parse(data)
    assert why in str(caught.value)


async def test_changes_are_seen_as_they_come(tmp_path: Path) -> None:
    directory = tmp_path / "manifests"
    directory.mkdir()
    pods, told = made(directory)
    task = asyncio.create_task(pods.run())
    async with asyncio.timeout(5):
        assert await told.get() == []
        (directory / "web.yaml").write_bytes(manifest())
        assert [each["metadata"]["name"] for each in await told.get()] == ["web-node-1"]
        (directory / "web.yaml").rename(tmp_path / "away")
        assert await told.get() == []
    task.cancel()


@pytest.mark.virtual
async def test_a_directory_may_come_later(tmp_path: Path) -> None:
    directory = tmp_path / "manifests"
    pods, told = made(directory)
    task = asyncio.create_task(pods.run())
    assert await told.get() == []
    directory.mkdir()
    (directory / "web.json").write_bytes(manifest())
    assert len(await told.get()) == 1
    (directory / "web.json").unlink()
    directory.rmdir()
    assert await told.get() == []
    task.cancel()


def test_mirrors(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_bytes(manifest())
    pods, told = made(tmp_path)
    pods.read()
    (pod,) = told.get_nowait()
    node = {"metadata": {"name": "Node-1", "uid": "n"}}
    shown = static.mirror(pod, node)
    assert "uid" not in shown["metadata"] and "status" not in shown
    assert shown["metadata"]["annotations"]["kubernetes.io/config.mirror"] == pod["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": "Node-1", "uid": "n", "controller": True}
    assert shown["metadata"]["ownerReferences"] == [owner]
    assert static.mirrors(shown, pod) and static.full_name(shown) == static.full_name(pod) == "web-node-1_default"
    (tmp_path / "web.yaml").write_bytes(manifest(hostNetwork=True))
    pods.read()
    assert not static.mirrors(shown, told.get_nowait()[0])
