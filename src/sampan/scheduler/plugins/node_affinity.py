"""NodeAffinity: `nodeSelector` and node affinity, required and preferred.

Source: plugins/nodeaffinity/node_affinity.go; component-helpers/scheduling/corev1/nodeaffinity
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sampan.api.selectors import Requirement
from sampan.scheduler.changes import ADD, NODE, NODE_LABEL, Change, Hint
from sampan.scheduler.cluster import Cluster, Mask
from sampan.scheduler.framework import At, Codes, Cycle, Plugin, Refused, Scores, Slots, normalised
from sampan.scheduler.shape import PodInfo
from sampan.scheduler.terms import NodeSelector, NodeTerm, PreferredNode

REASON = "node(s) didn't match Pod's node affinity/selector"
ENFORCED = "node(s) didn't match scheduler-enforced node affinity"
CONFLICT = "pod affinity terms conflict"


class NodeAffinity(Plugin):
    name = "NodeAffinity"
    weight = 2
    local_filter = static_filter = True

    def __init__(self, added: NodeSelector | None = None, preferred: tuple[PreferredNode, ...] = ()) -> None:
        """`added`, `preferred`: what a profile asks of nodes for every pod."""
        self.added = added
        self.preferred = preferred

    def hints(self) -> list[Hint]:
        return [Hint(NODE, ADD | NODE_LABEL, self._matches)]

    def _matches(self, pod: PodInfo, change: Change) -> bool:
        def matches(node: Any) -> bool:
            wanted = (self.added, pod.shape.node_selector)
            return all(item is None or item.matches(node.name, node.labels) for item in wanted)

        return matches(change.new) and (change.is_new or not matches(change.old))

    def narrow(self, cycle: Cycle) -> Mask | None:
        """By name, where every term names nodes (as a DaemonSet's pods do)."""
        selector = cycle.shape.node_selector
        if selector is None or not selector.terms:
            return None
        out = np.zeros_like(cycle.cluster.valid)
        together: set[str] = set()
        for term in selector.terms:
            names = [set(field.values) for field in term.fields if field.operator == "in"]
            if not names:
                return None
            together |= set.intersection(*names)
        if not together:
            raise Refused(self.name, CONFLICT)
        for name in together:
            info = cycle.cluster.nodes.get(name)
            if info is not None:
                out[info.slot] = True
        return out

    def filter_at(self, cycle: Cycle, at: At) -> Codes | None:
        if self.added is None and cycle.shape.node_selector is None:
            return None
        out = (~required(cycle)[at]).astype(np.int32)
        if self.added is not None:
            kept = cycle.memo(("NodeAffinity/added", self))
            if kept is None:
                kept = cycle.keep(("NodeAffinity/added", self), ~selector_mask(cycle.cluster, self.added))
            out[kept[at]] = 2
        return out

    def filter_one(self, cycle: Cycle, slot: int) -> int:
        if self.added is None:
            return 0 if cycle.shape.node_selector is None else int(not required(cycle)[slot])
        return super().filter_one(cycle, slot)

    def reasons(self, cycle: Cycle, code: int) -> tuple[str, ...]:
        return (REASON if code == 1 else ENFORCED,)

    def unresolvable(self, cycle: Cycle, code: int) -> bool:
        return True

    def score(self, cycle: Cycle, slots: Slots) -> Scores | None:
        preferred = (*cycle.shape.preferred_nodes, *self.preferred)
        if not preferred:
            return None
        sums = cycle.memo(("NodeAffinity/preferred", self))
        if sums is None:
            sums = np.zeros(len(cycle.cluster.valid), np.int64)
            for item in preferred:
                if item.weight:
                    sums += term_mask(cycle.cluster, item.term) * item.weight
            cycle.keep(("NodeAffinity/preferred", self), sums)
        return normalised(sums[slots])


def required(cycle: Cycle) -> Mask:
    """Nodes that match what the pod requires of nodes; all, where it requires nothing."""
    kept = cycle.memo("NodeAffinity/required")
    if kept is None:
        kept = cycle.keep("NodeAffinity/required", selector_mask(cycle.cluster, cycle.shape.node_selector))
    mask: Mask = kept
    return mask


def selector_mask(cluster: Cluster, selector: NodeSelector | None) -> Mask:
    out = cluster.valid.copy()
    if selector is None:
        return out
    for key, value in selector.exact:
        out &= _requirement(cluster, Requirement(key, "in", (value,)))
    if selector.terms is not None:
        any_term = np.zeros_like(out)
        for term in selector.terms:
            any_term |= term_mask(cluster, term)
        out &= any_term
    return out


def term_mask(cluster: Cluster, term: NodeTerm) -> Mask:
    if not term.labels and not term.fields:
        return np.zeros_like(cluster.valid)
    out = cluster.valid.copy()
    for requirement in term.labels:
        out &= _requirement(cluster, requirement)
    for requirement in term.fields:
        out &= _by_name(cluster, requirement)
    return out


def _requirement(cluster: Cluster, requirement: Requirement) -> Mask:
    """Asked of each value that there is, then looked up for each node; the last answer is for nodes without it."""
    column = cluster.column(requirement.key)
    key = requirement.key
    answers = np.array([*(requirement.matches({key: text}) for text in column.texts), requirement.matches({})], bool)
    found: Mask = answers[column.ids]
    return found


def _by_name(cluster: Cluster, requirement: Requirement) -> Mask:
    out = np.zeros_like(cluster.valid)
    if requirement.operator in ("in", "="):
        for name in requirement.values:
            info = cluster.nodes.get(name)
            if info is not None:
                out[info.slot] = True
        return out
    for info in cluster.nodes.values():
        out[info.slot] = requirement.matches({requirement.key: info.name})
    return out
