"""What pods and their containers use: `/stats/summary`, and what the metrics pages are made of.

The runtime counts (CRI's container statistics, and those of sandboxes where it has them); processors per second are taken between two
readings of ours, which are remembered while a container lives. Directories are measured by `du`, at most once a minute.

Source: k8s.io/kubelet/pkg/apis/stats/v1alpha1/types.go (fields), kubernetes/pkg/kubelet/stats/cri_stats_provider.go
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sampan.api.times import format_micro_time, format_time
from sampan.cri import pb
from sampan.kubelet import names, usage
from sampan.kubelet.cgroup_drivers import Used
from sampan.kubelet.cri import Cri, CriFailed
from sampan.kubelet.volumes import Mounted

Obj = dict[str, Any]
#: two readings closer than this say nothing about a rate
LEAST_SECONDS, DISK_SECONDS = 1.0, 60.0


class Rates:
    """From counters to what is used in a second."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, int, int | None]] = {}

    def per_second(self, key: str, used: int, when: int) -> int | None:
        """Nanoseconds in both; None until there are two readings."""
        known = self._last.get(key)
        if known is None or used < known[0]:
            self._last[key] = used, when, None
            return None
        if when - known[1] < LEAST_SECONDS * 1e9:
            return known[2]
        rate = (used - known[0]) * 10**9 // (when - known[1])
        self._last[key] = used, when, rate
        return rate

    def keep(self, keys: Iterable[str]) -> None:
        """Forget all others."""
        wanted = set(keys)
        self._last = {key: found for key, found in self._last.items() if key in wanted}


class Stats:
    """`root` and `logs`: the kubelet's directories; `clock`: seconds since 1970; `mounted`: a pod's volumes, by uid."""

    def __init__(
        self,
        cri: Cri,
        node: str,
        root: Path,
        logs: Path,
        *,
        clock: Callable[[], float],
        mounted: Callable[[str], Mapping[str, Mounted]] = lambda uid: {},
    ) -> None:
        self._cri = cri
        self._node = node
        self._root = root
        self._logs = logs
        self._clock = clock
        self._mounted = mounted
        #: of all pods together, once there is who counts
        self.together: Callable[[], Used | None] = lambda: None
        self._rates = Rates()
        self._sandboxes = True
        self._started = clock()
        self._sizes: dict[Path, tuple[float, int, int]] = {}

    async def summary(self, pods: list[Obj], *, only_cpu_and_memory: bool = False) -> Obj:
        """Raises CriFailed."""
        containers, sandboxes = await asyncio.gather(self._cri.ListContainers(), self._of_sandboxes())
        usages = {each.attributes.id: each for found in sandboxes.values() for each in found.containers}
        if not usages:  # of a runtime that does not count sandboxes, or counts them alone
            usages = {each.attributes.id: each for each in (await self._cri.ListContainerStats()).stats}
        latest: dict[tuple[str, str], Any] = {}
        for each in containers.containers:
            if each.state == pb.CONTAINER_RUNNING and each.id in usages:
                key = (each.labels.get(names.POD_UID, ""), each.labels.get(names.CONTAINER_NAME, ""))
                if key not in latest or latest[key].created_at < each.created_at:
                    latest[key] = each
        node = self._of_node(only_cpu_and_memory)
        if not only_cpu_and_memory:
            await self._images(node)
        out = []
        for pod in pods:
            uid = runtime_uid(pod)
            mine = {name: each for (owner, name), each in latest.items() if owner == uid}
            if mine or uid in sandboxes:
                out.append(await self._of_pod(pod, mine, usages, sandboxes.get(uid), node, only_cpu_and_memory))
        node["systemContainers"] = list(self._system(node["cpu"]["time"]))
        self._rates.keep(["", "kubelet", "pods", *usages, *sandboxes])
        return {"node": node, "pods": out}

    async def of_node(self) -> Obj:
        """As `summary`, of the node alone; it costs next to nothing."""
        node = self._of_node(False)
        await self._images(node)
        return {"node": node}

    async def _of_sandboxes(self) -> Mapping[str, Any]:
        """By the pod's uid; nothing from a runtime that does not count them."""
        if not self._sandboxes:
            return {}
        try:
            found = await self._cri.ListPodSandboxStats()
        except CriFailed as error:
            if error.down:
                raise
            # containerd 1.6 tells of no sandbox at all while there is one whose control group is gone, as of a pod that is over
            self._sandboxes = error.code != "UNIMPLEMENTED"
            return {}
        return {each.attributes.labels.get(names.POD_UID, ""): each.linux for each in found.stats}

    # -- the node ------------------------------------------------------------------------------------------------------

    def _of_node(self, only_cpu_and_memory: bool) -> Obj:
        now, found = int(self._clock() * 1e9), usage.read()
        when = _time(now)
        out: Obj = {
            "nodeName": self._node,
            "startTime": format_time(self._started),
            "cpu": _cpu(when, found.cpu, self._rates.per_second("", found.cpu, now)),
            "memory": {
                "time": when, "availableBytes": found.available, "usageBytes": found.usage, "workingSetBytes": found.working_set,
                "rssBytes": found.rss, "pageFaults": found.page_faults, "majorPageFaults": found.major_page_faults,
            },
            "swap": {"time": when, "swapAvailableBytes": found.swap_available, "swapUsageBytes": found.swap},
        }  # fmt: skip
        if not only_cpu_and_memory:
            most, running = usage.processes()
            out["network"] = _network(when, usage.default_interface(), usage.interfaces())
            out["fs"] = usage.file_system(self._root, when)
            out["rlimit"] = {"time": when, "maxpid": most, "curproc": running}
        return out

    def _system(self, when: str) -> Iterator[Obj]:
        """The kubelet itself, and all pods together."""
        now, started = int(self._clock() * 1e9), format_time(self._started)
        own = usage.own()
        found = [("kubelet", own), *([("pods", pods)] if (pods := self.together()) is not None else [])]
        for name, used in found:
            memory = {
                "time": when, "usageBytes": used.usage, "workingSetBytes": used.working_set, "rssBytes": used.rss,
                "pageFaults": used.page_faults, "majorPageFaults": used.major_page_faults,
            }  # fmt: skip
            cpu = _cpu(when, used.cpu, self._rates.per_second(name, used.cpu, now))
            yield {"name": name, "startTime": started, "cpu": cpu, "memory": memory}

    async def _images(self, node: Obj) -> None:
        try:
            found = await self._cri.ImageFsInfo()
        except CriFailed:
            return
        when = node["cpu"]["time"]

        def of(systems: Any) -> Obj:
            first = systems[0] if systems else None
            out = usage.file_system(Path(first.fs_id.mountpoint) if first is not None else self._root, when)
            if first is not None:
                out |= {"usedBytes": first.used_bytes.value, "inodesUsed": first.inodes_used.value}
            return out

        node["runtime"] = {
            "imageFs": of(found.image_filesystems),
            "containerFs": of(found.container_filesystems or found.image_filesystems),
        }

    # -- pods ----------------------------------------------------------------------------------------------------------

    async def _of_pod(
        self,
        pod: Obj,
        containers: Mapping[str, Any],
        usages: Mapping[str, Any],
        sandbox: Any,
        node: Obj,
        only_cpu_and_memory: bool,
    ) -> Obj:
        meta, status = pod["metadata"], pod.get("status") or {}
        out: Obj = {
            "podRef": {"name": meta["name"], "namespace": meta.get("namespace", ""), "uid": meta["uid"]},
            "startTime": status.get("startTime") or meta.get("creationTimestamp"),
            "containers": [
                self._of_container(pod, name, each, usages[each.id], node, only_cpu_and_memory)
                for name, each in sorted(containers.items())
            ],
        }
        parts = out["containers"]
        if sandbox is not None and sandbox.HasField("cpu"):
            out["cpu"] = self._cpu(f"{runtime_uid(pod)}", sandbox.cpu)
            out["memory"] = _memory(sandbox.memory)
        else:
            out["cpu"], out["memory"] = _sum(parts, "cpu"), _sum(parts, "memory")
        if only_cpu_and_memory:
            return out
        if sandbox is not None and sandbox.HasField("network"):
            net = sandbox.network
            rest = [_interface(each) for each in net.interfaces if each.name != net.default_interface.name]
            every = ([_interface(net.default_interface)] if net.default_interface.name else []) + rest
            out["network"] = _network(_time(net.timestamp), net.default_interface.name, every)
        if sandbox is not None and sandbox.HasField("process"):
            out["process_stats"] = {"process_count": sandbox.process.process_count.value}
        volumes = await self._volumes(pod, node["cpu"]["time"])
        if volumes:
            out["volume"] = volumes
        out["ephemeral-storage"] = _ephemeral(node["fs"], parts, [each for each in volumes if each.pop("disk")])
        return out

    def _of_container(
        self, pod: Obj, name: str, container: Any, found: Any, node: Obj, only_cpu_and_memory: bool
    ) -> Obj:
        out: Obj = {
            "name": name,
            "startTime": _time(container.created_at),
            "cpu": self._cpu(container.id, found.cpu),
            "memory": _memory(found.memory),
        }
        if found.HasField("swap"):
            swap = found.swap
            out["swap"] = {
                "time": _time(swap.timestamp),
                "swapAvailableBytes": swap.swap_available_bytes.value,
                "swapUsageBytes": swap.swap_usage_bytes.value,
            }
        if only_cpu_and_memory:
            return out
        layer = found.writable_layer
        images = (node.get("runtime") or {}).get("containerFs") or node["fs"]
        used = {"usedBytes": layer.used_bytes.value, "inodesUsed": layer.inodes_used.value}
        out["rootfs"] = {**images, "time": _time(layer.timestamp), **used}
        size, count = usage.directory_size([self._logs / names.log_directory(pod) / name])
        out["logs"] = {**node["fs"], "usedBytes": size, "inodesUsed": count}
        return out

    def _cpu(self, key: str, found: Any) -> Obj:
        total = found.usage_core_nano_seconds.value
        rate = self._rates.per_second(key, total, found.timestamp)
        if rate is None and found.HasField("usage_nano_cores"):
            rate = found.usage_nano_cores.value
        return _cpu(_time(found.timestamp), total, rate)

    async def _volumes(self, pod: Obj, when: str) -> list[Obj]:
        """Of those that are the pod's own: what they hold, `disk` saying whether it counts as the pod's storage."""
        out = []
        mounted = self._mounted(pod["metadata"]["uid"]) or self._mounted(runtime_uid(pod))
        for each in pod["spec"].get("volumes") or ():
            # DEVIATION: claims on the host's own directories are told of, too; upstream has no figures for these
            if (claim := _claim(pod, each)) and (there := mounted.get(each["name"])) is not None:
                whole = await asyncio.to_thread(usage.file_system, there.path, when)
                reference = {"name": claim, "namespace": pod["metadata"]["namespace"]}
                out.append({**whole, "name": each["name"], "pvcRef": reference, "disk": False})
                continue
            kind = next((kind for kind in _KINDS if each.get(kind) is not None), None)
            if kind is None:
                continue
            path = self._root / "pods" / runtime_uid(pod) / "volumes" / f"kubernetes.io~{_KINDS[kind]}" / each["name"]
            if not path.is_dir():
                continue
            size, count = await self._size(path)
            memory = kind == "emptyDir" and each[kind].get("medium") == "Memory"
            whole = usage.file_system(path, when)
            disk = kind == "emptyDir" and not memory
            out.append({**whole, "usedBytes": size, "inodesUsed": count, "name": each["name"], "disk": disk})
        return out

    async def _size(self, path: Path) -> tuple[int, int]:
        now = asyncio.get_running_loop().time()
        known = self._sizes.get(path)
        if known is None or now - known[0] > DISK_SECONDS:
            size, count = await asyncio.gather(_du("--block-size=1", path), _du("--inodes", path))
            known = self._sizes[path] = now, size, count
            self._sizes = {each: found for each, found in self._sizes.items() if now - found[0] <= 2 * DISK_SECONDS}
        return known[1], known[2]


_KINDS = {
    "emptyDir": "empty-dir",
    "configMap": "configmap",
    "secret": "secret",
    "projected": "projected",
    "downwardAPI": "downward-api",
}


def _claim(pod: Obj, volume: Obj) -> str:
    """The name of the claim that a volume is; empty: it is none."""
    if "ephemeral" in volume:
        return f"{pod['metadata']['name']}-{volume['name']}"
    return str((volume.get("persistentVolumeClaim") or {}).get("claimName", ""))


async def _du(option: str, path: Path) -> int:
    process = await asyncio.create_subprocess_exec(
        "du", "--summarize", option, str(path), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    first = (await process.communicate())[0].split(maxsplit=1)
    return int(first[0]) if first else 0


def runtime_uid(pod: Obj) -> str:
    """By which the runtime knows it: that of its manifest, where it is the mirror of a static pod."""
    notes = pod["metadata"].get("annotations") or {}
    return str(notes.get(names.MIRROR) or pod["metadata"]["uid"])


def _time(nanoseconds: int) -> str:
    """To the microsecond: rates are made of it."""
    return format_micro_time(nanoseconds / 1e9)


def shown(found: Any) -> Any:
    """A summary as it is served, with times in whole seconds."""
    if isinstance(found, dict):
        return {
            key: f"{value[:19]}Z" if key in ("time", "startTime") and value else shown(value)
            for key, value in found.items()
        }
    return [shown(each) for each in found] if isinstance(found, list) else found


def _cpu(when: str, total: int, rate: int | None) -> Obj:
    out: Obj = {"time": when}
    if rate is not None:
        out["usageNanoCores"] = rate
    return {**out, "usageCoreNanoSeconds": total}


def _memory(found: Any) -> Obj:
    out: Obj = {"time": _time(found.timestamp)}
    if found.available_bytes.value:
        out["availableBytes"] = found.available_bytes.value
    return {
        **out,
        "usageBytes": found.usage_bytes.value,
        "workingSetBytes": found.working_set_bytes.value,
        "rssBytes": found.rss_bytes.value,
        "pageFaults": found.page_faults.value,
        "majorPageFaults": found.major_page_faults.value,
    }


def _interface(found: Any) -> Obj:
    return {
        "name": found.name, "rxBytes": found.rx_bytes.value, "rxErrors": found.rx_errors.value,
        "txBytes": found.tx_bytes.value, "txErrors": found.tx_errors.value,
    }  # fmt: skip


def _network(when: str, default: str, interfaces: list[Obj]) -> Obj:
    first: Obj = next((each for each in interfaces if each["name"] == default), {"name": default})
    return {"time": when, **first, "interfaces": interfaces}


def _sum(parts: list[Obj], field: str) -> Obj:
    """Of all containers, as of the latest of them."""
    out: Obj = {}
    for each in (part[field] for part in parts):
        for key, value in each.items():
            if key == "time":
                out[key] = max(out.get(key, ""), value)
            else:
                out[key] = out.get(key, 0) + value
    return out


def _ephemeral(whole: Obj, containers: list[Obj], volumes: list[Obj]) -> Obj:
    """Writable layers, logs and emptyDirs on disk together."""
    parts = [each[field] for each in containers for field in ("rootfs", "logs")] + volumes
    used = {key: sum(part.get(key, 0) for part in parts) for key in ("usedBytes", "inodesUsed")}
    return {**whole, **used}
