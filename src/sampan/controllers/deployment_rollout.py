"""One look at one Deployment: what its replica sets should be, step by step towards that, and the status it leaves.

Source: kubernetes/pkg/controller/deployment/{sync,rolling,recreate}.go
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Any

from sampan.api.errors import StatusError
from sampan.client import Cache, Client, EventRecorder, Expectations
from sampan.client.cache import copied
from sampan.client.errors import is_already_exists, is_conflict, is_namespace_terminating, is_not_found
from sampan.controllers import deployment_status as says
from sampan.controllers.deployment_sets import (
    DESIRED,
    HASH,
    NEVER,
    REVISION,
    active,
    age,
    bounds,
    counted,
    inherited,
    is_rolling,
    is_saturated,
    new_set,
    new_set_size,
    notes,
    number,
    replicas,
    revision,
    same_template,
    set_name,
    sized,
    sizes,
    total,
)
from sampan.controllers.echoes import Echoes
from sampan.controllers.hashes import template_hash
from sampan.controllers.pod_control import CONTROLLER, controlled_by, controller_of, owner_reference
from sampan.controllers.pods import phase_of

Obj = dict[str, Any]
SETS, DEPLOYMENTS = "replicasets.apps", "deployments.apps"


class Collided(Exception):
    """The name of the new replica set is another's; the next look takes another hash."""


class Superseded(Exception):
    """Somebody else has written what was to be written; when that is seen, there will be another look."""


class Rollout:
    """`deployment` and `sets` are as the caches have them and are not changed; a set that was written is replaced by
    what the server gave back. `run` does all that can be done now."""

    def __init__(
        self,
        deployment: Obj,
        sets: Iterable[Obj],
        *,
        client: Client,
        recorder: EventRecorder,
        pods: Cache,
        expectations: Expectations,
        echoes: Echoes,
        now: float,
    ) -> None:
        self.deployment = deployment
        self.spec: Obj = deployment["spec"]
        self.client = client
        self.recorder = recorder
        self.pods = pods
        self.expectations = expectations
        self.echoes = echoes
        self.now = now
        self.status: Obj = deployment.get("status") or {}
        self.conditions = says.Conditions(self.status.get("conditions") or (), now)
        self.annotations = dict(notes(deployment))
        self.collisions: int | None = self.status.get("collisionCount")
        sets = sorted(sets, key=age)
        self.new = new_set(deployment, sets)
        self.old = [set_ for set_ in sets if set_ is not self.new]

    @property
    def sets(self) -> list[Obj]:
        return self.old if self.new is None else [*self.old, self.new]

    async def run(self) -> float | None:
        """Seconds after which to look again. Raises StatusError, HttpError, Collided, Superseded."""
        if "deletionTimestamp" in self.deployment["metadata"]:
            await self._adopt_new()
            return await self._finish(rolling=False)
        says.pausing(self.deployment, self.conditions)
        await self._adopt_new()
        paused = self.spec.get("paused", False)
        if paused or self._was_scaled():
            changed = await self._scale()
            if paused:
                await self._clean_up()
            if paused or changed:
                await self._finish(rolling=False)
                # what else there is to do begins with what was just written
                return None if paused else 0.0
        if is_rolling(self.deployment):
            await self._roll()
        else:
            await self._recreate()
        return await self._finish(rolling=True)

    # -- the new replica set -------------------------------------------------------------------------------------------

    async def _adopt_new(self) -> None:
        """Bring the new replica set's annotations up to date, if there is one, and the Deployment's revision with it."""
        if self.new is None:
            return
        newest = max((revision(set_) for set_ in self.old), default=0) + 1
        wanted = inherited(self.deployment, self.new, newest)
        ready = self.spec.get("minReadySeconds", 0)
        if wanted != notes(self.new) or self.new["spec"].get("minReadySeconds", 0) != ready:
            changed = copied(self.new)
            changed["metadata"]["annotations"] = wanted
            changed["spec"]["minReadySeconds"] = ready
            self.new = await self._update(changed)
        self.annotations[REVISION] = notes(self.new).get(REVISION, "")
        if says.has_deadline(self.deployment) and self.conditions.get(says.PROGRESSING) is None:
            found = f'Found new replica set "{self.new["metadata"]["name"]}"'
            self.conditions.set(says.PROGRESSING, "True", "FoundNewReplicaSet", found)

    async def _make_new(self) -> None:
        meta = self.deployment["metadata"]
        wanted = self._new_set()
        name, key = wanted["metadata"]["name"], f"{meta['namespace']}/{meta['name']}"
        self.expectations.expect_creations(key, 1)
        try:
            made = await self.client.create(SETS, wanted, meta["namespace"])
        except Exception as error:
            self.expectations.creation_observed(key)
            if is_already_exists(error):
                self.new = await self._taken(name)
                return
            if not is_namespace_terminating(error):
                said = f'Failed to create new replica set "{name}": {error}'
                if says.has_deadline(self.deployment):
                    self.conditions.set(says.PROGRESSING, "False", "ReplicaSetCreateError", said)
                    await self._write(self.status)
                self.recorder.event(self.deployment, "Warning", "ReplicaSetCreateError", said)
            raise
        self.new = made
        if replicas(made):
            self._scaled(made, 0)
        self.annotations[REVISION] = wanted["metadata"]["annotations"][REVISION]
        if says.has_deadline(self.deployment):
            self.conditions.set(says.PROGRESSING, "True", "NewReplicaSetCreated", f'Created new replica set "{name}"')

    def _new_set(self) -> Obj:
        meta, template = self.deployment["metadata"], copied(self.spec["template"])
        hashed = template_hash(template, self.collisions)
        labels = {**((template.get("metadata") or {}).get("labels") or {}), HASH: hashed}
        template["metadata"] = {**(template.get("metadata") or {}), "labels": labels}
        selector = copied(self.spec["selector"])
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH: hashed}
        spec: Obj = {"replicas": new_set_size(self.deployment, self.old), "selector": selector, "template": template}
        if self.spec.get("minReadySeconds"):
            spec["minReadySeconds"] = self.spec["minReadySeconds"]
        name = set_name(meta["name"], hashed)
        new: Obj = {"metadata": {"name": name, "namespace": meta["namespace"]}, "spec": spec}
        newest = max((revision(set_) for set_ in self.old), default=0) + 1
        notes = {**inherited(self.deployment, new, newest), **sized(self.deployment)}
        new["metadata"] |= {
            "labels": labels,
            "annotations": notes,
            "ownerReferences": [owner_reference(self.deployment)],
        }
        return {"apiVersion": "apps/v1", "kind": "ReplicaSet", **new}

    async def _taken(self, name: str) -> Obj:
        """There is one of that name: made by us and not yet seen, or another's by chance."""
        meta = self.deployment["metadata"]
        there = await self.client.get(SETS, name, meta["namespace"])
        reference = controller_of(there)
        ours = reference is not None and reference["uid"] == meta["uid"]
        if ours and same_template(there["spec"]["template"], self.spec["template"]):
            return there
        self.collisions = (self.collisions or 0) + 1
        await self._write(self.status)
        raise Collided(name)

    # -- sizes ---------------------------------------------------------------------------------------------------------

    def _was_scaled(self) -> bool:
        """Some replica set remembers another size of the Deployment."""
        sizes_known = (number(notes(set_).get(DESIRED)) for set_ in active(self.sets))
        return any(desired is not None and desired != replicas(self.deployment) for desired in sizes_known)

    async def _scale(self) -> bool:
        """Without rolling. Whether anything was written."""
        some = active(self.sets)
        if len(some) < 2:
            only = some[0] if some else self.new or (self.old[-1] if self.old else None)
            return only is not None and await self._resize(only, replicas(self.deployment))
        if is_saturated(self.deployment, self.new):
            changed = [await self._resize(set_, 0) for set_ in active(self.old)]
        elif is_rolling(self.deployment):
            changed = [await self._resize(set_, size) for set_, size in sizes(self.deployment, some)]
        else:
            changed = []
        return any(changed)

    async def _resize(self, set_: Obj, size: int) -> bool:
        before, marks = replicas(set_), sized(self.deployment)
        if before == size and marks.items() <= notes(set_).items():
            return False
        changed = {**set_, "metadata": {**set_["metadata"], "annotations": {**notes(set_), **marks}}}
        changed["spec"] = {**set_["spec"], "replicas": size}
        written = await self._update(changed)
        if set_ is self.new:
            self.new = written
        else:
            self.old[next(at for at, old in enumerate(self.old) if old is set_)] = written
        if before != size:
            self._scaled(written, before)
        return True

    def _scaled(self, set_: Obj, before: int) -> None:
        size, name = replicas(set_), set_["metadata"]["name"]
        way = "up" if before < size else "down"
        said = f"Scaled {way} replica set {name} from {before} to {size}"
        self.recorder.event(self.deployment, "Normal", "ScalingReplicaSet", said)

    async def _update(self, set_: Obj) -> Obj:
        return await self._put(self.client.update(SETS, set_), set_)

    async def _put(self, call: Awaitable[Obj], obj: Obj) -> Obj:
        try:
            written = await call
        except StatusError as error:
            if is_conflict(error):
                self.echoes.lost(obj)
                raise Superseded from None
            raise
        self.echoes.wrote(written)
        return written

    # -- strategies ----------------------------------------------------------------------------------------------------

    async def _roll(self) -> None:
        if self.new is None:
            await self._make_new()
        assert self.new is not None
        if replicas(self.new) != replicas(self.deployment):
            await self._resize(self.new, new_set_size(self.deployment, self.old, self.new))
        if active(self.old):
            await self._shrink_old()

    async def _shrink_old(self) -> None:
        """As far as availability allows: first pods that are not available anyway, from the oldest set on."""
        assert self.new is not None
        _, unavailable = bounds(self.deployment)
        least = replicas(self.deployment) - unavailable
        not_ready = replicas(self.new) - counted(self.new, "availableReplicas")
        spare = total(self.sets) - least - not_ready
        for set_ in active(self.old):
            useless = min(spare, replicas(set_) - counted(set_, "availableReplicas"))
            if useless > 0:
                await self._resize(set_, replicas(set_) - useless)
                spare -= useless
        if spare <= 0:
            return
        # a set that was just made smaller still counts pods as available that it will delete
        available = sum(min(replicas(set_), counted(set_, "availableReplicas")) for set_ in self.sets)
        spare = available - least
        for set_ in active(self.old):
            if (fewer := min(replicas(set_), spare)) > 0:
                await self._resize(set_, replicas(set_) - fewer)
                spare -= fewer

    async def _recreate(self) -> None:
        going = active(self.old)
        for set_ in going:
            await self._resize(set_, 0)
        if going or self._old_pods():
            return
        if self.new is None:
            await self._make_new()
        elif replicas(self.new) != replicas(self.deployment):
            await self._resize(self.new, replicas(self.deployment))

    def _old_pods(self) -> bool:
        """Any left, or perhaps: a set that has not yet looked may still make some."""
        for set_ in self.old:
            if counted(set_, "replicas") or counted(set_, "observedGeneration") < set_["metadata"].get("generation", 0):
                return True
            mine = self.pods.by_index(CONTROLLER, controlled_by(set_))
            if any(phase_of(pod) not in ("Succeeded", "Failed") for pod in mine):
                return True
        return False

    # -- afterwards ----------------------------------------------------------------------------------------------------

    async def _clean_up(self) -> None:
        """Old replica sets beyond the history that is to be kept, the oldest revisions first."""
        limit = self.spec.get("revisionHistoryLimit", NEVER)
        there = [set_ for set_ in self.old if "deletionTimestamp" not in set_["metadata"]]
        if limit == NEVER or len(there) <= limit:
            return
        for set_ in sorted(there, key=lambda set_: (revision(set_), age(set_)))[: len(there) - limit]:
            meta = set_["metadata"]
            seen = counted(set_, "observedGeneration") >= meta.get("generation", 0)
            if replicas(set_) or counted(set_, "replicas") or not seen:
                continue
            try:
                await self.client.delete(SETS, meta["name"], meta["namespace"], uid=meta["uid"])
            except StatusError as error:
                if not is_not_found(error):
                    raise
            self.old.remove(set_)

    async def _finish(self, *, rolling: bool) -> float | None:
        """Say how things are."""
        status = says.counts(self.deployment, self.sets, self.new)
        if rolling and says.is_complete(self.deployment, status):
            await self._clean_up()
        says.availability(self.deployment, status, self.conditions)
        if rolling:
            says.progress(self.deployment, status, self.new, self.conditions, self.now)
            says.failures(self.sets, self.new, self.conditions)
        await self._write(status)
        return says.until_deadline(self.deployment, status, self.conditions, self.now) if rolling else None

    async def _write(self, status: Obj) -> None:
        """If it is other than it was. The revision, an annotation, is written along."""
        status = {name: value for name, value in status.items() if value or name not in says.COUNTS}
        status.pop("collisionCount", None)
        if self.collisions is not None:
            status["collisionCount"] = self.collisions
        status["conditions"] = self.conditions.list()
        was = {name: value for name, value in self.status.items() if value or name not in says.COUNTS}
        if _sorted(status) == _sorted(was) and self.annotations == notes(self.deployment):
            return
        meta = {**self.deployment["metadata"], "annotations": self.annotations}
        changed = {**self.deployment, "metadata": meta, "status": status}
        await self._put(self.client.update_status(DEPLOYMENTS, changed), self.deployment)


def _sorted(status: Obj) -> Obj:
    """The order of conditions says nothing."""
    return {**status, "conditions": sorted(status.get("conditions") or (), key=lambda item: str(item["type"]))}
