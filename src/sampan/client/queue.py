"""Keys to work on: each at most once at a time, and at most once in the queue.

A key added while it is worked on is worked on again afterwards. Delayed keys wait in a heap under one timer.

Source: client-go/util/workqueue/{queue,delaying_queue,rate_limiting_queue}.go
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sampan.client.backoff import RateLimiter, controller_limiter
from sampan.http.prometheus import Histogram, exponential

K = TypeVar("K", bound=Hashable)
LIMIT = 1_000_000
_SECONDS = exponential(1e-6, 10, 10)


class QueueShutDown(Exception):
    """No more keys."""


class QueueFull(Exception):
    """More keys wait than were ever meant to."""


@dataclass(slots=True)
class Statistics:
    """Since the start; times in seconds."""

    adds: int = 0
    retries: int = 0
    done: int = 0
    waited: Histogram = field(default_factory=lambda: Histogram(_SECONDS))
    worked: Histogram = field(default_factory=lambda: Histogram(_SECONDS))


class WorkQueue(Generic[K]):
    """`add` from anywhere in the loop; `get` and `done` by workers. `limit` bounds the waiting keys."""

    def __init__(self, name: str = "", *, limiter: RateLimiter | None = None, limit: int = LIMIT) -> None:
        self.name = name
        self.limiter = limiter or controller_limiter()
        self.limit = limit
        self.statistics = Statistics()
        self._queue: deque[K] = deque()
        #: when a key that must be worked on was added
        self._dirty: dict[K, float] = {}
        self._processing: dict[K, float] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._heap: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._order = itertools.count()
        # with the time it rings at: uvloop's handles for what is due at once do not tell
        self._timer: tuple[float, asyncio.Handle] | None = None
        self._shut = False
        self._empty = asyncio.Event()

    def __len__(self) -> int:
        """Waiting keys, delayed ones excepted."""
        return len(self._queue)

    @property
    def delayed(self) -> int:
        return len(self._due)

    @property
    def unfinished(self) -> list[K]:
        """Keys being worked on."""
        return list(self._processing)

    def working(self) -> list[float]:
        """Since when, by the loop's time, keys are being worked on."""
        return list(self._processing.values())

    @property
    def shutting_down(self) -> bool:
        return self._shut

    def add(self, key: K) -> None:
        """Raises QueueFull."""
        if self._shut or key in self._dirty:
            return
        if len(self._queue) >= self.limit:
            raise QueueFull(f"queue {self.name}: {self.limit} keys wait")
        self.statistics.adds += 1
        self._dirty[key] = asyncio.get_running_loop().time()
        if key not in self._processing:
            self._queue.append(key)
            self._wake()

    def add_after(self, key: K, seconds: float) -> None:
        """The earlier of two delays counts."""
        if seconds <= 0:
            self.add(key)
            return
        if self._shut:
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        known = self._due.get(key)
        if known is not None and known <= due:
            return
        if len(self._due) >= self.limit:
            raise QueueFull(f"queue {self.name}: {self.limit} keys are delayed")
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._order), key))
        self._arm(loop)

    def add_rate_limited(self, key: K) -> None:
        """After a failure: later each time. `forget` once it worked."""
        self.statistics.retries += 1
        self.add_after(key, self.limiter.when(key))

    def forget(self, key: K) -> None:
        self.limiter.forget(key)

    def failures(self, key: K) -> int:
        return self.limiter.failures(key)

    async def get(self) -> K:
        """The next key, which is the caller's until `done`. Raises QueueShutDown when it is shut down and empty."""
        while not self._queue:
            if self._shut:
                raise QueueShutDown(self.name)
            getter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                if getter.done() and not getter.cancelled() and self._queue:
                    self._wake()
                raise
        key = self._queue.popleft()
        now = asyncio.get_running_loop().time()
        self.statistics.waited.observe(now - self._dirty.pop(key))
        self._processing[key] = now
        return key

    def done(self, key: K) -> None:
        started = self._processing.pop(key)
        self.statistics.done += 1
        self.statistics.worked.observe(asyncio.get_running_loop().time() - started)
        if key in self._dirty:
            self._queue.append(key)
            self._wake()
        elif not self._processing and not self._queue:
            self._empty.set()

    def shut_down(self) -> None:
        """No key is taken any more; what waits is still handed out. Idempotent."""
        self._shut = True
        if self._timer is not None:
            self._timer[1].cancel()
            self._timer = None
        self._heap.clear()
        self._due.clear()
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)

    async def drain(self) -> None:
        """Shut down, then wait until all that waits and all that is worked on is done."""
        self.shut_down()
        while self._queue or self._processing:
            self._empty.clear()
            await self._empty.wait()

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        due = self._heap[0][0]
        if self._timer is not None:
            if self._timer[0] <= due:
                return
            self._timer[1].cancel()
        self._timer = due, loop.call_at(due, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time() + 1e-6
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            # a key put off to an earlier time has two entries, of which the later is void
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
        if self._heap:
            self._arm(loop)
