"""taint-eviction-controller: pods go from nodes with a NoExecute taint that they do not tolerate, or not for longer.

Source: kubernetes/pkg/controller/tainteviction/taint_eviction.go
"""

from __future__ import annotations

from typing import Any

from sampan.api.times import format_time
from sampan.client import NODE, Controller, StatusError, by_node, key_of
from sampan.client.errors import is_not_found
from sampan.controllers.context import Context
from sampan.controllers.nodes import taints
from sampan.controllers.pods import condition_of

Obj = dict[str, Any]
NOT_TOLERATED = -1.0


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
        #: by key of the pod, when its time is up; None: it was up
        self._due: dict[str, float | None] = {}
        #: whose end was told
        self._told: set[str] = set()
        self.pods.add_handler(self._pod, self._pod_changed, self._gone)
        self.nodes.add_handler(self._node, self._node_changed)

    async def run(self) -> None:
        await self.controller.run()

    # -- what wakes it -------------------------------------------------------------------------------------------------

    def _pod(self, pod: Obj) -> None:
        node = self.nodes.cache.get(pod["spec"].get("nodeName", ""))
        if node is not None and _evicting(node):
            self.controller.enqueue(pod)

    def _pod_changed(self, old: Obj, new: Obj) -> None:
        if old["metadata"]["uid"] != new["metadata"]["uid"]:
            self._gone(old)
            self._pod(new)
        elif old["spec"].get("nodeName") != new["spec"].get("nodeName") or old["spec"].get("tolerations") != new[
            "spec"
        ].get("tolerations"):
            self._pod(new)

    def _gone(self, pod: Obj) -> None:
        self._cancel(pod)

    def _node(self, node: Obj) -> None:
        if _evicting(node):
            self._all_of(node)

    def _node_changed(self, old: Obj, new: Obj) -> None:
        if _evicting(old) != _evicting(new):
            self._all_of(new)

    def _all_of(self, node: Obj) -> None:
        for pod in self.pods.cache.by_index(NODE, node["metadata"]["name"]):
            self.controller.enqueue(pod)

    # -- what it does --------------------------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> float | None:
        pod = self.pods.cache.by_key(key)
        if pod is None:
            return None
        node = self.nodes.cache.get(pod["spec"].get("nodeName", ""))
        if node is not None:
            self._plan(pod, _evicting(node))
        due = self._due.get(key)
        if due is None:
            return None
        left = due - self.context.clock()
        if left > 0:
            return left
        if key not in self._told:
            self._told.add(key)
            self._tell(pod, "Marking for deletion Pod")
        await self._evict(pod)
        if key in self._due:
            self._due[key] = None
        return None

    def _plan(self, pod: Obj, evicting: list[Obj]) -> None:
        """What is planned stays as it is while the taints are tolerated for some time, be it another than before: time
        runs from when the first of them was seen."""
        key, now = key_of(pod), self.context.clock()
        limit = _limit(pod, evicting)
        if limit is None:
            self._cancel(pod)
        elif limit == NOT_TOLERATED:
            due = self._due.get(key, now)
            if due is not None and due > now:
                self._cancel(pod)
            self._due.setdefault(key, now)
        else:
            self._due.setdefault(key, now + limit)

    def _cancel(self, pod: Obj) -> None:
        key = key_of(pod)
        if self._due.pop(key, None) is not None and key not in self._told:
            self._tell(pod, "Cancelling deletion of Pod")
        self._told.discard(key)

    def _tell(self, pod: Obj, what: str) -> None:
        """About the pod of this name, as no more is known of it than that."""
        meta = pod["metadata"]
        about = {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "apiVersion": "v1"}
        self.recorder.event(about, "Normal", "TaintManagerEviction", f"{what} {key_of(pod)}")

    async def _evict(self, pod: Obj) -> None:
        meta, before = pod["metadata"], condition_of(pod, "DisruptionTarget")
        since = (before or {}).get("lastTransitionTime") if (before or {}).get("status") == "True" else None
        target = {
            "type": "DisruptionTarget",
            "observedGeneration": meta.get("generation", 0),
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": since or format_time(self.context.clock()),
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


def _limit(pod: Obj, evicting: list[Obj]) -> float | None:
    """Seconds that the pod may stay, by the first toleration that fits each taint; None: as long as it likes."""
    limits = []
    for taint in evicting:
        fitting = (item for item in pod["spec"].get("tolerations") or () if _tolerates(item, taint))
        found = next(fitting, None)
        if found is None:
            return NOT_TOLERATED
        if found.get("tolerationSeconds") is not None:
            limits.append(float(found["tolerationSeconds"]))
    return max(0.0, min(limits)) if limits else None


def _tolerates(toleration: Obj, taint: Obj) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    return toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")
