"""What pods use: from a runtime's counters to the summary, and what the kernel says of the node."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sampan.cri import pb
from sampan.kubelet import names, usage
from sampan.kubelet.cri import CriFailed
from sampan.kubelet.server import metrics
from sampan.kubelet.stats import Rates, Stats, shown
from sampan.kubelet.volumes import Mounted

NOW = 1_700_000_000
SECOND = 10**9
LABELS = {names.POD_UID: "u", names.POD_NAME: "p", names.POD_NAMESPACE: "n", names.CONTAINER_NAME: "c"}


def value(number: int) -> Any:
    return pb.UInt64Value(value=number)


class Runtime:
    """A CRI that counts: `seconds` of processor time so far."""

    def __init__(self, sandboxes: bool) -> None:
        self.sandboxes = sandboxes
        self.seconds = 1
        self.now = NOW

    def _cpu(self, more: int = 0) -> Any:
        return pb.CpuUsage(timestamp=self.now * SECOND, usage_core_nano_seconds=value((self.seconds + more) * SECOND))

    def _memory(self, size: int) -> Any:
        return pb.MemoryUsage(timestamp=self.now * SECOND, working_set_bytes=value(size), usage_bytes=value(2 * size))

    async def ListContainers(self, **_: Any) -> Any:
        def made(key: str, state: int, created: int) -> Any:
            return pb.Container(id=key, state=state, created_at=created * SECOND, labels=LABELS)

        running, exited = pb.CONTAINER_RUNNING, pb.CONTAINER_EXITED
        return SimpleNamespace(containers=[made("old", exited, NOW - 90), made("new", running, NOW - 60)])

    async def ListContainerStats(self, **_: Any) -> Any:
        layer = pb.FilesystemUsage(timestamp=self.now * SECOND, used_bytes=value(4096), inodes_used=value(3))
        attributes = pb.ContainerAttributes(id="new", labels=LABELS)
        return SimpleNamespace(
            stats=[
                pb.ContainerStats(
                    attributes=attributes, cpu=self._cpu(), memory=self._memory(1 << 20), writable_layer=layer
                )
            ]
        )

    async def ListPodSandboxStats(self, **_: Any) -> Any:
        if not self.sandboxes:
            raise CriFailed("UNIMPLEMENTED", "no")
        interfaces = [
            pb.NetworkInterfaceUsage(name=name, rx_bytes=value(7), tx_bytes=value(9)) for name in ("eth0", "net1")
        ]
        network = pb.NetworkUsage(timestamp=self.now * SECOND, default_interface=interfaces[0], interfaces=interfaces)
        linux = pb.LinuxPodSandboxStats(
            cpu=self._cpu(1),
            memory=self._memory(3 << 20),
            network=network,
            process=pb.ProcessUsage(process_count=value(5)),
        )
        attributes = pb.PodSandboxAttributes(id="s", labels=LABELS)
        return SimpleNamespace(stats=[pb.PodSandboxStats(attributes=attributes, linux=linux)])

    async def ImageFsInfo(self, **_: Any) -> Any:
        found = pb.FilesystemUsage(
            fs_id=pb.FilesystemIdentifier(mountpoint="/"), used_bytes=value(11), inodes_used=value(2)
        )
        return pb.ImageFsInfoResponse(image_filesystems=[found])


POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u", "creationTimestamp": "2023-11-14T22:00:00Z"},
    "spec": {
        "containers": [{"name": "c", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}}],
        "volumes": [
            {"name": "disk", "emptyDir": {}},
            {"name": "ram", "emptyDir": {"medium": "Memory"}},
            {"name": "host", "hostPath": {"path": "/"}},
        ],
    },
    "status": {
        "startTime": "2023-11-14T22:00:01Z",
        "containerStatuses": [{"name": "c", "containerID": "x://new", "image": "i"}],
    },
}


def stats_of(runtime: Runtime, root: Path) -> Stats:
    for name in ("disk", "ram"):
        path = root / "pods" / "u" / "volumes" / "kubernetes.io~empty-dir" / name
        path.mkdir(parents=True)
        (path / "file").write_bytes(b"x" * 10_000)
    log = root / "logs" / "n_p_u" / "c"
    log.mkdir(parents=True)
    (log / "0.log").write_bytes(b"x" * 5000)
    return Stats(runtime, "n1", root, root / "logs", clock=lambda: float(runtime.now))  # type: ignore[arg-type]


@pytest.mark.parametrize("sandboxes", [True, False])
async def test_a_pod(sandboxes: bool, tmp_path: Path) -> None:
    runtime = Runtime(sandboxes)
    stats = stats_of(runtime, tmp_path)
    await stats.summary([POD])
    runtime.seconds, runtime.now = 6, NOW + 10
    found = shown(await stats.summary([POD]))
    (pod,) = found["pods"]
    (container,) = pod["containers"]
    assert container["cpu"] == {
        "time": "2023-11-14T22:13:30Z",
        "usageNanoCores": SECOND // 2,
        "usageCoreNanoSeconds": 6 * SECOND,
    }
    assert container["memory"]["workingSetBytes"] == 1 << 20 and container["startTime"] == "2023-11-14T22:12:20Z"
    assert container["rootfs"]["usedBytes"] == 4096 and container["logs"]["inodesUsed"] == 1
    assert [each["name"] for each in pod["volume"]] == ["disk", "ram"]
    disk = pod["volume"][0]["usedBytes"]
    assert disk >= 10_000
    # what is in memory, or the host's, is not the pod's storage
    assert pod["ephemeral-storage"]["usedBytes"] == 4096 + container["logs"]["usedBytes"] + disk
    if sandboxes:
        assert pod["cpu"]["usageCoreNanoSeconds"] == 7 * SECOND and pod["memory"]["workingSetBytes"] == 3 << 20
        assert pod["network"]["name"] == "eth0" and pod["network"]["rxBytes"] == 7
        assert [each["name"] for each in pod["network"]["interfaces"]] == ["eth0", "net1"]
        assert pod["process_stats"] == {"process_count": 5}
    else:
        assert pod["cpu"] == container["cpu"] and pod["memory"]["usageBytes"] == 2 << 20 and "network" not in pod
    assert found["node"]["runtime"]["imageFs"]["usedBytes"] == 11


async def test_processors_and_memory_alone(tmp_path: Path) -> None:
    found = await stats_of(Runtime(True), tmp_path).summary([POD], only_cpu_and_memory=True)
    assert set(found["node"]) == {"nodeName", "startTime", "cpu", "memory", "swap", "systemContainers"}
    assert set(found["pods"][0]) == {"podRef", "startTime", "containers", "cpu", "memory"}
    assert set(found["pods"][0]["containers"][0]) == {"name", "startTime", "cpu", "memory"}


async def test_names_that_dashboards_know(tmp_path: Path) -> None:
    page = metrics.cadvisor(await stats_of(Runtime(True), tmp_path).summary([POD]), [POD])
    of_container = 'container="c",id="/new",image="i",name="new",namespace="n",pod="p"'
    assert f"container_memory_working_set_bytes{{{of_container}}} {1 << 20} " in page
    assert f'container_cpu_usage_seconds_total{{{of_container},cpu="total"}} 1 ' in page
    assert f"container_spec_cpu_quota{{{of_container}}} 50000\n" in page
    of_pod = 'container="",id="/podu",image="",name="",namespace="n",pod="p"'
    assert f'container_network_receive_bytes_total{{{of_pod},interface="net1"}} 7 ' in page
    names_of_families = [line.split()[2] for line in page.splitlines() if line.startswith("# TYPE")]
    assert len(names_of_families) == len(set(names_of_families))


def test_rates() -> None:
    rates = Rates()
    assert rates.per_second("a", 0, 0) is None
    assert rates.per_second("a", 10, SECOND // 2) is None  # too soon to say
    assert rates.per_second("a", 4 * SECOND, 2 * SECOND) == 2 * SECOND
    assert rates.per_second("a", 4 * SECOND, 2 * SECOND + 1) == 2 * SECOND  # the last that is known
    assert rates.per_second("a", 0, 9 * SECOND) is None  # it began anew
    rates.keep([])
    assert rates.per_second("a", 0, 99 * SECOND) is None


@pytest.mark.parametrize("version", [1, 2])
def test_what_the_kernel_says(version: int, tmp_path: Path) -> None:
    proc, group = tmp_path / "proc", tmp_path / "cg"
    (proc / "self").mkdir(parents=True)
    group.mkdir()
    (proc / "meminfo").write_text(
        "MemTotal: 1000 kB\nMemFree: 400 kB\nInactive(file): 100 kB\nAnonPages: 50 kB\nSwapTotal: 9 kB\nSwapFree: 4 kB\n"
    )
    (proc / "vmstat").write_text("pgfault 11\npgmajfault 2\n")
    (proc / "stat").write_text("cpu  10 0 20 500 60 1 2 3 0 0\n")
    kind, options = ("cgroup", "rw,memory") if version == 1 else ("cgroup2", "rw")
    (proc / "self/mountinfo").write_text(f"1 2 0:1 / {group} rw - {kind} {kind} {options}\n")
    if version == 1:
        (group / "memory.stat").write_text("total_inactive_file 1024\ntotal_rss 2048\n")
        (group / "memory.usage_in_bytes").write_text("10240\n")
    found = usage.read(proc)
    usage_bytes, working, rss = (10240, 9216, 2048) if version == 1 else (600 << 10, 500 << 10, 50 << 10)
    assert (found.usage, found.working_set, found.rss, found.available) == (
        usage_bytes,
        working,
        rss,
        (1000 << 10) - working,
    )
    assert found.cpu == 36 * usage._TICK and (found.page_faults, found.major_page_faults, found.swap) == (
        11,
        2,
        5 << 10,
    )


async def test_a_claim_is_measured_by_its_file_system(tmp_path: Path) -> None:
    there = {"data": Mounted(tmp_path)}
    stats = Stats(Runtime(True), "n1", tmp_path, tmp_path, clock=lambda: NOW, mounted=lambda uid: there)  # type: ignore[arg-type]
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "disk"}}
    found = await stats.summary([{**POD, "spec": {**POD["spec"], "volumes": [volume]}}])
    (told,) = found["pods"][0]["volume"]
    assert told["pvcRef"] == {"name": "disk", "namespace": "n"} and told["capacityBytes"] >= told["usedBytes"] > 0
    page = metrics.volumes(found).splitlines()
    expected = (
        f'kubelet_volume_stats_capacity_bytes{{namespace="n",persistentvolumeclaim="disk"}} {told["capacityBytes"]}'
    )
    assert expected in page
    (kubelet,) = found["node"]["systemContainers"]
    assert kubelet["name"] == "kubelet" and kubelet["memory"]["workingSetBytes"] > 1 << 20
