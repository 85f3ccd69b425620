"""NodeName: a pod that names its node goes nowhere else.

Source: plugins/nodename/node_name.go
"""

from __future__ import annotations

import numpy as np

from sampan.scheduler.framework import Codes, Cycle, Plugin

REASON = "node(s) didn't match the requested node name"


class NodeName(Plugin):
    name = "NodeName"

    def filter(self, cycle: Cycle) -> Codes | None:
        wanted = cycle.pod.pod["spec"].get("nodeName")
        if not wanted:
            return None
        out = np.ones(len(cycle.cluster.valid), np.int32)
        info = cycle.cluster.nodes.get(wanted)
        if info is not None:
            out[info.slot] = 0
        return out

    def reasons(self, cycle: Cycle, code: int) -> tuple[str, ...]:
        return (REASON,)

    def unresolvable(self, cycle: Cycle, code: int) -> bool:
        return True
