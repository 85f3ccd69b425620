"""Volumes without a mount: files that change at once, whose they are, which paths of a node may be used, and clean-up."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.api.errors import StatusError
from sampan.cri import pb
from sampan.kubelet.environment import ConfigError
from sampan.kubelet.sources import NotSynced
from sampan.kubelet.volumes import Extra, Mounted, VolumeError, Volumes, atomic, clean, host_path, ownership, subpath
from sampan.kubelet.volumes.atomic import File
from sampan.kubelet.volumes.errors import SetUpFailed
from sampan.kubelet.volumes.places import place

Obj = dict[str, Any]
NOW = 1_700_000_000.0


def seen(directory: Path) -> dict[str, str]:
    """What a container sees."""
    return {
        str(each.relative_to(directory)): each.read_text()
        for top in directory.iterdir()
        if not top.name.startswith("..")
        for each in ([top] if top.is_file() else top.rglob("*"))
        if each.is_file()
    }


def files(**texts: str) -> dict[str, File]:
    return {name.replace("__", "/").replace("_", "."): File(text.encode(), 0o644) for name, text in texts.items()}


# -- atomic updates ----------------------------------------------------------------------------------------------------


def test_files_change_at_once(tmp_path: Path) -> None:
    assert atomic.write(tmp_path, files(a="1", dir__b="2"), now=NOW)
    assert seen(tmp_path) == {"a": "1", "dir/b": "2"}
    assert os.readlink(tmp_path / "a") == "..data/a"
    assert os.readlink(tmp_path / "dir") == "..data/dir"
    first = os.readlink(tmp_path / "..data")
    assert first.startswith("..2023_11_14_22_13_20.")
    assert stat.S_IMODE((tmp_path / first).stat().st_mode) == 0o755

    assert not atomic.write(tmp_path, files(a="1", dir__b="2"), now=NOW)
    assert os.readlink(tmp_path / "..data") == first

    old = (tmp_path / "a").open()
    assert atomic.write(tmp_path, files(a="one", c="3"), now=NOW)
    assert seen(tmp_path) == {"a": "one", "c": "3"}
    assert old.read() == "1"
    assert not (tmp_path / first).exists()
    assert sorted(each.name for each in tmp_path.iterdir() if each.name.startswith("..")) == sorted(
        ["..data", os.readlink(tmp_path / "..data")]
    )


NAMES = st.sampled_from(["a", "b", "a/x", "a/y/z", "c/d", "b/e"])


@pytest.mark.slow
@given(st.lists(st.dictionaries(NAMES, st.sampled_from(["1", "2"]), max_size=4), min_size=1, max_size=6))
@settings(deadline=None, max_examples=25)
def test_whatever_changes_the_last_payload_is_seen_and_nothing_else(payloads: list[dict[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        for payload in payloads:
            # a name cannot be a file and a directory at once
            wanted = {path: text for path, text in payload.items() if not any(f"{path}/" in each for each in payload)}
            atomic.write(top, {path: File(text.encode(), 0o644) for path, text in wanted.items()}, now=NOW)
            assert seen(top) == wanted
            assert len([each for each in top.iterdir() if each.name.startswith("..")]) == 2
            assert all(each.is_symlink() for each in top.iterdir() if not each.name.startswith("..2"))


def test_a_writer_that_was_killed_leaves_no_harm(tmp_path: Path) -> None:
    atomic.write(tmp_path, files(a="1"), now=NOW)
    (tmp_path / "..data_tmp").symlink_to("nowhere")
    (tmp_path / "..2001_01_01_00_00_00.1").mkdir()
    assert atomic.write(tmp_path, files(a="2"), now=NOW)
    assert seen(tmp_path) == {"a": "2"}
    assert len(list(tmp_path.iterdir())) == 3


def test_an_empty_map_is_an_empty_directory(tmp_path: Path) -> None:
    atomic.write(tmp_path, files(a="1"), now=NOW)
    assert atomic.write(tmp_path, {}, now=NOW)
    assert seen(tmp_path) == {}
    assert atomic.is_written(tmp_path)


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "..x/y", "a" * 256])
def test_paths_cannot_leave(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="invalid path"):
        atomic.write(tmp_path, {path: File(b"", 0o644)}, now=NOW)
    assert not list(tmp_path.iterdir())


def test_owners_are_set_before_anyone_can_look(tmp_path: Path) -> None:
    shown: list[bool] = []
    atomic.write(tmp_path, files(a="1"), now=NOW, own=lambda made: shown.append((tmp_path / "..data").exists()))
    assert shown == [False]


# -- fsGroup -----------------------------------------------------------------------------------------------------------


def test_a_group_gets_all_of_a_volume(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir(0o700)
    (tmp_path / "d" / "f").write_text("x")
    (tmp_path / "d" / "f").chmod(0o600)
    (tmp_path / "link").symlink_to("/etc/hostname")
    before = Path("/etc/hostname").stat()
    ownership.give(tmp_path, os.getgid())
    assert stat.S_IMODE((tmp_path / "d" / "f").stat().st_mode) == 0o660
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o2770
    assert tmp_path.stat().st_mode & stat.S_ISGID
    assert Path("/etc/hostname").stat() == before

    (tmp_path / "d" / "f").chmod(0o600)
    ownership.give(tmp_path, os.getgid(), if_mismatched=True)
    assert stat.S_IMODE((tmp_path / "d" / "f").stat().st_mode) == 0o600
    ownership.give(tmp_path, os.getgid(), read_only=True)
    assert stat.S_IMODE((tmp_path / "d" / "f").stat().st_mode) == 0o640


def test_who_a_pod_runs_as() -> None:
    def user(*containers: int | None, pod: int | None = None) -> int | None:
        made = [{"securityContext": {"runAsUser": each}} if each is not None else {} for each in containers]
        return ownership.user_of(
            {"spec": {"containers": made, "securityContext": {} if pod is None else {"runAsUser": pod}}}
        )

    assert user(1, 1) == user(1, None, pod=1) == user(None, pod=1) == 1
    assert user(None) is user(1, 2) is user(1, None) is None


# -- hostPath ----------------------------------------------------------------------------------------------------------


def test_types_of_host_paths(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
    os.mkfifo(tmp_path / "p")
    right = {"": "nothing", "Directory": ".", "File": "f", "Socket": "s", "CharDevice": "/dev/null"}
    for kind, path in right.items():
        assert host_path.check(str(tmp_path / path), kind) == tmp_path / path

    def why(path: str, kind: str) -> str:
        with pytest.raises(SetUpFailed) as caught:
            host_path.check(f"{tmp_path}/{path}", kind)
        return str(caught.value).replace(f"{tmp_path}/", "")

    assert why("f", "Directory") == "hostPath type check failed: f is not a directory, it's a File"
    assert why("f", "DirectoryOrCreate") == "hostPath type check failed: f is not a directory, it's a File"
    assert why("s", "File") == "hostPath type check failed: s is not a file, it's a Socket"
    assert why("f", "Socket") == "hostPath type check failed: f is not a socket file, it's a File"
    assert why("f", "BlockDevice") == "hostPath type check failed: f is not a block device, it's a File"
    assert why("none", "CharDevice") == "hostPath none doesn't exist"
    assert why("p", "File").startswith("hostPath type check failed, p is not a file, unable to determine its type")
    assert why("f", "Odd") == "Odd is an invalid volume type"
    assert why("no/such/file", "FileOrCreate") == "open no/such/file: no such file or directory"


def test_host_paths_are_made(tmp_path: Path) -> None:
    assert host_path.check(f"{tmp_path}/a/b", "DirectoryOrCreate").is_dir()
    assert host_path.check(f"{tmp_path}/f", "FileOrCreate").is_file()
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o644


# -- subPath -----------------------------------------------------------------------------------------------------------


def test_directories_of_sub_paths_are_made_inside_only(tmp_path: Path) -> None:
    base, outside = tmp_path / "volume", tmp_path / "outside"
    base.mkdir()
    outside.mkdir()
    old = os.umask(0o077)
    try:
        subpath.make(base, "a/b/c", 0o775)
    finally:
        os.umask(old)
    assert stat.S_IMODE((base / "a/b/c").stat().st_mode) == 0o775
    (base / "inner").symlink_to("a")
    subpath.make(base, "inner/d", 0o755)
    assert (base / "a/d").is_dir()
    for name, target in {
        "up": "..",
        "abs": str(outside),
        "dangling": str(outside / "x"),
        "deep": "a/../../outside",
    }.items():
        (base / name).symlink_to(target)
        with pytest.raises(OSError):
            subpath.make(base, f"{name}/evil", 0o755)
    assert not list(outside.iterdir())
    assert sorted(each.name for each in tmp_path.iterdir()) == ["outside", "volume"]


# -- what a container gets ---------------------------------------------------------------------------------------------


def pod(*volumes: Obj, **spec: Any) -> Obj:
    meta = {"name": "web", "namespace": "shop", "uid": "u-1", "labels": {"app": "web"}}
    return {"metadata": meta, "spec": {"containers": [], "volumes": list(volumes), **spec}}


def volumes_at(root: Path, sources: Any = None, warned: list[str] | None = None) -> Volumes:
    told = [] if warned is None else warned
    nothing: Any = sources or Fixed()
    return Volumes(
        root, nothing, nothing, node="n1", clock=lambda: NOW, warn=lambda pod, reason, message: told.append(message)
    )


class Fixed:
    def __init__(self, **objects: Obj) -> None:
        self.objects = objects

    def listen(self, changed: Any) -> None:
        self.changed = changed

    def register(self, pod: Obj) -> None: ...

    def unregister(self, uid: str) -> None: ...

    async def config_map(self, namespace: str, name: str) -> Obj:
        if name == "late":
            raise NotSynced("failed to sync configmap cache: timed out waiting for the condition")
        if name not in self.objects:
            raise StatusError(404, "NotFound", f'configmap "{name}" not found')
        return self.objects[name]


def mount(name: str, path: str, **more: Any) -> Obj:
    return {"name": name, "mountPath": path, **more}


def test_mounts_of_a_container(tmp_path: Path) -> None:
    container = {
        "name": "main", "terminationMessagePath": "/dev/termination-log",
        "volumeMounts": [
            mount("data", "/data", mountPropagation="Bidirectional"), mount("data", "ro", readOnly=True, recursiveReadOnly="IfPossible"),
            mount("conf", "/conf", mountPropagation="HostToContainer"),
        ],
    }  # fmt: skip
    mounted = {"data": Mounted(tmp_path / "d"), "conf": Mounted(tmp_path / "c", read_only=True)}
    volumes = volumes_at(tmp_path)
    extra = Extra({}, ["10.1.0.2"], "web", recursive_read_only=True)
    found = volumes.container_mounts(pod(), container, mounted, extra)
    told = [(each.container_path, each.readonly, each.recursive_read_only, each.propagation) for each in found]
    assert told == [
        ("/data", False, False, pb.PROPAGATION_BIDIRECTIONAL), ("/ro", True, True, pb.PROPAGATION_PRIVATE),
        ("/conf", True, False, pb.PROPAGATION_HOST_TO_CONTAINER), ("/etc/hosts", False, False, 0), ("/dev/termination-log", False, False, 0),
    ]  # fmt: skip
    at = place(tmp_path, "u-1")
    assert Path(found[3].host_path) == at.hosts
    assert at.hosts.read_text().endswith("10.1.0.2\tweb\n")
    message = Path(found[4].host_path)
    assert message.parent == at.container("main")
    assert stat.S_IMODE(message.stat().st_mode) == 0o666
    again = volumes.container_mounts(pod(), container, mounted, extra)
    assert again[4].host_path != found[4].host_path


def test_own_hosts_and_pods_without_an_address(tmp_path: Path) -> None:
    volumes = volumes_at(tmp_path)
    mounted = {"h": Mounted(tmp_path / "h")}
    own = {"name": "c", "volumeMounts": [mount("h", "/etc/hosts")]}
    assert [each.host_path for each in volumes.container_mounts(pod(), own, mounted, Extra({}, ["10.1.0.2"]))] == [
        str(tmp_path / "h")
    ]
    assert volumes.container_mounts(pod(), {"name": "c"}, {}, Extra({})) == []


@pytest.mark.parametrize(
    ("each", "message"),
    [
        (mount("none", "/x"), 'cannot find volume "none" to mount into container "c"'),
        (mount("d", "/x", subPath="/abs"), "error SubPath `/abs` must not be an absolute path"),
        (mount("d", "/x", subPathExpr="$(A)/.."), "unable to provision SubPath `a/..`: must not contain '..'"),
        (mount("d", "/x", subPathExpr="$(B)"), 'missing value for "B"'),
        (mount("d", "/x", subPath="out/x"), 'failed to create subPath directory for volumeMount "d" of container "c"'),
        (mount("d", "/x", subPath="out"), 'failed to prepare subPath for volumeMount "d" of container "c"'),
        (
            mount("d", "/x", readOnly=True, recursiveReadOnly="Enabled"),
            'failed to resolve recursive read-only mode: volume "d" requested recursive read-only mode, '
            "but it is not supported by the runtime",
        ),
    ],
)
def test_mounts_that_cannot_be(tmp_path: Path, each: Obj, message: str) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "out").symlink_to("/etc")
    container = {"name": "c", "volumeMounts": [each]}
    with pytest.raises(ConfigError) as caught:
        volumes_at(tmp_path).container_mounts(pod(), container, {"d": Mounted(tmp_path / "d")}, Extra({"A": "a"}))
    assert caught.value.message == message


# -- all of a pod ------------------------------------------------------------------------------------------------------


async def test_volumes_of_a_pod(tmp_path: Path) -> None:
    sources = Fixed(
        settings={"data": {"a": "1", "b": "2"}, "binaryData": {"bin": base64.b64encode(b"\xff\x00").decode()}}
    )
    spec = pod(
        {"name": "tmp", "emptyDir": {}},
        {"name": "conf", "configMap": {"name": "settings", "defaultMode": 0o440}},
        {"name": "some", "configMap": {"name": "settings", "items": [{"key": "a", "path": "x/y", "mode": 0o400}]}},
        {"name": "none", "configMap": {"name": "absent", "optional": True}},
        {"name": "host", "hostPath": {"path": str(tmp_path)}},
    )
    volumes = volumes_at(tmp_path, sources)
    found = await volumes.mount(spec)
    at = tmp_path / "pods/u-1/volumes"
    assert found["tmp"] == Mounted(at / "kubernetes.io~empty-dir/tmp")
    assert stat.S_IMODE(found["tmp"].path.stat().st_mode) == 0o777
    assert found["conf"] == Mounted(at / "kubernetes.io~configmap/conf", read_only=True)
    assert (found["conf"].path / "bin").read_bytes() == b"\xff\x00"
    assert stat.S_IMODE((found["conf"].path / "a").stat().st_mode) == 0o440
    assert stat.S_IMODE((found["some"].path / "x/y").stat().st_mode) == 0o400
    assert seen(found["some"].path) == {"x/y": "1"}
    assert seen(found["none"].path) == {}
    assert found["host"].path == tmp_path

    # another kubelet finds what there is
    (found["tmp"].path / "kept").write_text("")
    sources.objects["settings"] = {"data": {"a": "new"}}
    assert await volumes_at(tmp_path, sources).mount(spec) == found
    assert (found["tmp"].path / "kept").exists()
    assert seen(found["conf"].path) == {"a": "new"}

    await volumes.unmount("u-1")
    assert not at.exists()
    assert not (tmp_path / "pods/u-1/plugins").exists()
    assert (tmp_path / "pods/u-1").is_dir()
    await volumes.remove("u-1")
    assert not (tmp_path / "pods/u-1").exists()


async def test_each_failure_is_told_and_the_rest_is_made(tmp_path: Path) -> None:
    spec = pod(
        {"name": "a", "configMap": {"name": "absent"}},
        {"name": "b", "configMap": {"name": "there", "items": [{"key": "k", "path": "k"}]}},
        {"name": "c", "configMap": {"name": "late"}},
        {"name": "d", "hostPath": {"path": f"{tmp_path}/no", "type": "Directory"}},
        {"name": "e", "nfs": {"server": "s", "path": "/"}},
        {"name": "f", "emptyDir": {}},
        {"name": "g", "csi": {"driver": "some.driver"}},
    )
    with pytest.raises(VolumeError) as caught:
        await volumes_at(tmp_path, Fixed(there={"data": {}})).mount(spec)
    assert caught.value.reason == "FailedMount"
    assert caught.value.messages == (
        'MountVolume.SetUp failed for volume "a" : configmap "absent" not found',
        'MountVolume.SetUp failed for volume "b" : configmap references non-existent config key: k',
        'MountVolume.SetUp failed for volume "c" : failed to sync configmap cache: timed out waiting for the condition',
        f'MountVolume.SetUp failed for volume "d" : hostPath {tmp_path}/no doesn\'t exist',
        "Unable to attach or mount volumes: unmounted volumes=[e], unattached volumes=[], failed to process volumes=[e]: "
        'failed to get Plugin from volumeSpec for volume "e" err=no volume plugin matched',
        'MountVolume.SetUp failed for volume "g" : kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: driver name '
        "some.driver not found in the list of registered CSI drivers",
    )
    assert (tmp_path / "pods/u-1/volumes/kubernetes.io~empty-dir/f").is_dir()


@pytest.mark.virtual
async def test_a_volume_that_failed_is_tried_again_ever_later(tmp_path: Path) -> None:
    sources = Fixed()
    spec = pod(
        {"name": "b", "configMap": {"name": "absent"}},
        {"name": "a", "hostPath": {"path": f"{tmp_path}/no", "type": "File"}},
    )
    volumes = volumes_at(tmp_path, sources)
    loop = asyncio.get_running_loop()
    begin, told = loop.time(), list[tuple[float, str]]()
    while loop.time() - begin < 130:
        with pytest.raises(VolumeError) as caught:
            await volumes.mount(spec)
        told += [(loop.time() - begin, message) for message in caught.value.messages]
        await asyncio.sleep(0.5)
    assert [at for at, message in told if '"b"' in message] == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 63.5, 127.5]
    late = (
        "Unable to attach or mount volumes: unmounted volumes=[a b], unattached volumes=[], failed to process volumes=[]: "
        "context deadline exceeded"
    )
    assert [at for at, message in told if message == late] == [123]
    sources.objects["absent"] = {}
    (tmp_path / "no").write_text("")
    sources.changed("u-1")
    assert set(await volumes.mount(spec)) == {"a", "b"}


async def test_what_is_in_use_outlives_its_source(tmp_path: Path) -> None:
    sources = Fixed(settings={"data": {"a": "1"}})
    spec, warned = pod({"name": "conf", "configMap": {"name": "settings"}}), list[str]()
    volumes = volumes_at(tmp_path, sources, warned)
    found = await volumes.mount(spec)
    sources.objects.clear()
    assert await volumes.refresh(spec) == found
    assert seen(found["conf"].path) == {"a": "1"}
    assert warned == ['MountVolume.SetUp failed for volume "conf" : configmap "settings" not found']


async def test_a_change_amid_the_first_mount_is_not_lost(tmp_path: Path) -> None:
    class Changing(Fixed):
        async def config_map(self, namespace: str, name: str) -> Obj:
            if name == "slow":
                self.objects["settings"] = {"data": {"a": "2"}}
                self.changed("u-1")
                for _ in range(10):
                    await asyncio.sleep(0)
            return await super().config_map(namespace, name)

    sources = Changing(settings={"data": {"a": "1"}}, slow={"data": {}})
    spec = pod({"name": "first", "configMap": {"name": "settings"}}, {"name": "second", "configMap": {"name": "slow"}})
    volumes = volumes_at(tmp_path, sources)
    keeping = asyncio.create_task(volumes.keep())
    found = await volumes.mount(spec)
    for _ in range(30):  # turns, not time
        await asyncio.sleep(0)
    assert seen(found["first"].path) == {"a": "2"}
    keeping.cancel()


async def test_what_nobody_knows_is_removed(tmp_path: Path) -> None:
    volumes = volumes_at(tmp_path)
    for uid in ("kept", "gone"):
        spec = pod({"name": "tmp", "emptyDir": {}})
        spec["metadata"]["uid"] = uid
        await volumes.mount(spec)
    outside = tmp_path / "precious"
    outside.write_text("")
    (tmp_path / "pods/gone/volumes/kubernetes.io~empty-dir/tmp/link").symlink_to(outside)
    assert await volumes_at(tmp_path).orphans({"kept"}) == ["gone"]
    assert [each.name for each in (tmp_path / "pods").iterdir()] == ["kept"]
    assert outside.exists()


def test_trees_deeper_than_any_path_are_removed(tmp_path: Path) -> None:
    name = "d" * 250
    deep = os.open(tmp_path, os.O_PATH)
    os.mkdir("top", dir_fd=deep)
    for step in ("top", *[name] * 40):
        following = os.open(step, os.O_PATH, dir_fd=deep)
        os.close(deep)
        deep = following
        os.mkdir(name, dir_fd=deep)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=deep))
    os.close(deep)
    clean.remove_tree(tmp_path / "top")
    assert not (tmp_path / "top").exists()


def test_paths_of_the_node_that_are_elsewhere_on_the_machine() -> None:
    mapped = (("/data", "/srv", True), ("/data/own", "/home/own", False), ("/x/", "/y", False))
    for path, machine in (
        ("/data", ("/srv", True)), ("/data/a/b", ("/srv/a/b", True)), ("/data/own/f", ("/home/own/f", False)),
        ("/database", ("/database", False)), ("/x/1", ("/y/1", False)), ("/x", ("/y", False)),
    ):  # fmt: skip
        assert host_path.on_machine(path, mapped) == machine
