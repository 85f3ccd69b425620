"""From the informers into the cluster and the queue: who is where, who waits, and what has changed.

A pod is counted on a node from the moment it is `assumed` to go there; the informer's word, when it comes, confirms that
or corrects it.

Source: pkg/scheduler/eventhandlers.go, backend/cache/cache.go
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from sampan.client import Informers
from sampan.scheduler import changes
from sampan.scheduler.changes import (
    ADD,
    ASSIGNED_POD,
    DELETE,
    NODE,
    UPDATE,
    Change,
    NodeView,
    node_actions,
    pod_actions,
)
from sampan.scheduler.cluster import Cluster, NodeInfo
from sampan.scheduler.hears import Hears
from sampan.scheduler.queue import SchedulingQueue
from sampan.scheduler.shape import PodInfo, pod_info

Obj = dict[str, Any]
ENDED = ("Succeeded", "Failed")
OTHERS = {
    changes.CLAIM: "persistentvolumeclaims",
    changes.VOLUME: "persistentvolumes",
    changes.STORAGE_CLASS: "storageclasses.storage.k8s.io",
    changes.CSI_NODE: "csinodes.storage.k8s.io",
    changes.CSI_DRIVER: "csidrivers.storage.k8s.io",
    changes.CSI_CAPACITY: "csistoragecapacities.storage.k8s.io",
    changes.ATTACHMENT: "volumeattachments.storage.k8s.io",
}


def view(info: NodeInfo) -> NodeView:
    return NodeView(info.name, info.labels, info.taints, info.unschedulable, info.allocatable)


class Mirror:
    """`schedulers`: names whose pods wait here. `others`: resources (of `OTHERS`) whose changes plugins care for."""

    def __init__(
        self,
        informers: Informers,
        hears: Hears,
        cluster: Cluster,
        queue: SchedulingQueue,
        schedulers: Collection[str],
        others: Collection[str] = tuple(OTHERS),
    ) -> None:
        self.cluster = cluster
        self.queue = queue
        self.schedulers = frozenset(schedulers)
        self.placed: dict[str, PodInfo] = {}
        self.assumed: set[str] = set()
        self.pods = informers.get("pods")
        nodes, namespaces = informers.get("nodes"), informers.get("namespaces")
        hears.add(nodes, self._node, lambda old, new: self._node(new), self._node_gone)
        hears.add(namespaces, self._namespace, lambda old, new: self._namespace(new), self._namespace_gone)
        hears.add(self.pods, self._pod, lambda old, new: self._pod(new), self._pod_gone)
        for resource in others:
            hears.add(informers.get(OTHERS[resource]), *self._teller(resource))

    # -- what the scheduler decides ------------------------------------------------------------------------------------

    def assume(self, pod: PodInfo, node: str) -> PodInfo:
        there = PodInfo(
            None, pod.shape, pod.key, pod.uid, node, pod.terminating, pod.nominated, pod.claims, pod.disks, pod.started
        )
        self.placed[pod.uid] = there
        self.assumed.add(pod.uid)
        self.cluster.add_pod(there)
        self.queue.nominator.remove(pod.uid)
        return there

    def forget(self, pod: PodInfo) -> bool:
        """It did not come about. False: the informer has said meanwhile that it did, or that the pod is gone."""
        if pod.uid not in self.assumed:
            return False
        self.assumed.discard(pod.uid)
        self.cluster.remove_pod(self.placed.pop(pod.uid))
        return True

    def latest(self, pod: PodInfo) -> PodInfo:
        """A waiting pod as it is now; news of it are not taken while it is assumed to be somewhere."""
        obj = self.pods.cache.by_key(pod.key)
        if obj is None or obj["metadata"]["uid"] != pod.uid or obj["spec"].get("nodeName"):
            return pod
        out = pod_info(obj)
        out.source = self.pods.cache.by_key
        return out

    def place_is_free(self, pod: PodInfo, *, but: str = "") -> None:
        """It was assumed there, and is not."""
        self.queue.happened(Change(ASSIGNED_POD, DELETE, pod, None), but=but)

    # -- pods ----------------------------------------------------------------------------------------------------------

    def _pod(self, obj: Obj) -> None:
        if (obj.get("status") or {}).get("phase") in ENDED:
            self._pod_gone(obj)
        elif obj["spec"].get("nodeName"):
            self._on_node(pod_info(obj))
        elif obj["spec"].get("schedulerName") in self.schedulers and obj["metadata"]["uid"] not in self.assumed:
            waiting = pod_info(obj)
            waiting.source = self.pods.cache.by_key
            self.queue.update(waiting, obj["spec"]["schedulerName"])
            waiting.release()

    def _on_node(self, pod: PodInfo) -> None:
        known = self.placed.get(pod.uid)
        if known is not None and known.node != pod.node:
            # bound by someone else, elsewhere
            self._leave(known)
            known = None
        self.placed[pod.uid] = pod
        self.cluster.add_pod(pod)
        if known is None or pod.uid in self.assumed:
            self.assumed.discard(pod.uid)
            self.queue.remove(pod.uid)
            self.queue.happened(Change(ASSIGNED_POD, ADD, None, pod))
        elif actions := pod_actions(known, pod):
            self.queue.happened(Change(ASSIGNED_POD, actions, known, pod))

    def _pod_gone(self, obj: Obj) -> None:
        uid = obj["metadata"]["uid"]
        nominated = self.queue.nominator.node_of(uid)
        waiting = self.queue.get(uid)
        self.queue.remove(uid)
        known = self.placed.get(uid)
        if known is not None:
            self._leave(known)
        elif waiting is not None and nominated:
            # its place is free again
            self.queue.happened(Change(ASSIGNED_POD, DELETE, waiting.pod, None))

    def _leave(self, pod: PodInfo) -> None:
        del self.placed[pod.uid]
        self.assumed.discard(pod.uid)
        self.cluster.remove_pod(pod)
        self.queue.happened(Change(ASSIGNED_POD, DELETE, pod, None))

    # -- nodes and the rest --------------------------------------------------------------------------------------------

    def _node(self, obj: Obj) -> None:
        known = self.cluster.nodes.get(obj["metadata"]["name"])
        before = view(known) if known is not None else None
        if not self.cluster.set_node(obj):
            return
        after = view(self.cluster.nodes[obj["metadata"]["name"]])
        actions = ADD if before is None else node_actions(before, after)
        if actions:
            self.queue.happened(Change(NODE, actions, before, after))

    def _node_gone(self, obj: Obj) -> None:
        known = self.cluster.nodes.get(obj["metadata"]["name"])
        if known is not None:
            self.cluster.remove_node(known.name)
            self.queue.happened(Change(NODE, DELETE, view(known), None))

    def _namespace(self, obj: Obj) -> None:
        self.cluster.set_namespace(obj["metadata"]["name"], obj["metadata"].get("labels") or {})

    def _namespace_gone(self, obj: Obj) -> None:
        self.cluster.set_namespace(obj["metadata"]["name"], None)

    def _teller(
        self, resource: str
    ) -> tuple[Callable[[Obj], object], Callable[[Obj, Obj], object], Callable[[Obj], object]]:
        def tell(actions: int, old: Obj | None, new: Obj | None) -> None:
            self.queue.happened(Change(resource, actions, old, new))

        return (
            lambda obj: tell(ADD, None, obj),
            lambda old, new: tell(UPDATE, old, new),
            lambda obj: tell(DELETE, obj, None),
        )
