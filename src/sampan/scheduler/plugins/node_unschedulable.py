"""NodeUnschedulable: cordoned nodes take only pods that tolerate it.

Source: plugins/nodeunschedulable/node_unschedulable.go
"""

from __future__ import annotations

import numpy as np

from sampan.scheduler.changes import ADD, NODE, NODE_TAINT, POD_TOLERATION, TARGET_POD, Change, Hint
from sampan.scheduler.framework import EVERYWHERE, At, Codes, Cycle, Plugin
from sampan.scheduler.shape import PodInfo
from sampan.scheduler.terms import Taint, tolerated

TAINT = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")
REASON = "node(s) were unschedulable"


class NodeUnschedulable(Plugin):
    name = "NodeUnschedulable"
    local_filter = static_filter = True

    def hints(self) -> list[Hint]:
        return [Hint(NODE, ADD | NODE_TAINT, self._open), Hint(TARGET_POD, POD_TOLERATION, self._tolerates)]

    @staticmethod
    def _open(pod: PodInfo, change: Change) -> bool:
        return not change.new.unschedulable and (change.is_new or change.old.unschedulable)

    @staticmethod
    def _tolerates(pod: PodInfo, change: Change) -> bool:
        return tolerated(change.new.shape.tolerations, TAINT)

    def filter_at(self, cycle: Cycle, at: At) -> Codes | None:
        kept = cycle.memo(self.name)
        if kept is None:
            cordoned = cycle.cluster.unschedulable
            passes = not cordoned.any() or tolerated(cycle.shape.tolerations, TAINT)
            kept = cycle.keep(self.name, (None if passes else cordoned.astype(np.int32),))
        return None if kept[0] is None else kept[0][at]

    def filter_one(self, cycle: Cycle, slot: int) -> int:
        found = self.filter_at(cycle, EVERYWHERE)
        return 0 if found is None else int(found[slot])

    def reasons(self, cycle: Cycle, code: int) -> tuple[str, ...]:
        return (REASON,)

    def unresolvable(self, cycle: Cycle, code: int) -> bool:
        return True
