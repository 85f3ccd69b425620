"""StatefulSets: pods with names, storage and an order of their own.

Promises: an ordered set never has two pods in the making; a name is never given twice at a time; claims outlive pods as
the retention policy says. What is made is seen before anything else is done.

Source: kubernetes/pkg/controller/statefulset/{stateful_set,stateful_set_control,stateful_set_status_updater}.go
"""

from __future__ import annotations

from typing import Any

from sampan.api.selectors import label_selector_from
from sampan.client import Controller, Expectations
from sampan.client.errors import is_conflict, is_not_found
from sampan.client.expectations import TIMEOUT
from sampan.controllers.context import Context
from sampan.controllers.controller_history import REVISIONS, History
from sampan.controllers.echoes import Echoes
from sampan.controllers.pod_control import INDEXERS, Claims, candidates, controller_of, owner_key
from sampan.controllers.pods import is_available, is_ready, note_of, phase_of, until_available
from sampan.controllers.stateful_control import CLAIMS, StatefulPodControl
from sampan.controllers.stateful_pods import is_leaving, is_member, is_running, revision_of
from sampan.controllers.stateful_rollout import Rollout

Obj = dict[str, Any]
ACCOUNT = "statefulset-controller"
SETS = "statefulsets.apps"


class StatefulSetController:
    def __init__(self, context: Context) -> None:
        self.clock = context.clock
        self.client = context.clients(ACCOUNT)
        recorder = context.recorders(ACCOUNT, self.client)
        self.expectations = Expectations()
        self.echoes = Echoes()
        self.pods = context.informers.get("pods", indexers=INDEXERS)
        self.sets = context.informers.get(SETS)
        revisions = context.informers.get(REVISIONS, indexers=INDEXERS)
        claims = context.informers.get(CLAIMS)
        self.control = StatefulPodControl(self.client, recorder, claims.cache, self.expectations)
        self.history = History(self.client, revisions.cache, SETS)
        synced = (self.pods, self.sets, revisions, claims)
        workers = context.options.concurrent_syncs
        self.controller = Controller("statefulset", self.reconcile, workers=workers, synced=synced)
        self.controller.listen(self.sets, self.controller.enqueue, self._changed, self._gone)
        self.controller.listen(self.pods, self._pod_added, self._pod_changed, self._wake)
        self.controller.listen(claims, delete=self._claim_gone)

    async def run(self) -> None:
        await self.controller.run()

    # -- what wakes it -------------------------------------------------------------------------------------------------

    def _changed(self, old: Obj, new: Obj) -> None:
        if not self.echoes.is_own(new):
            self.controller.enqueue(new)

    def _gone(self, stateful_set: Obj) -> None:
        self.echoes.forget(stateful_set)
        meta = stateful_set["metadata"]
        self.expectations.delete(f"{meta['namespace']}/{meta['name']}")

    def _pod_added(self, pod: Obj) -> None:
        key = owner_key(pod, "StatefulSet", self.sets.cache)
        if key is not None:
            self.expectations.creation_observed(key)
            self.controller.queue.add(key)
        elif controller_of(pod) is None:
            self._wake_matching(pod)

    def _pod_changed(self, old: Obj, new: Obj) -> None:
        moved = controller_of(old) != controller_of(new)
        relabelled = old["metadata"].get("labels") != new["metadata"].get("labels")
        if moved:
            self._wake(old)
        if controller_of(new) is None:
            if moved or relabelled:
                self._wake_matching(new)
        elif moved or relabelled or _counted(old) != _counted(new):
            self._wake(new)

    def _wake(self, pod: Obj) -> None:
        key = owner_key(pod, "StatefulSet", self.sets.cache)
        if key is not None:
            self.controller.queue.add(key)

    def _wake_matching(self, pod: Obj) -> None:
        meta = pod["metadata"]
        for stateful_set in self.sets.cache.list(meta["namespace"]):
            if label_selector_from(stateful_set["spec"].get("selector")).matches(meta.get("labels")):
                self.controller.enqueue(stateful_set)

    def _claim_gone(self, claim: Obj) -> None:
        """A pod may have waited for its name."""
        meta = claim["metadata"]
        stem = meta["name"].rpartition("-")[0]
        for stateful_set in self.sets.cache.list(meta["namespace"]):
            if stem.endswith("-" + stateful_set["metadata"]["name"]):
                self.controller.enqueue(stateful_set)

    # -- what it does --------------------------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> float | None:
        stateful_set = self.sets.cache.by_key(key)
        if stateful_set is None or self.echoes.behind(stateful_set):
            return None
        if not self.expectations.satisfied(key):
            return TIMEOUT  # or as soon as it is seen
        spec, status = stateful_set["spec"], stateful_set.get("status") or {}
        selector = label_selector_from(spec.get("selector"))
        revisions = await self.history.revisions(stateful_set, selector)
        found = candidates(self.pods.cache, stateful_set, selector)
        claims = Claims(
            self.client, "pods", stateful_set, SETS, selector, filter=lambda pod: is_member(pod, stateful_set)
        )
        pods = await claims.claim(found)
        labels = (spec["template"].get("metadata") or {}).get("labels") or {}
        collisions = status.get("collisionCount", 0)
        update, collisions = await self.history.current(stateful_set, revisions, labels, collisions)
        named = (revision for revision in revisions if revision["metadata"]["name"] == status.get("currentRevision"))
        current = next(named, update)
        rollout = Rollout(key, stateful_set, pods, current, update, self.clock())
        problem: Exception | None = None
        if "deletionTimestamp" not in stateful_set["metadata"]:
            try:
                await rollout.step(self.control, self.expectations)
            except Exception as error:
                problem = error
        await self._write(stateful_set, self._status(rollout, collisions), rollout.acted)
        live = {current["metadata"]["name"], update["metadata"]["name"], *map(revision_of, pods)}
        await self.history.truncate(revisions, live, spec.get("revisionHistoryLimit", 10))
        if problem is not None:
            raise problem
        return until_available(map(note_of, pods), spec.get("minReadySeconds", 0), self.clock())

    def _status(self, rollout: Rollout, collisions: int) -> Obj:
        stateful_set, spec = rollout.set, rollout.set["spec"]
        current, update = rollout.current["metadata"]["name"], rollout.update["metadata"]["name"]
        pods = [pod for pod in (*rollout.replicas, *rollout.condemned) if pod is not None]
        running = [pod for pod in pods if is_running(pod)]
        staying = [pod for pod in pods if not is_leaving(pod)]
        min_ready, now = spec.get("minReadySeconds", 0), self.clock()
        counts = {
            "readyReplicas": len(running),
            "currentReplicas": sum(revision_of(pod) == current for pod in staying),
            "updatedReplicas": sum(revision_of(pod) == update for pod in staying),
        }
        if len(pods) == counts["readyReplicas"] == counts["updatedReplicas"] == spec["replicas"]:
            # the update is complete
            current, counts["currentReplicas"] = update, counts["updatedReplicas"]
        out: Obj = {
            "observedGeneration": stateful_set["metadata"].get("generation", 0),
            "replicas": len(pods),
            "availableReplicas": sum(is_available(pod, min_ready, now) for pod in running),
            "currentRevision": current,
            "updateRevision": update,
            "collisionCount": collisions,
        }
        out |= {name: count for name, count in counts.items() if count}
        conditions = (stateful_set.get("status") or {}).get("conditions")
        return out | ({"conditions": conditions} if conditions else {})

    async def _write(self, stateful_set: Obj, status: Obj, acted: bool) -> None:
        old = stateful_set.get("status") or {}
        names = ("readyReplicas", "currentReplicas", "updatedReplicas")
        if status == {name: value for name, value in old.items() if value or name not in names}:
            return
        fixed = ("observedGeneration", "currentRevision", "updateRevision", "collisionCount")
        if acted and all(status[name] == old.get(name) for name in fixed):
            return  # what was done will be seen, and that is the time to count
        try:
            self.echoes.wrote(await self.client.update_status(SETS, {**stateful_set, "status": status}))
        except Exception as error:
            # somebody else's write, which is still to be seen, wakes us; and who is gone needs no status
            if not (is_conflict(error) or is_not_found(error)):
                raise


def _counted(pod: Obj) -> tuple[Any, ...]:
    """What of a pod its set looks at."""
    return phase_of(pod), is_ready(pod), is_leaving(pod)
