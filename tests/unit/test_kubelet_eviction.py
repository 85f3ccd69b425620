"""Who is sent away, when, and what they are told."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from sampan.kubelet import eviction_ranking as ranking
from sampan.kubelet import eviction_signals as signals
from sampan.kubelet import oom
from sampan.kubelet.eviction import Eviction
from sampan.kubelet.eviction_signals import Observation, Threshold
from sampan.kubelet.worker import Ended

Obj = dict[str, Any]
MIB, GIB = 1 << 20, 1 << 30


def pod(name: str, *, request: str = "0", priority: int = 0, **spec: Any) -> Obj:
    amounts = {"memory": request, "ephemeral-storage": request}
    container = {"name": "app", "resources": {"requests": amounts}} if request != "0" else {"name": "app"}
    meta = {"name": name, "namespace": "default", "uid": name}
    return {"metadata": meta, "spec": {"priority": priority, "containers": [container], **spec}}


def stats(name: str, memory: int = 0, disk: int = 0, logs: int = 0, **volumes: int) -> Obj:
    """In MiB."""
    container = {
        "name": "app", "memory": {"workingSetBytes": memory * MIB}, "rootfs": {"usedBytes": disk * MIB},
        "logs": {"usedBytes": logs * MIB},
    }  # fmt: skip
    used = (disk + logs + sum(volumes.values())) * MIB
    return {
        "podRef": {"uid": name}, "containers": [container], "memory": {"workingSetBytes": memory * MIB},
        "ephemeral-storage": {"usedBytes": used, "inodesUsed": 5},
        "volume": [{"name": each, "usedBytes": size * MIB} for each, size in volumes.items()],
    }  # fmt: skip


def summary(*pods: Obj, memory: int = 1000, disk: int = 50, inodes: int = 50, pids: int = 0) -> Obj:
    """`memory`: available MiB of 4 GiB; `disk` and `inodes`: percents available; `pids`: processes of 1000."""
    fs = {"availableBytes": disk * GIB, "capacityBytes": 100 * GIB, "inodesFree": inodes * 100, "inodes": 10000}
    node = {
        "memory": {"availableBytes": memory * MIB, "workingSetBytes": (4096 - memory) * MIB},
        "fs": fs, "runtime": {"imageFs": fs, "containerFs": fs}, "rlimit": {"maxpid": 1000, "curproc": pids},
    }  # fmt: skip
    return {"node": node, "pods": list(pods)}


# -- signals -----------------------------------------------------------------------------------------------------------


def test_thresholds() -> None:
    hard = {"memory.available": "100Mi", "nodefs.available": "10%", "imagefs.available": "0%"}
    found = signals.thresholds(hard, {"memory.available": "1Gi"}, {"memory.available": 90.0})
    assert found == [
        Threshold("memory.available", "100Mi"),
        Threshold("nodefs.available", "10%"),
        Threshold("memory.available", "1Gi", 90.0),
        Threshold("allocatableMemory.available", "100Mi"),
    ]
    with pytest.raises(
        ValueError, match=r"grace period must be specified for the soft eviction threshold pid\.available"
    ):
        signals.thresholds({}, {"pid.available": "5%"})
    with pytest.raises(ValueError, match="unsupported eviction signal cpu"):
        signals.thresholds({"cpu": "5%"})


def test_what_is_met() -> None:
    seen = signals.observe(summary(memory=50, disk=5, inodes=60, pids=990), (900, 1000))
    assert seen["memory.available"] == Observation(50 * MIB, 4096 * MIB)
    assert seen["allocatableMemory.available"] == Observation(100, 1000)
    assert seen["pid.available"] == Observation(10, 1000)
    wanted = signals.thresholds({
        "nodefs.available": "10%", "imagefs.available": "15%", "nodefs.inodesFree": "5%", "memory.available": "100Mi",
        "pid.available": "10",
    })  # fmt: skip
    met = signals.met(wanted, seen)
    assert [each.signal for each in met] == [
        "nodefs.available", "imagefs.available", "memory.available", "allocatableMemory.available"
    ]  # fmt: skip
    first = signals.first(met)
    assert first is not None and first.signal == "memory.available"
    assert signals.about("ephemeral-storage", met, seen) == "Threshold quantity: 10Gi, available: 5Gi. "
    assert signals.about("memory", met, seen) == "Threshold quantity: 100Mi, available: 50Mi. "
    more = [Threshold("memory.available", "40Mi", reclaim="20Mi")]
    assert not signals.met(more, seen) and signals.met(more, seen, with_reclaim=True)


# -- ranking -----------------------------------------------------------------------------------------------------------


def test_who_goes_first() -> None:
    pods = [
        pod("within", request="200Mi"),
        pod("over", request="50Mi"),
        pod("most"),
        pod("important", priority=5),
        pod("new"),
    ]
    used = {
        each: stats(each, memory=size)
        for each, size in (("within", 150), ("over", 100), ("most", 80), ("important", 500))
    }
    assert [each["metadata"]["name"] for each in ranking.rank("memory", pods, used)] == [
        "new", "most", "over", "important", "within"
    ]  # fmt: skip
    used = {"a": stats("a", disk=1, cache=90), "b": stats("b", disk=80)}
    assert ranking.rank("ephemeral-storage", [pod("b"), pod("a")], used)[0]["metadata"]["name"] == "a"
    counted = {name: {"process_stats": {"process_count": count}} for name, count in (("a", 3), ("b", 9))}
    ordered = ranking.rank("pids", [pod("a"), pod("b"), pod("c", priority=-1)], counted)
    assert [each["metadata"]["name"] for each in ordered] == ["c", "b", "a"]


def test_what_they_are_told() -> None:
    text, annotations = ranking.message(
        "memory", "Threshold quantity: 100Mi, available: 50Mi. ", pod("a", request="10Mi"), stats("a", memory=64)
    )
    assert text == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "
        "Container app was using 64Mi, request is 10Mi, has larger consumption of memory. "
    )
    assert annotations == {
        "starved_resource": "memory", "offending_containers": "app", "offending_containers_usage": "64Mi"
    }  # fmt: skip
    assert ranking.message("inodes", "", pod("a"), stats("a"))[0] == "The node was low on resource: inodes. "


@pytest.mark.parametrize(
    ("spec", "used", "words"),
    [
        ({"volumes": [{"name": "cache", "emptyDir": {"sizeLimit": "10Mi"}}]}, stats("a", cache=11),
         'Usage of EmptyDir volume "cache" exceeds the limit "10Mi". '),
        ({"volumes": [{"name": "cache", "emptyDir": {"sizeLimit": "10Mi"}}]}, stats("a", cache=10), ""),
        ({"volumes": [{"name": "cache", "emptyDir": {}}]}, stats("a", cache=10), ""),
        ({"containers": [{"name": "app", "resources": {"limits": {"ephemeral-storage": "10Mi"}}}]}, stats("a", disk=5, cache=6),
         "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. "),
        ({"containers": [{"name": "app", "resources": {"limits": {"ephemeral-storage": "10Mi"}}}]}, stats("a", disk=5, logs=5), ""),
        ({"containers": [{"name": "app", "resources": {"limits": {"ephemeral-storage": "10Mi"}}},
                         {"name": "b", "resources": {"limits": {"ephemeral-storage": "1Gi"}}}]}, stats("a", disk=5, logs=6),
         'Container app exceeded its local ephemeral storage limit "10Mi". '),
    ],
)  # fmt: skip
def test_limits_of_their_own(spec: Obj, used: Obj, words: str) -> None:
    assert ranking.over_limit(pod("a", **spec), used) == words
    assert ranking.is_limited(pod("a", **spec)) or not words


# -- over time ---------------------------------------------------------------------------------------------------------


class World:
    def __init__(self, hard: dict[str, str], **options: Any) -> None:
        self.summary = summary()
        self.reclaimed: Obj | None = None
        self.pods: list[Obj] = []
        self.ended: list[tuple[float, str, Ended]] = []
        self.events: list[tuple[str, str]] = []
        self.changes = 0
        soft = options.pop("soft", {})
        grace = options.pop("grace", {})
        self.eviction = Eviction(
            signals.thresholds(hard, soft, grace), self.look, lambda: self.pods, self.end, self.event, node=lambda: {"kind": "Node"},
            reclaim=self.reclaim, changed=self.changed, **options,
        )  # fmt: skip
        self.task = asyncio.create_task(self.eviction.run())

    async def look(self) -> Obj:
        return self.summary

    async def reclaim(self) -> None:
        self.summary = self.reclaimed or self.summary

    def end(self, pod: Obj, ended: Ended) -> None:
        name = pod["metadata"]["name"]
        self.ended.append((asyncio.get_running_loop().time(), name, ended))
        # it is gone a little later
        asyncio.get_running_loop().call_later(2.5, lambda: self.pods.remove(pod))

    def event(self, about: Obj, kind: str, reason: str, message: str, annotations: dict[str, str]) -> None:
        self.events.append((reason, message))

    def changed(self) -> None:
        self.changes += 1

    def who(self) -> list[tuple[float, str]]:
        return [(when, name) for when, name, _ in self.ended]


@pytest.mark.virtual
async def test_one_after_the_other_until_there_is_enough() -> None:
    world = World({"memory.available": "100Mi"}, pressure_seconds=60)
    world.pods = [pod("a"), pod("b"), pod("critical", priority=2_000_001_000)]
    await asyncio.sleep(15)
    assert not world.ended and not world.eviction.pressures
    world.summary = summary(stats("a", 10), stats("b", 20), memory=50)
    await asyncio.sleep(30)
    assert world.who() == [(20, "b"), (23, "a")] and world.eviction.pressures == {"MemoryPressure"}
    ended = world.ended[0][2]
    assert (ended.phase, ended.reason, ended.grace) == ("Failed", "Evicted", 1)
    assert ended.message.startswith(
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. Container app"
    )
    assert ended.conditions[0]["type"] == "DisruptionTarget" and ended.conditions[0]["reason"] == "TerminationByKubelet"
    assert world.events[:2] == [("EvictionThresholdMet", "Attempting to reclaim memory"), ("Evicted", ended.message)]
    world.summary = summary()
    await asyncio.sleep(50)
    assert world.eviction.pressures, "it stays for a while"
    await asyncio.sleep(30)
    assert not world.eviction.pressures and world.changes == 2


@pytest.mark.virtual
async def test_a_soft_threshold_must_hold_and_leaves_time() -> None:
    world = World({}, soft={"memory.available": "500Mi"}, grace={"memory.available": 60.0}, max_grace=20)
    world.pods = [pod("a", terminationGracePeriodSeconds=30), pod("b", terminationGracePeriodSeconds=5)]
    short = summary(stats("a", 20), stats("b", 10), memory=400)
    world.summary = short
    await asyncio.sleep(45)
    world.summary = summary()
    await asyncio.sleep(10)
    world.summary = short
    await asyncio.sleep(70)
    assert world.who() == [(120, "a"), (123, "b")]
    assert [ended.grace for _, _, ended in world.ended] == [20, 5]


@pytest.mark.virtual
async def test_images_go_before_pods() -> None:
    world = World({"nodefs.available": "10%"})
    world.pods = [pod("a")]
    world.reclaimed = summary()
    world.summary = summary(stats("a", disk=100), disk=5)
    await asyncio.sleep(15)
    assert not world.ended and world.eviction.pressures == {"DiskPressure"}
    world.reclaimed = None
    world.summary = summary(stats("a", disk=100), disk=5)
    await asyncio.sleep(15)
    assert [name for _, name in world.who()] == ["a"]


@pytest.mark.virtual
async def test_a_pod_beyond_its_own_limit_goes_though_the_node_has_enough() -> None:
    world = World({})
    world.pods = [pod("a"), pod("b", volumes=[{"name": "cache", "emptyDir": {"sizeLimit": "1Mi"}}])]
    world.summary = summary(stats("a"), stats("b", cache=2))
    await asyncio.sleep(1)
    assert [(name, ended.message) for _, name, ended in world.ended] == [
        ("b", 'Usage of EmptyDir volume "cache" exceeds the limit "1Mi". ')
    ]  # fmt: skip
    assert not world.eviction.pressures


# -- what the kernel did -----------------------------------------------------------------------------------------------

KILLED = "3,120,99,-;oom-kill:constraint=CONSTRAINT_{},nodemask=(null),cpuset=/,mems_allowed=0,{},task_memcg={},task=a,b,pid=42,uid=0"


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (KILLED.format("NONE", "global_oom", "/kubepods/pod1"), ("a,b", 42)),
        (KILLED.format("MEMCG", "oom_memcg=/kubepods/pod1", "/kubepods/pod1"), None),
        ("6,5957,147,-;eth0: left promiscuous mode", None),
    ],
)
def test_victims(record: str, found: tuple[str, int] | None) -> None:
    assert oom.victim(record) == found


async def test_a_machine_out_of_memory_is_told_of(tmp_path: Path) -> None:
    log, told = tmp_path / "kmsg", asyncio.Queue[tuple[str, str, str]]()
    os.mkfifo(log)
    task = asyncio.create_task(oom.OomWatcher(lambda *words: told.put_nowait(words), log).run())
    await asyncio.sleep(0)
    file = os.open(log, os.O_WRONLY)
    os.write(file, KILLED.format("NONE", "global_oom", "/").encode())
    async with asyncio.timeout(5):
        assert await told.get() == ("Warning", "SystemOOM", "System OOM encountered, victim process: a,b, pid: 42")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    os.close(file)
