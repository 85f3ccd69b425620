"""What a container's processes are and may do, over CRI."""

# ruff: noqa: ASYNC240, ASYNC221 - small files and short programs

from __future__ import annotations

import json
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sampan.cri import pb
from sampan.runtime.spec import clamp_oom
from tests.runtime.pods import Pods, privileged, secured
from tests.runtime.test_containers import FOREVER, refused

pytestmark = [pytest.mark.clients, pytest.mark.slow]
IDS = ("sh", "-c", "id -u; id -g; id -G; grep CapEff /proc/self/status | cut -f2")
NONE = "0000000000000000"


async def test_users_and_groups(pods: Pods) -> None:
    await pods.run()
    number = pb.Int64Value
    assert (await pods.output(*IDS)).split()[:3] == ["0", "0", "0"]
    named = secured(run_as_username="app")
    assert (await pods.output(*IDS, linux=named)).split() == ["1234", "2345", "2345", "3456", NONE]
    both = {"run_as_user": number(value=1234), "run_as_group": number(value=5), "supplemental_groups": [77]}
    merged = await pods.output(*IDS, linux=secured(**both))
    assert merged.split() == ["1234", "5", "5", "77", "3456", NONE]
    strict = secured(**both, supplemental_groups_policy=pb.Strict)
    # that containerd is older than the policy
    groups = ["77"] if pods.home.kind == "sampan" else ["77", "3456"]
    assert (await pods.output(*IDS, linux=strict)).split() == ["1234", "5", "5", *groups, NONE]
    image = (await pods.cri.ImageStatus(image=pb.ImageSpec(image=pods.image))).image
    assert (image.username, image.HasField("uid")) == ("", False)
    for user, shown in (("app", ("app", 0)), ("77:88", ("", 77))):  # how a kubelet knows of runAsNonRoot
        name = await pods.home.load_busybox(f"localhost/user:{len(user)}", User=user)
        found = (await pods.cri.ImageStatus(image=pb.ImageSpec(image=name))).image
        assert (found.username, found.uid.value) == shown
    pods.image = "localhost/user:5"
    assert (await pods.output(*IDS)).split()[:2] == ["77", "88"]


async def test_capabilities(pods: Pods) -> None:
    await pods.run()

    async def held(**changes: list[str]) -> int:
        fields = {f"{key}_capabilities": value for key, value in changes.items()}
        return int((await pods.output(*IDS, linux=secured(capabilities=pb.Capability(**fields)))).split()[-1], 16)

    assert await held() == 0xA80425FB
    assert await held(drop=["ALL"], add=["NET_BIND_SERVICE"]) == 1 << 10
    assert await held(drop=["CHOWN"], add=["SYS_TIME"]) == 0xA80425FB & ~1 | 1 << 25
    every = await held(add=["ALL"])
    assert every & 0xA80425FB == 0xA80425FB and every >> 21 & 1


async def test_seccomp_and_privileges(pods: Pods, tmp_path: Path) -> None:
    await pods.run()
    look = ("sh", "-c", "grep -E 'Seccomp:|NoNewPrivs' /proc/self/status | cut -f2; mkdir /x && echo made")

    def profile(kind: int, path: str = "") -> Any:
        return pb.SecurityProfile(profile_type=kind, localhost_ref=path)

    assert (await pods.output(*look, linux=secured(seccomp=profile(pb.Unconfined)))).split() == ["0", "0", "made"]
    confined = secured(seccomp=profile(pb.RuntimeDefault), no_new_privs=True)
    assert (await pods.output(*look, linux=confined)).split() == ["1", "2", "made"]
    refusing = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    }
    (tmp_path / "profile.json").write_text(json.dumps(refusing))
    local = secured(seccomp=profile(pb.Localhost, str(tmp_path / "profile.json")))
    seen = await pods.output(*look, linux=local)
    # what two streams say comes in any order
    (refused_words,) = [line for line in seen.splitlines() if line.startswith("mkdir")]
    assert "Operation not permitted" in refused_words
    assert [line for line in seen.splitlines() if line != refused_words] == ["0", "2"]
    wide = "mount -t tmpfs x /tmp && echo mounted; ls /dev | wc -l; grep Seccomp: /proc/self/status | cut -f2"
    _, words = await refused(pods.create(pods.sandboxes[0], "true", name="no", linux=secured(privileged=True)))
    assert "no privileged container allowed in sandbox" in words
    sandbox = await pods.run("wide", linux=privileged())
    mounted, devices, mode = (
        await pods.output("sh", "-c", wide, sandbox=sandbox, linux=secured(privileged=True))
    ).split()
    assert mounted == "mounted" and int(devices) > 20 and mode == "0"
    assert "mounted" not in await pods.output("sh", "-c", wide, linux=secured())


async def test_paths_of_proc_and_sys(pods: Pods) -> None:
    await pods.run()
    look = ("sh", "-c", "cat /proc/timer_list | wc -l; mount | grep -c ' /proc/sys '; ls /sys/firmware | wc -l")
    assert (await pods.output(*look)).split() == ["0", "1", "0"]
    seen = (await pods.output(*look, linux=secured(masked_paths=[], readonly_paths=[]))).split()
    assert int(seen[0]) > 0 and seen[1] == "0"


async def test_a_read_only_root(pods: Pods) -> None:
    pods.image = await pods.home.load_busybox("localhost/volume:1", Volumes={"/data/deep": {}, "/www": {}})
    await pods.run()
    script = "touch /f 2>/dev/null || echo ro; touch /data/deep/f && echo rw; touch /www/f && cat /www/index.html"
    assert (await pods.output("sh", "-c", script, linux=secured(readonly_rootfs=True))).split() == ["ro", "rw", "hello"]


async def test_devices(pods: Pods) -> None:
    await pods.run()
    device = pb.Device(container_path="/dev/mine", host_path="/dev/full", permissions="r")
    script = "head -c 3 /dev/mine | wc -c; echo x > /dev/mine 2>/dev/null || echo refused; echo x > /dev/full 2>/dev/null || echo full"
    seen = await pods.output("sh", "-c", script, devices=[device])
    assert seen.split()[0] == "3" and "full" in seen
    _, words = await refused(pods.create(pods.sandboxes[0], "true", devices=[pb.Device(host_path="/etc/passwd")]))
    assert "not a device" in words


async def test_mounts(pods: Pods, tmp_path: Path) -> None:
    await pods.run()
    (tmp_path / "f").write_text("of the host\n")
    mounts = [
        pb.Mount(container_path="/deep/rw", host_path=str(tmp_path)),
        pb.Mount(container_path="/ro", host_path=str(tmp_path), readonly=True),
        pb.Mount(container_path="/etc/hosts", host_path=str(tmp_path / "f")),
    ]
    # on one stream, as containerd keeps no order between two
    script = "cat /ro/f /etc/hosts; touch /deep/rw/new; touch /ro/no 2>&1 && echo wrong"
    seen = await pods.output("sh", "-c", script, mounts=mounts)
    assert seen.startswith("of the host\nof the host\n") and "wrong" not in seen and (tmp_path / "new").exists()
    missing = tmp_path / "not" / "there"
    await pods.output("true", mounts=[pb.Mount(container_path="/x", host_path=str(missing))])
    assert missing.is_dir()


@contextmanager
def shared(directory: Path) -> Iterator[None]:
    """A mount of its own, whose mounts go wherever it goes."""
    subprocess.run(["mount", "--bind", directory, directory], check=True)
    subprocess.run(["mount", "--make-rshared", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-R", directory], check=True)


async def test_mount_propagation(pods: Pods, tmp_path: Path) -> None:
    await pods.run(linux=privileged())
    one_way, both_ways = pb.PROPAGATION_HOST_TO_CONTAINER, pb.PROPAGATION_BIDIRECTIONAL

    def mount(kind: int) -> Any:
        return pb.Mount(container_path="/v", host_path=str(tmp_path), propagation=kind)

    for kind, word in ((one_way, "shared or slave"), (both_ways, "shared")):
        _, words = await refused(
            pods.create(pods.sandboxes[0], "true", name=word[:7].strip() + str(kind), mounts=[mount(kind)])
        )
        assert f"but it is not a {word} mount" in words
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    with shared(tmp_path):
        slave = await pods.start(pods.sandboxes[0], *FOREVER, name="slave", mounts=[mount(one_way)])
        private = await pods.start(pods.sandboxes[0], *FOREVER, name="private", mounts=[mount(0)])
        wide = secured(privileged=True)
        peer = await pods.start(pods.sandboxes[0], *FOREVER, name="peer", mounts=[mount(both_ways)], linux=wide)
        subprocess.run(["mount", "-t", "tmpfs", "later", tmp_path / "in"], check=True)
        seen = [await pods.sh(each, "grep -c ' /v/in ' /proc/mounts || true") for each in (slave, private, peer)]
        assert seen == ["1\n", "0\n", "1\n"]
        await pods.sh(peer, "mount -t tmpfs mine /v/out")
        assert f" {tmp_path}/out " in Path("/proc/self/mounts").read_text()


async def test_read_only_through_and_through(pods: Pods, tmp_path: Path) -> None:
    if pods.home.kind == "containerd":
        pytest.skip("that containerd is older than the field")
    await pods.run()
    (tmp_path / "below").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "below", tmp_path / "below"], check=True)
    try:
        for through, expected in ((False, ["rw"]), (True, [])):
            mount = pb.Mount(container_path="/v", host_path=str(tmp_path), readonly=True, recursive_read_only=through)
            script = "touch /v/f || touch /v/below/f && echo rw"
            assert (await pods.output("sh", "-c", f"({script}) 2>/dev/null", mounts=[mount])).split() == expected
    finally:
        subprocess.run(["umount", tmp_path / "below"], check=True)


async def test_scores_and_limits_are_what_the_host_allows(pods: Pods) -> None:
    await pods.run()
    look = ("sh", "-c", "cat /proc/self/oom_score_adj; ulimit -n")
    for wanted in (900, -998):
        linux = secured()
        linux.resources.oom_score_adj = wanted
        seen = (await pods.output(*look, linux=linux)).split()
        assert int(seen[0]) == clamp_oom(wanted)
        if pods.home.kind == "sampan":
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            assert int(seen[1]) == min(hard, 1 << 20)
