"""ttl-controller: how long kubelets may keep Secrets and ConfigMaps, by the number of nodes, as an annotation of each node.

Nodes hear of a change when they change next: there is no hurry.

Source: kubernetes/pkg/controller/ttl/ttl_controller.go
"""

from __future__ import annotations

from typing import Any

from sampan.client import Controller, StatusError
from sampan.client.errors import is_not_found
from sampan.controllers.context import Context

Obj = dict[str, Any]
ANNOTATION = "node.alpha.kubernetes.io/ttl"
#: fewest nodes, most nodes, seconds: they overlap, so that it does not go back and forth
STEPS = ((0, 100, 0), (90, 500, 15), (450, 1000, 30), (900, 2000, 60), (1800, 10_000, 300), (9000, 2**31, 600))


class Ttl:
    def __init__(self, context: Context) -> None:
        self.client = context.clients("ttl-controller")
        self.nodes = context.informers.get("nodes")
        self.controller = Controller("ttl-controller", self.reconcile, workers=4, synced=(self.nodes,))
        self._step = 0
        enqueue = self.controller.enqueue
        self.nodes.add_handler(enqueue, lambda old, new: enqueue(new))

    async def run(self) -> None:
        await self.controller.run()

    async def reconcile(self, key: str) -> float | None:
        node = self.nodes.cache.by_key(key)
        if node is None:
            return None
        wanted = str(self._seconds())
        if (node["metadata"].get("annotations") or {}).get(ANNOTATION) != wanted:
            try:
                await self.client.patch("nodes", key, {"metadata": {"annotations": {ANNOTATION: wanted}}})
            except StatusError as error:
                if not is_not_found(error):
                    raise
        return None

    def _seconds(self) -> int:
        count = len(self.nodes.cache)
        while count > STEPS[self._step][1]:
            self._step += 1
        while count < STEPS[self._step][0]:
            self._step -= 1
        return STEPS[self._step][2]
