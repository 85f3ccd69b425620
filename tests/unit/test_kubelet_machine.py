"""What the machine is, what resources mean to the kernel, and control groups, in directories that look like the kernel's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sampan.kubelet import machine, resources
from sampan.kubelet.cgroup_drivers import Cgroupfs, Systemd
from sampan.kubelet.cgroups import Cgroups
from sampan.kubelet.resources import Limits

Obj = dict[str, Any]
GIB = 1 << 30


def pod(*containers: Obj, uid: str = "1-2", **spec: Any) -> Obj:
    """`containers`: resources of each."""
    made = [{"name": f"c{number}", "resources": each} for number, each in enumerate(containers)]
    return {"metadata": {"name": "p", "namespace": "default", "uid": uid}, "spec": {"containers": made, **spec}}


GUARANTEED = pod({"requests": {"cpu": "500m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"}})
BURSTABLE = pod({"requests": {"cpu": "100m"}, "limits": {"memory": "32Mi"}}, {"requests": {"memory": "16Mi"}})
BEST_EFFORT = pod({})


# -- the machine -------------------------------------------------------------------------------------------------------


def test_machine(tmp_path: Path) -> None:
    proc, sys, etc = tmp_path / "proc", tmp_path / "sys", tmp_path / "etc"
    files = {
        proc / "cpuinfo": "processor\t: 0\nmodel\t: x\n\nprocessor\t: 1\n",
        proc / "meminfo": "MemTotal:       16318480 kB\nSwapTotal:  1024 kB\n",
        proc / "sys/kernel/pid_max": "4194304\n",
        proc / "sys/kernel/threads-max": "126000\n",
        proc / "sys/kernel/random/boot_id": "b-1\n",
        proc / "sys/kernel/osrelease": "6.1.0\n",
        proc / "self/mountinfo": "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
        sys / "class/dmi/id/product_uuid": "4C4C-AB\n",
        sys / "kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "4\n",
        etc / "machine-id": "abc\n",
        etc / "os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = machine.read(tmp_path / "kubelet", proc=proc, sys=sys, etc=etc)
    assert (found.cpus, found.memory, found.swap, found.pids) == (2, 16318480 * 1024, 1 << 20, 126000)
    assert (found.machine_id, found.system_uuid, found.boot_id, found.kernel) == ("abc", "4c4c-ab", "b-1", "6.1.0")
    assert (found.os_image, found.cgroup_version) == ("Debian GNU/Linux 12 (bookworm)", 2)
    capacity = found.capacity(110)
    assert {key: capacity[key] for key in ("cpu", "memory", "pods", "hugepages-2Mi")} == {
        "cpu": "2", "memory": "16318480Ki", "pods": "110", "hugepages-2Mi": "8Mi",
    }  # fmt: skip


def test_allocatable_is_what_is_neither_reserved_nor_kept_free() -> None:
    capacity = {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "10000Ki", "hugepages-2Mi": "1Gi", "pods": "110"}
    kept = {"memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%"}
    found = machine.allocatable(capacity, kept, {"cpu": "250m"}, {"cpu": "250m", "memory": "5Gi", "pods": "10"})
    assert found == {
        "cpu": "1500m",
        "memory": "0",
        "ephemeral-storage": "9000Ki",
        "hugepages-2Mi": "1Gi",
        "pods": "100",
    }
    assert machine.allocatable(capacity, kept)["memory"] == "2972Mi"


# -- resources ---------------------------------------------------------------------------------------------------------


def test_shares_and_quotas() -> None:
    assert [resources.shares(each) for each in (0, 1, 100, 1000, 10**9)] == [2, 2, 102, 1024, 262144]
    assert [resources.quota(each) for each in (0, 5, 500, 2000)] == [0, 1000, 50000, 200000]
    assert [resources.weight(each) for each in (2, 102, 1024, 262144)] == [1, 17, 100, 10000]


def test_of_pods() -> None:
    assert resources.of_pod(GUARANTEED) == Limits(512, 50000, 100000, 64 << 20)
    assert resources.of_pod(BURSTABLE) == Limits(102), "only one has a limit"
    assert resources.of_pod(BEST_EFFORT, pids=100) == Limits(2, pids=100)
    assert resources.of_pod(GUARANTEED, cpu_quota=False).quota == -1
    whole = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}
    assert resources.of_pod(pod({}, {}, resources=whole)) == Limits(1024, 100000, 100000, GIB)
    part = {"limits": {"memory": "1Gi"}, "requests": {"cpu": "1"}}
    assert resources.of_pod(pod({}, resources=part)) == Limits(1024, None, None, GIB)
    costly = pod({"limits": {"memory": "1Mi"}, "requests": {"cpu": "1"}}, overhead={"cpu": "1", "memory": "1Mi"})
    assert resources.of_pod(costly) == Limits(2048, memory=2 << 20)


def test_of_containers() -> None:
    found = resources.of_container(GUARANTEED, GUARANTEED["spec"]["containers"][0], 16 * GIB)
    assert (found.cpu_shares, found.cpu_quota, found.cpu_period) == (512, 50000, 100000)
    assert found.memory_limit_in_bytes == found.memory_swap_limit_in_bytes == 64 << 20
    assert found.oom_score_adj == -997 and not found.unified
    new = resources.of_container(BURSTABLE, BURSTABLE["spec"]["containers"][1], 16 * GIB, unified=True)
    assert dict(new.unified) == {"memory.oom.group": "1", "memory.swap.max": "0"} and new.cpu_shares == 2
    only = pod({"limits": {"cpu": "200m"}})
    assert resources.of_container(only, only["spec"]["containers"][0], GIB).cpu_shares == 204
    nothing = pod({"limits": {"cpu": "200m"}, "requests": {"cpu": "0"}})
    assert resources.of_container(nothing, nothing["spec"]["containers"][0], GIB).cpu_shares == 2
    shared = pod({}, resources={"limits": {"cpu": "300m", "memory": "8Mi"}})
    found = resources.of_container(shared, shared["spec"]["containers"][0], GIB)
    assert (found.cpu_quota, found.memory_limit_in_bytes) == (30000, 8 << 20)


@pytest.mark.parametrize(
    ("made", "score"),
    [
        (GUARANTEED, -997),
        (BEST_EFFORT, 1000),
        (pod({"requests": {"memory": "4Gi"}}), 750),
        (pod({"requests": {"cpu": "1"}}), 999),
        (pod({"requests": {"memory": "16Gi"}}), 3),
        (pod({"requests": {"memory": "4Gi"}}, {}, resources={"requests": {"memory": "12Gi"}}), 500),
        (pod({}, priorityClassName="system-node-critical"), -997),
    ],
)
def test_who_dies_first(made: Obj, score: int) -> None:
    assert resources.oom_score(made, made["spec"]["containers"][0], 16 * GIB) == score


def test_sidecars_do_not_die_before_the_others() -> None:
    sidecar = {"name": "s", "restartPolicy": "Always"}
    made = pod({"requests": {"memory": "8Gi"}}, {"requests": {"memory": "4Gi"}}, initContainers=[sidecar])
    assert resources.oom_score(made, sidecar, 16 * GIB) == 750


# -- control groups ----------------------------------------------------------------------------------------------------

V1 = ("cpu", "cpuacct", "cpuset", "memory", "pids", "name=systemd", "")


@pytest.fixture
def v1(tmp_path: Path) -> dict[str, Path]:
    out = {name: tmp_path / (name or "unified") for name in V1}
    for path in out.values():
        path.mkdir()
    return out


def content(top: Path) -> dict[str, str]:
    return {str(path.relative_to(top)): path.read_text() for path in top.rglob("*") if path.is_file()}


async def test_pods_have_groups_by_their_class(v1: dict[str, Path]) -> None:
    made = Cgroups(root="/test", mounts=v1, pids=64)
    await made.start()
    assert await made.ensure(GUARANTEED) == made.pod_parent(GUARANTEED) == "/test/kubepods/pod1-2"
    assert await made.ensure(BURSTABLE) == "/test/kubepods/burstable/pod1-2"
    assert await made.ensure({**BEST_EFFORT, "metadata": {"uid": "3"}}) == "/test/kubepods/besteffort/pod3"
    assert made.uids() == {"1-2", "3"}
    assert content(v1["cpu"] / "test/kubepods") == {
        "burstable/cpu.shares": "2", "besteffort/cpu.shares": "2", "besteffort/pod3/cpu.shares": "2",
        "pod1-2/cpu.shares": "512", "pod1-2/cpu.cfs_period_us": "100000", "pod1-2/cpu.cfs_quota_us": "50000",
        "burstable/pod1-2/cpu.shares": "102",
    }  # fmt: skip
    assert content(v1["memory"]) == {"test/kubepods/pod1-2/memory.limit_in_bytes": str(64 << 20)}
    assert content(v1["pids"])["test/kubepods/burstable/pod1-2/pids.max"] == "64"
    assert (v1["name=systemd"] / "test/kubepods/pod1-2").is_dir() and not list(v1[""].iterdir())


async def test_burstable_pods_share_what_they_ask_for(v1: dict[str, Path]) -> None:
    made = Cgroups(mounts=v1)
    await made.start()
    await made.share([BURSTABLE, BURSTABLE, GUARANTEED, BEST_EFFORT])
    assert content(v1["cpu"])["kubepods/burstable/cpu.shares"] == "204"


async def test_allocatable_is_enforced_as_soon_as_it_can_be(v1: dict[str, Path]) -> None:
    told: list[tuple[str, str, str]] = []
    made = Cgroups(mounts=v1)
    await made.start()
    await made.enforce({"cpu": "1500m", "memory": "1Gi"}, 1000, lambda *words: told.append(words))
    assert content(v1["cpu"])["kubepods/cpu.shares"] == "1536"
    assert content(v1["memory"])["kubepods/memory.limit_in_bytes"] == str(GIB)
    assert told == [("Normal", "NodeAllocatableEnforced", "Updated Node Allocatable limit across pods")]
    (v1["memory"] / "kubepods/memory.usage_in_bytes").write_text("3000")
    (v1["memory"] / "kubepods/memory.stat").write_text("cache 5\ntotal_inactive_file 1000\n")
    assert made.memory() == (2000, GIB)


async def test_version_2(tmp_path: Path) -> None:
    fs = Cgroupfs({"": tmp_path})
    assert fs.unified
    await fs.create(("kubepods", "pod1"), Limits(1024, 50000, 100000, 4096, 10))
    assert content(tmp_path / "kubepods/pod1") == {
        "cpu.weight": "100", "cpu.max": "50000 100000", "memory.max": "4096", "pids.max": "10",
    }  # fmt: skip
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+hugetlb"
    await fs.create(("kubepods", "pod1"), Limits(quota=-1))
    assert (tmp_path / "kubepods/pod1/cpu.max").read_text() == "max 100000"


async def test_a_group_goes_with_all_that_runs_in_it(tmp_path: Path) -> None:
    fs = Cgroupfs({"": tmp_path / "a", "memory": tmp_path / "b"})
    for top in "ab":
        (tmp_path / top / "kubepods/pod1/container").mkdir(parents=True)
    sleeper = await asyncio.create_subprocess_exec("sleep", "1000")
    procs = tmp_path / "b/kubepods/pod1/container/cgroup.procs"
    procs.write_text(f"{sleeper.pid}\n")
    removal = asyncio.create_task(fs.remove(("kubepods", "pod1")))
    assert await sleeper.wait() == -9
    assert not removal.done()
    procs.unlink()  # as the kernel does
    await removal
    assert not (tmp_path / "a/kubepods/pod1").exists() and not (tmp_path / "b/kubepods/pod1").exists()
    await fs.remove(("kubepods", "pod1"))


async def test_systemd_makes_slices(tmp_path: Path) -> None:
    calls: list[list[str]] = []

    async def run(command: list[str]) -> tuple[int, str]:
        calls.append(command)
        return 0, ""

    driver = Systemd({"": tmp_path}, run)
    name = ("sampan", "kubepods", "burstable", "pod1-2")
    path = "/sampan.slice/sampan-kubepods.slice/sampan-kubepods-burstable.slice/sampan-kubepods-burstable-pod1_2.slice"
    assert driver.path(name) == path
    await driver.create(name, Limits(1024, 12345, 100000, 4096, 10))
    unit = "sampan-kubepods-burstable-pod1_2.slice"
    assert calls[0][:8] == ["busctl", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                            "org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))", unit]  # fmt: skip
    words = " ".join(calls[0][8:])
    assert words.startswith(
        "replace 9 CPUWeight t 100 CPUQuotaPerSecUSec t 130000 CPUQuotaPeriodUSec t 100000 MemoryMax t 4096 TasksMax t 10"
    )
    (tmp_path / path[1:]).mkdir(parents=True)
    await driver.create(name, Limits(quota=-1))
    assert (
        " ".join(calls[1][5:])
        == f"SetUnitProperties sba(sv) {unit} true 2 CPUQuotaPerSecUSec t {2**64 - 1} CPUQuotaPeriodUSec t 100000"
    )
    assert list(driver.children(name[:-1])) == ["pod1-2"]
    await driver.remove(name)
    assert calls[2][5:] == ["StopUnit", "ss", unit, "replace"] and not driver.exists(name)


async def test_systemd_that_refuses(tmp_path: Path) -> None:
    answer, methods = "Access denied", []

    async def run(command: list[str]) -> tuple[int, str]:
        methods.append(command[5])
        return int(command[5] == "StartTransientUnit"), f"Call failed: {answer}\n"

    driver = Systemd({"": tmp_path}, run)
    with pytest.raises(OSError, match=r"StartTransientUnit kubepods.slice: Call failed: Access denied"):
        await driver.create(("kubepods",), Limits(shares=2))
    answer = "Unit kubepods.slice was already loaded or has a fragment file."
    await driver.create(("kubepods",), Limits(shares=2))
    assert methods == ["StartTransientUnit", "StartTransientUnit", "SetUnitProperties"]
