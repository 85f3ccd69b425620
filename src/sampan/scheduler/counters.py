"""How many pods of each node are of some kind, kept up to date pod by pod.

Two questions are asked of the pods that are there: how many does a selector pick (spread constraints, and the affinity
terms of the pod that is placed), and how many have a certain affinity term of their own (symmetry: anti-affinity of a
pod that runs keeps others away). Each answer is an array over nodes. A selector is counted when it is first asked for;
the least used are forgotten when they become too many.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from sampan.api.selectors import LabelSelector
from sampan.scheduler.shape import PodInfo
from sampan.scheduler.terms import AffinityTerm

if TYPE_CHECKING:
    from sampan.scheduler.cluster import Cluster

Counts = NDArray[np.int64]
Own = Literal["affinity", "anti_affinity", "preferred_affinity", "preferred_anti_affinity"]
OWN: tuple[Own, ...] = ("affinity", "anti_affinity", "preferred_affinity", "preferred_anti_affinity")
MAX = 2048


class Counter:
    """`namespace`: the only one it looks at (empty: any). `by_labels`: it looks at namespaces' labels."""

    __slots__ = ("by_labels", "counts", "namespace", "picks")

    def __init__(self, room: int, picks: Callable[[PodInfo], bool], namespace: str, by_labels: bool) -> None:
        self.counts: Counts = np.zeros(room, np.int64)
        self.picks = picks
        self.namespace = namespace
        self.by_labels = by_labels


class Counters:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._asked: OrderedDict[Hashable, Counter] = OrderedDict()
        self._by_namespace: dict[str, dict[Hashable, Counter]] = {"": {}}
        #: pods' own terms: how many pods of each node have one, by kind and term
        self.own: dict[Own, dict[AffinityTerm, Counts]] = {kind: {} for kind in OWN}
        self._own_totals: dict[tuple[Own, AffinityTerm], int] = {}

    def account(self, slot: int, pod: PodInfo, sign: int) -> None:
        for namespace in ("", pod.shape.namespace):
            for counter in self._by_namespace.get(namespace, {}).values():
                if counter.picks(pod):
                    counter.counts[slot] += sign
        if pod.shape.terms:
            for kind in OWN:
                for term in getattr(pod.shape, kind):
                    self._account_own(kind, term, slot, sign)

    def _account_own(self, kind: Own, term: AffinityTerm, slot: int, sign: int) -> None:
        terms, key = self.own[kind], (kind, term)
        counts = terms.get(term)
        if counts is None:
            counts = terms[term] = np.zeros(len(self._cluster.valid), np.int64)
        counts[slot] += sign
        left = self._own_totals[key] = self._own_totals.get(key, 0) + sign
        if left == 0:
            del terms[term], self._own_totals[key]

    def selected(self, namespace: str, selector: LabelSelector) -> Counts:
        """Pods of a namespace that a selector picks, those that are going left out."""

        def picks(pod: PodInfo) -> bool:
            shape = pod.shape
            return not pod.terminating and shape.namespace == namespace and selector.matches(shape.labels)

        return self._count(("selected", namespace, selector), picks, namespace, False)

    def matching(self, terms: tuple[AffinityTerm, ...]) -> Counts:
        """Pods that match every one of the terms, wherever they are."""
        labels = self._cluster.namespaces

        def picks(pod: PodInfo) -> bool:
            shape = pod.shape
            there = labels.get(shape.namespace, {})
            return all(term.matches(shape.namespace, there, shape.labels) for term in terms)

        key = ("matching", tuple((term.namespaces, term.namespace_selector, term.selector) for term in terms))
        return self._count(key, picks, "", any(term.namespace_selector is not None for term in terms))

    def _count(self, key: Hashable, picks: Callable[[PodInfo], bool], namespace: str, by_labels: bool) -> Counts:
        found = self._asked.get(key)
        if found is not None:
            self._asked.move_to_end(key)
            return found.counts
        counter = self._asked[key] = Counter(len(self._cluster.valid), picks, namespace, by_labels)
        self._by_namespace.setdefault(namespace, {})[key] = counter
        for info in self._cluster.nodes.values():
            counter.counts[info.slot] = sum(picks(pod) for pod in info.pods.values())
        if len(self._asked) > MAX:
            self._forget(next(iter(self._asked)))
        return counter.counts

    def _forget(self, key: Hashable) -> None:
        counter = self._asked.pop(key)
        del self._by_namespace[counter.namespace][key]

    def namespace_changed(self) -> None:
        """What looks at namespaces' labels is counted anew when next asked for."""
        for key in [key for key, counter in self._asked.items() if counter.by_labels]:
            self._forget(key)

    def grow(self, room: int) -> None:
        def wider(counts: Counts) -> Counts:
            out: Counts = np.zeros(room, np.int64)
            out[: len(counts)] = counts
            return out

        for counter in self._asked.values():
            counter.counts = wider(counter.counts)
        for terms in self.own.values():
            for term, counts in terms.items():
                terms[term] = wider(counts)
