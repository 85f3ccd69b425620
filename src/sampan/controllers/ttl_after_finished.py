"""Jobs that have ended are deleted when their `ttlSecondsAfterFinished` has passed.

Source: kubernetes/pkg/controller/ttlafterfinished/ttlafterfinished_controller.go
"""

from __future__ import annotations

from typing import Any

from sampan.api.times import parse_time
from sampan.client import Controller
from sampan.client.errors import is_not_found
from sampan.controllers.context import Context
from sampan.controllers.job_state import finished
from sampan.controllers.pod_control import INDEXERS

Obj = dict[str, Any]
ACCOUNT = "ttl-after-finished-controller"


class TtlAfterFinished:
    def __init__(self, context: Context) -> None:
        self.clock = context.clock
        self.client = context.clients(ACCOUNT)
        self.jobs = context.informers.get("jobs.batch", indexers=INDEXERS)
        workers = context.options.concurrent_syncs
        self.controller = Controller("ttl-after-finished", self.reconcile, workers=workers, synced=(self.jobs,))
        self._handler = self.jobs.add_handler(self._seen, lambda old, new: self._seen(new))

    async def run(self) -> None:
        try:
            await self.controller.run()
        finally:
            self.jobs.remove_handler(self._handler)

    def _seen(self, job: Obj) -> None:
        if expires(job) is not None:
            self.controller.enqueue(job)

    async def reconcile(self, key: str) -> float | None:
        job = self.jobs.cache.by_key(key)
        left = self._left(job) if job is not None else None
        if job is None or left is None or left > 0:
            return left
        # the TTL may have been prolonged meanwhile
        meta = job["metadata"]
        try:
            fresh = await self.client.get("jobs.batch", meta["name"], meta["namespace"])
            left = self._left(fresh)
            if left is None or left > 0 or fresh["metadata"]["uid"] != meta["uid"]:
                return left
            where, only = (meta["name"], meta["namespace"]), fresh["metadata"]
            await self.client.delete(
                "jobs.batch",
                *where,
                propagation="Foreground",
                uid=only["uid"],
                resource_version=only["resourceVersion"],
            )
        except Exception as error:
            if not is_not_found(error):
                raise
        return None

    def _left(self, job: Obj) -> float | None:
        due = expires(job)
        return None if due is None else due - self.clock()


def expires(job: Obj) -> float | None:
    """Seconds since the epoch; None: not at all, or not yet known."""
    ttl, end = job["spec"].get("ttlSecondsAfterFinished"), finished(job)
    if ttl is None or end is None or "deletionTimestamp" in job["metadata"]:
        return None
    return parse_time(end["lastTransitionTime"]) + float(ttl)
