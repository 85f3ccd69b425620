"""Would a pod fit on a node if some others were not there? Asked for every victim of every node that might be preempted.

The general way takes the pods out of the cluster, asks all filters, and puts them back. Where room (CPU, memory, number
of pods, ...) is all that stands between the pod and the node, which is nearly always, plain sums answer the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from sampan.scheduler import nominated
from sampan.scheduler.cluster import NodeInfo
from sampan.scheduler.framework import Cycle
from sampan.scheduler.nominated import Nominator
from sampan.scheduler.plugins.resources_fit import TOO_MANY_PODS, NodeResourcesFit
from sampan.scheduler.profile import Profile
from sampan.scheduler.shape import PodInfo


class Room(Protocol):
    def refusal(self) -> tuple[str, ...]:
        """Why the pod does not fit; empty: it does."""

    def give_back(self, pod: PodInfo) -> bool:
        """Put one back, unless the pod would not fit then."""


class Checker(Protocol):
    def without(self, info: NodeInfo, pods: list[PodInfo]) -> AbstractContextManager[Room]:
        """The room on a node when the pods are not there."""


class General:
    """Asks the filters."""

    def __init__(self, profile: Profile, cycle: Cycle, nominator: Nominator) -> None:
        self.profile, self.cycle, self.nominator = profile, cycle, nominator

    @contextmanager
    def without(self, info: NodeInfo, pods: list[PodInfo]) -> Iterator[Room]:
        cluster = self.cycle.cluster
        for pod in pods:
            cluster.remove_pod(pod)
        try:
            yield _General(self, info.name)
        finally:
            for pod in pods:
                cluster.add_pod(pod)


class _General:
    def __init__(self, checker: General, node: str) -> None:
        self.checker, self.node = checker, node

    def refusal(self) -> tuple[str, ...]:
        by = self.checker
        found = nominated.refusal(by.profile, by.cycle, by.nominator, self.node)
        return () if found is None else by.profile.filters[found[0]].reasons(by.cycle, found[1])

    def give_back(self, pod: PodInfo) -> bool:
        self.checker.cycle.cluster.add_pod(pod)
        if self.refusal():
            self.checker.cycle.cluster.remove_pod(pod)
            return False
        return True


class Sums:
    """Counts."""

    def __init__(self, plugin: NodeResourcesFit, cycle: Cycle, nominator: Nominator) -> None:
        self.wanted = plugin.wanted(cycle.shape)
        self.cycle = cycle
        self.ahead = nominator.ahead_of(cycle.pod) if len(nominator) else {}

    @contextmanager
    def without(self, info: NodeInfo, pods: list[PodInfo]) -> Iterator[Room]:
        cluster, slot = self.cycle.cluster, info.slot
        left = [int(cluster.pods_allowed[slot] - cluster.pods_here[slot]) - 1]
        for name, amount in self.wanted:
            row = cluster.row(name)
            left.append(int(cluster.allocatable[row, slot] - cluster.requested[row, slot]) - amount)
        room = _Sums([name for name, _ in self.wanted], left)
        for pod in pods:
            room.add(pod, 1)
        for pod in self.ahead.get(info.name, ()):
            room.add(pod, -1)
        yield room


class _Sums:
    def __init__(self, names: list[str], left: list[int]) -> None:
        self.names, self.left = names, left

    def add(self, pod: PodInfo, sign: int) -> None:
        self.left[0] += sign
        requests = pod.shape.requests
        for index, name in enumerate(self.names, 1):
            self.left[index] += sign * requests.get(name, 0)

    def refusal(self) -> tuple[str, ...]:
        if min(self.left) >= 0:
            return ()
        out = [TOO_MANY_PODS] if self.left[0] < 0 else []
        out.extend(f"Insufficient {name}" for name, left in zip(self.names, self.left[1:], strict=True) if left < 0)
        return tuple(out)

    def give_back(self, pod: PodInfo) -> bool:
        self.add(pod, -1)
        if min(self.left) >= 0:
            return True
        self.add(pod, 1)
        return False


def checker(profile: Profile, cycle: Cycle, nominator: Nominator) -> Checker:
    """The quick one, if it answers as the general one does for nodes that NodeResourcesFit refused: no other filter that
    looks at the pods of a node has anything to say about this pod, nor will have when nominated ones are there."""
    filters = profile.filters
    fit = next((index for index, plugin in enumerate(filters) if type(plugin) is NodeResourcesFit), None)
    ahead = nominator.ahead_of(cycle.pod) if len(nominator) else {}
    if fit is None or any(pod.shape.anti_affinity for pods in ahead.values() for pod in pods):
        return General(profile, cycle, nominator)
    for index, plugin in enumerate(filters):
        silent = index != fit and not plugin.static_filter and plugin.filter(cycle) is None
        if not silent and index != fit and not (plugin.static_filter and index < fit):
            return General(profile, cycle, nominator)
    plugin = filters[fit]
    assert isinstance(plugin, NodeResourcesFit)
    return Sums(plugin, cycle, nominator)
