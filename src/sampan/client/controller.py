"""The shape of every controller: keys in, `reconcile(key)` by some workers, again later when it failed.

    controller = Controller("replicaset", self.reconcile, workers=5, synced=(pods, sets))
    controller.listen(pods, add=controller.enqueue, ...)
    await controller.run()          # until cancelled

`reconcile` returns None when all is as it should be, or seconds after which to look again. What it raises is logged
and tried again with growing delay; a Conflict, which only says that the cache was behind, without a word.

Source: sigs.k8s.io/controller-runtime/pkg/internal/controller/controller.go; kubernetes/pkg/controller/*/ (runWorker)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from sampan.api.errors import StatusError
from sampan.client.backoff import RateLimiter
from sampan.client.cache import Obj, key_of
from sampan.client.errors import is_conflict, is_namespace_terminating
from sampan.client.informer import Handler, Informer
from sampan.client.queue import QueueShutDown, WorkQueue
from sampan.http import HttpError

log = logging.getLogger("sampan.controller")
Reconcile = Callable[[str], Awaitable[float | None]]


class Controller:
    """`max_retries`: after so many failures in a row a key is dropped until it is added again; None: never."""

    def __init__(
        self,
        name: str,
        reconcile: Reconcile,
        *,
        workers: int = 1,
        synced: Sequence[Informer] = (),
        limiter: RateLimiter | None = None,
        max_retries: int | None = None,
    ) -> None:
        self.name = name
        self.reconcile = reconcile
        self.workers = workers
        self.synced = synced
        self.max_retries = max_retries
        self.queue: WorkQueue[str] = WorkQueue(name, limiter=limiter)
        self._handlers: list[tuple[Informer, Handler]] = []

    def listen(
        self,
        informer: Informer,
        add: Callable[[Obj], object] | None = None,
        update: Callable[[Obj, Obj], object] | None = None,
        delete: Callable[[Obj], object] | None = None,
    ) -> None:
        """As `informer.add_handler`, until `run` ends."""
        self._handlers.append((informer, informer.add_handler(add, update, delete)))

    def enqueue(self, obj: Obj) -> None:
        self.queue.add(key_of(obj))

    def enqueue_after(self, obj: Obj, seconds: float) -> None:
        self.queue.add_after(key_of(obj), seconds)

    async def run(self) -> None:
        """Until cancelled: then a reconcile under way is cancelled too, at its next await."""
        try:
            for informer in self.synced:
                await informer.wait_synced()
            async with asyncio.TaskGroup() as group:
                for number in range(self.workers):
                    group.create_task(self._work(), name=f"{self.name} {number}")
        finally:
            self.queue.shut_down()
            for informer, handler in self._handlers:
                informer.remove_handler(handler)

    async def _work(self) -> None:
        queue = self.queue
        while True:
            try:
                key = await queue.get()
            except QueueShutDown:
                return
            try:
                again = await self.reconcile(key)
            except Exception as error:
                self._failed(key, error)
            else:
                queue.forget(key)
                if again is not None:
                    queue.add_after(key, again)
            finally:
                queue.done(key)

    def _failed(self, key: str, error: Exception) -> None:
        queue = self.queue
        if self.max_retries is not None and queue.failures(key) >= self.max_retries:
            log.error("%s: dropping %s out of the queue: %s", self.name, key, error)
            queue.forget(key)
            return
        if is_conflict(error) or is_namespace_terminating(error):
            log.debug("%s: %s: %s", self.name, key, error)
        else:
            expected = isinstance(error, (StatusError, HttpError))
            log.error("%s: failed to sync %s: %s", self.name, key, error, exc_info=None if expected else error)
        queue.add_rate_limited(key)
