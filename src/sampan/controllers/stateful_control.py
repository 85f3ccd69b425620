"""Making, changing and deleting the pods of StatefulSets, their claims first; each told of in an event.

Source: kubernetes/pkg/controller/statefulset/stateful_pod_control.go
"""

from __future__ import annotations

from typing import Any

from sampan.client import Cache, Client, EventRecorder, Expectations
from sampan.client.errors import is_already_exists, is_not_found
from sampan.controllers.stateful_pods import claims_of, is_stale, ordinal_of, with_identity, with_owners

Obj = dict[str, Any]
CLAIMS = "persistentvolumeclaims"


class ClaimsMissing(Exception):
    """Some claims of a pod are not there."""


class StatefulPodControl:
    def __init__(self, client: Client, recorder: EventRecorder, claims: Cache, expectations: Expectations) -> None:
        self.client = client
        self.recorder = recorder
        self.claims = claims
        self.expectations = expectations

    async def create(self, key: str, stateful_set: Obj, pod: Obj) -> Obj:
        """With its claims. Raises StatusError, ClaimsMissing."""
        try:
            await self.create_claims(stateful_set, pod)
            made = await self.client.create("pods", pod)
        except Exception as error:
            self.expectations.creation_observed(key)
            if not is_already_exists(error):
                self._tell(stateful_set, pod, "create", error)
            raise
        self._tell(stateful_set, pod, "create")
        await self.keep_owners(stateful_set, made)
        return made

    async def delete(self, stateful_set: Obj, pod: Obj) -> None:
        meta = pod["metadata"]
        try:
            await self.client.delete("pods", meta["name"], meta["namespace"], uid=meta["uid"])
        except Exception as error:
            if is_not_found(error):
                return
            self._tell(stateful_set, pod, "delete", error)
            raise
        self._tell(stateful_set, pod, "delete")

    async def keep(self, stateful_set: Obj, pod: Obj) -> None:
        """Its labels and volumes, as far as they may be changed, and who owns its claims."""
        wanted = with_identity(pod, stateful_set)
        try:
            if wanted["spec"] is not pod["spec"]:
                await self.create_claims(stateful_set, pod)
            owners_changed = await self.keep_owners(stateful_set, pod)
            if wanted is not pod:
                await self.client.update("pods", wanted)
            elif not owners_changed:
                return
        except Exception as error:
            self._tell(stateful_set, pod, "update", error)
            raise
        self._tell(stateful_set, pod, "update")

    # -- claims --------------------------------------------------------------------------------------------------------

    def has_stale_claim(self, stateful_set: Obj, pod: Obj) -> bool:
        known = (self._known(claim) for claim in claims_of(stateful_set, ordinal_of(pod)).values())
        return any(claim is not None and is_stale(claim, stateful_set, pod) for claim in known)

    async def create_claims(self, stateful_set: Obj, pod: Obj) -> None:
        """Those that are missing. Raises ClaimsMissing after all were tried."""
        problems = []
        for claim in claims_of(stateful_set, ordinal_of(pod)).values():
            name, known = claim["metadata"]["name"], self._known(claim)
            if known is not None:
                if "deletionTimestamp" in known["metadata"]:
                    problems.append(f"pvc {name} is being deleted")
                continue
            try:
                await self.client.create(CLAIMS, with_owners(claim, stateful_set, None, ordinal_of(pod)))
            except Exception as error:
                problems.append(f"failed to create PVC {name}: {error}")
                if not is_already_exists(error):
                    self._tell_claim(stateful_set, pod, name, error)
            else:
                self._tell_claim(stateful_set, pod, name)
        if problems:
            raise ClaimsMissing(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")

    async def keep_owners(self, stateful_set: Obj, pod: Obj) -> bool:
        """Of its claims, by the retention policy. Whether any changed."""
        ordinal, changed = ordinal_of(pod), False
        for claim in claims_of(stateful_set, ordinal).values():
            known = self._known(claim)
            if known is None:
                continue
            wanted = with_owners(known, stateful_set, pod, ordinal)
            if wanted is not known:
                await self.client.update(CLAIMS, wanted)
                changed = True
        return changed

    def _known(self, claim: Obj) -> Obj | None:
        return self.claims.get(claim["metadata"]["name"], claim["metadata"]["namespace"])

    # -- events --------------------------------------------------------------------------------------------------------

    def _tell(self, stateful_set: Obj, pod: Obj, verb: str, error: Exception | None = None) -> None:
        what = f"{verb} Pod {pod['metadata']['name']} in StatefulSet {stateful_set['metadata']['name']}"
        self._event(stateful_set, verb, f"{what} successful", what, error)

    def _tell_claim(self, stateful_set: Obj, pod: Obj, claim: str, error: Exception | None = None) -> None:
        where = f"Pod {pod['metadata']['name']} in StatefulSet {stateful_set['metadata']['name']}"
        self._event(
            stateful_set, "create", f"create Claim {claim} {where} success", f"create Claim {claim} for {where}", error
        )

    def _event(self, about: Obj, verb: str, done: str, failed: str, error: Exception | None) -> None:
        if error is None:
            self.recorder.event(about, "Normal", f"Successful{verb.title()}", done)
        else:
            self.recorder.event(about, "Warning", f"Failed{verb.title()}", f"{failed} failed error: {error}")
