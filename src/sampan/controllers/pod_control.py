"""How controllers get and lose pods: made from a template, deleted, taken over as orphans, let go.

    control = PodControl(client, recorder)
    await control.create_pod(replica_set["spec"]["template"], replica_set)
    mine = await Claims(client, "pods", replica_set, "replicasets.apps", selector).claim(candidates)

A controller owns what its controlling owner reference says, never what its selector says; the selector only decides
what is taken over and what is let go.

Source: kubernetes/pkg/controller/{controller_utils,controller_ref_manager}.go
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sampan.api.errors import StatusError
from sampan.api.selectors import LabelSelector
from sampan.client import Cache, Client, EventRecorder, Resource
from sampan.client.errors import is_invalid, is_namespace_terminating, is_not_found

Obj = dict[str, Any]
CONTROLLER, ORPHAN = "controller", "orphan"
_MAX_PREFIX = 253


def by_orphan(obj: Obj) -> Iterable[str]:
    """The namespace of an object that no controller owns."""
    return (obj["metadata"].get("namespace", ""),) if controller_of(obj) is None else ()


def by_controller(obj: Obj) -> Iterable[str]:
    """The owner that controls it, as `controlled_by` says it."""
    reference = controller_of(obj)
    return () if reference is None else (by_reference(obj["metadata"].get("namespace", ""), reference),)


def controlled_by(owner: Obj) -> str:
    """Where the index has what the owner controls."""
    meta = owner["metadata"]
    return by_reference(meta.get("namespace", ""), {"kind": owner["kind"], "name": meta["name"], "uid": meta["uid"]})


def by_reference(namespace: str, reference: Obj) -> str:
    """Whoever says no more than the uid rightly, or says it elsewhere, is not controlled."""
    # one string for all that it controls
    return sys.intern(f"{namespace}/{reference['kind']}/{reference['name']}/{reference['uid']}")


#: what an informer of pods (or replica sets, revisions) needs for `candidates`
INDEXERS = {CONTROLLER: by_controller, ORPHAN: by_orphan}


def controller_of(obj: Obj) -> Obj | None:
    """The owner reference that controls it."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            found: Obj = reference
            return found
    return None


def owner_reference(owner: Obj) -> Obj:
    """A controlling one."""
    meta = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": meta["name"], "uid": meta["uid"],
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip


def owner_key(obj: Obj, kind: str, owners: Cache) -> str | None:
    """The key of what controls it, if that is of this kind and (by uid) still the same."""
    reference = controller_of(obj)
    if reference is None or reference["kind"] != kind:
        return None
    namespace = obj["metadata"].get("namespace", "")
    key = f"{namespace}/{reference['name']}" if namespace else reference["name"]
    owner = owners.record(key)
    return key if owner is not None and owner.uid == reference["uid"] else None


def candidates(cache: Cache, owner: Obj, selector: LabelSelector) -> list[Obj]:
    """What an owner controls, and the orphans it might take over."""
    out = cache.by_index(CONTROLLER, controlled_by(owner))
    for key in cache.index_keys(ORPHAN, owner["metadata"]["namespace"]):
        record = cache.record(key)
        if record is not None and selector.matches(record.labels):
            out.append(cache.decode(record))
    return out


def pod_from(template: Obj, owner: Obj) -> Obj:
    """A pod as the template has it, controlled by the owner. Shares the template's parts: do not change them."""
    meta, name = template.get("metadata") or {}, owner["metadata"]["name"]
    prefix = name + "-" if len(name) < _MAX_PREFIX else name
    out = {key: meta[key] for key in ("labels", "annotations", "finalizers") if meta.get(key)}
    out |= {"generateName": prefix, "ownerReferences": [owner_reference(owner)]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": out, "spec": template["spec"]}


class PodControl:
    """Makes and deletes pods, and says so in events about the owner."""

    def __init__(self, client: Client, recorder: EventRecorder) -> None:
        self.client = client
        self.recorder = recorder

    async def create_pod(self, template: Obj, owner: Obj) -> Obj:
        """Raises StatusError, HttpError."""
        return await self.create(pod_from(template, owner), owner)

    async def create(self, pod: Obj, owner: Obj) -> Obj:
        """A pod made by `pod_from` (and changed, if need be)."""
        if not pod["metadata"].get("labels"):
            raise ValueError("unable to create pods, no labels")
        try:
            made = await self.client.create("pods", pod, owner["metadata"]["namespace"])
        except Exception as error:
            if not is_namespace_terminating(error):
                self.recorder.event(owner, "Warning", "FailedCreate", f"Error creating: {error}")
            raise
        self.recorder.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")
        return made

    async def delete_pod(self, pod: Obj, owner: Obj) -> None:
        """This one, not another of its name. Raises StatusError (404: it is gone, and no event), HttpError."""
        meta = pod["metadata"]
        try:
            await self.client.delete("pods", meta["name"], meta["namespace"], uid=meta["uid"], unread=True)
        except Exception as error:
            if not is_not_found(error):
                self.recorder.event(owner, "Warning", "FailedDelete", f"Error deleting: {error}")
            raise
        self.recorder.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {meta['name']}")


class CannotAdopt(Exception):
    """The owner is gone, or going."""


class Claims:
    """Makes the owner references of objects agree with a selector (and a `filter`) for one look at one owner.

    `what`: the resource of the objects; `owners`: that of the owner. `finalizers`: put on and taken off with the
    reference.
    """

    def __init__(
        self,
        client: Client,
        what: Resource | str,
        owner: Obj,
        owners: Resource | str,
        selector: LabelSelector,
        *,
        filter: Callable[[Obj], bool] | None = None,
        finalizers: Sequence[str] = (),
    ) -> None:
        self.client = client
        self.what = what
        self.owner = owner
        self.owners = owners
        self.selector = selector
        self.filter = filter
        self.finalizers = finalizers
        self._may_adopt: CannotAdopt | bool | None = None

    async def claim(self, objects: Iterable[Obj]) -> list[Obj]:
        """Those that are the owner's, adopted ones too. When some cannot be adopted or let go, raises the first failure
        after all were tried."""
        mine: list[Obj] = []
        failure: Exception | None = None
        for obj in objects:
            try:
                if await self._claim(obj):
                    mine.append(obj)
            except (StatusError, CannotAdopt) as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return mine

    def matches(self, obj: Obj) -> bool:
        return self.selector.matches(obj["metadata"].get("labels")) and (self.filter is None or self.filter(obj))

    def owns(self, obj: Obj) -> bool:
        """Already and rightly."""
        reference = controller_of(obj)
        return reference is not None and reference["uid"] == self.owner["metadata"]["uid"] and self.matches(obj)

    async def _claim(self, obj: Obj) -> bool:
        reference, going = controller_of(obj), "deletionTimestamp" in self.owner["metadata"]
        if reference is not None:
            if reference["uid"] != self.owner["metadata"]["uid"]:
                return False
            if self.matches(obj):
                return True
            if not going:
                await self.release(obj)
            return False
        if going or "deletionTimestamp" in obj["metadata"] or not self.matches(obj):
            return False
        try:
            await self.adopt(obj)
        except StatusError as error:
            if is_not_found(error):
                return False
            raise
        return True

    async def adopt(self, obj: Obj) -> None:
        """Raises CannotAdopt, StatusError."""
        meta = obj["metadata"]
        try:
            await self._check()
        except CannotAdopt as error:
            where = f"{obj['kind']} {meta['namespace']}/{meta['name']} ({meta['uid']})"
            raise CannotAdopt(f"can't adopt {where}: {error}") from None
        patch: Obj = {"uid": meta["uid"], "ownerReferences": [owner_reference(self.owner)]}
        if self.finalizers:
            patch["finalizers"] = list(self.finalizers)
        await self._patch(obj, patch)

    async def release(self, obj: Obj) -> None:
        reference = {"$patch": "delete", "uid": self.owner["metadata"]["uid"]}
        patch: Obj = {"uid": obj["metadata"]["uid"], "ownerReferences": [reference]}
        if self.finalizers:
            patch["$deleteFromPrimitiveList/finalizers"] = list(self.finalizers)
        try:
            await self._patch(obj, patch)
        except StatusError as error:
            # gone, or another of the same name: either way it is not ours any more
            if not (is_not_found(error) or is_invalid(error)):
                raise

    async def _patch(self, obj: Obj, meta: Obj) -> None:
        where = obj["metadata"]
        await self.client.patch(self.what, where["name"], {"metadata": meta}, where["namespace"], type="strategic")

    async def _check(self) -> None:
        """Once, and not from the cache: an owner being deleted must not take over what its deletion sets free."""
        if self._may_adopt is None:
            self._may_adopt = await self._look()
        if isinstance(self._may_adopt, CannotAdopt):
            raise self._may_adopt

    async def _look(self) -> CannotAdopt | bool:
        meta, kind = self.owner["metadata"], self.owner["kind"]
        where = f"{meta['namespace']}/{meta['name']}"
        try:
            fresh = (await self.client.get(self.owners, meta["name"], meta["namespace"]))["metadata"]
        except StatusError as error:
            return CannotAdopt(f"can't recheck DeletionTimestamp: {error}")
        if fresh["uid"] != meta["uid"]:
            said = f"original {kind} {where} is gone: got uid {fresh['uid']}, wanted {meta['uid']}"
            return CannotAdopt(f"can't recheck DeletionTimestamp: {said}")
        if "deletionTimestamp" in fresh:
            return CannotAdopt(f"{where} has just been deleted at {fresh['deletionTimestamp']}")
        return True
