"""taint-eviction-controller: pods go from nodes with a NoExecute taint that they do not tolerate, or not for longer.

Source: kubernetes/pkg/controller/tainteviction/taint_eviction.go
"""

from __future__ import annotations

from typing import Any

from sampan.api.times import format_time
from sampan.client import NODE, Controller, StatusError, by_node, key_of
from sampan.client.errors import is_not_found
from sampan.controllers.context import Context
from sampan.controllers.nodes import epoch, taints

Obj = dict[str, Any]


class TaintEviction:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.client = context.clients("node-controller")
        self.recorder = context.recorders("taint-eviction-controller", self.client)
        self.nodes = context.informers.get("nodes")
        self.pods = context.informers.get("pods", indexers={NODE: by_node})
        self.controller = Controller(
            "taint-eviction-controller", self.reconcile, workers=8, synced=(self.nodes, self.pods)
        )
        #: pods whose time is running: uid, and since when
        self._marked: dict[str, tuple[str, float]] = {}
        self.pods.add_handler(self._pod, self._pod_changed, self._gone)
        self.nodes.add_handler(self._node, self._node_changed)

    async def run(self) -> None:
        await self.controller.run()

    def _pod(self, pod: Obj) -> None:
        node = self.nodes.cache.get(pod["spec"].get("nodeName", ""))
        if node is not None and _evicting(node):
            self.controller.enqueue(pod)

    def _pod_changed(self, old: Obj, new: Obj) -> None:
        if old["spec"].get("nodeName") != new["spec"].get("nodeName") or old["spec"].get("tolerations") != new[
            "spec"
        ].get("tolerations"):
            self._pod(new)

    def _gone(self, pod: Obj) -> None:
        self._marked.pop(key_of(pod), None)

    def _node(self, node: Obj) -> None:
        if _evicting(node):
            self._all_of(node)

    def _node_changed(self, old: Obj, new: Obj) -> None:
        if _evicting(old) != _evicting(new):
            self._all_of(new)

    def _all_of(self, node: Obj) -> None:
        for pod in self.pods.cache.by_index(NODE, node["metadata"]["name"]):
            self.controller.enqueue(pod)

    async def reconcile(self, key: str) -> float | None:
        pod = self.pods.cache.by_key(key)
        if pod is None or pod["metadata"].get("deletionTimestamp"):
            return None
        node = self.nodes.cache.get(pod["spec"].get("nodeName", ""))
        evicting = _evicting(node) if node is not None else []
        limit = self._limit(pod, evicting)
        if limit is None:
            if self._marked.pop(key, None) is not None:
                self.recorder.event(pod, "Normal", "TaintManagerEviction", f"Cancelling deletion of Pod {key}")
            return None
        uid, since = self._marked.get(key, ("", 0.0))
        if uid != pod["metadata"]["uid"]:
            since = max(epoch(taint.get("timeAdded")) for taint in evicting) or self.context.clock()
            self._marked[key] = (pod["metadata"]["uid"], since)
        left = since + limit - self.context.clock()
        if limit > 0 and left > 0:
            return left
        self.recorder.event(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {key}")
        await self._evict(pod)
        return None

    @staticmethod
    def _limit(pod: Obj, evicting: list[Obj]) -> float | None:
        """Seconds that the pod may stay (0: none); None: as long as it likes."""
        if not evicting:
            return None
        tolerations = pod["spec"].get("tolerations") or ()
        shortest: float | None = None
        for taint in evicting:
            mine = [item for item in tolerations if _tolerates(item, taint)]
            if not mine:
                return 0.0
            limits = [item["tolerationSeconds"] for item in mine if item.get("tolerationSeconds") is not None]
            if limits:
                least = max(0, min(limits))
                shortest = least if shortest is None else min(shortest, least)
        return shortest

    async def _evict(self, pod: Obj) -> None:
        meta = pod["metadata"]
        target = {
            "type": "DisruptionTarget",
            "observedGeneration": meta.get("generation", 0),
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": format_time(self.context.clock()),
        }
        body = {"metadata": {"uid": meta["uid"]}, "status": {"conditions": [target]}}
        try:
            await self.client.patch(
                "pods", meta["name"], body, meta["namespace"], type="strategic", subresource="status"
            )
            await self.client.delete("pods", meta["name"], meta["namespace"], uid=meta["uid"])
        except StatusError as error:
            if not is_not_found(error):
                raise


def _evicting(node: Obj) -> list[Obj]:
    return [taint for taint in taints(node) if taint["effect"] == "NoExecute"]


def _tolerates(toleration: Obj, taint: Obj) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    return toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")
