"""NodePorts: a host port that is taken on the node's address, or on all of its addresses, is not free.

Source: plugins/nodeports/node_ports.go; framework/types.go (HostPortInfo)
"""

from __future__ import annotations

import numpy as np

from sampan.scheduler.framework import Codes, Cycle, Plugin

REASON = "node(s) didn't have free ports for the requested pod ports"
ANY = "0.0.0.0"


class NodePorts(Plugin):
    name = "NodePorts"

    def filter(self, cycle: Cycle) -> Codes | None:
        if not cycle.shape.ports:
            return None
        out = np.zeros(len(cycle.cluster.valid), np.int32)
        for address, protocol, number in cycle.shape.ports:
            users = cycle.cluster.host_ports.get((protocol, number), {})
            for other, slots in users.items():
                if address in (ANY, other) or other == ANY:
                    out[list(slots)] = 1
        return out

    def reasons(self, cycle: Cycle, code: int) -> tuple[str, ...]:
        return (REASON,)
