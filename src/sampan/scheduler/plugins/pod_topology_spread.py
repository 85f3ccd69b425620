"""PodTopologySpread: as many pods of a kind in each domain, give or take `maxSkew`.

A pod that asks for nothing is still spread over hosts and zones with those its services and owner select, softly.

Source: plugins/podtopologyspread/{common,filtering,scoring,plugin}.go
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampan.scheduler.changes import (
    ADD,
    ASSIGNED_POD,
    DELETE,
    NODE,
    NODE_LABEL,
    NODE_TAINT,
    POD_LABEL,
    POD_TOLERATION,
    TARGET_POD,
    Change,
    Hint,
)
from sampan.scheduler.cluster import Mask
from sampan.scheduler.framework import MAX_SCORE, Codes, Cycle, Plugin, Scores, Slots
from sampan.scheduler.plugins.node_affinity import required
from sampan.scheduler.plugins.taint_toleration import untolerated
from sampan.scheduler.shape import PodInfo
from sampan.scheduler.terms import EVERYTHING, HOSTNAME, Spread

SKEWED = "node(s) didn't match pod topology spread constraints"
NO_LABEL = "node(s) didn't match pod topology spread constraints (missing required label)"
ZONE = "topology.kubernetes.io/zone"
SYSTEM = (Spread(3, HOSTNAME, False, EVERYTHING), Spread(5, ZONE, False, EVERYTHING))


class PodTopologySpread(Plugin):
    name = "PodTopologySpread"
    weight = 2

    def __init__(self, defaults: tuple[Spread, ...] | None = None) -> None:
        """`defaults`: of a profile with defaultingType List; None: the system's."""
        self.system = defaults is None
        self.defaults = SYSTEM if defaults is None else defaults

    def hints(self) -> list[Hint]:
        return [
            Hint(ASSIGNED_POD, ADD | DELETE | POD_LABEL, self._counted),
            Hint(TARGET_POD, POD_LABEL | POD_TOLERATION),
            Hint(NODE, ADD | DELETE | NODE_LABEL | NODE_TAINT, self._a_place),
        ]

    def _hard(self, pod: PodInfo) -> list[Spread] | None:
        """None: those of the profile, whose selectors are not known here."""
        own = pod.shape.spreads
        if not own and any(item.hard for item in self.defaults):
            return None
        return [item for item in own if item.hard]

    def _counted(self, pod: PodInfo, change: Change) -> bool:
        """The pod that came, went or changed is one of those that are counted."""
        there = [info for info in (change.old, change.new) if info is not None]
        if there[0].namespace != pod.namespace:
            return False
        hard = self._hard(pod)
        if hard is None:
            return True
        matched = [[item.selector.matches(info.shape.labels) for item in hard] for info in there]
        return matched[0] != matched[-1] if change.actions & POD_LABEL else any(matched[0])

    def _a_place(self, pod: PodInfo, change: Change) -> bool:
        """The node has all the topologies, or had them and another has become the fullest."""
        hard = self._hard(pod)
        nodes = [node for node in (change.old, change.new) if node is not None]
        return hard is None or any(all(item.topology_key in node.labels for item in hard) for node in nodes)

    def constraints(self, cycle: Cycle, hard: bool) -> list[Spread]:
        own = cycle.shape.spreads
        if own:
            return [item for item in own if item.hard is hard]
        wanted = [item for item in self.defaults if item.hard is hard]
        selector = cycle.default_selector
        if not wanted or not selector:
            return []
        return [
            Spread(c.max_skew, c.topology_key, hard, selector, c.min_domains, c.honor_affinity, c.honor_taints)
            for c in wanted
        ]

    # -- filter --------------------------------------------------------------------------------------------------------

    def filter(self, cycle: Cycle) -> Codes | None:
        constraints = self.constraints(cycle, True)
        if not constraints:
            return None
        cluster = cycle.cluster
        out = np.zeros(len(cluster.valid), np.int32)
        for item in reversed(constraints):
            column = cluster.column(item.topology_key)
            by_value, domains = self._counted_by_value(cycle, item, constraints)
            least = 0.0 if len(domains) < item.min_domains else by_value[domains].min()
            itself = int(item.selector.matches(cycle.shape.labels))
            skewed = by_value + itself - least > item.max_skew
            out = np.where(skewed[column.ids], 1, out)
            out[column.ids < 0] = 2
        return out.astype(np.int32)

    @staticmethod
    def _counted_by_value(
        cycle: Cycle, item: Spread, constraints: list[Spread]
    ) -> tuple[NDArray[Any], NDArray[np.intp]]:
        """Matching pods in each domain (and 0 for what is none), and which domains there are."""
        cluster = cycle.cluster
        keys = tuple(other.topology_key for other in constraints)
        key = ("PodTopologySpread/counted", item, keys)
        kept = cycle.memo(key)
        if kept is None:
            column = cluster.column(item.topology_key)
            counted = included(cycle, item)
            for name in keys:
                # only nodes that have all the topologies count
                counted = counted & (cluster.column(name).ids >= 0)
            slots = np.flatnonzero(counted)
            ids, size = column.ids[slots], len(column.texts) + 1
            kept = cycle.keep(key, (slots, ids, size, np.flatnonzero(np.bincount(ids, minlength=size))))
        slots, ids, size, domains = kept
        counts = cluster.counters.selected(cycle.shape.namespace, item.selector)
        return np.bincount(ids, weights=counts[slots], minlength=size), domains

    def domains(self, cycle: Cycle, item: Spread, constraints: list[Spread]) -> dict[str, int]:
        """Matching pods by domain, for people who want to know."""
        by_value, domains = self._counted_by_value(cycle, item, constraints)
        texts = cycle.cluster.column(item.topology_key).texts
        return {texts[index]: int(by_value[index]) for index in domains}

    def reasons(self, cycle: Cycle, code: int) -> tuple[str, ...]:
        return (SKEWED if code == 1 else NO_LABEL,)

    def unresolvable(self, cycle: Cycle, code: int) -> bool:
        return code == 2

    # -- score ---------------------------------------------------------------------------------------------------------

    def score(self, cycle: Cycle, slots: Slots) -> Scores | None:
        constraints = self.constraints(cycle, False)
        if not constraints:
            return None
        cluster = cycle.cluster
        all_keys = bool(cycle.shape.spreads) or not self.system
        kept, complete = np.ones(len(slots), bool), cluster.valid
        if all_keys:
            complete = cluster.valid.copy()
            for item in constraints:
                complete &= cluster.column(item.topology_key).ids >= 0
            kept = complete[slots]
        sums = np.zeros(len(slots), np.float64)
        for item in constraints:
            column = cluster.column(item.topology_key)
            ids = column.ids[slots]
            counts = cluster.counters.selected(cycle.shape.namespace, item.selector)
            if item.topology_key == HOSTNAME:
                size, number = int(kept.sum()), counts[slots].astype(np.float64)
            else:
                size = len(np.unique(ids[kept]))
                counted = complete & included(cycle, item)
                number = column.sums(column.ids[counted], counts[counted])[ids]
            weight = math.log(size + 2)
            sums += np.where(ids >= 0, number * weight + (item.max_skew - 1), 0.0)
        raw = np.floor(sums + 0.5).astype(np.int64)
        if not kept.any():
            return np.zeros(len(slots), np.int64)
        least, most = int(raw[kept].min()), int(raw[kept].max())
        if most == 0:
            return np.where(kept, MAX_SCORE, 0)
        return np.where(kept, MAX_SCORE * (most + least - raw) // most, 0)


def included(cycle: Cycle, item: Spread) -> Mask:
    """Nodes that count for a constraint, by its inclusion policies."""
    out = cycle.cluster.valid
    if item.honor_affinity and cycle.shape.node_selector is not None:
        out = out & required(cycle)
    if item.honor_taints:
        kept = cycle.memo("TaintToleration/included")
        if kept is None:
            refused = np.array([untolerated(cycle, taints) for taints in cycle.cluster.taint_sets], bool)
            kept = cycle.keep("TaintToleration/included", ~refused[cycle.cluster.taint_set])
        out = out & kept
    return out
