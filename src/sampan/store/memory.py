"""The store in memory: for tests and short-lived clusters. No threads, no disk; gone with the process.

Everything the stores in this process have in common is here too: leases run on the event loop's timers, watches have
bounded buffers, and a commit is told to listeners before its writer goes on.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence

from sampan.store.contract import (
    Compacted,
    Compare,
    Delete,
    Event,
    KeyValue,
    LeaseId,
    LeaseNotFound,
    Op,
    Range,
    Revision,
    TxnResult,
    WatcherTooSlow,
)
from sampan.store.local import Listener
from sampan.store.mvcc import Mvcc

MAX_BUFFERED = 100_000


class LocalWatch:
    """A watch on a local store: a bounded buffer between the commits and one reader."""

    def __init__(
        self, store: MemoryStore, start: bytes, end: bytes, backlog: Sequence[Event], error: Exception | None
    ) -> None:
        self._store = store
        self._start, self._end = start, end
        self._buffer: deque[list[Event]] = deque([list(backlog)] if backlog else [])
        self._size = len(backlog)
        self._error = error
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def __aiter__(self) -> LocalWatch:
        return self

    async def __anext__(self) -> Sequence[Event]:
        while not self._buffer:
            if self._error is not None:
                raise self._error
            if self._closed:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        batch = self._buffer.popleft()
        self._size -= len(batch)
        return batch

    def offer(self, events: Sequence[Event]) -> None:
        mine = [e for e in events if self._start <= e.kv.key and (self._end == b"\0" or e.kv.key < self._end)]
        if not mine or self._closed:
            return
        if self._size + len(mine) > MAX_BUFFERED:
            self._buffer.clear()
            self._error = WatcherTooSlow("the watcher's buffer is full")
            self.close()
            return
        self._buffer.append(mine)
        self._size += len(mine)
        self._wake()

    def close(self) -> None:
        self._closed = True
        self._store.watches.discard(self)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class MemoryStore:
    """See `Store`. `time` gives seconds for leases; the default is the loop's."""

    def __init__(self) -> None:
        self.mvcc = Mvcc()
        self.watches: set[LocalWatch] = set()
        self.listeners: list[Listener] = []
        self._ids = itertools.count(1)
        self._ttl: dict[LeaseId, int] = {}
        self._timers: dict[LeaseId, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Nothing to load."""

    def fill(self, kvs: Sequence[KeyValue], revision: int) -> None:
        """Begin with these, as if all before `revision` had been compacted. Only while nothing is stored."""
        mvcc = self.mvcc
        mvcc.keys = sorted(kv.key for kv in kvs)
        mvcc.history = {kv.key: [kv] for kv in kvs}
        mvcc.current = mvcc.visible = mvcc.compacted = revision

    async def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        for watch in tuple(self.watches):
            watch.close()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    async def revision(self) -> Revision:
        return Revision(self.mvcc.visible)

    async def get(self, key: bytes) -> KeyValue | None:
        return self.mvcc.at(key, self.mvcc.visible)

    async def range(
        self,
        start: bytes,
        end: bytes,
        *,
        limit: int = 0,
        revision: int = 0,
        keys_only: bool = False,
        count_only: bool = False,
    ) -> Range:
        if revision:
            self.mvcc.check(revision)
        seen = self.mvcc.visible
        return self.mvcc.range(
            start, end, limit=limit, revision=revision, keys_only=keys_only, count_only=count_only, seen=seen
        )

    async def txn(self, compare: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op] = ()) -> TxnResult:
        applied = self.mvcc.txn(compare, success, failure)
        self.show(applied.events)
        return applied.result

    def show(self, events: Sequence[Event]) -> None:
        """These events are as durable as they will be: let everyone see them."""
        if not events:
            return
        self.mvcc.visible = max(self.mvcc.visible, events[-1].kv.mod_revision)
        for listener in self.listeners:
            listener(events)
        for watch in tuple(self.watches):
            watch.offer(events)

    def watch(self, start: bytes, end: bytes, revision: int = 0) -> LocalWatch:
        error: Exception | None = None
        backlog: list[Event] = []
        if revision and revision <= self.mvcc.compacted:
            error = Compacted(self.mvcc.compacted)
        elif revision:
            backlog = self.mvcc.events(start, end, revision, self.mvcc.visible)
        watch = LocalWatch(self, start, end, backlog, error)
        if error is None:
            self.watches.add(watch)
        return watch

    async def compact(self, revision: int) -> None:
        self.mvcc.compact(revision)

    # -- leases --------------------------------------------------------------------------------------------------------

    async def grant(self, ttl: int) -> LeaseId:
        lease = LeaseId(next(self._ids))
        while lease in self.mvcc.leases:
            lease = LeaseId(next(self._ids))
        self.start_lease(lease, ttl, ttl)
        return lease

    def start_lease(self, lease: LeaseId, ttl: int, left: float) -> None:
        self.mvcc.leases.setdefault(lease, set())
        self._ttl[lease] = ttl
        old = self._timers.pop(lease, None)
        if old is not None:
            old.cancel()
        self._timers[lease] = asyncio.get_running_loop().call_later(max(left, 0), self._run_out, lease)

    def _run_out(self, lease: LeaseId) -> None:
        task = asyncio.get_running_loop().create_task(self._expire(lease))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _expire(self, lease: LeaseId) -> None:
        if lease in self.mvcc.leases:
            await self.revoke(lease)

    async def revoke(self, lease: LeaseId) -> None:
        if lease not in self.mvcc.leases:
            raise LeaseNotFound
        keys = sorted(self.mvcc.leases[lease])
        if keys:
            await self.txn((), [Delete(key) for key in keys])
        self.forget_lease(lease)

    def forget_lease(self, lease: LeaseId) -> None:
        self.mvcc.leases.pop(lease, None)
        self._ttl.pop(lease, None)
        timer = self._timers.pop(lease, None)
        if timer is not None:
            timer.cancel()

    async def keep_alive(self, lease: LeaseId) -> int:
        if lease not in self.mvcc.leases:
            raise LeaseNotFound
        self.start_lease(lease, self._ttl[lease], self._ttl[lease])
        return self._ttl[lease]
