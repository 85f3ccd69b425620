"""node-lifecycle-controller: nodes that show no life become NotReady, and are tainted so that nothing new goes there and
what is there may be evicted.

A node's next deadline is known (its last sign of life, and the grace period), so that nothing is polled. Taints that
keep pods away follow from conditions at once; those that evict come one node after the other in each zone, slower or
not at all where a whole zone seems to be gone: then it is more likely that we are cut off.

Source: kubernetes/pkg/controller/nodelifecycle/node_lifecycle_controller.go
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from sampan.api.times import format_time
from sampan.client import NODE, Controller, StatusError, by_node, key_of
from sampan.client.errors import is_not_found
from sampan.controllers.context import Context
from sampan.controllers.nodes import change_taints, condition, epoch, reference_to, taints, zone_of
from sampan.controllers.pods import is_ready

Obj = dict[str, Any]
#: by then whoever plays a simulated node knows what was asked of it
HEARD_SECONDS = 1.0
#: until a pod is marked again where that failed
RETRY_SECONDS = 1.0
State = Literal["Normal", "PartialDisruption", "FullDisruption"]
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
#: condition and status to the taint that keeps pods away
AWAY = {
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
}
OURS = {*AWAY.values(), UNSCHEDULABLE}
WATCHED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
UNHEALTHY_ZONE, LARGE_CLUSTER, SECONDARY_RATE = 0.55, 50, 0.01
LABELS = (("beta.kubernetes.io/os", "kubernetes.io/os"), ("beta.kubernetes.io/arch", "kubernetes.io/arch"))
#: a node with this label does not count where zones are judged
EXCLUDED = "node.kubernetes.io/exclude-disruption"


@dataclass(slots=True)
class Health:
    """When a node was last seen to show life, by our clock, and by what."""

    seen: float
    mark: tuple[str, str]


class Zones:
    """How many nodes each zone has, and how many of them are ready: kept, since thousands of nodes ask."""

    def __init__(self) -> None:
        self.nodes: dict[str, tuple[str, bool]] = {}
        self.sizes: Counter[str] = Counter()
        self.ready: Counter[str] = Counter()

    def put(self, name: str, zone: str, ready: bool) -> None:
        self.drop(name)
        self.nodes[name] = zone, ready
        self.sizes[zone] += 1
        self.ready[zone] += ready

    def drop(self, name: str) -> None:
        found = self.nodes.pop(name, None)
        if found is None:
            return
        zone, ready = found
        self.sizes[zone] -= 1
        self.ready[zone] -= ready
        if not self.sizes[zone]:
            del self.sizes[zone], self.ready[zone]

    def seen(self, name: str, ready: bool) -> None:
        """Of a node that is there, if it is."""
        if name in self.nodes:
            self.put(name, self.nodes[name][0], ready)

    def state(self, zone: str) -> State:
        unready = self.sizes[zone] - self.ready[zone]
        if not self.ready[zone] and unready:
            return "FullDisruption"
        return "PartialDisruption" if unready > 2 and unready / self.sizes[zone] >= UNHEALTHY_ZONE else "Normal"


class NodeLifecycle:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.options = context.options
        self.client = context.clients("node-controller")
        self.recorder = context.recorders("node-controller", self.client)
        self.nodes = context.informers.get("nodes")
        self.leases = context.informers.get("leases", "kube-node-lease")
        self.pods = context.informers.get("pods", indexers={NODE: by_node})
        self.health: dict[str, Health] = {}
        self.zones = Zones()
        #: nodes that were told of, and their uids
        self._known: dict[str, str] = {}
        self._last_eviction: dict[str, float] = {}
        self._disrupted = False
        self.controller = Controller(
            "node-lifecycle-controller", self.reconcile, workers=4, synced=(self.nodes, self.leases, self.pods)
        )
        self.nodes.add_handler(self.controller.enqueue, self._changed, self._gone)
        self.leases.add_handler(self._lease, lambda old, new: self._lease(new))
        self.pods.add_handler(self._pod, self._pod_changed)

    async def run(self) -> None:
        self.health.clear()
        await self.controller.run()

    def _gone(self, node: Obj) -> None:
        self.zones.seen(node["metadata"]["name"], False)
        self.controller.enqueue(node)

    def _changed(self, old: Obj, new: Obj) -> None:
        self.zones.seen(new["metadata"]["name"], is_ready(new))
        simulated = self.options.last_seen(new["metadata"]["name"]) is not None
        labels, before = new["metadata"].get("labels"), old["metadata"].get("labels")
        changed = self._mark(new) != self._mark(old) or labels != before or old.get("spec") != new.get("spec")
        if changed or _states(old) != _states(new):
            self.controller.enqueue(new)
        if simulated and old["metadata"].get("annotations") != new["metadata"].get("annotations"):
            # whoever plays the node may hear of it later than we do
            self.controller.enqueue(new)
            self.controller.enqueue_after(new, HEARD_SECONDS)

    def _lease(self, lease: Obj) -> None:
        """A renewal only moves the deadline, unless the node was given up."""
        node = self.nodes.cache.get(lease["metadata"]["name"])
        if node is None:
            return
        self._observe(node)
        if any(taint["key"] in (NOT_READY, UNREACHABLE) for taint in taints(node)):
            self.controller.enqueue(node)

    def _pod(self, pod: Obj) -> None:
        """One that comes to a node, as all do when we begin."""
        if is_ready(pod) and not self._is_well(pod):
            self.controller.enqueue(pod)

    def _pod_changed(self, old: Obj, new: Obj) -> None:
        if old["spec"].get("nodeName") != new["spec"].get("nodeName"):
            self._pod(new)

    def _is_well(self, pod: Obj) -> bool:
        """The pod's node is there and does not say that it is not ready."""
        node = self.nodes.cache.get(pod["spec"].get("nodeName", ""))
        ready = condition(node, "Ready") if node is not None else None
        return ready is not None and ready["status"] == "True"

    # -- signs of life -------------------------------------------------------------------------------------------------

    def _mark(self, node: Obj) -> tuple[str, str]:
        """What changes with every sign of life."""
        lease = self.leases.cache.get(node["metadata"]["name"], "kube-node-lease")
        ready = condition(node, "Ready") or {}
        return ready.get("lastHeartbeatTime", ""), ((lease or {}).get("spec") or {}).get("renewTime", "")

    def _observe(self, node: Obj) -> float:
        """When it last showed life."""
        name = node["metadata"]["name"]
        simulated = self.options.last_seen(name)
        if simulated is not None:
            return simulated
        mark, known = self._mark(node), self.health.get(name)
        if known is None or known.mark != mark:
            known = self.health[name] = Health(self.context.clock(), mark)
        return known.seen

    def _silence_until(self, node: Obj) -> float:
        """The moment at which it will have been silent for too long."""
        if condition(node, "Ready") is None and self.options.last_seen(node["metadata"]["name"]) is None:
            lease = self.leases.cache.get(node["metadata"]["name"], "kube-node-lease")
            began = epoch(node["metadata"]["creationTimestamp"]) if lease is None else self._observe(node)
            return began + self.options.node_startup_grace_period
        return self._observe(node) + self.options.node_monitor_grace_period

    # -- one node ------------------------------------------------------------------------------------------------------

    async def reconcile(self, name: str) -> float | None:
        if "/" in name:
            await self._mark_pod(name)
            return None
        node = self.nodes.cache.get(name)
        if node is None:
            self._forget(name)
            return None
        if name not in self._known:
            message = f"Node {name} event: Registered Node {name} in Controller"
            self.recorder.event(reference_to(name, node["metadata"]["uid"]), "Normal", "RegisteredNode", message)
        self._known[name] = node["metadata"]["uid"]
        if EXCLUDED in (node["metadata"].get("labels") or {}):
            self.zones.drop(name)
        else:
            self.zones.put(name, zone_of(node), is_ready(node))
        now = self.context.clock()
        again: float | None = self._silence_until(node) - now
        seen = self.options.last_seen(name)
        if seen is not None and seen >= now:
            again = None  # a simulated node that lives: its object changes when it stops
        if again is not None and again <= 0:
            node = await self._give_up(node)
            again = None
        await self._labels(node)
        self._zone_states()
        waits = await self._taint(node)
        left = [seconds for seconds in (again, waits) if seconds is not None]
        return max(min(left), 0.01) if left else None

    def _forget(self, name: str) -> None:
        self.health.pop(name, None)
        self.zones.drop(name)
        uid = self._known.pop(name, None)
        if uid is not None:
            message = f"Node {name} event: Removing Node {name} from Controller"
            self.recorder.event(reference_to(name, uid), "Normal", "RemovingNode", message)

    async def _give_up(self, node: Obj) -> Obj:
        """Nobody knows how it is: its conditions say so."""
        now = format_time(self.context.clock())
        conditions = []
        there = {item["type"]: item for item in (node.get("status") or {}).get("conditions") or ()}
        was_ready = (there.get("Ready") or {}).get("status") == "True"
        for kind in WATCHED:
            item = there.get(kind)
            if item is None:
                never = {"reason": "NodeStatusNeverUpdated", "message": "Kubelet never posted node status."}
                made = node["metadata"]["creationTimestamp"]
                new = {"type": kind, "status": "Unknown", **never, "lastHeartbeatTime": made, "lastTransitionTime": now}
                conditions.append(new)
            elif item["status"] != "Unknown":
                gone = {"reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."}
                conditions.append({**item, "status": "Unknown", **gone, "lastTransitionTime": now})
        if not conditions:
            return node
        name = node["metadata"]["name"]
        body = {"status": {"conditions": conditions}}
        out = await self.client.patch("nodes", name, body, type="strategic", subresource="status")
        if was_ready:
            message = f"Node {name} status is now: NodeNotReady"
            self.recorder.event(reference_to(name, node["metadata"]["uid"]), "Normal", "NodeNotReady", message)
            ready = [pod for pod in self.pods.cache.by_index(NODE, name) if is_ready(pod)]
            await asyncio.gather(*(self._not_ready(pod) for pod in ready))
        return out

    async def _mark_pod(self, key: str) -> None:
        pod = self.pods.cache.by_key(key)
        node = self.nodes.cache.get(pod["spec"].get("nodeName", "")) if pod is not None else None
        if pod is None or node is None or condition(node, "Ready") is None:
            return
        if is_ready(pod) and not self._is_well(pod):
            await self._not_ready(pod)

    async def _not_ready(self, pod: Obj) -> None:
        """Pods of a node that is not ready are not ready either, so that services leave them out."""
        meta = pod["metadata"]
        body = {"status": {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": self._now()}]}}
        try:
            await self.client.patch(
                "pods", meta["name"], body, meta["namespace"], type="strategic", subresource="status"
            )
        except StatusError as error:
            if not is_not_found(error):
                self.controller.queue.add_after(key_of(pod), RETRY_SECONDS)
            return
        self.recorder.event(pod, "Warning", "NodeNotReady", "Node is not ready")

    async def _labels(self, node: Obj) -> None:
        """The beta labels for system and architecture are what the others are."""
        labels = node["metadata"].get("labels") or {}
        wanted = {}
        for old, new in LABELS:
            if new in labels and labels.get(old) != labels[new]:
                wanted[old] = labels[new]
        if wanted:
            await self.client.patch("nodes", node["metadata"]["name"], {"metadata": {"labels": wanted}})

    # -- taints --------------------------------------------------------------------------------------------------------

    async def _taint(self, node: Obj) -> float | None:
        """Taints as the conditions ask for; seconds to wait where an evicting one has to."""
        away = {AWAY[key] for key in _states(node) if key in AWAY}
        if (node.get("spec") or {}).get("unschedulable"):
            away.add(UNSCHEDULABLE)
        evicting = next((key for key in (NOT_READY, UNREACHABLE) if key in away), "")
        have = {taint["key"] for taint in taints(node) if taint["effect"] == "NoExecute"}
        waits = None
        if self._disrupted:
            evicting = ""
        elif evicting and not have & {NOT_READY, UNREACHABLE}:
            waits = self._turn(node)
            if waits is not None:
                evicting = ""

        def change(before: list[Obj]) -> list[Obj]:
            out = []
            for taint in before:
                if taint["effect"] == "NoSchedule" and taint["key"] in OURS:
                    if taint["key"] in away:
                        out.append(taint)
                elif taint["effect"] == "NoExecute" and taint["key"] in (NOT_READY, UNREACHABLE):
                    if taint["key"] == evicting:
                        out.append(taint)
                else:
                    out.append(taint)
            there = {(taint["key"], taint["effect"]) for taint in out}
            for key in sorted(away):
                if (key, "NoSchedule") not in there:
                    out.append({"key": key, "effect": "NoSchedule", "timeAdded": self._now()})
            if evicting and (evicting, "NoExecute") not in there:
                out.append({"key": evicting, "effect": "NoExecute", "timeAdded": self._now()})
            return out

        await change_taints(self.client, node, change)
        return waits

    def _turn(self, node: Obj) -> float | None:
        """None: this node's zone may lose one more; else seconds until it may."""
        zone = zone_of(node)
        rate = self._rate(zone)
        if rate <= 0:
            return 60.0
        now = self.context.clock()
        free = self._last_eviction.get(zone, -1e12) + 1 / rate
        if now + 1e-6 < free:
            return free - now
        self._last_eviction[zone] = now
        return None

    def _rate(self, zone: str) -> float:
        """Nodes a second."""
        if self.zones.state(zone) != "PartialDisruption":
            return self.options.node_eviction_rate
        return SECONDARY_RATE if self.zones.sizes[zone] > LARGE_CLUSTER else 0.0

    def _zone_states(self) -> None:
        """Where every zone is gone nobody is evicted; when that begins or ends all nodes are looked at again."""
        sizes = self.zones.sizes
        disrupted = bool(sizes) and all(self.zones.state(zone) == "FullDisruption" for zone in sizes)
        if disrupted != self._disrupted:
            self._disrupted = disrupted
            for name in self._known:
                self.controller.queue.add(name)

    def _now(self) -> str:
        return format_time(self.context.clock())


def _states(node: Obj) -> set[tuple[str, str]]:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return {(item.get("type", ""), item.get("status", "")) for item in conditions}
