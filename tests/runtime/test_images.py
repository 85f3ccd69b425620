"""Images over CRI and beside it: pulled from a registry, loaded from files; and what a killed pull leaves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sampan.cli.commands import cli
from sampan.cluster import images, state
from sampan.cluster.errors import ClusterError
from sampan.cri import pb
from sampan.runtime import records
from sampan.runtime.errors import CriError
from sampan.runtime.hosts import Hosts
from sampan.runtime.layers import Limits
from sampan.runtime.pull import Puller
from sampan.runtime.registry import Registry
from sampan.runtime.store import Store
from tests.images import Built, busybox, entry, sha, tar
from tests.runtime.pods import Pods
from tests.runtime.registries import registry
from tests.runtime.test_containers import refused

pytestmark = [pytest.mark.clients, pytest.mark.slow]


def run(*command: str) -> None:
    subprocess.run(command, check=True)


async def found(pods: Pods, name: str) -> Any:
    return (await pods.cri.ImageStatus(image=pb.ImageSpec(image=name))).image


@pytest.fixture
async def cleared(pods: Pods) -> AsyncIterator[Pods]:
    """Without the images that the test adds."""
    before = {each.id for each in (await pods.cri.ListImages()).images}
    yield pods
    for each in (await pods.cri.ListImages()).images:
        if each.id not in before:
            await pods.cri.RemoveImage(image=pb.ImageSpec(image=each.id))


async def test_loaded_from_files(cleared: Pods, tmp_path: Path) -> None:
    pods, socket = cleared, str(cleared.home.socket)
    built = busybox(Labels={"test": "files"})
    file = built.docker_save(tmp_path / "docker.tar", "student-app:v4")
    assert await images.load(socket, file) == ["docker.io/library/student-app:v4"]
    assert (await found(pods, "student-app:v4")).id == built.id
    other = busybox(Labels={"test": "archive"})
    file = other.oci_archive(tmp_path / "oci.tar", "registry.example:5000/team/app:v1")
    assert await images.load(socket, file) == ["registry.example:5000/team/app:v1"]
    image = await found(pods, "registry.example:5000/team/app:v1")
    digests = [f"registry.example:5000/team/app@{sha(other.manifest_data)}"] if pods.home.kind == "sampan" else []
    assert (image.id, list(image.repo_digests)) == (other.id, digests)  # containerd's import gives none
    pods.image = "student-app:v4"
    await pods.run()
    assert await pods.output("echo", "loaded") == "loaded\n"
    (tmp_path / "bad.tar").write_bytes(b"not an archive" * 100)
    with pytest.raises(ClusterError):
        await images.load(socket, tmp_path / "bad.tar")


async def test_the_command(cleared: Pods, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPAN_HOME", str(tmp_path))
    cluster = state.find("default")
    monkeypatch.setattr(images, "running", lambda _: {"node-1": cleared.home.socket})
    file = busybox(Labels={"test": "command"}).docker_save(tmp_path / "x.tar", "by-command:1")
    done = await asyncio.to_thread(CliRunner().invoke, cli, ["load", "image-archive", str(file)])
    assert (done.exit_code, done.output) == (0, " • node-1: docker.io/library/by-command:1\n"), done
    assert (await found(cleared, "by-command:1")).id
    monkeypatch.undo()
    assert images.sockets(cluster) == {}
    with pytest.raises(ClusterError, match="there is no cluster default"):
        await images.load_archive(cluster, file)


async def test_from_docker(cleared: Pods, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`docker` is asked as it wants to be; a program in its place has the image ready."""
    file = busybox(Labels={"test": "docker"}).docker_save(tmp_path / "saved.tar", "of-docker:1")
    program = tmp_path / "docker"
    program.write_text(f'#!/bin/sh\n[ "$1 $2 $4" = "save --output of-docker:1" ] && cp {file} "$3"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(images, "running", lambda _: {"node-1": cleared.home.socket})
    name = "docker.io/library/of-docker:1"
    assert await images.load_from_docker(state.find("default"), ["of-docker:1"]) == {"node-1": [name]}
    with pytest.raises(ClusterError, match="docker failed"):
        await images.load_from_docker(state.find("default"), ["other:1"])
    assert (await found(cleared, name)).id


async def test_pulled(cleared: Pods, tmp_path: Path) -> None:
    pods = cleared
    built = busybox(Labels={"test": "pull"})
    with registry(tmp_path) as server:
        server.push(built, "team/app", "v1")
    with registry(tmp_path, port=server.port, network=pods.home.network):
        name = f"{server.domain}/team/app:v1"
        assert (await pods.cri.PullImage(image=pb.ImageSpec(image=name))).image_ref == built.id
        image = await found(pods, name)
        digest = f"{server.domain}/team/app@{sha(built.manifest_data)}"
        assert (list(image.repo_tags), list(image.repo_digests)) == ([name], [digest])
        missing = f"{server.domain}/team/app:v2"
        code, words = await refused(pods.cri.PullImage(image=pb.ImageSpec(image=missing)))
        assert code == "NOT_FOUND"
        assert words.endswith(
            f'failed to pull and unpack image "{missing}": failed to resolve reference "{missing}": {missing}: not found'
        )
    code, words = await refused(pods.cri.PullImage(image=pb.ImageSpec(image=missing)))
    assert code in ("UNAVAILABLE", "UNKNOWN") and "connect: connection refused" in words


async def test_a_full_disk(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounts need root")
    small, large = Built([tar(entry("f"))]), Built([tar(entry("f", os.urandom(14 << 20)))])
    disk = tmp_path / "disk"
    disk.mkdir()
    await asyncio.to_thread(run, "mount", "-t", "tmpfs", "-o", "size=20m", "none", str(disk))
    try:
        store = Store(disk / "store")
        store.open()
        puller = Puller(store, Registry(Hosts()), Limits(keep_free=0))
        with pytest.raises(CriError, match=r"No space left on device|larger than allowed"):
            await puller.load(large.docker_save(tmp_path / "large.tar", "large:1"))
        assert not list(store.ingest.iterdir()) and store.images() == []
        [image] = await puller.load(small.docker_save(tmp_path / "small.tar", "small:1"))
        (disk / "rest").write_bytes(bytes(shutil.disk_usage(disk).free))
        record = records.create(tmp_path / "records", "a" * 64, pb.PodSandboxConfig(), records.SandboxState(1))
        record.directory = disk / "gone"  # as good as full
        record.note(ready=False)
        assert not record.state.ready and store.find("small:1") == image
        with pytest.raises(CriError, match="larger than allowed"):  # some of the disk is never ours
            await Puller(store, Registry(Hosts()), Limits()).load(tmp_path / "small.tar")
    finally:
        await asyncio.to_thread(run, "umount", "-l", str(disk))


async def test_a_pull_that_was_killed(own: Pods, tmp_path: Path) -> None:
    store = own.home.root / "lib" / "images"
    built = Built([tar(entry("f", os.urandom(30 << 20))), tar(entry("g", os.urandom(1 << 20)))])
    with registry(tmp_path) as server:
        server.push(built, "large", "1")
        pull = asyncio.ensure_future(own.cri.PullImage(image=pb.ImageSpec(image=f"{server.domain}/large:1")))
        async with asyncio.timeout(20):
            while not list((store / "ingest").glob("*/blob")):  # noqa: ASYNC110 - any moment of it
                await asyncio.sleep(0.001)
        own.home.stop(signal.SIGKILL)
        with contextlib.suppress(Exception):
            await pull
        own.home.start()
        own.cri = await own.home.connect()
        assert built.id not in {each.id for each in (await own.cri.ListImages()).images}
        async with asyncio.timeout(20):
            while list(store.glob("ingest.*")):  # noqa: ASYNC110 - deleted in its own time
                await asyncio.sleep(0.01)
        assert not list((store / "ingest").iterdir())
        assert (await own.cri.PullImage(image=pb.ImageSpec(image=f"{server.domain}/large:1"))).image_ref == built.id
    log = (own.home.root / "log").read_text()
    assert f"pulling {server.domain}/large:1: 32." in log and "done after" in log
