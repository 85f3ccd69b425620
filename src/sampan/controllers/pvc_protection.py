"""persistentvolumeclaim-protection-controller: a claim that a pod uses stays, although it was deleted, until the pod is done;
and claims that are bound say whether any pod uses them.

Source: kubernetes/pkg/controller/volume/pvcprotection/pvc_protection_controller.go; KEP-5541 (condition Unused)
"""

from __future__ import annotations

from typing import Any

from sampan.api.times import format_time
from sampan.client import Controller, key_of, split_key
from sampan.controllers.context import Context
from sampan.controllers.persistent_volumes.matching import phase
from sampan.controllers.pod_claims import CLAIM, by_claim, claims_of, is_made_for, is_over
from sampan.controllers.pods import condition_of

Obj = dict[str, Any]
FINALIZER = "kubernetes.io/pvc-protection"
UNUSED = "Unused"
_STATES = {
    "True": ("NoPodsUsingPVC", "No pods are currently referencing this PVC"),
    "False": ("PodUsingPVC", "A pod is currently referencing this PVC"),
}


class PvcProtection:
    def __init__(self, context: Context) -> None:
        self.clock = context.clock
        self.client = context.clients("pvc-protection-controller")
        self.claims = context.informers.get("persistentvolumeclaims")
        self.pods = context.informers.get("pods", indexers={CLAIM: by_claim})
        self.controller = Controller(
            "persistentvolumeclaim-protection-controller", self.reconcile, synced=(self.claims, self.pods)
        )
        #: namespace, revision and pods of the last list
        self._listed: tuple[str, int, list[Obj]] = ("", 0, [])
        self.claims.add_handler(self._claim, lambda old, new: self._claim(new))
        self.pods.add_handler(self._pod, self._pod_changed, self._pod)

    async def run(self) -> None:
        await self.controller.run()

    # -- what wakes it -------------------------------------------------------------------------------------------------

    def _claim(self, claim: Obj) -> None:
        protected = FINALIZER in (claim["metadata"].get("finalizers") or ())
        untold = phase(claim) == "Bound" and condition_of(claim, UNUSED) is None
        if ("deletionTimestamp" in claim["metadata"]) == protected or untold:
            self.controller.enqueue(claim)

    def _pod(self, pod: Obj) -> None:
        for key in by_claim(pod):
            self.controller.queue.add(key)

    def _pod_changed(self, old: Obj, new: Obj) -> None:
        if is_over(old) != is_over(new) or _is_shut_down(old) != _is_shut_down(new):
            self._pod(new)

    # -- what it does --------------------------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> float | None:
        claim = self.claims.cache.by_key(key)
        if claim is None:
            return None
        finalizers = claim["metadata"].get("finalizers") or []
        if "deletionTimestamp" in claim["metadata"]:
            if FINALIZER in finalizers and not await self._is_used(claim):
                await self._finalizers(claim, [item for item in finalizers if item != FINALIZER])
        elif FINALIZER not in finalizers:
            await self._finalizers(claim, [*finalizers, FINALIZER])
        elif phase(claim) == "Bound":
            await self._tell(claim)
        return None

    async def _finalizers(self, claim: Obj, finalizers: list[str]) -> None:
        meta = {**claim["metadata"], "finalizers": finalizers}
        await self.client.update("persistentvolumeclaims", {**claim, "metadata": meta})

    async def _is_used(self, claim: Obj) -> bool:
        """By a pod that has a node. Before a claim is let go the server is asked, as the cache may be late: once for all
        claims of a namespace that were deleted before it answered, since nobody can start to use those."""
        if any(_uses(pod, claim) for pod in self.pods.cache.by_index(CLAIM, key_of(claim))):
            return True
        meta = claim["metadata"]
        namespace, revision, pods = self._listed
        if namespace != meta["namespace"] or revision < int(meta["resourceVersion"]):
            answer = await self.client.list("pods", meta["namespace"])
            pods = [pod for pod in answer["items"] if by_claim(pod)]
            self._listed = (meta["namespace"], int(answer["metadata"]["resourceVersion"]), pods)
        return any(_uses(pod, claim) for pod in pods)

    async def _tell(self, claim: Obj) -> None:
        namespace, name = split_key(key_of(claim))
        pods = self.pods.cache.by_index(CLAIM, f"{namespace}/{name}")
        used = any(not is_over(pod) and _refers(pod, claim) for pod in pods)
        state = "False" if used else "True"
        known = condition_of(claim, UNUSED)
        if known is not None and known["status"] == state:
            return
        reason, message = _STATES[state]
        condition = {
            "type": UNUSED, "status": state, "reason": reason, "message": message,
            "lastTransitionTime": format_time(self.clock()),
        }  # fmt: skip
        others = [item for item in (claim["status"].get("conditions") or ()) if item["type"] != UNUSED]
        status = {**claim["status"], "conditions": [*others, condition]}
        await self.client.update_status("persistentvolumeclaims", {**claim, "status": status})


def _refers(pod: Obj, claim: Obj) -> bool:
    name = claim["metadata"]["name"]
    return any(found == name and (not made or is_made_for(claim, pod)) for found, made in claims_of(pod))


def _uses(pod: Obj, claim: Obj) -> bool:
    """A claim that was made for a pod is let go before the pod itself is gone, which may wait for it."""
    if not pod["spec"].get("nodeName"):
        return False
    name = claim["metadata"]["name"]
    return any(
        found == name and (not made or (not _is_shut_down(pod) and is_made_for(claim, pod)))
        for found, made in claims_of(pod)
    )


def _is_shut_down(pod: Obj) -> bool:
    meta = pod["metadata"]
    return "deletionTimestamp" in meta and meta.get("deletionGracePeriodSeconds") == 0
