"""One scheduler name's plugins, and a pod's way through their filters and scores.

Most of what is asked of a node depends on that node alone. For each shape of pod the answers of such plugins are kept
(`Plan`) and, when the next pod of that shape comes, worked out anew only for nodes where pods have come or gone since:
after one pod of a Deployment was placed, that is one node of thousands. This is how pods of one controller are placed
in a batch, and because the same code answers for one node and for all, the batch decides as one by one would.

Source: pkg/scheduler/framework/runtime/framework.go, schedule_one.go; KEP-5598 (opportunistic batching) has the aim
"""

from __future__ import annotations

import itertools
import random
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sampan.scheduler.cluster import Mask
from sampan.scheduler.framework import (
    EVERYWHERE,
    NARROWED,
    NOBODY,
    At,
    Codes,
    Cycle,
    Diagnosis,
    Plugin,
    Refused,
    Scores,
    Slots,
    running,
)
from sampan.scheduler.shape import Shape

PLANS = 64
#: so many nodes are asked one by one faster than all in one operation
FEW = 24


def takes_part(plugin: Plugin, point: str) -> bool:
    """Does the plugin have this extension point?"""
    return getattr(type(plugin), point) is not getattr(Plugin, point)


@dataclass(slots=True)
class Plan:
    """What the local plugins say of every node: the first to refuse it and why, and the sum of their scores."""

    stamp: object
    revision: int
    ok: Mask
    by: NDArray[np.int32]
    codes: Codes
    scores: Scores


class Profile:
    """`filters` and `scorers` in order, those with their weights; `plugins`: all there are; `prefilters`: where they are
    not those of the filters that have such a point; `points`: the plugins of other extension points, likewise.

    `planned`: keep plans; without, every pod is asked of every node (which decides the same)."""

    def __init__(
        self,
        scheduler_name: str,
        filters: Sequence[Plugin],
        scorers: Sequence[tuple[Plugin, int]],
        plugins: Sequence[Plugin] = (),
        *,
        prefilters: Sequence[Plugin] | None = None,
        points: Mapping[str, Sequence[Plugin]] | None = None,
        planned: bool = True,
    ) -> None:
        self.scheduler_name = scheduler_name
        self.filters = list(filters)
        self.scorers = list(scorers)
        self.plugins = list(plugins)
        self.planned = planned
        self._points = points
        before = self.filters if prefilters is None else prefilters
        found = [(plugin, takes_part(plugin, "prefilter"), takes_part(plugin, "narrow")) for plugin in before]
        self._prefilters = [item for item in found if item[1] or item[2]]
        # the plan ends with the first filter that looks beyond the node, as the first to refuse is the one to report
        self._local = list(itertools.takewhile(lambda plugin: plugin.local_filter, filters))
        self._far = [
            (index, plugin)
            for index, plugin in enumerate(filters)
            if index >= len(self._local) and (takes_part(plugin, "filter") or plugin.local_filter)
        ]
        self._local_scorers = [(plugin, weight) for plugin, weight in scorers if plugin.local_score]
        self._other_scorers = [(plugin, weight) for plugin, weight in scorers if not plugin.local_score]
        self._plans: OrderedDict[Shape, Plan] = OrderedDict()

    def at(self, point: str) -> list[Plugin]:
        """The plugins that have an extension point."""
        if self._points is not None:
            return list(self._points[point])
        return [plugin for plugin in self.plugins if takes_part(plugin, point)]

    # -- filters -------------------------------------------------------------------------------------------------------

    def prefilter(self, cycle: Cycle) -> tuple[Mask | None, tuple[str, ...]]:
        """The nodes that come into question (None: all), and the plugins that say so. Raises Refused."""
        narrowed: list[str] = []
        out: Mask | None = None
        for plugin, prefilters, narrows in self._prefilters:
            with running("PreFilter", plugin):
                if prefilters:
                    plugin.prefilter(cycle)
                only = plugin.narrow(cycle) if narrows else None
            if only is not None:
                narrowed.append(plugin.name)
                out = only if out is None else out & only
                if len(narrowed) > 1 and not out.any():
                    message = f"node(s) didn't satisfy plugin(s) [{' '.join(sorted(narrowed))}] simultaneously"
                    raise Refused(plugin.name, message, plugins=tuple(sorted(narrowed)))
        return out, tuple(sorted(narrowed))

    def feasible(self, cycle: Cycle) -> tuple[Mask, Diagnosis]:
        """Nodes that every filter lets the pod on, and why the others do not. Raises Refused."""
        only, narrowed = self.prefilter(cycle)
        return self.filter(cycle, only, narrowed)

    def filter(self, cycle: Cycle, only: Mask | None = None, narrowed: tuple[str, ...] = ()) -> tuple[Mask, Diagnosis]:
        """The diagnosis stands until a filter is asked again."""
        plan = self._plan(cycle)
        left, by, codes = plan.ok, plan.by, plan.codes
        slots = len(left)

        def refuse(refused: Mask, index: int, found: Codes | int) -> None:
            nonlocal left, by, codes
            if by is plan.by:
                left, by, codes = left.copy(), by.copy(), codes.copy()
            by[refused], codes[refused] = index, found
            left[refused] = False

        if only is not None:
            refuse(cycle.cluster.valid[:slots] & ~only[:slots], NARROWED, 0)
        for index, plugin in self._far:
            found = plugin.filter(cycle)
            if found is None:
                continue
            refused = left & (found[:slots] != 0)
            if refused.any():
                refuse(refused, index, found[:slots][refused])
                if not left.any():
                    break
        return left, Diagnosis(self.filters, by, codes, narrowed)

    def refusal(self, cycle: Cycle, slot: int) -> tuple[int, int] | None:
        """The first filter that refuses one node (its index), and its code; None: the pod fits there."""
        for index, plugin in enumerate(self.filters):
            if plugin.local_filter:
                code = plugin.filter_one(cycle, slot)
            else:
                found = plugin.filter(cycle)
                code = 0 if found is None else int(found[slot])
            if code:
                return index, code
        return None

    # -- plans ---------------------------------------------------------------------------------------------------------

    def _plan(self, cycle: Cycle) -> Plan:
        cluster, shape = cycle.cluster, cycle.shape
        plan = self._plans.get(shape) if self.planned else None
        if plan is not None and plan.stamp is cluster.stamp:
            touched = cluster.touched_since(plan.revision)
            if touched is not None and len(touched) * 2 < cluster.slots:
                if touched:
                    self._catch_up(cycle, plan, set(touched))
                    plan.revision = cluster.revision
                self._plans.move_to_end(shape)
                return plan
        slots = cluster.slots
        plan = Plan(
            cluster.stamp,
            cluster.revision,
            np.zeros(slots, bool),
            np.zeros(slots, np.int32),
            np.zeros(slots, np.int32),
            np.zeros(slots, np.int64),
        )
        self._work_out(cycle, plan, EVERYWHERE)
        if self.planned:
            self._plans[shape] = plan
            if len(self._plans) > PLANS:
                self._plans.popitem(last=False)
        return plan

    def _catch_up(self, cycle: Cycle, plan: Plan, touched: set[int]) -> None:
        if len(touched) > FEW:
            self._work_out(cycle, plan, np.fromiter(touched, np.intp, len(touched)))
            return
        for slot in touched:
            by, code = NOBODY, 0
            for index, plugin in enumerate(self._local):
                code = plugin.filter_one(cycle, slot)
                if code:
                    by = index
                    break
            plan.by[slot], plan.codes[slot], plan.ok[slot] = by, code, by == NOBODY
            plan.scores[slot] = sum(weight * plugin.score_one(cycle, slot) for plugin, weight in self._local_scorers)

    def _work_out(self, cycle: Cycle, plan: Plan, at: At) -> None:
        size = len(plan.ok)
        valid = cycle.cluster.valid[:size][at]
        left = valid.copy()
        by = np.full(len(left), NOBODY, np.int32)
        codes = np.zeros(len(left), np.int32)
        for index, plugin in enumerate(self._local):
            found = plugin.filter_at(cycle, at)
            if found is None:
                continue
            found = found[: len(left)]
            refused = left & (found != 0)
            if refused.any():
                by[refused] = index
                codes[refused] = found[refused]
                left &= ~refused
                if not left.any():
                    break
        plan.ok[at], plan.by[at], plan.codes[at] = left, by, codes
        slots = np.arange(size) if isinstance(at, slice) else at
        plan.scores[at] = self._sum(cycle, self._local_scorers, slots, np.zeros(len(slots), np.int64))

    # -- scores --------------------------------------------------------------------------------------------------------

    def scores(self, cycle: Cycle, slots: Slots) -> Scores:
        """The weighted sum for each feasible node."""
        near = self._plan(cycle).scores
        return self._sum(cycle, self._other_scorers, slots, near if len(slots) == len(near) else near[slots])

    @staticmethod
    def _sum(cycle: Cycle, scorers: Sequence[tuple[Plugin, int]], slots: Slots, start: Scores) -> Scores:
        total, same = start, 0
        for plugin, weight in scorers:
            found = plugin.score(cycle, slots)
            if isinstance(found, int):
                same += found * weight
            elif found is not None:
                total = total + found * weight
        return total + same if same else total

    def scores_by_plugin(self, cycle: Cycle, slots: Slots) -> dict[str, Scores]:
        """Unweighted, for people who want to know."""
        out = {}
        for plugin, _ in self.scorers:
            found = plugin.score(cycle, slots)
            if found is not None:
                out[plugin.name] = np.full(len(slots), found) if isinstance(found, int) else found
        return out

    def choose(self, cycle: Cycle, feasible: Mask, rng: random.Random) -> int:
        """The slot of the best of the feasible nodes; equals are drawn from."""
        slots = np.flatnonzero(feasible)
        if len(slots) == 1:
            return int(slots[0])
        total = self.scores(cycle, slots)
        best = np.flatnonzero(total == total.max())
        return int(slots[best[rng.randrange(len(best))] if len(best) > 1 else best[0]])
