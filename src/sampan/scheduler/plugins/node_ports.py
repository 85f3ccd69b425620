"""NodePorts: a host port that is taken on the node's address, or on all of its addresses, is not free.

Source: plugins/nodeports/node_ports.go; framework/types.go (HostPortInfo)
"""

from __future__ import annotations

import numpy as np

from sampan.scheduler.changes import ADD, ASSIGNED_POD, DELETE, NODE, Change, Hint
from sampan.scheduler.framework import EVERYWHERE, At, Codes, Cycle, Plugin
from sampan.scheduler.shape import PodInfo

REASON = "node(s) didn't have free ports for the requested pod ports"
ANY = "0.0.0.0"


class NodePorts(Plugin):
    name = "NodePorts"
    local_filter = True

    def hints(self) -> list[Hint]:
        return [Hint(ASSIGNED_POD, DELETE, self._frees), Hint(NODE, ADD)]

    @staticmethod
    def _frees(pod: PodInfo, change: Change) -> bool:
        return any(
            mine[1:] == other[1:] and (ANY in (mine[0], other[0]) or mine[0] == other[0])
            for mine in pod.shape.ports
            for other in change.old.shape.ports
        )

    def filter_at(self, cycle: Cycle, at: At) -> Codes | None:
        if not cycle.shape.ports:
            return None
        out = np.zeros(len(cycle.cluster.valid), np.int32)
        for address, protocol, number in cycle.shape.ports:
            users = cycle.cluster.host_ports.get((protocol, number), {})
            for other, slots in users.items():
                if address in (ANY, other) or other == ANY:
                    out[list(slots)] = 1
        return out[at]

    def filter_one(self, cycle: Cycle, slot: int) -> int:
        found = self.filter_at(cycle, EVERYWHERE)
        return 0 if found is None else int(found[slot])

    def reasons(self, cycle: Cycle, code: int) -> tuple[str, ...]:
        return (REASON,)
