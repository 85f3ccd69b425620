"""Deployments: a replica set for each template, and the way from one to the next.

Source: kubernetes/pkg/controller/deployment/deployment_controller.go

DEVIATION: the annotation by which extensions/v1beta1 asked for a rollback is not looked at; `kubectl rollout undo` has
patched the template since apps/v1.
"""

from __future__ import annotations

from typing import Any

from sampan.api.selectors import label_selector_from
from sampan.client import Controller, Expectations, key_of
from sampan.client.expectations import TIMEOUT
from sampan.controllers.context import Context
from sampan.controllers.deployment_rollout import DEPLOYMENTS, SETS, Collided, Rollout, Superseded
from sampan.controllers.echoes import Echoes
from sampan.controllers.pod_control import INDEXERS, Claims, candidates, controller_of, owner_key

Obj = dict[str, Any]
NAME = "deployment-controller"
#: failures in a row after which a Deployment is left alone until something changes
MAX_RETRIES = 15


class DeploymentController:
    def __init__(self, context: Context) -> None:
        self.clock = context.clock
        self.client = context.clients(NAME)
        self.recorder = context.recorders(NAME, self.client)
        self.deployments = context.informers.get(DEPLOYMENTS)
        self.sets = context.informers.get(SETS, indexers=INDEXERS)
        self.pods = context.informers.get("pods", indexers=INDEXERS)
        #: replica sets made and not yet seen
        self.expectations = Expectations()
        self.echoes = Echoes()
        self.controller = Controller(
            "deployment",
            self.reconcile,
            workers=context.options.concurrent_syncs,
            synced=(self.deployments, self.sets, self.pods),
            max_retries=MAX_RETRIES,
        )
        self.controller.listen(self.deployments, self.controller.enqueue, self._changed, self._gone)
        self.controller.listen(self.sets, self._set_added, self._set_changed, self._set_gone)
        self.controller.listen(self.pods, delete=self._pod_gone)

    async def run(self) -> None:
        await self.controller.run()

    # -- what wakes it -------------------------------------------------------------------------------------------------

    def _changed(self, old: Obj, new: Obj) -> None:
        if not self.echoes.is_own(new):
            self.controller.enqueue(new)

    def _gone(self, deployment: Obj) -> None:
        self.echoes.forget(deployment)
        self.expectations.delete(key_of(deployment))

    def _set_added(self, set_: Obj) -> None:
        key = owner_key(set_, "Deployment", self.deployments.cache)
        if key is not None:
            self.expectations.creation_observed(key)
            self.controller.queue.add(key)
        elif controller_of(set_) is None:
            self._wake_matching(set_)

    def _set_changed(self, old: Obj, new: Obj) -> None:
        before, reference = controller_of(old), controller_of(new)
        moved = before != reference
        if moved and before is not None and (key := owner_key(old, "Deployment", self.deployments.cache)):
            self.controller.queue.add(key)
        own = self.echoes.is_own(new)
        if reference is not None:
            key = owner_key(new, "Deployment", self.deployments.cache)
            if key is not None and (moved or not own):
                self.controller.queue.add(key)
        elif moved or old["metadata"].get("labels") != new["metadata"].get("labels"):
            self._wake_matching(new)

    def _set_gone(self, set_: Obj) -> None:
        self.echoes.forget(set_)
        key = owner_key(set_, "Deployment", self.deployments.cache)
        if key is not None:
            self.controller.queue.add(key)

    def _pod_gone(self, pod: Obj) -> None:
        """A Recreate waits for the last pod of the old template."""
        key = owner_key(pod, "ReplicaSet", self.sets.cache)
        set_ = self.sets.cache.by_key(key) if key is not None else None
        key = owner_key(set_, "Deployment", self.deployments.cache) if set_ is not None else None
        deployment = self.deployments.cache.by_key(key) if key is not None else None
        if key is not None and deployment is not None and deployment["spec"]["strategy"]["type"] == "Recreate":
            self.controller.queue.add(key)

    def _wake_matching(self, set_: Obj) -> None:
        """An orphan: whoever selects it may want it."""
        meta = set_["metadata"]
        for deployment in self.deployments.cache.list(meta["namespace"]):
            if label_selector_from(deployment["spec"]["selector"]).matches(meta.get("labels")):
                self.controller.enqueue(deployment)

    # -- what it does --------------------------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> float | None:
        deployment = self.deployments.cache.by_key(key)
        if deployment is None or self.echoes.behind(deployment):
            return None
        if not self.expectations.satisfied(key):
            return TIMEOUT
        selector = label_selector_from(deployment["spec"]["selector"])
        claims = Claims(self.client, SETS, deployment, DEPLOYMENTS, selector)
        sets = await claims.claim(candidates(self.sets.cache, deployment, selector))
        if any(self.echoes.behind(set_) for set_ in sets):
            return None
        rollout = Rollout(
            deployment,
            sets,
            client=self.client,
            recorder=self.recorder,
            pods=self.pods.cache,
            expectations=self.expectations,
            echoes=self.echoes,
            now=self.clock(),
        )
        try:
            return await rollout.run()
        except Collided:
            return 0.0
        except Superseded:
            return None
