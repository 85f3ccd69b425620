"""TaintToleration: nodes whose taints a pod does not tolerate; fewer soft ones are better.

Nodes with equal taints are judged once.

Source: plugins/tainttoleration/taint_toleration.go
"""

from __future__ import annotations

import numpy as np

from sampan.scheduler.framework import Codes, Cycle, Plugin, Scores, Slots, normalised
from sampan.scheduler.terms import Taint, tolerated

REASON = "node(s) had untolerated taint(s)"
HARD = ("NoSchedule", "NoExecute")


class TaintToleration(Plugin):
    name = "TaintToleration"
    weight = 3

    def filter(self, cycle: Cycle) -> Codes | None:
        kept = cycle.memo(self.name)
        if kept is None:
            sets = cycle.cluster.taint_sets
            refused = np.array([untolerated(cycle, taints) for taints in sets], np.int32)
            kept = cycle.keep(self.name, (refused[cycle.cluster.taint_set] if refused.any() else None,))
        found: Codes | None = kept[0]
        return found

    def reasons(self, cycle: Cycle, code: int) -> tuple[str, ...]:
        return (REASON,)

    def unresolvable(self, cycle: Cycle, code: int) -> bool:
        return True

    def score(self, cycle: Cycle, slots: Slots) -> Scores | None:
        counts = cycle.memo("TaintToleration/soft")
        if counts is None:
            soft = tuple(t for t in cycle.shape.tolerations if t.effect in ("", "PreferNoSchedule"))
            by_set = [
                sum(taint.effect == "PreferNoSchedule" and not tolerated(soft, taint) for taint in taints)
                for taints in cycle.cluster.taint_sets
            ]
            counts = cycle.keep("TaintToleration/soft", np.array(by_set, np.int64)[cycle.cluster.taint_set])
        return normalised(counts[slots], reverse=True)


def untolerated(cycle: Cycle, taints: tuple[Taint, ...]) -> bool:
    return any(taint.effect in HARD and not tolerated(cycle.shape.tolerations, taint) for taint in taints)
