"""Simulated nodes: they register, show life, and their pods live as the stages say; no container runs anywhere.

    nodes = HollowNodes(client, informers, lambda component: recorder, names=["n1", "n2"], clock=time.time)
    informers.start()
    await nodes.run()

One process plays thousands. A node is stopped by the annotation `hollow.sampan.io/down: "true"`: it shows no life any
more and its pods stay as they are.

Source of the idea: kwok (stages); kubernetes/pkg/kubemark (hollow nodes)
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
from collections.abc import Callable
from typing import Any

from sampan.api.core_v1.node_resources import extended_of, taken_back
from sampan.api.core_v1.pod_conditions import listed, said
from sampan.api.errors import StatusError
from sampan.api.hollow import HOLLOW
from sampan.api.times import format_micro_time, format_time
from sampan.client import NODE, Client, EventRecorder, HttpError, Informers, by_node, key_of
from sampan.client.errors import is_already_exists, is_conflict, is_not_found
from sampan.client.recorder import reference
from sampan.hollow import life as lives
from sampan.hollow.life import Life, Stage
from sampan.hollow.pod import OTHER_OPTIONS, PREFIX, OptionError, Variables, options_of, steady

log = logging.getLogger("sampan.hollow")
Obj = dict[str, Any]
LEASES = "kube-node-lease"
LEASE_SECONDS, RENEW_SECONDS = 40, 10.0
MAX_WRITES = 64
EVENTS_OF_ONE, MOST_EVENTS = 1000, 50_000
RETRY_SECONDS = 5.0


class HollowNodes:
    """`names`: of the nodes to play. `heartbeats`: False where whoever watches nodes asks `last_seen` instead (virtual
    time). `capacity`: what each node offers."""

    def __init__(
        self,
        client: Client,
        informers: Informers,
        recorders: Callable[[str], EventRecorder],
        *,
        names: list[str],
        clock: Callable[[], float],
        rng: random.Random | None = None,
        life: Life | None = None,
        capacity: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
        heartbeats: bool = True,
    ) -> None:
        self.client = client
        self.clock = clock
        self.rng = rng or random.Random()
        self.life = life or lives.pods()
        self.capacity = capacity or {"cpu": "8", "memory": "32Gi", "ephemeral-storage": "200Gi", "pods": "110"}
        self.labels = labels or {}
        self.heartbeats = heartbeats
        self.names = list(names)
        self.nodes = informers.get("nodes", label_selector=f"{HOLLOW}=true")
        self.pods = informers.get("pods", indexers={NODE: by_node})
        self._mine = set(names)
        self._index = {name: index for index, name in enumerate(names)}
        self._recorder = recorders("kubelet")
        # every kubelet has a queue of its own
        self._recorder.max_queued = max(self._recorder.max_queued, min(EVENTS_OF_ONE * len(names), MOST_EVENTS))
        self._stopped: dict[str, float] = {}
        self._registered: set[str] = set()
        self._telling: set[asyncio.Task[None]] = set()
        self._playing: dict[str, asyncio.Task[None]] = {}
        #: by key: uid, stage, how long it was to be waited for, and what waits
        self._pending: dict[str, tuple[str, str, float, asyncio.Task[None]]] = {}
        #: pods that something is being done to; they are looked at again afterwards
        self._acting: dict[str, asyncio.Task[None] | None] = {}
        self._addresses: dict[str, str] = {}
        #: by uid: how often containers had been restarted when they last ran long, and what was said of annotations
        self._calm: dict[str, int] = {}
        self._complaints: dict[str, str] = {}
        self._next_address: dict[str, int] = {}
        self._writing = asyncio.Semaphore(MAX_WRITES)
        self.pods.add_handler(self._seen, lambda old, new: self._seen(new), self._gone)
        self.nodes.add_handler(self._node_seen, lambda old, new: self._node_seen(new, old))

    # -- nodes ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Register the nodes and play them until cancelled."""
        await self.nodes.wait_synced()
        await self.pods.wait_synced()
        try:
            for name in self.names:
                if not self._down(name):
                    self._play_again(name)
            await asyncio.Event().wait()
        finally:
            for task in (
                *self._playing.values(),
                *(pending[-1] for pending in self._pending.values()),
                *self._acting.values(),
                *self._telling,
            ):
                if task is not None:
                    task.cancel()

    async def _play(self, name: str, index: int) -> None:
        while True:
            try:
                async with self._writing:
                    node = await self._register(name, index)
                break
            except (StatusError, HttpError) as error:
                log.warning("cannot register %s: %s; trying again", name, error)
                await asyncio.sleep(RETRY_SECONDS)
        self._registered.add(name)
        for pod in self.pods.cache.by_index(NODE, name):
            self._seen(pod)
        if not self.heartbeats:
            return
        # spread over the interval, so that thousands do not speak at once
        await asyncio.sleep(self.rng.random() * RENEW_SECONDS)
        while True:
            if not self._down(name):
                async with self._writing:
                    await self._renew(name, node)
            await asyncio.sleep(RENEW_SECONDS)

    async def _register(self, name: str, index: int) -> Obj:
        now = format_time(self.clock())
        node = self._node(name, index, now)
        try:
            made = await self.client.create("nodes", node)
        except StatusError as error:
            if not is_already_exists(error):
                raise
            made = await self.client.patch("nodes", name, {"metadata": {"labels": node["metadata"]["labels"]}})
        status: Obj = {"status": node["status"]}
        out = await self.client.patch("nodes", name, status, type="strategic", subresource="status")
        if self.heartbeats:
            await self._renew(name, made)
        return out

    def _node(self, name: str, index: int, now: str) -> Obj:
        labels = {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            "beta.kubernetes.io/os": "linux",
            "beta.kubernetes.io/arch": "amd64",
            HOLLOW: "true",
            **self.labels,
        }
        address = str(ipaddress.IPv4Address("172.31.0.1") + index)
        conditions = [
            ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ]
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": labels},
            "spec": {},
            "status": {
                "capacity": self.capacity,
                "allocatable": self.capacity,
                "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
                "conditions": [
                    {"type": t, "status": s, "reason": r, "message": m, "lastHeartbeatTime": now, "lastTransitionTime": now}
                    for t, s, r, m in conditions
                ],
                "nodeInfo": {
                    "machineID": f"hollow-{name}", "systemUUID": f"hollow-{name}", "bootID": f"hollow-{name}",
                    "kernelVersion": "simulated", "osImage": "simulated", "containerRuntimeVersion": "hollow://1.0",
                    "kubeletVersion": "v1.37.0", "kubeProxyVersion": "", "operatingSystem": "linux",
                    "architecture": "amd64",
                },
            },
        }  # fmt: skip

    async def _renew(self, name: str, node: Obj) -> None:
        spec = {
            "holderIdentity": name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": format_micro_time(self.clock()),
        }
        try:
            await self.client.patch("leases", name, {"spec": spec}, LEASES)
        except StatusError as error:
            if not is_not_found(error):
                log.warning("lease of %s: %s", name, error)
                return
            owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}
            meta = {"name": name, "namespace": LEASES, "ownerReferences": [owner]}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
            await self._quietly(self.client.create("leases", lease, namespace=LEASES))
        except HttpError as error:
            log.warning("lease of %s: %s", name, error)

    def last_seen(self, name: str) -> float | None:
        """When a node last showed life, by the wall clock; None: it is not one of these."""
        if name not in self._mine:
            return None
        return self._stopped.get(name, self.clock())

    def _down(self, name: str) -> bool:
        return name in self._stopped

    def _node_seen(self, node: Obj, before: Obj | None = None) -> None:
        name = node["metadata"]["name"]
        if name not in self._mine:
            return
        down = _notes(node).get(PREFIX + "down") == "true"
        if down:
            self._stopped.setdefault(name, self.clock())
            return
        conditions = (node.get("status") or {}).get("conditions") or ()
        was_down = self._stopped.pop(name, None) is not None
        if (was_down or name in self._registered) and not any(
            c["type"] == "Ready" and c["status"] == "True" for c in conditions
        ):
            self._registered.discard(name)
            self._play_again(name)
        elif was_down or (before is not None and _notes(node) != _notes(before)):
            for pod in self.pods.cache.by_index(NODE, name):
                self._seen(pod)
        self._extend(node)

    def _extend(self, node: Obj) -> None:
        """What somebody says that a node has besides, its pods may have."""
        if _lacking(node):
            name = node["metadata"]["name"]
            task = asyncio.create_task(self._allow(name), name=f"hollow {name} resources")
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _allow(self, name: str) -> None:
        while (node := self.nodes.cache.get(name)) is not None and (lacking := _lacking(node)):
            try:
                body = {"status": {"allocatable": lacking}}
                await self.client.patch("nodes", name, body, subresource="status", unread=True)
                return
            except (StatusError, HttpError) as error:
                log.warning("resources of %s: %s; trying again", name, error)
                await asyncio.sleep(RETRY_SECONDS)

    def _play_again(self, name: str) -> None:
        """It was given up: it says that it is ready, and its pods go on."""
        known = self._playing.get(name)
        if known is not None:
            known.cancel()
        self._playing[name] = asyncio.create_task(self._play(name, self._index[name]), name=f"hollow {name}")

    # -- pods ----------------------------------------------------------------------------------------------------------

    def _seen(self, pod: Obj) -> None:
        """Decide what happens next to a pod, and when; what was to happen before is called off if it is another."""
        node = pod["spec"].get("nodeName", "")
        if node not in self._registered or self._down(node) or key_of(pod) in self._acting:
            return
        key, uid = key_of(pod), pod["metadata"]["uid"]
        known = self._variables(pod)
        try:
            stage = self.life.next(known)
            delay = stage.delay(known) if stage else 0.0
            self._complain(pod, self._unknown_option(pod, known))
        except OptionError as error:
            self._complain(pod, str(error))
            return
        except Exception as error:
            # a status that says less than it should
            log.error("the stages cannot tell what happens to %s: %r", key, error)
            self._complain(pod, f"the stages cannot tell what happens next: {error}")
            return
        pending = self._pending.get(key)
        if pending is not None:
            if stage is not None and pending[:3] == (uid, stage.name, delay):
                return
            pending[-1].cancel()
            del self._pending[key]
        if stage is not None:
            if pending is None or pending[:2] != (uid, stage.name):
                self._tell(pod, stage.before.render(known))
            task = asyncio.create_task(self._later(key, uid, stage, delay), name=f"{stage.name} {key}")
            self._pending[key] = (uid, stage.name, delay, task)

    def _unknown_option(self, pod: Obj, known: Variables) -> str:
        """What is wrong with its annotations; empty: nothing."""
        for key in pod["metadata"].get("annotations") or ():
            if key.startswith(PREFIX):
                break
        else:
            return ""
        allowed = (*self.life.defaults, *OTHER_OPTIONS)
        for name in options_of(pod, {"metadata": {}}, {}):
            if name not in allowed:
                return f"annotation {PREFIX}{name} is not known; there are {', '.join(sorted(allowed))}"
        behaviour = known["options"].get("behaviour", "")
        if behaviour and self.life.behaviours and behaviour not in self.life.behaviours:
            return f'annotation {PREFIX}behaviour: "{behaviour}" is none of {", ".join(self.life.behaviours)}'
        return ""

    def _complain(self, pod: Obj, why: str) -> None:
        """Once, where people look: in an event."""
        uid = pod["metadata"]["uid"]
        if why != self._complaints.get(uid, ""):
            self._complaints[uid] = why
            if why:
                self._recorder.event(reference(pod), "Warning", "SimulationError", why, host=pod["spec"]["nodeName"])

    def _tell(self, pod: Obj, events: list[Obj]) -> None:
        for event in events:
            about = reference(pod, event.get("field", ""))
            self._recorder.event(about, event["type"], event["reason"], event["message"], host=pod["spec"]["nodeName"])

    def _gone(self, pod: Obj) -> None:
        key = key_of(pod)
        pending = self._pending.pop(key, None)
        if pending is not None:
            pending[-1].cancel()
        uid = pod["metadata"]["uid"]
        for known in (self._addresses, self._calm, self._complaints):
            known.pop(uid, None)

    def _variables(self, pod: Obj) -> Variables:
        name = pod["spec"]["nodeName"]
        node = self.nodes.cache.get(name) or self._node(name, 0, "")
        uid = pod["metadata"]["uid"]
        if (restarts := steady(pod)) is not None:
            self._calm[uid] = restarts
        return Variables(
            pod, node, self.life.defaults, now=format_time(self.clock()), ip=self._address(pod, node),
            calm=self._calm.get(uid, 0),
        )  # fmt: skip

    def _address(self, pod: Obj, node: Obj) -> str:
        """The pod's own: from its node's CIDR, each once."""
        uid = pod["metadata"]["uid"]
        if uid not in self._addresses:
            cidr = node.get("spec", {}).get("podCIDR") or "10.244.0.0/16"
            network = ipaddress.ip_network(cidr)
            number = self._next_address.get(cidr, 1) + 1
            if number >= network.num_addresses - 1:
                number = 2
            self._next_address[cidr] = number
            self._addresses[uid] = str(network[number])
        return self._addresses[uid]

    async def _later(self, key: str, uid: str, stage: Stage, delay: float) -> None:
        if delay > 0:
            await asyncio.sleep(delay)
        self._pending.pop(key, None)
        self._acting[key] = asyncio.current_task()
        try:
            async with self._writing:
                pod = self.pods.cache.by_key(key)
                if pod is None or pod["metadata"]["uid"] != uid or self._down(pod["spec"]["nodeName"]):
                    return
                await self._happen(pod, stage)
        except (StatusError, HttpError) as error:
            if not (isinstance(error, StatusError) and (is_not_found(error) or is_conflict(error))):
                log.warning("%s of %s: %s; trying again", stage.name, key, error)
                await asyncio.sleep(1.0)
        except Exception as error:
            # a status that somebody else has written, and the stages can make nothing of
            log.exception("%s of %s failed; trying again", stage.name, key)
            if (pod := self.pods.cache.by_key(key)) is not None:
                self._complain(pod, f"stage {stage.name}: {error}")
            await asyncio.sleep(RETRY_SECONDS)
        finally:
            del self._acting[key]
        latest = self.pods.cache.by_key(key)
        if latest is not None:
            self._seen(latest)

    async def _happen(self, pod: Obj, stage: Stage) -> None:
        meta = pod["metadata"]
        if stage.delete:
            await self.client.delete("pods", meta["name"], meta["namespace"], grace_seconds=0, uid=meta["uid"])
            return
        known = self._variables(pod)
        if stage.status is not None:
            status = self._status(pod, stage.status.render(known))
            body = {"metadata": {"uid": meta["uid"]}, "status": status}
            await self.client.patch("pods", meta["name"], body, meta["namespace"], subresource="status", unread=True)
        self._tell(pod, stage.events.render(known))

    def _status(self, pod: Obj, changed: Obj) -> Obj:
        """What a stage says, and what follows from it."""
        before, meta = pod.get("status") or {}, pod["metadata"]
        for name in ("initContainerStatuses", "ephemeralContainerStatuses"):
            if changed.get(name) == [] and not before.get(name):
                del changed[name]
        status = {**before, **changed}
        there = {item["type"]: item for item in before.get("conditions") or ()}
        init, main = status.get("initContainerStatuses") or [], status.get("containerStatuses") or []
        phase = status.get("phase", "Pending")
        sandbox = phase not in ("Succeeded", "Failed") and bool(status.get("podIP"))
        found = said(pod["spec"], init, main, phase, sandbox, there)
        for item in changed.get("conditions") or ():
            found[item["type"]] = item.get("status") == "True", item.get("reason", ""), item.get("message", "")
        generation = meta.get("generation", 0)
        changed["conditions"] = listed(found, there, format_time(self.clock()), generation)
        changed["observedGeneration"] = generation
        return changed

    @staticmethod
    async def _quietly(call: Any) -> None:
        try:
            await call
        except StatusError as error:
            if not is_already_exists(error):
                log.warning("%s", error)


def _lacking(node: Obj) -> Obj:
    """What its pods may not have yet, or not any more (None)."""
    allocatable, extended = (node.get("status") or {}).get("allocatable") or {}, extended_of(node)
    more = {name: amount for name, amount in extended.items() if allocatable.get(name) != amount}
    return {**taken_back(allocatable, extended), **more}


def _notes(obj: Obj) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}
