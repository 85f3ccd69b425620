"""What a container is given: capabilities, seccomp, environment, commands, users, mounts; and how usage is read."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from sampan.cri import pb
from sampan.runtime import cgroups, security, spec, users
from sampan.runtime.containers import signal_number
from sampan.runtime.errors import Invalid, NotFound, Precondition, Unavailable
from sampan.runtime.events import BOUND, Events
from sampan.runtime.manifests import Settings

IMAGE = Settings(("entry",), ("cmd",), ("A=image", "B=image"), "/work", "", "")
ROOT = users.User(0, 0, (0,), "/root")


def build(image: Settings = IMAGE, user: users.User = ROOT, **fields: Any) -> dict[str, Any]:
    place = spec.Place(Path("/r"), "/pod/c", {"network": "/n", "pid": ""}, {"/etc/hosts": Path("/h")}, "host")
    return spec.build(pb.ContainerConfig(**fields), image, user, place)


def secured(**fields: Any) -> Any:
    return pb.LinuxContainerConfig(security_context=pb.LinuxContainerSecurityContext(**fields))


@pytest.mark.parametrize(
    ("command", "args", "result"),
    [
        ([], [], ["entry", "cmd"]),
        ([], ["a"], ["entry", "a"]),
        (["c"], [], ["c"]),
        (["c"], ["a"], ["c", "a"]),
    ],
)
def test_commands(command: list[str], args: list[str], result: list[str]) -> None:
    assert build(command=command, args=args)["process"]["args"] == result


def test_an_image_without_a_command() -> None:
    with pytest.raises(Invalid, match="no command specified"):
        build(Settings((), (), (), "", "", ""))


def test_environment() -> None:
    process = build(envs=[pb.KeyValue(key="B", value="mine=1")], tty=True)["process"]
    assert process["env"] == [spec.PATH, "A=image", "B=mine=1", "HOSTNAME=host", "HOME=/root", "TERM=xterm"]
    assert process["cwd"] == "/work" and process["terminal"]


@pytest.mark.parametrize(
    ("add", "drop", "present", "absent"),
    [
        ([], [], "CAP_CHOWN", "CAP_SYS_ADMIN"),
        (["SYS_ADMIN"], ["CAP_CHOWN"], "CAP_SYS_ADMIN", "CAP_CHOWN"),
        (["net_raw"], ["ALL"], "CAP_NET_RAW", "CAP_CHOWN"),
    ],
)
def test_capabilities(add: list[str], drop: list[str], present: str, absent: str) -> None:
    found = security.capabilities(pb.Capability(add_capabilities=add, drop_capabilities=drop), False)
    assert present in found["bounding"] and absent not in found["bounding"]
    assert found["bounding"] == found["effective"] == found["permitted"] and "ambient" not in found


def test_other_users_hold_what_is_ambient() -> None:
    app = users.User(7, 7)
    assert "effective" not in build(user=app)["process"]["capabilities"]
    ambient = secured(capabilities=pb.Capability(add_ambient_capabilities=["NET_BIND_SERVICE"]))
    found = build(user=app, linux=ambient)["process"]["capabilities"]
    assert found["effective"] == found["ambient"] == ["CAP_NET_BIND_SERVICE"]


def test_seccomp(tmp_path: Path) -> None:
    profile = security.default_profile(())
    plain = set(profile["syscalls"][0]["names"])
    assert {"read", "openat", "execve"} <= plain and not {"mount", "unshare", "keyctl", "bpf", "clone3"} & plain
    assert "mount" in security.default_profile(("CAP_SYS_ADMIN",))["syscalls"][0]["names"]
    kinds = {kind: pb.SecurityProfile(profile_type=getattr(pb, kind)) for kind in ("RuntimeDefault", "Unconfined")}
    assert build(linux=secured(seccomp=kinds["RuntimeDefault"]))["linux"]["seccomp"]["defaultErrnoRet"] == 1
    assert "seccomp" not in build(linux=secured(seccomp=kinds["Unconfined"]))["linux"]
    assert "seccomp" not in build(linux=secured(seccomp=kinds["RuntimeDefault"], privileged=True))["linux"]
    (tmp_path / "p").write_text('{"defaultAction": "SCMP_ACT_LOG"}')
    local = pb.SecurityProfile(profile_type=pb.Localhost, localhost_ref=str(tmp_path / "p"))
    assert build(linux=secured(seccomp=local))["linux"]["seccomp"] == {"defaultAction": "SCMP_ACT_LOG"}
    local.localhost_ref = str(tmp_path / "q")
    with pytest.raises(Precondition, match="cannot load seccomp profile"):
        build(linux=secured(seccomp=local))


def test_mounts_come_in_order_and_replace_the_sandboxs(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    mounts = [
        pb.Mount(container_path="/a/b/c", host_path=str(tmp_path / "link"), readonly=True),
        pb.Mount(container_path="a", host_path=str(tmp_path)),
        pb.Mount(container_path="/etc/hosts", host_path=str(tmp_path)),
    ]
    found = build(mounts=mounts)["mounts"]
    order = [each["destination"] for each in found]
    assert order.index("/a") < order.index("/a/b/c") and order.index("/dev") < order.index("/dev/pts")
    by_target = {each["destination"]: each for each in found}
    assert by_target["/a/b/c"]["source"] == str(tmp_path.resolve()) and "ro" in by_target["/a/b/c"]["options"]
    assert by_target["/etc/hosts"]["source"] == str(tmp_path) and len(order) == len(set(order))


def test_resources(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = pb.LinuxContainerResources(cpu_quota=5, memory_limit_in_bytes=7, unified={"pids.max": "9"})
    monkeypatch.setattr(cgroups, "counts_swap", lambda: False)
    assert spec.resources(pb.LinuxContainerResources(memory_limit_in_bytes=7)) == {"memory": {"limit": 7}}
    monkeypatch.setattr(cgroups, "counts_swap", lambda: True)
    rest = {"cpu": {"quota": 5}, "memory": {"limit": 7, "swap": 7}}
    monkeypatch.setattr(cgroups, "unified", lambda: True)
    assert spec.resources(wanted) == {**rest, "unified": {"pids.max": "9"}}
    monkeypatch.setattr(cgroups, "unified", lambda: False)
    assert spec.resources(wanted) == {**rest, "pids": {"limit": 9}}
    assert spec.resources(pb.LinuxContainerResources()) == {}
    with pytest.raises(Invalid, match=r"'memory.oom.group' is not supported on cgroup v1"):
        spec.resources(pb.LinuxContainerResources(unified={"memory.oom.group": "1"}))


def test_groups_as_systemd_names_them() -> None:
    assert cgroups.place("/a/b", "k", False) == ("/a/b/k", "/a/b/k")
    deep = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice"
    of_pod = "kubepods-burstable-pod1_2.slice"
    for parent in (of_pod, deep):
        assert cgroups.place(parent, "k", True) == (f"{of_pod}:sampan:k", f"{deep}/sampan-k.scope")
    assert cgroups.of_slice("-.slice") == "" and cgroups.of_slice("a.slice") == "/a.slice"
    for parent, systemd in (("/a/b", True), ("a.slice", False)):
        with pytest.raises(Invalid, match="cgroup driver is"):
            cgroups.place(parent, "k", systemd)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "etc").mkdir(parents=True)
    (made / "etc/passwd").write_text("root:x:0:0::/root:\napp:x:5:6::/home/app:\nbroken\n")
    (made / "etc/group").write_text("root:x:0:\napp:x:6:\nmore:x:8:other,app\n")
    return made


def context(**fields: Any) -> Any:
    return pb.LinuxContainerSecurityContext(**fields)


def test_users(root: Path) -> None:
    value = pb.Int64Value
    assert users.find(root, context(), "") == users.User(0, 0, (0,), "/root")
    assert users.find(root, context(), "app") == users.User(5, 6, (6, 8), "/home/app")
    assert users.find(root, context(), "5:more") == users.User(5, 8, (8,), "/home/app")
    assert users.find(root, context(run_as_user=value(value=99)), "app") == users.User(99, 0, (0,), "/")
    strict = context(run_as_username="app", supplemental_groups=[3], supplemental_groups_policy=pb.Strict)
    assert users.find(root, strict, "").groups == (6, 3)
    with pytest.raises(NotFound, match="unable to find user who: no matching entries in passwd file"):
        users.find(root, context(), "who")
    with pytest.raises(NotFound, match="unable to find group who"):
        users.find(root, context(), "app:who")
    with pytest.raises(Invalid, match="user group is specified without user"):
        users.find(root, context(run_as_group=value(value=1)), "app")


def test_the_images_links_stay_inside(root: Path) -> None:
    (root.parent / "secret").write_text("spy:x:1:1::/:\n")
    (root / "etc/passwd").unlink()
    for target in ("../../secret", "/../secret", str(root.parent / "secret")):
        (root / "etc/passwd").symlink_to(target)
        assert users.read_inside(root, "etc/passwd") == b""
        (root / "etc/passwd").unlink()
    (root / "usr").mkdir()
    (root / "usr/passwd").write_text("inside")
    (root / "etc/passwd").symlink_to("/usr/passwd")
    assert users.read_inside(root, "etc/passwd") == b"inside"
    (root / "etc/passwd").unlink()
    os.mkfifo(root / "etc/passwd")
    assert users.read_inside(root, "etc/passwd") == b""


@pytest.mark.parametrize("version", [1, 2])
def test_usage_of_both_cgroup_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    one = {
        "memory.usage_in_bytes": "100", "memory.limit_in_bytes": "500", "cpuacct.usage": "7000", "pids.current": "3",
        "memory.stat": "cache 1\ntotal_inactive_file 40\ntotal_rss 30\ntotal_pgfault 9\ntotal_pgmajfault 2\n",
    }  # fmt: skip
    two = {
        "memory.current": "100", "memory.max": "500", "cpu.stat": "usage_usec 7\n", "pids.current": "3",
        "memory.stat": "anon 30\ninactive_file 40\npgfault 9\npgmajfault 2\n",
    }  # fmt: skip
    (tmp_path / "pod/c").mkdir(parents=True)
    for name, text in (one if version == 1 else two).items():
        (tmp_path / "pod/c" / name).write_text(text)
    names = ("memory", "cpuacct", "pids") if version == 1 else ("",)
    monkeypatch.setattr(cgroups, "mounts", lambda: dict.fromkeys(names, tmp_path))
    assert cgroups.usage("/pod/c") == cgroups.Usage(7000, 100, 60, 30, 9, 2, 500, 3)
    assert cgroups.usage("/gone") == cgroups.Usage(0, 0, 0, 0, 0, 0, 0, 0)
    (tmp_path / "other/empty").mkdir(parents=True)
    cgroups.remove("/other")
    assert not (tmp_path / "other").exists() and tmp_path.exists()


def test_signals() -> None:
    assert [signal_number(name) for name in ("SIGTERM", "SIGRTMIN", "SIGRTMINPLUS3", "SIGRTMAXMINUS1", "SIGRTMAX")] == [
        15, 34, 37, 63, 64
    ]  # fmt: skip


async def test_a_slow_listener_is_let_go() -> None:
    events = Events()
    listening = events.listen()
    first = asyncio.ensure_future(anext(listening))
    await asyncio.sleep(0)
    for number in range(BOUND + 3):
        events.tell(number)
    seen = [await first]
    with pytest.raises(Unavailable, match="events were lost"):
        async for number in listening:
            seen.append(number)
    assert seen == list(range(1, BOUND))
