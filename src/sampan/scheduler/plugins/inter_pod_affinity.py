"""InterPodAffinity: near to some pods, away from others, by topology; also as the pods that are there wish it.

Source: plugins/interpodaffinity/{filtering,scoring}.go
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sampan.scheduler.changes import ADD, ASSIGNED_POD, DELETE, NODE, NODE_LABEL, POD_LABEL, TARGET_POD, Change, Hint
from sampan.scheduler.framework import MAX_SCORE, Codes, Cycle, Plugin, Scores, Slots
from sampan.scheduler.shape import PodInfo
from sampan.scheduler.terms import AffinityTerm

AFFINITY = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
EXISTING = "node(s) didn't satisfy existing pods anti-affinity rules"
REASONS = {1: AFFINITY, 2: ANTI_AFFINITY, 3: EXISTING}
Floats = NDArray[np.float64]


class InterPodAffinity(Plugin):
    name = "InterPodAffinity"
    weight = 2

    def __init__(self, hard_weight: int = 1, ignore_preferred_of_existing: bool = False) -> None:
        """`ignore_preferred_of_existing`: pods that prefer none are not scored by what the pods that are there wish."""
        self.hard_weight = hard_weight
        self.ignore_preferred_of_existing = ignore_preferred_of_existing

    # -- hints ---------------------------------------------------------------------------------------------------------

    def hints(self) -> list[Hint]:
        return [
            Hint(ASSIGNED_POD, ADD | DELETE | POD_LABEL, self._concerns),
            Hint(TARGET_POD, POD_LABEL),
            Hint(NODE, ADD | NODE_LABEL, self._in_topology),
        ]

    @staticmethod
    def _concerns(pod: PodInfo, change: Change) -> bool:
        """A pod came that this one wants to be near, or went that one of both wanted to be far from.

        Labels of namespaces are not known here: where a term looks at them, it may concern."""
        old, new = change.old, change.new

        def speaks_of(term: AffinityTerm, other: PodInfo) -> bool:
            covered = other.namespace in term.namespaces or term.namespace_selector is not None
            return covered and term.selector.matches(other.shape.labels)

        wants_near = new is not None and any(speaks_of(term, new) for term in pod.shape.affinity)
        if wants_near:
            return True
        return old is not None and (
            any(speaks_of(term, old) for term in pod.shape.anti_affinity)
            or any(speaks_of(term, pod) for term in old.shape.anti_affinity)
        )

    @staticmethod
    def _in_topology(pod: PodInfo, change: Change) -> bool:
        """The node is in the domains that the pod wants to be in. Where its labels have changed, it may have left one that
        pods which are there keep others out of: their terms are not known here."""
        return not change.is_new or all(term.topology_key in change.new.labels for term in pod.shape.affinity)

    # -- filter --------------------------------------------------------------------------------------------------------

    def filter(self, cycle: Cycle) -> Codes | None:
        shape, counters = cycle.shape, cycle.cluster.counters
        kept_away = [term for term in counters.own["anti_affinity"] if wants(cycle, term)]
        if not shape.affinity and not shape.anti_affinity and not kept_away:
            return None
        out = np.zeros(len(cycle.cluster.valid), np.int32)
        for term in kept_away:
            out[near(cycle, term.topology_key, counters.own["anti_affinity"][term])] = 3
        for term in shape.anti_affinity:
            out[near(cycle, term.topology_key, counters.matching((term,)))] = 2
        if shape.affinity:
            out[~self._satisfied(cycle)] = 1
        return out

    @staticmethod
    def _satisfied(cycle: Cycle) -> NDArray[np.bool_]:
        """Nodes that are near pods that match all of the terms; a first pod that matches them itself may go anywhere
        that has the topology."""
        terms = cycle.shape.affinity
        counts = cycle.cluster.counters.matching(terms)
        everywhere = np.ones(len(cycle.cluster.valid), bool)
        there, somewhere = everywhere.copy(), False
        for term in terms:
            column = cycle.cluster.column(term.topology_key)
            everywhere &= column.ids >= 0
            there &= near(cycle, term.topology_key, counts)
            somewhere = somewhere or bool(counts[column.ids >= 0].any())
        if not somewhere and all(wants(cycle, term) for term in terms):
            return everywhere
        return there

    def reasons(self, cycle: Cycle, code: int) -> tuple[str, ...]:
        return (REASONS[code],)

    def unresolvable(self, cycle: Cycle, code: int) -> bool:
        return code == 1

    # -- score ---------------------------------------------------------------------------------------------------------

    def score(self, cycle: Cycle, slots: Slots) -> Scores | None:
        shape, own = cycle.shape, cycle.cluster.counters.own
        if self.ignore_preferred_of_existing and not (shape.preferred_affinity or shape.preferred_anti_affinity):
            return None
        weighed: list[tuple[AffinityTerm, int, NDArray[np.int64]]] = []
        for terms, sign in ((shape.preferred_affinity, 1), (shape.preferred_anti_affinity, -1)):
            for term in terms:
                weighed.append((term, sign * term.weight, cycle.cluster.counters.matching((term,))))
        if self.hard_weight:
            weighed.extend((t, self.hard_weight, counts) for t, counts in own["affinity"].items() if wants(cycle, t))
        for kind, sign in (("preferred_affinity", 1), ("preferred_anti_affinity", -1)):
            there = own[kind]  # type: ignore[index]
            weighed.extend((t, sign * t.weight, counts) for t, counts in there.items() if wants(cycle, t))
        if not weighed:
            return None
        sums = np.zeros(len(slots), np.float64)
        for term, weight, counts in weighed:
            column = cycle.cluster.column(term.topology_key)
            by_value = column.sums(column.ids, counts * weight)
            by_value[-1] = 0
            sums += by_value[column.ids[slots]]
        least, most = sums.min(), sums.max()
        if most == least:
            return np.zeros(len(slots), np.int64)
        out: Scores = (MAX_SCORE * ((sums - least) / (most - least))).astype(np.int64)
        return out


def wants(cycle: Cycle, term: AffinityTerm) -> bool:
    """Is the pod that is placed one of those the term speaks of?"""
    shape = cycle.shape
    return term.matches(shape.namespace, cycle.cluster.namespaces.get(shape.namespace, {}), shape.labels)


def near(cycle: Cycle, topology_key: str, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Nodes in a domain where any of the counted pods is."""
    column = cycle.cluster.column(topology_key)
    there = np.zeros(len(column.texts) + 1, bool)
    there[column.ids[np.flatnonzero(counts)]] = True
    # the last is for nodes that are in no domain
    there[-1] = False
    found: NDArray[np.bool_] = there[column.ids]
    return found
