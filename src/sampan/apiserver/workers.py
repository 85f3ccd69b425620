"""Work that takes long is done beside the event loop, so that everybody else is answered meanwhile.

    found = await workers.run(kind.validate, obj)           in a thread, from the start
    value = await workers.brief(program.evaluate, values)   here, as nearly always; in a thread if it takes long

Threads are few, since they share one Python with the loop, and every user has one at most: the rest wait for their turn.
How many may wait is bounded by the requests in flight. What nobody waits for any more ends at its next pause.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar, TypeVarTuple

from sampan.api.pace import Brisk, Handover, Patient, at

Result = TypeVar("Result")
Args = TypeVarTuple("Args")
Runner = Callable[..., Awaitable[Any]]
THREADS = 2
#: what one call may take of the loop's time, and what all of them may take of every second
BRIEF_SECONDS, SHARE = 0.004, 0.2
#: after so much others get their turn
BREATH_SECONDS = 0.001
#: bytes of an object whose checks take about as long
LARGE = 32 << 10


class Workers:
    def __init__(self, threads: int = THREADS) -> None:
        self._free = asyncio.Semaphore(threads)
        #: by user: one at a time, and how many hold or want it
        self._turns: dict[Hashable, tuple[asyncio.Lock, int]] = {}
        self._left = BRIEF_SECONDS
        self._at = 0.0

    async def brief(self, work: Callable[[*Args], Result], *args: *Args, user: Hashable = "") -> Result:
        """Here if that is possible: then `work` is begun twice at most."""
        started = time.perf_counter()
        try:
            result = at(Brisk(self._allowance(started)), work, *args)
        except Handover:
            self._left -= time.perf_counter() - started
            return await self.run(work, *args, user=user)
        spent = time.perf_counter() - started
        if spent > BREATH_SECONDS:
            self._left -= spent
            await asyncio.sleep(0)
        return result

    def of(self, user: Hashable) -> Runner:
        """`brief` for that user."""
        return functools.partial(self.brief, user=user)

    def _allowance(self, now: float) -> float:
        self._left = min(BRIEF_SECONDS, self._left + (now - self._at) * SHARE)
        self._at = now
        return max(self._left, 0.0)

    async def run(self, work: Callable[[*Args], Result], *args: *Args, user: Hashable = "") -> Result:
        lock, wanting = self._turns.get(user) or (asyncio.Lock(), 0)
        self._turns[user] = (lock, wanting + 1)
        try:
            async with lock:
                await self._free.acquire()
                return await self._aside(work, *args)
        finally:
            lock, wanting = self._turns[user]
            if wanting == 1:
                del self._turns[user]
            else:
                self._turns[user] = (lock, wanting - 1)

    async def _aside(self, work: Callable[[*Args], Result], *args: *Args) -> Result:
        pace = Patient()
        future = asyncio.get_running_loop().run_in_executor(None, at, pace, work, *args)
        # a thread cannot be interrupted: its place is free when it has ended, whoever has gone by then
        future.add_done_callback(self._ended)
        try:
            return await asyncio.shield(future)
        finally:
            pace.stopped = True

    def _ended(self, future: asyncio.Future[Result]) -> None:
        self._free.release()
        if not future.cancelled():
            future.exception()
