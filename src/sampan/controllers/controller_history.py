"""Revisions of what a controller makes pods from: ControllerRevisions, found, made, numbered, thrown away.

A revision holds a patch that brings a template back; two with the same data are one. What is not in use any more is kept
up to a limit, the oldest going first.

Source: kubernetes/pkg/controller/history/controller_history.go
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sampan.api.selectors import LabelSelector
from sampan.client import Cache, Client
from sampan.client.errors import is_already_exists, is_not_found
from sampan.controllers.hashes import template_hash
from sampan.controllers.pod_control import Claims, candidates, controller_of, owner_reference

Obj = dict[str, Any]
REVISIONS = "controllerrevisions.apps"
HASH = "controller.kubernetes.io/hash"
MAX_PREFIX = 223


def template_data(template: Obj) -> Obj:
    """What a revision keeps: a strategic merge patch that replaces the template."""
    return {"spec": {"template": {**template, "$patch": "replace"}}}


def template_of(revision: Obj) -> Obj:
    template: Obj = revision["data"]["spec"]["template"]
    return {name: value for name, value in template.items() if name != "$patch"}


def in_order(revisions: Iterable[Obj]) -> list[Obj]:
    def key(revision: Obj) -> tuple[int, str, str]:
        meta = revision["metadata"]
        return revision["revision"], meta.get("creationTimestamp", ""), meta["name"]

    return sorted(revisions, key=key)


class History:
    """Of all owners of one resource (`daemonsets.apps`...). `label`: which of a revision's holds its hash."""

    def __init__(self, client: Client, cache: Cache, owners: str, label: str = HASH) -> None:
        self.client = client
        self.cache = cache
        self.owners = owners
        self.label = label

    async def revisions(self, owner: Obj, selector: LabelSelector) -> list[Obj]:
        """In order; orphans are adopted. Raises CannotAdopt, StatusError."""
        found = candidates(self.cache, owner, selector)
        claims = Claims(self.client, REVISIONS, owner, self.owners, selector)
        for revision in found:
            if controller_of(revision) is None and "deletionTimestamp" not in owner["metadata"]:
                await claims.adopt(revision)
        return in_order(found)

    def new(self, owner: Obj, data: Obj, number: int, labels: Obj, collisions: int) -> Obj:
        hashed = template_hash(data, collisions)
        name = owner["metadata"]["name"]
        meta: Obj = {
            "name": f"{name[:MAX_PREFIX]}-{hashed}", "labels": {**labels, self.label: hashed},
            "ownerReferences": [owner_reference(owner)],
        }  # fmt: skip
        if owner["metadata"].get("annotations"):
            meta["annotations"] = dict(owner["metadata"]["annotations"])
        head = {"apiVersion": "apps/v1", "kind": "ControllerRevision"}
        return {**head, "metadata": meta, "data": data, "revision": number}

    async def current(self, owner: Obj, revisions: list[Obj], labels: Obj, collisions: int) -> tuple[Obj, int]:
        """The revision of the owner's template as it is now, made or moved to the front if need be; and how many name
        collisions there were so far. `revisions` in order."""
        data = template_data(owner["spec"]["template"])
        number = revisions[-1]["revision"] + 1 if revisions else 1
        equal = [revision for revision in revisions if revision["data"] == data]
        if equal and equal[-1] is revisions[-1]:
            return equal[-1], collisions
        if equal:
            # rolled back
            return await self.renumber(equal[-1], number), collisions
        namespace = owner["metadata"]["namespace"]
        while True:
            new = self.new(owner, data, number, labels, collisions)
            try:
                return await self.client.create(REVISIONS, new, namespace), collisions
            except Exception as error:
                if not is_already_exists(error):
                    raise
            there = await self.client.get(REVISIONS, new["metadata"]["name"], namespace)
            if there["data"] == data:
                return there, collisions
            collisions += 1

    async def renumber(self, revision: Obj, number: int) -> Obj:
        if revision["revision"] == number:
            return revision
        return await self.client.update(REVISIONS, {**revision, "revision": number})

    async def truncate(self, revisions: list[Obj], live: set[str], limit: int) -> None:
        """Delete the oldest of those not in use; `live` are names. A negative limit is none."""
        if limit < 0:
            return
        old = [revision for revision in revisions if revision["metadata"]["name"] not in live]
        for revision in old[: max(0, len(old) - limit)]:
            meta = revision["metadata"]
            try:
                await self.client.delete(REVISIONS, meta["name"], meta["namespace"])
            except Exception as error:
                if not is_not_found(error):
                    raise
