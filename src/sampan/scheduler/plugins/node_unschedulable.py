"""NodeUnschedulable: cordoned nodes take only pods that tolerate it.

Source: plugins/nodeunschedulable/node_unschedulable.go
"""

from __future__ import annotations

import numpy as np

from sampan.scheduler.framework import Codes, Cycle, Plugin
from sampan.scheduler.terms import Taint, tolerated

TAINT = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")
REASON = "node(s) were unschedulable"


class NodeUnschedulable(Plugin):
    name = "NodeUnschedulable"

    def filter(self, cycle: Cycle) -> Codes | None:
        kept = cycle.memo(self.name)
        if kept is None:
            cordoned = cycle.cluster.unschedulable
            passes = not cordoned.any() or tolerated(cycle.shape.tolerations, TAINT)
            kept = cycle.keep(self.name, (None if passes else cordoned.astype(np.int32),))
        found: Codes | None = kept[0]
        return found

    def reasons(self, cycle: Cycle, code: int) -> tuple[str, ...]:
        return (REASON,)

    def unresolvable(self, cycle: Cycle, code: int) -> bool:
        return True
