"""pod-garbage-collector-controller: pods that nobody will end otherwise: of nodes that are gone, deleted before they had
a node, on nodes that are out of service; and the oldest of those that ended, when they become too many.

Source: kubernetes/pkg/controller/podgc/gc_controller.go
"""

from __future__ import annotations

from typing import Any

from sampan.api.times import format_time
from sampan.client import NODE, Controller, StatusError, by_node
from sampan.client.errors import is_not_found
from sampan.controllers.context import Context
from sampan.controllers.nodes import condition, taints
from sampan.controllers.pods import is_terminal

Obj = dict[str, Any]
#: a node that is gone may come back for so long
QUARANTINE = 40.0
TERMINATED = "/terminated"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


class PodGc:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.client = context.clients("pod-garbage-collector")
        self.nodes = context.informers.get("nodes")
        self.pods = context.informers.get("pods", indexers={NODE: by_node})
        self.threshold = context.options.terminated_pod_gc_threshold
        self._missing: dict[str, float] = {}
        self._ended: set[str] = set()
        self.controller = Controller(
            "pod-garbage-collector-controller", self.reconcile, workers=4, synced=(self.nodes, self.pods)
        )
        self.pods.add_handler(self._pod, lambda old, new: self._pod(new), self._gone)
        self.nodes.add_handler(self._node, lambda old, new: self._node(new), self._node_gone)

    async def run(self) -> None:
        await self.nodes.wait_synced()
        await self.pods.wait_synced()
        for pod in self.pods.cache.list():
            self._pod(pod)
        await self.controller.run()

    def _pod(self, pod: Obj) -> None:
        node = pod["spec"].get("nodeName", "")
        deleted = bool(pod["metadata"].get("deletionTimestamp"))
        if (
            (deleted and not node)
            or (node and self.nodes.has_synced and self.nodes.cache.get(node) is None)
            or (deleted and node and self._out_of_service(node))
        ):
            self.controller.enqueue(pod)
        if is_terminal(pod):
            self._ended.add(pod["metadata"]["uid"])
            if 0 < self.threshold < len(self._ended):
                self.controller.queue.add(TERMINATED)

    def _gone(self, pod: Obj) -> None:
        self._ended.discard(pod["metadata"]["uid"])

    def _node(self, node: Obj) -> None:
        name = node["metadata"]["name"]
        self._missing.pop(name, None)
        if any(taint["key"] == OUT_OF_SERVICE for taint in taints(node)):
            for pod in self.pods.cache.by_index(NODE, name):
                self._pod(pod)

    def _node_gone(self, node: Obj) -> None:
        for pod in self.pods.cache.by_index(NODE, node["metadata"]["name"]):
            self.controller.enqueue(pod)

    def _out_of_service(self, name: str) -> bool:
        node = self.nodes.cache.get(name)
        if node is None:
            return False
        ready = (condition(node, "Ready") or {}).get("status") == "True"
        return not ready and any(taint["key"] == OUT_OF_SERVICE for taint in taints(node))

    async def reconcile(self, key: str) -> float | None:
        if key == TERMINATED:
            await self._too_many()
            return None
        pod = self.pods.cache.by_key(key)
        if pod is None:
            return None
        name = pod["spec"].get("nodeName", "")
        deleted = bool(pod["metadata"].get("deletionTimestamp"))
        if not name or (deleted and self._out_of_service(name)):
            if deleted:
                await self._delete(pod)
            return None
        if self.nodes.cache.get(name) is not None:
            return None
        now = self.context.clock()
        left = self._missing.setdefault(name, now) + QUARANTINE - now
        if left > 0:
            return left
        try:
            await self.client.get("nodes", name)
        except StatusError as error:
            if not is_not_found(error):
                raise
            await self._delete(pod, "PodGC: node no longer exists")
        return None

    async def _too_many(self) -> None:
        ended = [pod for pod in self.pods.cache.list() if pod["metadata"]["uid"] in self._ended]
        ended.sort(key=_order)
        for pod in ended[: max(0, len(ended) - self.threshold)]:
            await self._delete(pod)

    async def _delete(self, pod: Obj, message: str = "") -> None:
        """For good. Where the pod may still run it has failed first, with a condition that says `message`, if there is one:
        no kubelet will say that any more."""
        meta = pod["metadata"]
        try:
            if not is_terminal(pod):
                status: Obj = {"phase": "Failed"}
                if message:
                    target = {
                        "type": "DisruptionTarget", "observedGeneration": meta.get("generation", 0), "status": "True",
                        "reason": "DeletionByPodGC", "message": message,
                        "lastTransitionTime": format_time(self.context.clock()),
                    }  # fmt: skip
                    status["conditions"] = [target]
                body = {"metadata": {"uid": meta["uid"]}, "status": status}
                await self.client.patch(
                    "pods", meta["name"], body, meta["namespace"], type="strategic", subresource="status"
                )
            await self.client.delete("pods", meta["name"], meta["namespace"], grace_seconds=0, uid=meta["uid"])
        except StatusError as error:
            if not is_not_found(error):
                raise


def _order(pod: Obj) -> tuple[Any, ...]:
    """Who goes first: those that were evicted, which nobody counts, then the oldest."""
    meta, status = pod["metadata"], pod.get("status") or {}
    evicted = status.get("phase") == "Failed" and status.get("reason") == "Evicted"
    return not evicted, meta["creationTimestamp"], meta["name"]
