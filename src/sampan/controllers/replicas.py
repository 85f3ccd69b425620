"""Keeping so many pods: what ReplicaSet and ReplicationController have in common, which is nearly all.

Pods that count are active ones under the owner's controlling reference. Too few: more are made, slowly at first. Too
many: the least missed are deleted. What was made or deleted is expected to be seen before anything else is done, so
that a cache that is behind leads to no pod too many.

Promises: no polling; one status write for each look, and none where making or deleting pods is about to cause the next
look; a set of many pods looks at them at most twice a second while they change, one of few at once.

Source: kubernetes/pkg/controller/replicaset/{replica_set,replica_set_utils}.go
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sampan.api.errors import StatusError
from sampan.api.selectors import LabelSelector
from sampan.api.times import format_time
from sampan.client import NAMESPACE, Controller, Expectations, Record, key_of
from sampan.client.errors import is_conflict, is_namespace_terminating, is_not_found
from sampan.client.expectations import TIMEOUT
from sampan.controllers.batches import BatchFailed, slow_start
from sampan.controllers.context import Context
from sampan.controllers.echoes import Echoes
from sampan.controllers.pod_control import (
    CONTROLLER,
    INDEXERS,
    ORPHAN,
    Claims,
    PodControl,
    by_reference,
    controlled_by,
    controller_of,
    owner_key,
)
from sampan.controllers.pods import condition_of, is_terminal, note_of, to_delete, until_available
from sampan.controllers.unanswered import RETRY_SECONDS, Unanswered

Obj = dict[str, Any]
#: pods made or deleted before waiting to see them
BURST = 500
#: up to so many replicas every change is looked at at once
FEW, LONGEST_DELAY, REPLICAS_PER_SECOND = 20, 0.5, 2000
COUNTS = ("fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration")
FAILURE = "ReplicaFailure"


class NotDeleted(Exception):
    """Why a pod could not be deleted, as the status says it."""


@dataclass(frozen=True, slots=True)
class Flavour:
    """`account`: whose ServiceAccount is used and who is the source of events."""

    kind: str
    resource: str
    account: str
    selector: Callable[[Obj], LabelSelector]
    counts_terminating: bool


class Replicas:
    def __init__(self, context: Context, flavour: Flavour) -> None:
        self.flavour = flavour
        self.clock = context.clock
        self.client = context.clients(flavour.account)
        self.control = PodControl(self.client, context.recorders(flavour.account, self.client))
        self.expectations = Expectations()
        self.echoes = Echoes()
        self.unanswered = Unanswered(self.client, "pods", context.informers.get("pods").cache)
        #: parsed, by the owner's key
        self._selectors: dict[str, LabelSelector] = {}
        self.pods = context.informers.get("pods", indexers=INDEXERS, note=note_of)
        self.owners = context.informers.get(flavour.resource, indexers=INDEXERS)
        self.controller = Controller(
            flavour.kind.lower(),
            self.reconcile,
            workers=context.options.concurrent_syncs,
            synced=(self.pods, self.owners),
        )
        self.controller.listen(self.owners, self._owner_added, self._owner_changed, self._owner_gone)
        self.controller.listen(self.pods, self._pod_added, self._pod_changed, self._pod_deleted)

    async def run(self) -> None:
        await self.controller.run()

    # -- what wakes it -------------------------------------------------------------------------------------------------

    def _owner_added(self, owner: Obj) -> None:
        self._selectors[key_of(owner)] = self.flavour.selector(owner)
        self.controller.enqueue(owner)

    def _owner_changed(self, old: Obj, new: Obj) -> None:
        if old["spec"].get("selector") != new["spec"].get("selector"):
            self._selectors[key_of(new)] = self.flavour.selector(new)
        if not self.echoes.is_own(new):
            self.controller.enqueue(new)

    def _owner_gone(self, owner: Obj) -> None:
        self.echoes.forget(owner)
        self.expectations.delete(key_of(owner))
        self._selectors.pop(key_of(owner), None)

    def _pod_added(self, pod: Obj) -> None:
        if "deletionTimestamp" in pod["metadata"]:
            # seen after a restart, on its way out: nobody was waiting for it
            self._pod_gone(pod)
            return
        key = owner_key(pod, self.flavour.kind, self.owners.cache)
        if key is not None:
            self.expectations.creation_observed(key)
            self._wake(key, self.expectations.satisfied(key))
        elif controller_of(pod) is None:
            self._wake_matching(pod)

    def _pod_changed(self, old: Obj, new: Obj) -> None:
        leaving = "deletionTimestamp" in new["metadata"]
        if leaving and "deletionTimestamp" not in old["metadata"]:
            self._pod_gone(new)
            return
        reference, before = controller_of(new), controller_of(old)
        moved = reference != before
        relabelled = new["metadata"].get("labels") != old["metadata"].get("labels")
        if moved and before is not None and (key := owner_key(old, self.flavour.kind, self.owners.cache)):
            self.controller.queue.add(key)
        if reference is None:
            if (moved or relabelled) and not leaving:
                self._wake_matching(new)
        elif moved or relabelled or _counted(old) != _counted(new):
            key = owner_key(new, self.flavour.kind, self.owners.cache)
            if key is not None:
                self._wake(key)

    def _pod_gone(self, pod: Obj) -> None:
        """Marked to be deleted: its place is free."""
        key = owner_key(pod, self.flavour.kind, self.owners.cache)
        if key is not None:
            self.expectations.deletion_observed(key, pod["metadata"]["uid"])
            self._wake(key, self.expectations.satisfied(key))

    def _pod_deleted(self, pod: Obj) -> None:
        key = owner_key(pod, self.flavour.kind, self.owners.cache)
        if key is not None:
            self.expectations.deletion_observed(key, pod["metadata"]["uid"])
            # of one that was marked before, only the number of those that are leaving changes
            at_once = "deletionTimestamp" not in pod["metadata"] and self.expectations.satisfied(key)
            self._wake(key, at_once)

    def _wake(self, key: str, at_once: bool = False) -> None:
        """What only changes the status may wait for more of its kind."""
        if at_once:
            self.controller.queue.add(key)
        elif (owner := self.owners.cache.by_key(key)) is not None:
            replicas = owner["spec"]["replicas"]
            delay = 0.0 if replicas <= FEW else min(LONGEST_DELAY, replicas / REPLICAS_PER_SECOND)
            self.controller.queue.add_after(key, delay)

    def _wake_matching(self, pod: Obj) -> None:
        """An orphan: whoever selects it may want it."""
        meta = pod["metadata"]
        for key in self.owners.cache.index_keys(NAMESPACE, meta["namespace"]):
            if self._selectors[key].matches(meta.get("labels")):
                self.controller.queue.add(key)

    # -- what it does --------------------------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> float | None:
        owner = self.owners.cache.by_key(key)
        if owner is None or self.echoes.behind(owner):
            return None
        selector = self._selectors[key]
        if not await self.unanswered.settled(key, owner, selector):
            return RETRY_SECONDS
        # asked before the pods are looked at: what is seen in between must count for neither
        settled = self.expectations.satisfied(key)
        pods, strays = self._pods_of(owner, selector)
        claims = Claims(self.client, "pods", owner, self.flavour.resource, selector)
        adopted = await claims.claim(self.pods.cache.decode(stray) for stray in strays if stray.note.active)
        new = {pod["metadata"]["uid"] for pod in adopted}
        active = [pod for pod in pods if pod.note.active] + [stray for stray in strays if stray.uid in new]
        problem: Exception | None = None
        if settled and "deletionTimestamp" not in owner["metadata"] and len(active) != owner["spec"]["replicas"]:
            problem = await self._manage(key, owner, active)
            if problem is None:
                return TIMEOUT  # what was done will be seen, long before, and that is the time to count
        terminating = sum(pod.note.terminating for pod in pods)
        now = self.clock()
        status = self._status(owner, active, terminating, problem, now)
        await self._write(owner, status)
        if problem is not None:
            raise problem
        return until_available((pod.note for pod in active), owner["spec"].get("minReadySeconds", 0), now)

    def _pods_of(self, owner: Obj, selector: LabelSelector) -> tuple[list[Record], list[Record]]:
        """Those that it controls rightly; those that it must let go, or might take over."""
        cache = self.pods.cache
        owned = cache.records_by_index(CONTROLLER, controlled_by(owner))
        pods = [record for record in owned if selector.matches(record.labels)]
        strays = [] if len(pods) == len(owned) else [record for record in owned if not selector.matches(record.labels)]
        orphans = cache.records_by_index(ORPHAN, owner["metadata"]["namespace"])
        return pods, strays + [record for record in orphans if selector.matches(record.labels)]

    async def _manage(self, key: str, owner: Obj, active: list[Record]) -> Exception | None:
        """Make or delete pods; what went wrong, if anything did."""
        missing = owner["spec"]["replicas"] - len(active)
        if missing > 0:
            return await self._create(key, owner, min(missing, BURST))
        pods = [self.pods.cache.decode(record) for record in active]
        chosen = to_delete(pods, self._related(owner), min(-missing, BURST), self.clock())
        return await self._delete(key, owner, chosen)

    async def _create(self, key: str, owner: Obj, count: int) -> Exception | None:
        template = owner["spec"]["template"]
        self.expectations.expect_creations(key, count)
        try:
            await slow_start(count, lambda _: self.control.create_pod(template, owner))
        except BatchFailed as failed:
            self.expectations.creation_observed(key, count - failed.done)
            if failed.unanswered:
                self.unanswered.note(key)
            # in a namespace on its way out nothing more is to be done
            return None if is_namespace_terminating(failed.error) else failed.error
        return None

    async def _delete(self, key: str, owner: Obj, pods: list[Obj]) -> Exception | None:
        self.expectations.expect_deletions(key, [pod["metadata"]["uid"] for pod in pods])
        calls = (self.control.delete_pod(pod, owner) for pod in pods)
        problem: Exception | None = None
        for pod, result in zip(pods, await asyncio.gather(*calls, return_exceptions=True), strict=True):
            if isinstance(result, Exception):
                self.expectations.deletion_observed(key, pod["metadata"]["uid"])
                if not is_not_found(result):
                    problem = problem or NotDeleted(f"unable to delete pods: {result}")
        return problem

    def _related(self, owner: Obj) -> list[Obj]:
        """All pods of all sets of the owner's own owner."""
        reference = controller_of(owner)
        if reference is None:
            return []
        siblings = self.owners.cache.by_index(CONTROLLER, by_reference(owner["metadata"]["namespace"], reference))
        return [pod for set_ in siblings for pod in self.pods.cache.by_index(CONTROLLER, controlled_by(set_))]

    # -- status --------------------------------------------------------------------------------------------------------

    def _status(self, owner: Obj, active: list[Record], terminating: int, problem: Exception | None, now: float) -> Obj:
        spec, old = owner["spec"], owner.get("status") or {}
        labels = ((spec["template"].get("metadata") or {}).get("labels") or {}).items()
        min_ready = spec.get("minReadySeconds", 0)
        counts = {
            "fullyLabeledReplicas": sum(labels <= pod.labels.items() for pod in active),
            "readyReplicas": sum(pod.note.ready for pod in active),
            "availableReplicas": sum(pod.note.is_available(min_ready, now) for pod in active),
            "observedGeneration": owner["metadata"].get("generation", 0),
        }
        status: Obj = {"replicas": len(active), **{name: count for name, count in counts.items() if count}}
        if self.flavour.counts_terminating:
            status["terminatingReplicas"] = terminating
        conditions = _conditions(old, problem, len(active) - spec["replicas"], now)
        if conditions:
            status["conditions"] = conditions
        return status

    async def _write(self, owner: Obj, status: Obj) -> None:
        old = owner.get("status") or {}
        if status == {name: value for name, value in old.items() if value or name not in COUNTS}:
            return
        try:
            self.echoes.wrote(await self.client.update_status(self.flavour.resource, {**owner, "status": status}))
        except StatusError as error:
            if is_conflict(error):
                self.echoes.lost(owner)
            elif not is_not_found(error):
                raise


def _counted(pod: Obj) -> tuple[bool, Any]:
    """What of a pod shows in the status of its owner."""
    condition = condition_of(pod, "Ready")
    ready = condition is not None and condition["status"] == "True"
    return is_terminal(pod), ready and condition is not None and condition.get("lastTransitionTime")


def _conditions(old: Obj, problem: Exception | None, surplus: int, now: float) -> list[Obj]:
    conditions = old.get("conditions") or []
    failing = any(condition["type"] == FAILURE for condition in conditions)
    if problem is None:
        return [condition for condition in conditions if condition["type"] != FAILURE]
    if failing:
        return list(conditions)
    failure = {
        "type": FAILURE, "status": "True", "lastTransitionTime": format_time(now),
        "reason": "FailedCreate" if surplus < 0 else "FailedDelete", "message": str(problem),
    }  # fmt: skip
    return [*conditions, failure]
