"""What the garbage collector does to objects through the API: look, delete, take owners and finalizers off.

Source: kubernetes/pkg/controller/garbagecollector/{operations,patch}.go, controller/controller_ref_manager.go
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from sampan.client import Client, Resource, StatusError, retry_on_conflict
from sampan.client.client import Propagation
from sampan.client.errors import is_conflict, is_not_found
from sampan.controllers.garbage_collector.graph import Identity

Obj = dict[str, Any]
UNSUPPORTED = 415


class Actions:
    def __init__(self, client: Client) -> None:
        self.client = client
        #: custom resources know no strategic merge
        self._merge_only: set[tuple[str, str]] = set()

    async def get(self, resource: Resource, namespace: str, name: str) -> Obj | None:
        """Live metadata; None: there is no such object."""
        try:
            found = await self.client.get(resource, name, namespace if resource.namespaced else "")
        except StatusError as error:
            if is_not_found(error):
                return None
            raise
        meta: Obj = found["metadata"]
        return meta

    async def delete(self, resource: Resource, at: Identity, meta: Obj, propagation: Propagation) -> bool:
        """As long as its owners are those that `meta` has. False: it is gone. Raises StatusError, 409 among them."""
        version = meta["resourceVersion"]
        try:
            await self._delete(resource, at, version, propagation)
        except StatusError as error:
            if is_not_found(error):
                return False
            if not is_conflict(error):
                raise
            live = await self.get(resource, at.namespace, at.name)
            if live is None or live["uid"] != at.uid:
                return False
            if live.get("ownerReferences") != meta.get("ownerReferences"):
                raise
            # changed, but not in what matters here: frequent updates must not keep it for ever
            try:
                await self._delete(resource, at, "", propagation)
            except StatusError as again:
                if is_not_found(again):
                    return False
                raise
        return True

    async def _delete(self, resource: Resource, at: Identity, version: str, propagation: Propagation) -> None:
        await self.client.delete(
            resource, at.name, at.namespace, uid=at.uid, resource_version=version, propagation=propagation
        )

    async def remove_owners(self, resource: Resource, at: Identity, uids: Collection[str]) -> None:
        """Raises StatusError; 404 too."""
        patch = [{"$patch": "delete", "uid": uid} for uid in uids]
        await self._patch(resource, at, patch, lambda owners: [item for item in owners if item["uid"] not in uids])

    async def orphan(self, resource: Resource, at: Identity, owner: str) -> None:
        """It has this owner no more; if it is gone, or another of its name is there, that is as well."""
        try:
            await self.remove_owners(resource, at, (owner,))
        except StatusError as error:
            if not is_not_found(error):
                raise

    async def unblock_owners(self, resource: Resource, at: Identity, meta: Obj) -> None:
        """Its owners wait for it no longer."""
        patch = [
            {**item, "blockOwnerDeletion": False}
            for item in meta.get("ownerReferences") or ()
            if item.get("blockOwnerDeletion")
        ]
        await self._patch(
            resource, at, patch, lambda owners: [{**item, "blockOwnerDeletion": False} for item in owners]
        )

    async def _patch(
        self, resource: Resource, at: Identity, strategic: list[Obj], merged: Callable[[list[Obj]], list[Obj]]
    ) -> None:
        if (resource.group, resource.name) not in self._merge_only:
            body: Obj = {"metadata": {"uid": at.uid, "ownerReferences": strategic}}
            try:
                await self.client.patch(resource, at.name, body, at.namespace, type="strategic")
            except StatusError as error:
                if error.code != UNSUPPORTED:
                    raise
                self._merge_only.add((resource.group, resource.name))
            else:
                return

        async def merge() -> None:
            live = await self.get(resource, at.namespace, at.name)
            if live is None or live["uid"] != at.uid:
                return
            owners = merged(live.get("ownerReferences") or [])
            meta = {"uid": at.uid, "resourceVersion": live["resourceVersion"], "ownerReferences": owners}
            await self.client.patch(resource, at.name, {"metadata": meta}, at.namespace, type="merge")

        await retry_on_conflict(merge)

    async def remove_finalizer(self, resource: Resource, at: Identity, finalizer: str) -> None:
        async def remove() -> None:
            live = await self.get(resource, at.namespace, at.name)
            if live is None or live["uid"] != at.uid or finalizer not in (live.get("finalizers") or ()):
                return
            left = [item for item in live["finalizers"] if item != finalizer]
            meta = {"uid": at.uid, "resourceVersion": live["resourceVersion"], "finalizers": left}
            try:
                await self.client.patch(resource, at.name, {"metadata": meta}, at.namespace, type="merge")
            except StatusError as error:
                if not is_not_found(error):
                    raise

        await retry_on_conflict(remove)
