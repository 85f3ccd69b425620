"""TaintToleration: nodes whose taints a pod does not tolerate; fewer soft ones are better.

Nodes with equal taints are judged once.

Source: plugins/tainttoleration/taint_toleration.go
"""

from __future__ import annotations

import numpy as np

from sampan.scheduler.changes import ADD, NODE, NODE_TAINT, POD_TOLERATION, TARGET_POD, Change, Hint
from sampan.scheduler.framework import EVERYWHERE, MAX_SCORE, At, Codes, Cycle, Plugin, Scores, Slots, normalised
from sampan.scheduler.shape import PodInfo
from sampan.scheduler.terms import Taint, Toleration, tolerated

REASON = "node(s) had untolerated taint(s)"
HARD = ("NoSchedule", "NoExecute")


class TaintToleration(Plugin):
    name = "TaintToleration"
    weight = 3
    local_filter = static_filter = True

    def hints(self) -> list[Hint]:
        return [Hint(NODE, ADD | NODE_TAINT, self._clears), Hint(TARGET_POD, POD_TOLERATION)]

    @staticmethod
    def _clears(pod: PodInfo, change: Change) -> bool:
        mine = pod.shape.tolerations
        return not _refuses(mine, change.new.taints) and (change.is_new or _refuses(mine, change.old.taints))

    def filter_at(self, cycle: Cycle, at: At) -> Codes | None:
        kept = cycle.memo(self.name)
        if kept is None:
            sets = cycle.cluster.taint_sets
            refused = np.array([untolerated(cycle, taints) for taints in sets], np.int32)
            kept = cycle.keep(self.name, (refused[cycle.cluster.taint_set] if refused.any() else None,))
        return None if kept[0] is None else kept[0][at]

    def filter_one(self, cycle: Cycle, slot: int) -> int:
        found = self.filter_at(cycle, EVERYWHERE)
        return 0 if found is None else int(found[slot])

    def reasons(self, cycle: Cycle, code: int) -> tuple[str, ...]:
        return (REASON,)

    def unresolvable(self, cycle: Cycle, code: int) -> bool:
        return True

    def score(self, cycle: Cycle, slots: Slots) -> Scores | int | None:
        kept = cycle.memo("TaintToleration/soft")
        if kept is None:
            soft = tuple(t for t in cycle.shape.tolerations if t.effect in ("", "PreferNoSchedule"))
            by_set = [
                sum(taint.effect == "PreferNoSchedule" and not tolerated(soft, taint) for taint in taints)
                for taints in cycle.cluster.taint_sets
            ]
            counts = np.array(by_set, np.int64)[cycle.cluster.taint_set] if any(by_set) else None
            kept = cycle.keep("TaintToleration/soft", (counts,))
        return MAX_SCORE if kept[0] is None else normalised(kept[0][slots], reverse=True)


def untolerated(cycle: Cycle, taints: tuple[Taint, ...]) -> bool:
    return _refuses(cycle.shape.tolerations, taints)


def _refuses(tolerations: tuple[Toleration, ...], taints: tuple[Taint, ...]) -> bool:
    return any(taint.effect in HARD and not tolerated(tolerations, taint) for taint in taints)
