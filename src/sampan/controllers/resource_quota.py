"""resourcequota-controller: `status.used` of quotas is what there is, recounted when something has gone or shrunk.

Admission counts up before an object is written; this controller counts down, and corrects what was charged for objects
that were never made. A count taken while requests are being admitted would miss what is charged and not yet stored: so a
quota that has just changed is left alone for a moment, and looked at once more some time after objects came.

DEVIATION: no recount every five minutes; events and the moments when pods stop counting suffice.

Source: kubernetes/pkg/controller/resourcequota/{resource_quota_controller,resource_quota_monitor}.go
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from sampan.api import quantity, quota
from sampan.api.quota import CLAIMS, DEVICE_CLAIMS, DEVICE_CLASSES, PODS, SERVICES
from sampan.api.times import parse_time
from sampan.client import NAMESPACE, Controller, Handler, Informer, Resource, key_of
from sampan.controllers.context import Context
from sampan.controllers.kinds import Kinds

Obj = dict[str, Any]
#: kinds of which more than the number counts
MEASURED = {PODS, SERVICES, CLAIMS, DEVICE_CLAIMS}
STILL_SECONDS = 0.25
VERIFY_SECONDS = 2.0
#: one part counting, so many parts waiting
SHARE = 10


class ResourceQuotaController:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.client = context.clients("resourcequota-controller")
        self.quotas = context.informers.get("resourcequotas")
        self.controller = Controller("resourcequota-controller", self.reconcile, workers=5, synced=(self.quotas,))
        self.kinds = Kinds(context, self.client, self._recount_all)
        self._watched: dict[quota.Resource, tuple[Informer, Handler]] = {}
        #: device classes, once a quota names what may be devices
        self._classes: tuple[Informer, Handler] | None = None
        #: when a quota was last seen to change
        self._changed: dict[str, float] = {}
        #: how long the last count took
        self._took: dict[str, float] = {}
        self.quotas.add_handler(self._came, self._updated, self._gone)

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.kinds.run())
                group.create_task(self.controller.run())
        finally:
            for informer, handler in self._watched.values():
                informer.remove_handler(handler)
                self.context.informers.release(informer)
            self._watched.clear()
            if self._classes is not None:
                self._classes[0].remove_handler(self._classes[1])
                self._classes = None

    # -- what makes a recount due --------------------------------------------------------------------------------------

    def _came(self, obj: Obj) -> None:
        self.controller.enqueue(obj)

    def _updated(self, old: Obj, new: Obj) -> None:
        if _hard(old) != _hard(new) or old.get("spec") != new.get("spec"):
            self.controller.enqueue(new)
        elif old.get("status") != new.get("status"):
            self._changed[key_of(new)] = asyncio.get_running_loop().time()

    def _gone(self, obj: Obj) -> None:
        self._changed.pop(key_of(obj), None)
        self._took.pop(key_of(obj), None)

    def _recount_all(self) -> None:
        """Kinds came or went."""
        for key in self.quotas.cache.keys():  # noqa: SIM118 -- no dict
            self.controller.queue.add(key)

    def _follow(self, resource: quota.Resource) -> Informer | None:
        """The mirror of a resource that quotas name; None: there is no such resource."""
        known = self._watched.get(resource)
        kind = self._kind(resource)
        if known is not None and kind is not None:
            return known[0]
        if kind is None:
            if known is not None:
                del self._watched[resource]
                known[0].remove_handler(known[1])
                self.context.informers.release(known[0])
            return None
        informers = self.context.informers
        informer = informers.get(kind) if resource in MEASURED else informers.mirror(kind)

        def later(obj: Obj) -> None:
            for key in self._named(resource, obj):
                self.controller.queue.add_after(key, VERIFY_SECONDS)

        def changed(old: Obj, new: Obj) -> None:
            if resource in MEASURED and (keys := self._named(resource, new)):
                now = self.context.clock()
                same = quota.usage(resource, old, now) == quota.usage(resource, new, now)
                moved = resource == PODS and quota.ends_by_itself(old) != quota.ends_by_itself(new)
                if not same or moved or (resource == PODS and _over(old) != _over(new)):
                    self._add(keys)

        def gone(obj: Obj) -> None:
            self._add(self._named(resource, obj))

        self._watched[resource] = (informer, informer.add_handler(later, changed, gone))
        return informer

    def _kind(self, resource: quota.Resource) -> Resource | None:
        for kind in self.kinds.supporting("list", "watch"):
            if (kind.group, kind.name) == resource:
                return kind if kind.namespaced else None
        return None

    def _add(self, keys: Iterable[str]) -> None:
        """Soon; the longer a count takes, the more changes it shall cover."""
        for key in keys:
            self.controller.queue.add_after(key, min(SHARE * self._took.get(key, 0.0), VERIFY_SECONDS))

    def _named(self, resource: quota.Resource, obj: Obj) -> list[str]:
        """The quotas that name something an object of this resource may use."""
        namespace = obj["metadata"].get("namespace", "")
        classes = self._device_classes() if resource == DEVICE_CLAIMS else {}
        out = []
        for key in self.quotas.cache.index_keys(NAMESPACE, namespace):
            found = self.quotas.cache.by_key(key)
            if found is not None and any(quota.tracks(resource, name, classes) for name in _hard(found)):
                out.append(key)
        return out

    # -- device classes ------------------------------------------------------------------------------------------------

    def _device_classes(self) -> dict[str, str]:
        return {} if self._classes is None else quota.device_classes(self._classes[0].cache.list())

    async def _follow_classes(self, hard: quota.Amounts) -> None:
        if self._classes is None and any(quota.is_extended(name) for name in hard):
            kinds = self.kinds.supporting("list", "watch")
            kind = next((kind for kind in kinds if (kind.group, kind.name) == DEVICE_CLASSES), None)
            if kind is None:
                return
            informer = self.context.informers.get(kind)
            self._classes = (informer, informer.add_handler(self._class, self._class_updated, self._class))
        if self._classes is not None:
            await self._classes[0].wait_synced()

    def _class(self, obj: Obj) -> None:
        self._recount_all()

    def _class_updated(self, old: Obj, new: Obj) -> None:
        if old.get("spec", {}).get("extendedResourceName") != new.get("spec", {}).get("extendedResourceName"):
            self._recount_all()

    # -- recount -------------------------------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> float | None:
        """Raises StatusError (a conflict, when admission was faster), HttpError."""
        await self.kinds.wait()
        obj = self.quotas.cache.by_key(key)
        if obj is None:
            return None
        await self._prepare(obj)
        obj = self.quotas.cache.by_key(key)
        if obj is None:
            return None
        namespace = obj["metadata"]["namespace"]

        def objects(resource: quota.Resource) -> Iterable[Obj] | None:
            watched = self._watched.get(resource)
            return None if watched is None else watched[0].cache.list(namespace)

        hard = _hard(obj)
        began = asyncio.get_running_loop().time()
        used = quota.recount(obj, objects, self.context.clock(), self._device_classes())
        self._took[key] = asyncio.get_running_loop().time() - began
        status = obj.get("status") or {}
        wanted = {"hard": hard, "used": {name: amount for name, amount in used.items() if name in hard}}
        if all(_same(status.get(part) or {}, wanted[part]) for part in wanted) and "used" in status:
            return self._next(namespace)
        if (status.get("hard") or {}) == hard:
            still = asyncio.get_running_loop().time() - self._changed.get(key, -STILL_SECONDS)
            if still < STILL_SECONDS:
                return STILL_SECONDS - still
        await self.client.update_status("resourcequotas", {**obj, "status": wanted})
        return self._next(namespace)

    def _next(self, namespace: str) -> float | None:
        """Until the next pod that is being deleted counts no more."""
        if PODS not in self._watched:
            return None
        now = self.context.clock()
        ends = [end for pod in self._watched[PODS][0].cache.list(namespace) if (end := _over(pod)) is not None]
        return min((end - now + 1 for end in ends if end + 1 > now), default=None)

    async def _prepare(self, obj: Obj) -> None:
        """Mirrors of all that it names, filled."""
        await self._follow_classes(_hard(obj))
        classes = self._device_classes()
        for resource in {found for name in _hard(obj) for found in quota.resources_of(name, classes)}:
            informer = self._follow(resource)
            if informer is not None:
                await informer.wait_synced()


def _hard(obj: Obj) -> quota.Amounts:
    return (obj.get("spec") or {}).get("hard") or {}


def _same(one: quota.Amounts, other: quota.Amounts) -> bool:
    return one.keys() == other.keys() and all(
        quantity.compare(amount, other[name]) == 0 for name, amount in one.items()
    )


def _over(pod: Obj) -> float | None:
    """When a pod that is being deleted counts no more, gone or not."""
    meta = pod["metadata"]
    if not meta.get("deletionTimestamp") or meta.get("deletionGracePeriodSeconds") is None:
        return None
    return parse_time(meta["deletionTimestamp"]) + float(meta["deletionGracePeriodSeconds"])
