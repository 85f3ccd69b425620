"""Who has to go first when a node is short of something, who has broken a limit of their own, and what they are told. Pure.

Pods that use more than they asked for go before others, those of lower priority before those of higher, those that use most beyond what
they asked for before the rest. Numbers are those of `/stats/summary`; a pod that there are none of goes first.

Source: kubernetes pkg/kubelet/eviction/{helpers,eviction_manager}.go
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sampan.api import quantity
from sampan.api.core_v1 import pod_resources
from sampan.kubelet import names
from sampan.kubelet.machine import binary
from sampan.kubelet.resources import whole

Obj = dict[str, Any]
STORAGE = "ephemeral-storage"


def rank(resource: str, pods: list[Obj], stats: Mapping[str, Obj]) -> list[Obj]:
    """`stats`: of pods, by uid. The first is to go."""

    def key(pod: Obj) -> tuple[Any, ...]:
        found = stats.get(names.uid_of(pod))
        priority = int(pod["spec"].get("priority") or 0)
        if resource == "pids":
            return found is not None, priority, -(found or {}).get("process_stats", {}).get("process_count", 0)
        if found is None:
            return False, False, priority, 0
        used, asked = _used(resource, found), whole(pod_resources.requests(pod).get(resource))
        return True, used <= asked, priority, asked - used

    return sorted(pods, key=key)


def _used(resource: str, stats: Obj) -> int:
    if resource == "memory":
        return int((stats.get("memory") or {}).get("workingSetBytes", 0))
    field = "inodesUsed" if resource == "inodes" else "usedBytes"
    return int((stats.get(STORAGE) or {}).get(field, 0))


def message(resource: str, condition: str, pod: Obj, stats: Obj | None) -> tuple[str, dict[str, str]]:
    """What an evicted pod is told, and the annotations of its event. `condition`: how short it is."""
    text = f"The node was low on resource: {resource}. {condition}"
    blamed: list[tuple[str, str]] = []
    requests = {each["name"]: (each.get("resources") or {}).get("requests") or {} for each in names.containers_of(pod)}
    for found in (stats or {}).get("containers") or ():
        used = _container(resource, found)
        asked = requests.get(found["name"], {}).get(resource, "0")
        if used is not None and used > whole(asked):
            shown, wanted = binary(used), quantity.canonical(asked)
            text += f"Container {found['name']} was using {shown}, request is {wanted}, has larger consumption of {resource}. "
            blamed.append((found["name"], shown))
    annotations = {"starved_resource": resource}
    if stats is not None:
        annotations["offending_containers"] = ",".join(name for name, _ in blamed)
        annotations["offending_containers_usage"] = ",".join(shown for _, shown in blamed)
    return text, annotations


def _container(resource: str, found: Obj) -> int | None:
    if resource == "memory":
        return int((found.get("memory") or {}).get("workingSetBytes", 0))
    return _disk(found) if resource == STORAGE else None


def _disk(found: Obj) -> int:
    return sum(int((found.get(part) or {}).get("usedBytes", 0)) for part in ("rootfs", "logs"))


def is_limited(pod: Obj) -> bool:
    """Is there a limit to what it may hold on disk?"""
    sized = ((each.get("emptyDir") or {}).get("sizeLimit") for each in pod["spec"].get("volumes") or ())
    limits = ((each.get("resources") or {}).get("limits") or {} for each in names.containers_of(pod))
    return any(sized) or STORAGE in pod_resources.limits(pod) or any(STORAGE in each for each in limits)


def over_limit(pod: Obj, stats: Obj) -> str:
    """What a pod is told that holds more on disk than it may; empty if it does not."""
    return next(_broken(pod, stats), "")


def _broken(pod: Obj, stats: Obj) -> Iterator[str]:
    volumes = {each["name"]: int(each.get("usedBytes", 0)) for each in stats.get("volume") or ()}
    for each in pod["spec"].get("volumes") or ():
        limit = (each.get("emptyDir") or {}).get("sizeLimit") or "0"
        if 0 < quantity.parse(limit) < volumes.get(each["name"], 0):
            yield f'Usage of EmptyDir volume "{each["name"]}" exceeds the limit "{quantity.canonical(limit)}". '
    together = pod_resources.limits(pod).get(STORAGE)
    containers = stats.get("containers") or ()
    if together is not None and _used(STORAGE, stats) > whole(together):
        shown = quantity.canonical(together)
        yield f"Pod ephemeral local storage usage exceeds the total limit of containers {shown}. "
    limits = {each["name"]: (each.get("resources") or {}).get("limits") or {} for each in names.containers_of(pod)}
    for found in containers:
        limit = limits.get(found["name"], {}).get(STORAGE)
        if limit is not None and _disk(found) > whole(limit):
            yield f'Container {found["name"]} exceeded its local ephemeral storage limit "{quantity.canonical(limit)}". '
