"""NodeAffinity: `nodeSelector` and node affinity, required and preferred.

Source: plugins/nodeaffinity/node_affinity.go; component-helpers/scheduling/corev1/nodeaffinity
"""

from __future__ import annotations

import numpy as np

from sampan.api.selectors import Requirement
from sampan.scheduler.cluster import Cluster, Mask
from sampan.scheduler.framework import Codes, Cycle, Plugin, Scores, Slots, normalised
from sampan.scheduler.terms import NodeSelector, NodeTerm

REASON = "node(s) didn't match Pod's node affinity/selector"


class NodeAffinity(Plugin):
    name = "NodeAffinity"
    weight = 2

    def narrow(self, cycle: Cycle) -> Mask | None:
        """By name, where every term names nodes (as a DaemonSet's pods do)."""
        selector = cycle.shape.node_selector
        if selector is None or not selector.terms:
            return None
        out = np.zeros_like(cycle.cluster.valid)
        for term in selector.terms:
            names = [set(field.values) for field in term.fields if field.operator == "in"]
            if not names:
                return None
            for name in set.intersection(*names):
                info = cycle.cluster.nodes.get(name)
                if info is not None:
                    out[info.slot] = True
        return out

    def filter(self, cycle: Cycle) -> Codes | None:
        if cycle.shape.node_selector is None:
            return None
        return (~required(cycle)).astype(np.int32)

    def reasons(self, cycle: Cycle, code: int) -> tuple[str, ...]:
        return (REASON,)

    def unresolvable(self, cycle: Cycle, code: int) -> bool:
        return True

    def score(self, cycle: Cycle, slots: Slots) -> Scores | None:
        preferred = cycle.shape.preferred_nodes
        if not preferred:
            return None
        sums = cycle.memo("NodeAffinity/preferred")
        if sums is None:
            sums = np.zeros(len(cycle.cluster.valid), np.int64)
            for item in preferred:
                if item.weight:
                    sums += term_mask(cycle.cluster, item.term) * item.weight
            cycle.keep("NodeAffinity/preferred", sums)
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
