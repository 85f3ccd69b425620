"""Images, containers and logs that nobody needs any more."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sampan.cri import pb
from sampan.kubelet import names
from sampan.kubelet.cgroups import Cgroups
from sampan.kubelet.container_gc import ContainerGc
from sampan.kubelet.cri import CriFailed
from sampan.kubelet.image_gc import ImageGc
from sampan.kubelet.log_rotation import LogRotation
from sampan.testing.loop import START

Obj = dict[str, Any]


class Runtime:
    """As much of a runtime as is asked here: what there is, and what was done."""

    def __init__(self) -> None:
        self.containers: list[Any] = []
        self.sandboxes: list[Any] = []
        self.images: list[Any] = []
        self.done: list[str] = []
        self.reopen: Callable[[str], None] = lambda _: None
        self.failing = False

    def container(
        self, key: str, uid: str, name: str, created: int, *, runs: bool = False, sandbox: str = "", image: str = ""
    ) -> None:
        state = pb.CONTAINER_RUNNING if runs else pb.CONTAINER_EXITED
        labels = {names.POD_UID: uid, names.CONTAINER_NAME: name, names.POD_NAME: "web", names.POD_NAMESPACE: "default"}
        self.containers.append(pb.Container(
            id=key, pod_sandbox_id=sandbox or f"s-{uid}", state=state, created_at=created, labels=labels, image_ref=image,
            annotations={names.RESTARTS: str(created)},
        ))  # fmt: skip

    def sandbox(self, key: str, uid: str, created: int, *, ready: bool = False) -> None:
        state = pb.SANDBOX_READY if ready else pb.SANDBOX_NOTREADY
        self.sandboxes.append(pb.PodSandbox(id=key, state=state, created_at=created, labels={names.POD_UID: uid}))

    async def ListContainers(self, **_: Any) -> Any:
        return pb.ListContainersResponse(containers=self.containers)

    async def ListPodSandbox(self) -> Any:
        return pb.ListPodSandboxResponse(items=self.sandboxes)

    async def ListImages(self) -> Any:
        if self.failing:
            raise CriFailed("UNAVAILABLE", "connection refused")
        return pb.ListImagesResponse(images=self.images)

    async def Status(self, verbose: bool) -> Any:
        return pb.StatusResponse(info={"config": '{"sandboxImage": "pause:latest"}'})

    async def RemoveContainer(self, container_id: str) -> None:
        self.done.append(container_id)

    async def StopPodSandbox(self, pod_sandbox_id: str) -> None:
        self.done.append(f"stop {pod_sandbox_id}")

    async def RemovePodSandbox(self, pod_sandbox_id: str) -> None:
        self.done.append(pod_sandbox_id)

    async def RemoveImage(self, image: Any) -> None:
        self.done.append(image.image)
        self.images = [each for each in self.images if each.id != image.image]

    async def ContainerStatus(self, container_id: str) -> Any:
        return pb.ContainerStatusResponse(status=pb.ContainerStatus(log_path=container_id))

    async def ReopenContainerLog(self, container_id: str) -> None:
        self.done.append("reopen")
        self.reopen(container_id)


# -- containers --------------------------------------------------------------------------------------------------------


async def test_dead_containers_go_but_the_last_of_each_name(tmp_path: Path) -> None:
    runtime, gone, over = Runtime(), {"lost"}, {"ended"}
    runtime.container("app-2", "live", "app", 2)
    runtime.container("app-1", "live", "app", 1)
    runtime.container("app-3", "live", "app", 3, runs=True)
    runtime.container("init-1", "live", "init", 1)
    runtime.container("old", "lost", "app", 1)
    runtime.container("done", "ended", "app", 1)
    runtime.sandbox("s-live", "live", 5, ready=True)
    runtime.sandbox("s-before", "live", 1)
    runtime.sandbox("s-lost", "lost", 1)
    runtime.sandbox("s-ended", "ended", 1)
    logs = tmp_path / "pods"
    kept = logs / "default_web_live" / "app" / "2.log"
    for path in (
        kept,
        logs / "default_web_live/app/1.log",
        logs / "default_web_live/app/1.log.2.gz",
        logs / "default_web_lost/app/1.log",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    links = tmp_path / "containers"
    links.mkdir()
    (links / "web_default_app-app2.log").symlink_to(kept)
    (links / "web_default_app-gone.log").symlink_to(tmp_path / "nowhere")
    (links / "web_default_app-done.log").symlink_to(tmp_path / "nowhere")
    (tmp_path / "groups").mkdir()
    groups = Cgroups(mounts={"": tmp_path / "groups"})
    for uid in ("live", "lost", "lost-before"):
        await groups.ensure({"metadata": {"uid": uid}, "spec": {"containers": [{}]}})
    gone.add("lost-before")
    # the kernel's files go with their directory
    for each in (tmp_path / "groups").rglob("*"):
        if each.is_file():
            each.unlink()
    gc = ContainerGc(runtime, logs, groups, gone=gone.__contains__, over=over.__contains__)  # type: ignore[arg-type]  # only what it calls
    await gc.collect()
    assert groups.uids() == {"live", "lost"}, "what the runtime has is ended by others"
    assert runtime.done == ["app-1", "old", "stop s-before", "s-before", "stop s-lost", "s-lost"]
    assert [path.name for path in logs.rglob("*.log*")] == ["2.log"] and not (logs / "default_web_lost").exists()
    assert sorted(path.name for path in links.iterdir()) == ["web_default_app-app2.log", "web_default_app-done.log"]
    runtime.done.clear()
    await gc.collect(all_dead=True)
    assert {"done", "s-ended"} < set(runtime.done) and not {"app-2", "init-1", "s-live"} & set(runtime.done)


# -- images ------------------------------------------------------------------------------------------------------------


def image(key: str, size: int = 10, **more: Any) -> Any:
    return pb.Image(id=key, repo_tags=[f"{key}:latest"], size=size, **more)


class Images:
    def __init__(self, available: int) -> None:
        self.runtime = Runtime()
        self.available = available
        self.events: list[tuple[str, str]] = []
        self.gc = ImageGc(
            self.runtime, lambda kind, reason, message: self.events.append((reason, message)), disk=self.disk  # type: ignore[arg-type]  # only what it calls
        )  # fmt: skip

    async def disk(self) -> tuple[int, int]:
        return self.available, 100


@pytest.mark.virtual
async def test_images_go_when_the_disk_is_full() -> None:
    world = Images(available=14)
    runtime = world.runtime
    runtime.images = [
        image("used"),
        image("old", 4),
        image("pinned", pinned=True),
        image("pause"),
        image("recent", 4),
        image("tagged"),
    ]
    runtime.container("a", "u", "a", 1, image="used")
    runtime.container("b", "u", "b", 1, image="tagged:latest")
    runtime.container("c", "u", "c", 1, image="recent")
    await world.gc.collect()
    assert runtime.done == [] and world.events.pop()[0] == "FreeDiskSpaceFailed", "all are young"
    runtime.containers.pop()
    await asyncio.sleep(200)
    runtime.images.append(image("new", 50))
    await world.gc.collect()
    assert runtime.done == ["old", "recent"] and not world.events
    await world.gc.collect()
    assert world.events == [(
        "FreeDiskSpaceFailed",
        "Failed to garbage collect required amount of images. Attempted to free 6 bytes, but only found 0 bytes eligible to free.",
    )]  # fmt: skip
    world.available = 16
    await asyncio.sleep(200)
    await world.gc.collect()
    assert "new" not in runtime.done
    await world.gc.delete_unused()
    assert runtime.done[-1] == "new" and {each.id for each in runtime.images} == {"used", "pinned", "pause", "tagged"}


@pytest.mark.virtual
async def test_a_runtime_that_is_away_twice_is_worth_an_event() -> None:
    world = Images(available=50)
    world.runtime.failing = True
    task = asyncio.create_task(world.gc.run())
    await asyncio.sleep(1)
    assert not world.events
    await asyncio.sleep(300)
    assert world.events == [("ImageGCFailed", "connection refused")]
    task.cancel()


def files(directory: Path) -> dict[str, Path]:
    return {path.name: path for path in directory.iterdir()}


# -- logs --------------------------------------------------------------------------------------------------------------


async def test_logs_are_put_aside_and_packed(tmp_path: Path) -> None:
    runtime, log = Runtime(), tmp_path / "0.log"
    key = str(log)  # its container, for short
    now = START

    def reopen(_: str) -> None:
        log.write_text("")

    runtime.reopen = reopen
    runtime.container(key, "u", "app", 1, runs=True)
    rotation = LogRotation(runtime, max_size="1Ki", max_files=4, clock=lambda: now)  # type: ignore[arg-type]  # only what it calls
    log.write_text("short")
    await rotation.look()
    assert runtime.done == []
    for number in range(5):
        log.write_text(str(number) * 2000)
        await rotation.look()
        now += 60
    found = files(tmp_path)
    assert sorted(found) == [
        "0.log", "0.log.20260101-000200.gz", "0.log.20260101-000300.gz", "0.log.20260101-000400"
    ]  # fmt: skip
    assert gzip.decompress(found["0.log.20260101-000300.gz"].read_bytes()) == b"3" * 2000
    assert found["0.log.20260101-000400"].read_text() == "4" * 2000
    (tmp_path / "0.log.20260101-000300.tmp").write_text("broken off")
    (tmp_path / "0.log.20260101-000300").write_text("packed already")
    log.write_text("5" * 2000)
    await rotation.look()
    assert sorted(files(tmp_path)) == [
        "0.log", "0.log.20260101-000300.gz", "0.log.20260101-000400.gz", "0.log.20260101-000500"
    ]  # fmt: skip


async def test_a_log_that_cannot_be_reopened_keeps_its_name(tmp_path: Path) -> None:
    runtime, log = Runtime(), tmp_path / "0.log"

    def refuse(_: str) -> None:
        raise CriFailed("UNKNOWN", "no")

    runtime.reopen = refuse
    runtime.container(str(log), "u", "app", 1, runs=True)
    rotation = LogRotation(runtime, max_size="1Ki", clock=lambda: START)  # type: ignore[arg-type]  # only what it calls
    log.write_text("x" * 2000)
    await rotation.look()
    assert list(files(tmp_path)) == ["0.log"]
    log.unlink()
    runtime.reopen = lambda _: log.touch()
    await rotation.look()
    assert log.exists(), "somebody has taken it away"
