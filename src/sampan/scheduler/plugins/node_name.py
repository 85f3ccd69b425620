"""NodeName: a pod that names its node goes nowhere else.

Source: plugins/nodename/node_name.go
"""

from __future__ import annotations

import numpy as np

from sampan.scheduler.changes import ADD, NODE, Hint
from sampan.scheduler.framework import EVERYWHERE, At, Codes, Cycle, Plugin

REASON = "node(s) didn't match the requested node name"


class NodeName(Plugin):
    name = "NodeName"
    local_filter = static_filter = True

    def hints(self) -> list[Hint]:
        return [Hint(NODE, ADD)]

    def filter_at(self, cycle: Cycle, at: At) -> Codes | None:
        # a shape does not know of it; but a pod that names its node is bound by that, and never waits here
        wanted = cycle.pod.pod.get("spec", {}).get("nodeName")
        if not wanted:
            return None
        out = np.ones(len(cycle.cluster.valid), np.int32)
        info = cycle.cluster.nodes.get(wanted)
        if info is not None:
            out[info.slot] = 0
        return out[at]

    def filter_one(self, cycle: Cycle, slot: int) -> int:
        found = self.filter_at(cycle, EVERYWHERE)
        return 0 if found is None else int(found[slot])

    def reasons(self, cycle: Cycle, code: int) -> tuple[str, ...]:
        return (REASON,)

    def unresolvable(self, cycle: Cycle, code: int) -> bool:
        return True
