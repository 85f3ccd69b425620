"""Pods that have a node in view: victims are on their way out for them. Who comes later must leave them their place.

Source: pkg/scheduler/backend/queue/nominator.go; framework/runtime/framework.go (RunFilterPluginsWithNominatedPods)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from sampan.scheduler.cluster import Cluster, Mask
from sampan.scheduler.framework import Cycle, Diagnosis
from sampan.scheduler.profile import Profile
from sampan.scheduler.shape import PodInfo


class Nominator:
    """By pod and by node."""

    def __init__(self) -> None:
        self._node_of: dict[str, str] = {}
        self._by_node: dict[str, dict[str, PodInfo]] = {}

    def __len__(self) -> int:
        return len(self._node_of)

    def node_of(self, uid: str) -> str:
        return self._node_of.get(uid, "")

    def on(self, node: str) -> list[PodInfo]:
        return list(self._by_node.get(node, {}).values())

    def put(self, pod: PodInfo, node: str) -> None:
        """`node` empty: the pod has no nomination any more."""
        self.remove(pod.uid)
        if node:
            self._node_of[pod.uid] = node
            self._by_node.setdefault(node, {})[pod.uid] = pod

    def remove(self, uid: str) -> None:
        node = self._node_of.pop(uid, "")
        if node:
            pods = self._by_node[node]
            del pods[uid]
            if not pods:
                del self._by_node[node]

    def ahead_of(self, pod: PodInfo) -> dict[str, list[PodInfo]]:
        """Others of the same priority or a higher one, by node."""
        out: dict[str, list[PodInfo]] = {}
        for node, pods in self._by_node.items():
            found = [other for uid, other in pods.items() if uid != pod.uid and other.priority >= pod.priority]
            if found:
                out[node] = found
        return out


@contextmanager
def present(cluster: Cluster, node: str, pods: list[PodInfo]) -> Iterator[None]:
    """As if the pods were there already."""
    there = [replace(pod, node=node) for pod in pods]
    for pod in there:
        cluster.add_pod(pod)
    try:
        yield
    finally:
        for pod in reversed(there):
            cluster.remove_pod(pod)


def feasible(
    profile: Profile, cycle: Cycle, nominator: Nominator, only: Mask | None, narrowed: tuple[str, ...]
) -> tuple[Mask, Diagnosis]:
    """As `profile.filter`, but a node with nominated pods must let the pod on both with them there, as they need their
    place, and without, as they may never come."""
    left, diagnosis = profile.filter(cycle, only, narrowed)
    if len(nominator):
        # what is asked in between must not change it
        left = left.copy()
        diagnosis = replace(diagnosis, by=diagnosis.by.copy(), codes=diagnosis.codes.copy())
    for node, pods in (nominator.ahead_of(cycle.pod) if len(nominator) else {}).items():
        info = cycle.cluster.nodes.get(node)
        if info is None or not left[info.slot]:
            continue
        with present(cycle.cluster, node, pods):
            refusal = profile.refusal(cycle, info.slot)
        if refusal is not None:
            left[info.slot] = False
            diagnosis.by[info.slot], diagnosis.codes[info.slot] = refusal
    return left, diagnosis


def refusal(profile: Profile, cycle: Cycle, nominator: Nominator, node: str) -> tuple[int, int] | None:
    """As `profile.refusal`, for a node that may have nominated pods."""
    slot = cycle.cluster.nodes[node].slot
    ahead = nominator.ahead_of(cycle.pod).get(node) if len(nominator) else None
    if ahead:
        with present(cycle.cluster, node, ahead):
            found = profile.refusal(cycle, slot)
        if found is not None:
            return found
    return profile.refusal(cycle, slot)
