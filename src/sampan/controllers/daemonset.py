"""DaemonSets: one pod on every node that suits.

Promises: a node is looked at when it changes in what matters (labels, taints), not with every heartbeat; pods that fail
again and again are deleted later and later (1 s to 15 min); what was made or deleted is seen before anything else is done.

Source: kubernetes/pkg/controller/daemon/daemon_controller.go
"""

from __future__ import annotations

import asyncio
from typing import Any

from sampan.api.apps_v1.daemon_set import TEMPLATE_GENERATION
from sampan.api.selectors import label_selector_from
from sampan.client import Controller, Expectations
from sampan.client.errors import is_conflict, is_namespace_terminating, is_not_found
from sampan.client.expectations import TIMEOUT
from sampan.controllers.batches import BatchFailed, slow_start
from sampan.controllers.context import Context
from sampan.controllers.controller_history import REVISIONS, History
from sampan.controllers.daemon_nodes import bound_to, should_run, tolerations_of
from sampan.controllers.daemon_rollout import HASH, Look, Plan
from sampan.controllers.echoes import Echoes
from sampan.controllers.nodes import taints
from sampan.controllers.pod_control import INDEXERS, Claims, PodControl, candidates, controller_of, owner_key, pod_from
from sampan.controllers.pods import is_ready, note_of, phase_of, until_available
from sampan.controllers.unanswered import RETRY_SECONDS, Unanswered

Obj = dict[str, Any]
ACCOUNT = "daemon-set-controller"
SOURCE = "daemonset-controller"
SETS = "daemonsets.apps"
#: a label of older versions
GENERATION = "pod-template-generation"
BURST = 250
FIRST_BACKOFF, MOST_BACKOFF = 1.0, 900.0
ZEROS = ("observedGeneration", "updatedNumberScheduled", "numberAvailable", "numberUnavailable")


class DaemonSetController:
    def __init__(self, context: Context) -> None:
        self.clock = context.clock
        self.client = context.clients(ACCOUNT)
        self.recorder = context.recorders(SOURCE, self.client)
        self.control = PodControl(self.client, self.recorder)
        self.expectations = Expectations()
        self.echoes = Echoes()
        #: by set and node: when a pod that had ended was last deleted, and how long to wait after that
        self.backoff: dict[tuple[str, str], tuple[float, float]] = {}
        self.pods = context.informers.get("pods", indexers=INDEXERS)
        self.nodes = context.informers.get("nodes")
        self.sets = context.informers.get(SETS)
        self.unanswered = Unanswered(self.client, "pods", self.pods.cache)
        revisions = context.informers.get(REVISIONS, indexers=INDEXERS)
        self.history = History(self.client, revisions.cache, SETS, HASH)
        synced = (self.pods, self.nodes, self.sets, revisions)
        workers = context.options.concurrent_syncs
        self.controller = Controller("daemonset", self.reconcile, workers=workers, synced=synced)
        self.controller.listen(self.sets, self.controller.enqueue, self._changed, self._gone)
        self.controller.listen(self.pods, self._pod_added, self._pod_changed, self._pod_gone)
        self.controller.listen(self.nodes, self._node_added, self._node_changed, lambda node: self._wake_all())

    async def run(self) -> None:
        await self.controller.run()

    # -- what wakes it -------------------------------------------------------------------------------------------------

    def _changed(self, old: Obj, new: Obj) -> None:
        if not self.echoes.is_own(new):
            self.controller.enqueue(new)

    def _gone(self, daemon_set: Obj) -> None:
        self.echoes.forget(daemon_set)
        meta = daemon_set["metadata"]
        self.expectations.delete(f"{meta['namespace']}/{meta['name']}")
        for key in [key for key in self.backoff if key[0] == meta["uid"]]:
            del self.backoff[key]

    def _pod_added(self, pod: Obj) -> None:
        key = owner_key(pod, "DaemonSet", self.sets.cache)
        if key is not None:
            if "deletionTimestamp" not in pod["metadata"]:
                self.expectations.creation_observed(key)
            self.controller.queue.add(key)
        elif controller_of(pod) is None:
            self._wake_matching(pod)

    def _pod_changed(self, old: Obj, new: Obj) -> None:
        moved = controller_of(old) != controller_of(new)
        relabelled = old["metadata"].get("labels") != new["metadata"].get("labels")
        if moved and (key := owner_key(old, "DaemonSet", self.sets.cache)):
            self.controller.queue.add(key)
        if controller_of(new) is None:
            if moved or relabelled:
                self._wake_matching(new)
            return
        changed = moved or relabelled or _counted(old) != _counted(new)
        if changed and (key := owner_key(new, "DaemonSet", self.sets.cache)):
            if "deletionTimestamp" in new["metadata"] and "deletionTimestamp" not in old["metadata"]:
                self.expectations.deletion_observed(key)
            self.controller.queue.add(key)

    def _pod_gone(self, pod: Obj) -> None:
        key = owner_key(pod, "DaemonSet", self.sets.cache)
        if key is not None:
            if "deletionTimestamp" not in pod["metadata"]:
                self.expectations.deletion_observed(key)
            self.controller.queue.add(key)

    def _wake_matching(self, pod: Obj) -> None:
        meta = pod["metadata"]
        for daemon_set in self.sets.cache.list(meta["namespace"]):
            if label_selector_from(daemon_set["spec"].get("selector")).matches(meta.get("labels")):
                self.controller.enqueue(daemon_set)

    def _node_added(self, node: Obj) -> None:
        for daemon_set in self.sets.cache.list():
            if should_run(daemon_set, node)[0]:
                self.controller.enqueue(daemon_set)

    def _node_changed(self, old: Obj, new: Obj) -> None:
        if old["metadata"].get("labels") == new["metadata"].get("labels") and taints(old) == taints(new):
            return
        for daemon_set in self.sets.cache.list():
            if should_run(daemon_set, old) != should_run(daemon_set, new):
                self.controller.enqueue(daemon_set)

    def _wake_all(self) -> None:
        for daemon_set in self.sets.cache.list():
            self.controller.enqueue(daemon_set)

    # -- what it does --------------------------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> float | None:
        daemon_set = self.sets.cache.by_key(key)
        if daemon_set is None or self.echoes.behind(daemon_set):
            return None
        spec = daemon_set["spec"]
        selector = label_selector_from(spec.get("selector"))
        if not selector:
            said = "This daemon set is selecting all pods. A non-empty selector is required."
            self.recorder.event(daemon_set, "Warning", "SelectingAll", said)
            return None
        if "deletionTimestamp" in daemon_set["metadata"]:
            return None
        settled = self.expectations.satisfied(key)
        if not await self.unanswered.settled(key, daemon_set, selector):
            return RETRY_SECONDS
        revisions = await self.history.revisions(daemon_set, selector)
        labels = (spec["template"].get("metadata") or {}).get("labels") or {}
        collisions = (daemon_set.get("status") or {}).get("collisionCount", 0)
        revision, collisions = await self.history.current(daemon_set, revisions, labels, collisions)
        found = candidates(self.pods.cache, daemon_set, selector)
        pods = await Claims(self.client, "pods", daemon_set, SETS, selector).claim(found)
        now = self.clock()
        hash = revision["metadata"]["labels"][HASH]
        look = Look(daemon_set, self.nodes.cache.list(), pods, hash, now)
        problem: Exception | None = None
        acted = False
        again = until_available(map(note_of, pods), spec.get("minReadySeconds", 0), now) or (
            None if settled else TIMEOUT
        )
        if settled:
            wait = self._held_back(look, plan := look.manage())
            again = min((time for time in (wait, again) if time is not None), default=None)
            problem = await self._carry_out(key, look, plan)
            acted = bool(plan.create or plan.delete)
            if problem is None and not acted:
                if spec["updateStrategy"]["type"] == "RollingUpdate":
                    problem = await self._carry_out(key, look, plan := look.update())
                    acted = bool(plan.create or plan.delete)
                live = {name for revision in revisions if (name := _used(revision, pods))}
                live.add(revision["metadata"]["name"])
                await self.history.truncate(revisions, live, spec.get("revisionHistoryLimit", 10))
        status = look.status()
        if not settled:
            # nothing was done about this generation yet
            del status["observedGeneration"]
            if seen := (daemon_set.get("status") or {}).get("observedGeneration"):
                status["observedGeneration"] = seen
        await self._write(daemon_set, status, collisions, acted and problem is None)
        if problem is not None:
            raise problem
        return again

    def _held_back(self, look: Look, plan: Plan) -> float | None:
        """Pods that have ended are deleted, unless their like was just before; seconds until the next may be."""
        waits = []
        meta = look.set["metadata"]
        for pod, node in plan.ended:
            key = (meta["uid"], node)
            last, delay = self.backoff.get(key, (0.0, 0.0))
            if look.now - last > 2 * MOST_BACKOFF:
                delay = 0.0
            if look.now - last < delay:
                waits.append(last + delay - look.now + 0.001)
                continue
            self.backoff[key] = (look.now, min(max(FIRST_BACKOFF, 2 * delay), MOST_BACKOFF))
            where = f"daemon pod {pod['metadata']['namespace']}/{pod['metadata']['name']} on node {node}"
            if phase_of(pod) == "Failed":
                said = f"Found failed {where}, will try to kill it"
                self.recorder.event(look.set, "Warning", "FailedDaemonPod", said)
            else:
                said = f"Found succeeded {where}, will try to delete it"
                self.recorder.event(look.set, "Normal", "SucceededDaemonPod", said)
            plan.delete.append(pod)
        return min(waits, default=None)

    async def _carry_out(self, key: str, look: Look, plan: Plan) -> Exception | None:
        """What went wrong, if anything did."""
        nodes, pods = plan.create[:BURST], plan.delete[:BURST]
        if not nodes and not pods:
            return None
        self.expectations.expect(key, len(nodes), len(pods))
        problem = await self._create(key, look, nodes)
        calls = (self.control.delete_pod(pod, look.set) for pod in pods)
        for result in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(result, Exception):
                self.expectations.deletion_observed(key)
                if not is_not_found(result):
                    problem = problem or result
        return problem

    async def _create(self, key: str, look: Look, nodes: list[str]) -> Exception | None:
        template = look.set["spec"]["template"]
        meta, spec = template.get("metadata") or {}, template["spec"]
        labels = {**(meta.get("labels") or {}), HASH: look.hash}
        generation = (look.set["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION)
        if generation:
            labels[GENERATION] = generation
        spec = {**spec, "tolerations": tolerations_of(spec)}
        common = {"metadata": {**meta, "labels": labels}}

        async def create(number: int) -> None:
            made = pod_from({**common, "spec": bound_to(spec, nodes[number])}, look.set)
            await self.control.create(made, look.set)

        try:
            await slow_start(len(nodes), create)
        except BatchFailed as failed:
            self.expectations.creation_observed(key, len(nodes) - failed.done)
            if failed.unanswered:
                self.unanswered.note(key)
            return None if is_namespace_terminating(failed.error) else failed.error
        return None

    async def _write(self, daemon_set: Obj, status: Obj, collisions: int, acted: bool) -> None:
        old = daemon_set.get("status") or {}
        if collisions:
            status["collisionCount"] = collisions
        if old.get("conditions"):
            status["conditions"] = old["conditions"]
        if status == {name: value for name, value in old.items() if value or name not in ZEROS}:
            return
        if acted and all(status[name] == old.get(name) for name in ("observedGeneration", "desiredNumberScheduled")):
            return  # what was done will be seen, and that is the time to count
        try:
            self.echoes.wrote(await self.client.update_status(SETS, {**daemon_set, "status": status}))
        except Exception as error:
            # somebody else's write, which is still to be seen, wakes us; and who is gone needs no status
            if not (is_conflict(error) or is_not_found(error)):
                raise


def _counted(pod: Obj) -> tuple[Any, ...]:
    """What of a pod its set looks at."""
    return phase_of(pod), is_ready(pod), pod["spec"].get("nodeName"), "deletionTimestamp" in pod["metadata"]


def _used(revision: Obj, pods: list[Obj]) -> str:
    """The name of a revision that some pod is of."""
    hash = revision["metadata"].get("labels", {}).get(HASH)
    used = any((pod["metadata"].get("labels") or {}).get(HASH) == hash for pod in pods)
    return str(revision["metadata"]["name"]) if used else ""
